"""Messages that are about no job."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Bring a database of the revision before to this one."""
    # SQLite cannot change a column: the table is made anew there.
    with op.batch_alter_table("messages") as messages:
        messages.alter_column("job", existing_type=_NUMBER, nullable=True)


def downgrade() -> None:
    """Never: a newer database is not read by an older release."""
    raise NotImplementedError
