"""Lists by time, and how many jobs there are in each state."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_STATES = ("idle", "running", "suspended", "held", "removed", "completed", "submission_error")

_SUBMITTED = {
    "sqlite": "json_extract(request, '$.submitted')",
    "postgresql": "CAST(CAST(request AS json) ->> 'submitted' AS double precision)",
}


def upgrade() -> None:
    """Bring a database of the revision before to this one."""
    op.add_column("jobs", sa.Column("submitted", sa.Double))
    # Never less than that of the job before.
    submitted = _SUBMITTED[op.get_bind().dialect.name]
    op.execute(
        "UPDATE jobs SET submitted = latest.at FROM "  # noqa: S608 - nothing of it comes from outside
        f"(SELECT seq, max({submitted}) OVER (ORDER BY seq) AS at FROM jobs) AS latest WHERE latest.seq = jobs.seq"
    )
    op.create_index("ix_jobs_submitted_seq", "jobs", ["submitted", "seq"])
    op.drop_index("ix_jobs_settled", "jobs")
    over = sa.text("settled IS NOT NULL")
    op.create_index("ix_jobs_settled_seq", "jobs", ["settled", "seq"], postgresql_where=over, sqlite_where=over)
    counts = op.create_table(
        "counts",
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("jobs", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("state", name="pk_counts"),
    )
    op.bulk_insert(counts, [{"state": state, "jobs": 0} for state in _STATES])
    op.execute("UPDATE counts SET jobs = (SELECT count(*) FROM jobs WHERE jobs.state = counts.state)")


def downgrade() -> None:
    """Never: a newer database is not read by an older release."""
    raise NotImplementedError
