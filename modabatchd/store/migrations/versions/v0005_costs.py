"""What jobs have cost."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Bring a database of the revision before to this one."""
    op.create_table(
        "runs",
        sa.Column("job", _NUMBER, nullable=False, autoincrement=False),
        sa.Column("number", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("node", sa.Text, nullable=False),
        sa.Column("started", sa.Double, nullable=False),
        sa.Column("ended", sa.Double),
        sa.Column("cost", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("job", "number", name="pk_runs"),
        sa.ForeignKeyConstraint(["job"], ["jobs.seq"], name="fk_runs_job", ondelete="CASCADE"),
    )
    op.create_index("ix_runs_ended", "runs", ["ended"])
    op.create_table(
        "costs",
        sa.Column("month", sa.Text, nullable=False),
        sa.Column("label", sa.Text, nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.Column("pool", sa.Text, nullable=False),
        sa.Column("amount", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("month", "label", "value", "pool", name="pk_costs"),
    )


def downgrade() -> None:
    """Never: a newer database is not read by an older release."""
    raise NotImplementedError
