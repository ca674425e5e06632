"""The tasks of job arrays."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Bring a database of the revision before to this one."""
    op.add_column("jobs", sa.Column("tally", sa.Text))
    op.create_table(
        "tasks",
        sa.Column("job", _NUMBER, nullable=False),
        sa.Column("task", sa.Integer, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("sighting", sa.Text),
        sa.PrimaryKeyConstraint("job", "task", name="pk_tasks"),
        sa.ForeignKeyConstraint(["job"], ["jobs.seq"], name="fk_tasks_job", ondelete="CASCADE"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_tasks_job_state_task", "tasks", ["job", "state", "task"])


def downgrade() -> None:
    """Never: a newer database is not read by an older release."""
    raise NotImplementedError
