"""Which backend, and which scheduler, the jobs belong to."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring a database of the revision before to this one."""
    op.add_column("installation", sa.Column("backend", sa.Text))
    op.add_column("installation", sa.Column("schedd", sa.Text))


def downgrade() -> None:
    """Never: a newer database is not read by an older release."""
    raise NotImplementedError
