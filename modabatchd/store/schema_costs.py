"""The tables of what jobs have cost."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Column, Double, ForeignKey, Index, Integer, Table, Text

from modabatchd.store.schema import METADATA, jobs

#: The runs of jobs on nodes of ours.  C{number} is which of the job's runs it is, C{cost} what it was charged so far.
runs: Final = Table(
    "runs",
    METADATA,
    Column("job", jobs.c.seq.type, ForeignKey("jobs.seq", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("node", Text, nullable=False),
    Column("started", Double, nullable=False),
    Column("ended", Double),
    Column("cost", Double, nullable=False),
)
Index(None, runs.c.ended)

#: Sums, which outlive the jobs.  A label that is the empty text stands for all jobs.
costs: Final = Table(
    "costs",
    METADATA,
    Column("month", Text, primary_key=True),
    Column("label", Text, primary_key=True),
    Column("value", Text, primary_key=True),
    Column("pool", Text, primary_key=True),
    Column("amount", Double, nullable=False),
)
