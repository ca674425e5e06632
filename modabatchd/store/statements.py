"""
The statements, each built once.

Note [A range for each state]
=============================
A list is a range of an index, in the order of C{seq}: it ends after C{limit} rows, however many there are.  That works only
for one state at a time, because an index on state and C{seq} has the rows of two states one after the other.  So a list of
several states is the union of as many ranges, each cut off at C{limit}, sorted and cut off again; and a list by name or
label that does not care for the state is one of all states.  Only a name together with a label walks all jobs of the name.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import Column, ColumnElement, Select, bindparam, delete, exists, func, insert, or_, select, union_all, update
from sqlalchemy.sql.selectable import Subquery

from modabatchd.queue.job import JobState
from modabatchd.store.interfaces import Selection
from modabatchd.store.rows import CHANGE, DELIVERY, JOB, LISTED
from modabatchd.store.schema import changes, installation, jobs, keys, labels, messages

_AFTER: Final[ColumnElement[Any]] = bindparam("after")
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

EXPIRED: Final = (
    select(jobs.c.id)
    .where(jobs.c.settled < bindparam("before"))
    .where(~exists().where(messages.c.job == jobs.c.seq, messages.c.due.is_not(None)))
    .order_by(jobs.c.settled)
    .limit(_LIMIT)
)
FORGET: Final = delete(jobs).where(jobs.c.id.in_(bindparam("ids", expanding=True)))

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
DELIVERED: Final = _TRIED.values(due=None, delivered=bindparam("time"))
POSTPONE: Final = _TRIED.values(due=bindparam("time"), problem=bindparam("why"))
ABANDON: Final = _TRIED.values(due=None, abandoned=bindparam("time"), problem=bindparam("why"))

COUNTS: Final = select(jobs.c.state, func.count()).group_by(jobs.c.state)

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


def page(selection: Selection) -> Select[Any]:
    """
    The list that a selection shows; its parameters are C{after}, C{limit}, and those of L{conditions}.

    See Note [A range for each state].
    """
    states = frozenset(selection.states) or frozenset(JobState)
    label = selection.label
    return _page(states, selection.name is not None, label is not None, label is not None and label[1] is not None)


def conditions(selection: Selection) -> dict[str, Any]:
    """The parameters of L{page} that the selection gives."""
    key, value = selection.label or (None, None)
    given = {"name": selection.name, "key": key, "value": value}
    return {name: value for name, value in given.items() if value is not None}


@lru_cache
def _page(states: frozenset[JobState], named: bool, labelled: bool, valued: bool) -> Select[Any]:
    if named:
        ranges = [_by_name(state, labelled, valued) for state in sorted(states)]
    elif labelled:
        ranges = [_by_label(state, valued) for state in sorted(states)]
    elif len(states) == len(JobState):
        return select(*LISTED).where(jobs.c.seq > _AFTER).order_by(jobs.c.seq).limit(_LIMIT)
    else:
        ranges = [_by_state(state) for state in sorted(states)]
    return _within(LISTED, ranges)


def _by_state(state: JobState) -> Select[Any]:
    return _cut(jobs.c.seq).where(jobs.c.state == state.value)


def _by_name(state: JobState, labelled: bool, valued: bool) -> Select[Any]:
    named = _by_state(state).where(jobs.c.name == bindparam("name"))
    if not labelled:
        return named
    # The value, not EXISTS: PostgreSQL would turn that round, and look through all jobs that have the label.
    value = select(labels.c.value).where(labels.c.job == jobs.c.seq, labels.c.key == bindparam("key")).scalar_subquery()
    return named.where(value == bindparam("value") if valued else value.is_not(None))


def _by_label(state: JobState, valued: bool) -> Select[Any]:
    labelled = _cut(labels.c.job).where(labels.c.state == state.value, labels.c.key == bindparam("key"))
    return labelled.where(labels.c.value == bindparam("value")) if valued else labelled


def _cut(seq: ColumnElement[int]) -> Select[Any]:
    return select(seq.label("seq")).where(seq > _AFTER).order_by(seq).limit(_LIMIT)


def _within(columns: Iterable[ColumnElement[Any]], ranges: list[Select[Any]]) -> Select[Any]:
    """The jobs of the first C{limit} numbers of several ranges."""
    found: Subquery = ranges[0].subquery()
    if len(ranges) > 1:
        together = union_all(*(select(part.subquery().c.seq) for part in ranges)).subquery()
        found = select(together.c.seq).order_by(together.c.seq).limit(_LIMIT).subquery()
    return select(*columns).join(found, found.c.seq == jobs.c.seq).order_by(jobs.c.seq)


LIVE: Final = _within(JOB, [_by_state(state) for state in JobState if not state.final])
