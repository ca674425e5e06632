"""Registered receivers of notifications, and the tries to deliver these."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Bring a database of the revision before to this one."""
    op.add_column("messages", sa.Column("event", sa.Text, nullable=False, server_default=""))
    op.add_column("messages", sa.Column("endpoint", sa.Text))
    # So far the end of a job was all that was told.
    op.execute("UPDATE messages SET event = 'job.' || (SELECT state FROM jobs WHERE jobs.seq = messages.job)")
    op.create_index("ix_messages_endpoint_seq", "messages", ["endpoint", "seq"])
    where = sa.text("abandoned IS NOT NULL")
    op.create_index("ix_messages_abandoned", "messages", ["seq"], postgresql_where=where, sqlite_where=where)
    op.create_table(
        "attempts",
        sa.Column("seq", _NUMBER, sa.Identity(always=True), nullable=False),
        sa.Column("message", _NUMBER, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("status", sa.Integer),
        sa.Column("problem", sa.Text),
        sa.PrimaryKeyConstraint("seq", name="pk_attempts"),
        sa.ForeignKeyConstraint(["message"], ["messages.seq"], name="fk_attempts_message", ondelete="CASCADE"),
    )
    op.create_index("ix_attempts_message_seq", "attempts", ["message", "seq"])
    op.create_table(
        "endpoints",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("created", sa.Double, nullable=False),
        sa.Column("entry", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_endpoints"),
    )


def downgrade() -> None:
    """Never: a newer database is not read by an older release."""
    raise NotImplementedError
