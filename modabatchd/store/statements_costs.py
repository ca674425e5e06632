"""The statements about what jobs have cost, each built once."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import bindparam, func, literal, or_, select, union, union_all, update
from sqlalchemy.dialects import postgresql, sqlite

from modabatchd.queue.job import JobState
from modabatchd.store.schema import jobs
from modabatchd.store.schema_costs import costs, runs
from modabatchd.store.schema_register import nodes, scaling, spending
from modabatchd.store.statements_register import put

_BUSY: Final = (JobState.RUNNING.value, JobState.SUSPENDED.value)

#: The jobs of which a run may have begun or ended since C{since}; each a range of an index.
_MOVED: Final = union(
    select(jobs.c.seq).where(jobs.c.state.in_(_BUSY)),
    select(jobs.c.seq).where(jobs.c.settled >= bindparam("since")),
    select(runs.c.job).where(runs.c.ended.is_(None)),
).subquery()
MOVED: Final = select(jobs.c.seq, jobs.c.state, jobs.c.settled, jobs.c.sighting).join(_MOVED, _MOVED.c.seq == jobs.c.seq)

#: An earlier run of a job that runs again is over, though nobody saw its end.
SUPERSEDE: Final = (
    update(runs)
    .where(runs.c.job == bindparam("of"), runs.c.number < bindparam("before"), runs.c.ended.is_(None))
    .values(ended=bindparam("at"))
)
CHARGE_RUN: Final = (
    update(runs)
    .where(runs.c.job == bindparam("of"), runs.c.number == bindparam("which"))
    .values(cost=runs.c.cost + bindparam("more"))
)

#: What there was between C{since} and C{until}.
RUNS: Final = (
    select(runs.c.job, runs.c.number, runs.c.node, runs.c.started, runs.c.ended, jobs.c.request)
    .join(jobs, jobs.c.seq == runs.c.job)
    .where(or_(runs.c.ended.is_(None), runs.c.ended > bindparam("since")), runs.c.started < bindparam("until"))
)
NODES: Final = select(nodes.c.entry).where(or_(nodes.c.stopped.is_(None), nodes.c.stopped > bindparam("since")))

UNTIL: Final = select(scaling.c.value).where(scaling.c.name == bindparam("name"))
RUNS_OF: Final = (
    select(runs.c.number, runs.c.node, runs.c.started, runs.c.ended, runs.c.cost)
    .where(runs.c.job == bindparam("job"))
    .order_by(runs.c.number)
)
MONTHS: Final = union(select(costs.c.month), select(spending.c.month)).order_by("month")

_MONTH: Final = costs.c.month == bindparam("month")
_ALL: Final = costs.c.label == ""
#: Three sums at once, told apart by the first column.
CHARGED: Final = union_all(
    select(literal("spent").label("what"), spending.c.pool, spending.c.amount).where(spending.c.month == bindparam("month")),
    select(literal("pools"), costs.c.pool, costs.c.amount).where(_MONTH, _ALL),
    select(literal("values"), costs.c.value, func.sum(costs.c.amount))
    .where(_MONTH, costs.c.label == bindparam("label"), costs.c.label != "")
    .group_by(costs.c.value),
)


def _note(dialect: str) -> Any:
    """Note a run; the end that was noted first counts."""
    insert: Any = postgresql.insert if dialect == "postgresql" else sqlite.insert
    statement = insert(runs)
    ended = func.coalesce(runs.c.ended, statement.excluded.ended)
    return statement.on_conflict_do_update(index_elements=["job", "number"], set_={"ended": ended})


#: By dialect: note a run, add to a sum, write a single value.
WRITES: Final = {
    dialect: (_note(dialect), put(dialect, costs, add="amount"), put(dialect, scaling)) for dialect in ("sqlite", "postgresql")
}
