"""The statements, each built once, but for those of lists."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Column, ColumnElement, bindparam, delete, exists, func, insert, or_, select, update

from modabatchd.queue.job import JobState
from modabatchd.store.rows import CHANGE, DELIVERY, EVENT, JOB
from modabatchd.store.schema import attempts, changes, counts, installation, jobs, keys, labels, messages

_LIMIT: Final[ColumnElement[Any]] = bindparam("limit")


def _given(parameter: str, column: Column[Any]) -> ColumnElement[Any]:
    """A parameter, or what is there when it is C{None}."""
    return func.coalesce(bindparam(parameter, type_=column.type), column)


ADD_JOBS: Final = insert(jobs).returning(jobs.c.seq, sort_by_parameter_order=True)
ADD_LABELS: Final = insert(labels)
ADD_CHANGES: Final = insert(changes)
ADD_MESSAGES: Final = insert(messages)
ADD_KEYS: Final = insert(keys)

BIND: Final = (
    update(jobs)
    .where(jobs.c.id == bindparam("job_id"))
    .values(backend_cluster=bindparam("cluster"), backend_proc=bindparam("proc"))
)

GET: Final = (
    select(*JOB, *CHANGE).join(changes, changes.c.job == jobs.c.seq).where(jobs.c.id == bindparam("id")).order_by(changes.c.seq)
)

#: The histories of several jobs, one after the other.
HISTORIES: Final = (
    select(changes.c.job, *CHANGE)
    .where(changes.c.job.in_(bindparam("jobs", expanding=True)))
    .order_by(changes.c.job, changes.c.seq)
)

COUNTS: Final = select(counts.c.state, counts.c.jobs)
COUNT: Final = update(counts).where(counts.c.state == bindparam("of")).values(jobs=counts.c.jobs + bindparam("more"))

#: The latest time of submission that there is; see the schema.
LATEST: Final = select(func.max(jobs.c.submitted))

STANDINGS: Final = (
    select(jobs.c.id, jobs.c.seq, jobs.c.state, jobs.c.tally)
    .where(jobs.c.id.in_(bindparam("ids", expanding=True)))
    .with_for_update()
)

#: See L{modabatchd.store.steps.Writes} for the parameters of this and the next.
ADVANCE: Final = (
    update(jobs)
    .where(jobs.c.seq == bindparam("job_seq"))
    .values(
        state=bindparam("to"),
        previous_state=_given("previous", jobs.c.previous_state),
        settled=_given("ended", jobs.c.settled),
        sighting=_given("seen", jobs.c.sighting),
        tally=_given("tally", jobs.c.tally),
        backend_cluster=_given("cluster", jobs.c.backend_cluster),
        backend_proc=_given("proc", jobs.c.backend_proc),
    )
)
RELABEL: Final = update(labels).where(labels.c.job == bindparam("job_seq")).values(state=bindparam("to"))

EVENTS: Final = (
    select(*EVENT)
    .join(jobs, jobs.c.seq == changes.c.job)
    .where(changes.c.seq > bindparam("after"))
    .order_by(changes.c.seq)
    .limit(_LIMIT)
)
LATEST_EVENT: Final = select(func.coalesce(func.max(changes.c.seq), 0))

EXPIRED: Final = (
    select(jobs.c.id)
    .where(jobs.c.settled < bindparam("before"))
    .where(~exists().where(messages.c.job == jobs.c.seq, messages.c.due.is_not(None)))
    .order_by(jobs.c.settled)
    .limit(_LIMIT)
)
FORGET: Final = delete(jobs).where(jobs.c.id.in_(bindparam("ids", expanding=True))).returning(jobs.c.state)

DUE: Final = (
    select(*DELIVERY)
    .outerjoin_from(messages, jobs, jobs.c.seq == messages.c.job)
    .where(messages.c.due <= bindparam("now"))
    .order_by(messages.c.due, messages.c.seq)
    .limit(_LIMIT)
)
_TRIED: Final = (
    update(messages)
    .where(messages.c.id == bindparam("message_id"), messages.c.due.is_not(None))
    .values(attempts=messages.c.attempts + 1)
)
#: A line of the log about a message that waits.
TRY: Final = insert(attempts).from_select(
    ["message", "at", "status", "problem"],
    select(
        messages.c.seq,
        bindparam("tried", type_=attempts.c.at.type),
        bindparam("answered", type_=attempts.c.status.type),
        bindparam("why", type_=attempts.c.problem.type),
    ).where(messages.c.id == bindparam("message_id"), messages.c.due.is_not(None)),
)
DELIVERED: Final = _TRIED.values(due=None, delivered=bindparam("time"), problem=bindparam("why"))
POSTPONE: Final = _TRIED.values(due=bindparam("time"), problem=bindparam("why"))
ABANDON: Final = _TRIED.values(due=None, abandoned=bindparam("time"), problem=bindparam("why"))


#: Whether there are jobs that are not over.
ALIVE: Final = exists().where(jobs.c.state.in_([state.value for state in JobState if not state.final]))
INSTANCE: Final = select(installation.c.uuid)
BACKEND: Final = select(installation.c.backend)
SCHEDD: Final = select(installation.c.schedd)
NEWS: Final = select(installation.c.news)
#: What a scheduler has, or tells, is not what another one does.
REMEMBER_BACKEND: Final = update(installation).values(backend=bindparam("name"), schedd=None, news=None)
REMEMBER_NEWS: Final = update(installation).values(news=bindparam("until"))
REMEMBER_SCHEDD: Final = (
    update(installation).where(or_(installation.c.schedd.is_(None), ~ALIVE)).values(schedd=bindparam("name"))
)
