"""The record of the nodes, of what was decided about them, and of what they cost."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Bring a database of the revision before to this one."""
    _create_nodes()
    op.create_table(
        "decisions",
        sa.Column("seq", _NUMBER, sa.Identity(always=True), nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_decisions"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "scaling",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("value", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_scaling"),
    )
    op.create_table(
        "spending",
        sa.Column("month", sa.Text, nullable=False),
        sa.Column("pool", sa.Text, nullable=False),
        sa.Column("amount", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("month", "pool", name="pk_spending"),
    )


def downgrade() -> None:
    """Never: a newer database is not read by an older release."""
    raise NotImplementedError


def _create_nodes() -> None:
    op.create_table(
        "nodes",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("requested", sa.Double, nullable=False),
        sa.Column("stopped", sa.Double),
        sa.Column("entry", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_nodes"),
        sa.UniqueConstraint("name", name="uq_nodes_name"),
    )
    for column, condition in (("requested", "stopped IS NULL"), ("stopped", "stopped IS NOT NULL")):
        where = sa.text(condition)
        op.create_index(f"ix_nodes_{column}", "nodes", [column], postgresql_where=where, sqlite_where=where)
