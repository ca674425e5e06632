"""How far the queue's news were read."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring a database of the revision before to this one."""
    op.add_column("installation", sa.Column("news", sa.Text))


def downgrade() -> None:
    """Never: a newer database is not read by an older release."""
    raise NotImplementedError
