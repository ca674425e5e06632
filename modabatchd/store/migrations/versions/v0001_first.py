"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Bring an empty database to this revision."""
    op.create_table(
        "installation", sa.Column("uuid", sa.Text, nullable=False), sa.PrimaryKeyConstraint("uuid", name="pk_installation")
    )
    _create_jobs()
    _create_labels()
    _create_changes()
    _create_messages()


def downgrade() -> None:
    """Never: a newer database is not read by an older release."""
    raise NotImplementedError


def _create_jobs() -> None:
    op.create_table(
        "jobs",
        sa.Column("seq", _NUMBER, sa.Identity(always=True), nullable=False),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("previous_state", sa.Text),
        sa.Column("settled", sa.Double),
        sa.Column("backend_cluster", sa.BigInteger),
        sa.Column("backend_proc", sa.BigInteger),
        sa.Column("request", sa.Text, nullable=False),
        sa.Column("sighting", sa.Text),
        sa.PrimaryKeyConstraint("seq", name="pk_jobs"),
        sa.UniqueConstraint("id", name="uq_jobs_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_jobs_state_seq", "jobs", ["state", "seq"])
    op.create_index("ix_jobs_name_state_seq", "jobs", ["name", "state", "seq"])
    over = sa.text("settled IS NOT NULL")
    op.create_index("ix_jobs_settled", "jobs", ["settled"], postgresql_where=over, sqlite_where=over)


def _create_labels() -> None:
    op.create_table(
        "labels",
        sa.Column("job", _NUMBER, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("job", "key", name="pk_labels"),
        sa.ForeignKeyConstraint(["job"], ["jobs.seq"], name="fk_labels_job", ondelete="CASCADE"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_labels_key_value_state_job", "labels", ["key", "value", "state", "job"])
    op.create_index("ix_labels_key_state_job", "labels", ["key", "state", "job"])


def _create_changes() -> None:
    op.create_table(
        "changes",
        sa.Column("seq", _NUMBER, sa.Identity(always=True), nullable=False),
        sa.Column("job", _NUMBER, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("reason", sa.Text),
        sa.PrimaryKeyConstraint("seq", name="pk_changes"),
        sa.ForeignKeyConstraint(["job"], ["jobs.seq"], name="fk_changes_job", ondelete="CASCADE"),
    )
    op.create_index("ix_changes_job_seq", "changes", ["job", "seq"])


def _create_messages() -> None:
    op.create_table(
        "messages",
        sa.Column("seq", _NUMBER, sa.Identity(always=True), nullable=False),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("job", _NUMBER, nullable=False),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("created", sa.Double, nullable=False),
        sa.Column("due", sa.Double),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("delivered", sa.Double),
        sa.Column("abandoned", sa.Double),
        sa.Column("problem", sa.Text),
        sa.PrimaryKeyConstraint("seq", name="pk_messages"),
        sa.UniqueConstraint("id", name="uq_messages_id"),
        sa.ForeignKeyConstraint(["job"], ["jobs.seq"], name="fk_messages_job", ondelete="CASCADE"),
    )
    op.create_index("ix_messages_job", "messages", ["job"])
    waiting = sa.text("due IS NOT NULL")
    op.create_index("ix_messages_due_seq", "messages", ["due", "seq"], postgresql_where=waiting, sqlite_where=waiting)
