"""The keys by which requests that are sent again are known."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring a database of the revision before to this one."""
    op.create_table(
        "keys",
        sa.Column("scope", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("job_id", sa.Text),
        sa.Column("status", sa.Integer),
        sa.Column("location", sa.Text),
        sa.Column("body", sa.LargeBinary),
        sa.PrimaryKeyConstraint("scope", "name", name="pk_keys"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_keys_at", "keys", ["at"])


def downgrade() -> None:
    """Never: a newer database is not read by an older release."""
    raise NotImplementedError
