"""
The statements of lists, each built once.

Note [A range for each state]
=============================
A list is a range of an index, in the order of C{seq}: it ends after so many rows, however many there are.  That works only
for one state at a time, because an index on state and C{seq} has the rows of two states one after the other.  So a list of
several states is the union of as many ranges, each cut off, sorted and cut off again; and a list by name or label that does not
care for the state is one of all states.  A time of submission is a place in the order of C{seq}, so it cuts off the range
at its ends.

Note [Conditions without a range]
=================================
What no index has in order is looked at job by job: a second label, the beginning of a name, all but the time in a list by the
time of the end.  If few jobs fit, that would go through all of them; so no more than L{EXAMINED} are looked at for one page,
and the next one begins where that ended.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, Final

import msgspec
from sqlalchemy import Column, ColumnElement, Select, bindparam, func, select, union_all
from sqlalchemy.sql.selectable import Subquery

from modabatchd.queue.job import JobState
from modabatchd.store.interfaces import Place, Selection
from modabatchd.store.rows import JOB, LISTED
from modabatchd.store.schema import jobs, labels

#: How many jobs are looked at for one page; see Note [Conditions without a range].
EXAMINED: Final = 5000

#: A number that no job reaches.
LAST: Final = 2**63 - 1
_AFTER: Final[ColumnElement[Any]] = bindparam("after")
_ENDED: Final[ColumnElement[Any]] = bindparam("ended")
_LIMIT: Final[ColumnElement[Any]] = bindparam("limit")
_MOST: Final[ColumnElement[Any]] = bindparam("most")

#: The first job that was submitted at that time or later.
FIRST_SINCE: Final = (
    select(jobs.c.seq).where(jobs.c.submitted >= bindparam("time")).order_by(jobs.c.submitted, jobs.c.seq).limit(1)
)


class Shape(msgspec.Struct, frozen=True):
    """
    What a selection asks for at all; selections of one shape have one statement.

    @ivar labels: for each label, whether it has a value.
    @ivar timed: whether the time of submission matters.
    @ivar ended: whether there is a first and a last time of the end.
    """

    states: frozenset[JobState]
    named: bool
    prefixed: bool
    labels: tuple[bool, ...]
    timed: bool
    ended: tuple[bool, bool]
    newest: bool

    @property
    def by_end(self) -> bool:
        """Whether the order is that of the ends."""
        return any(self.ended)

    @property
    def sifted(self) -> bool:
        """Whether jobs are looked at one by one.  See Note [Conditions without a range]."""
        narrow = self.named or bool(self.labels) or self.timed or len(self.states) < len(JobState)
        return self.prefixed or len(self.labels) > 1 or (self.named and bool(self.labels)) or (self.by_end and narrow)


def shape(selection: Selection) -> Shape:
    """The shape of a selection."""
    return Shape(
        frozenset(selection.states) or frozenset(JobState),
        selection.name is not None,
        selection.prefix is not None,
        tuple(value is not None for _, value in _labels(selection)),
        bool(selection.submitted),
        (selection.ended.since is not None, selection.ended.until is not None),
        selection.newest,
    )


def parameters(selection: Selection, limit: int, after: Place | None, low: int = 1, high: int = LAST) -> dict[str, Any]:
    """
    The parameters of the statements of a selection.

    @param low: the first job that was submitted in its time.
    @param high: the first one that was submitted after that.
    """
    if after is None:
        after = Place(LAST, math.inf) if selection.newest else Place(0, -math.inf)
    given: dict[str, Any] = {"name": selection.name, "prefix": selection.prefix}
    given |= {"ended_since": selection.ended.since, "ended_until": selection.ended.until}
    for number, (key, value) in enumerate(_labels(selection)):
        given |= {f"key{number}": key, f"value{number}": value}
    given |= _ends_of_range(selection, after, low - 1, high)
    most = EXAMINED if shape(selection).sifted else limit
    return {"limit": limit, "most": most, **{name: value for name, value in given.items() if value is not None}}


def _ends_of_range(selection: Selection, after: Place, above: int, below: int) -> dict[str, Any]:
    if selection.ended:
        return {"above": above, "below": below, "after": after.seq, "ended": after.ended}
    if selection.newest:
        return {"above": above, "below": min(below, after.seq)}
    return {"above": max(above, after.seq), "below": below}


def page(of: Shape) -> Select[Any]:
    """The list that a selection of this shape shows, in rows of L{LISTED}."""
    return _page(of, LISTED)


def whole(of: Shape) -> Select[Any]:
    """The same in rows of L{JOB}."""
    return _page(of, JOB)


@lru_cache(256)
def last_examined(of: Shape) -> Select[Any]:
    """C{seq} and C{settled} of the last job that was looked at for a page, if there may be more behind it."""
    seen = _candidates(of).subquery()
    return _ordered(select(jobs.c.seq, jobs.c.settled).join(seen, seen.c.seq == jobs.c.seq), of).offset(_MOST - 1).limit(1)


@lru_cache(256)
def _page(of: Shape, columns: Sequence[ColumnElement[Any]]) -> Select[Any]:
    if not of.sifted and not of.by_end and not of.named and not of.labels and len(of.states) == len(JobState):
        return _ordered(select(*columns).where(*_bounds(jobs.c.seq)), of).limit(_LIMIT)
    found = _candidates(of).subquery()
    return _ordered(select(*columns).join(found, found.c.seq == jobs.c.seq).where(*_sieve(of)), of).limit(_LIMIT)


def _candidates(of: Shape) -> Select[Any]:
    """The jobs that are looked at, as C{seq}."""
    if of.by_end:
        return _ordered(select(jobs.c.seq).where(*_ends(of)), of).limit(_MOST)
    if of.named:
        return _together([_by_state(of, state).where(jobs.c.name == bindparam("name")) for state in sorted(of.states)], of)
    if of.labels:
        return _together([_by_label(of, state) for state in sorted(of.states)], of)
    if len(of.states) == len(JobState):
        return _cut(of, jobs.c.seq)
    return _together([_by_state(of, state) for state in sorted(of.states)], of)


def _by_state(of: Shape, state: JobState) -> Select[Any]:
    return _cut(of, jobs.c.seq).where(jobs.c.state == state.value)


def _by_label(of: Shape, state: JobState) -> Select[Any]:
    labelled = _cut(of, labels.c.job).where(labels.c.state == state.value, labels.c.key == bindparam("key0"))
    return labelled.where(labels.c.value == bindparam("value0")) if of.labels[0] else labelled


def _cut(of: Shape, seq: ColumnElement[int]) -> Select[Any]:
    return select(seq.label("seq")).where(*_bounds(seq)).order_by(seq.desc() if of.newest else seq).limit(_MOST)


def _together(ranges: list[Select[Any]], of: Shape) -> Select[Any]:
    """The first of several ranges.  See Note [A range for each state]."""
    if len(ranges) == 1:
        return ranges[0]
    together: Subquery = union_all(*(select(part.subquery().c.seq) for part in ranges)).subquery()
    return select(together.c.seq).order_by(together.c.seq.desc() if of.newest else together.c.seq).limit(_MOST)


def _bounds(seq: ColumnElement[int]) -> Iterable[ColumnElement[bool]]:
    yield seq > bindparam("above")
    yield seq < bindparam("below")


def _ends(of: Shape) -> Iterable[ColumnElement[bool]]:
    settled: Column[Any] = jobs.c.settled
    yield settled.is_not(None)
    since, until = of.ended
    if since:
        yield settled >= bindparam("ended_since")
    if until:
        yield settled < bindparam("ended_until")
    if of.newest:
        yield settled <= _ENDED
        yield (settled < _ENDED) | (jobs.c.seq < _AFTER)
    else:
        yield settled >= _ENDED
        yield (settled > _ENDED) | (jobs.c.seq > _AFTER)


def _sieve(of: Shape) -> Iterable[ColumnElement[bool]]:
    """What the candidates are not known to fulfil."""
    if of.prefixed:
        prefix = bindparam("prefix", type_=jobs.c.name.type)
        yield func.substr(jobs.c.name, 1, func.length(prefix)) == prefix
    if of.by_end:
        if len(of.states) < len(JobState):
            yield jobs.c.state.in_(sorted(state.value for state in of.states))
        if of.named:
            yield jobs.c.name == bindparam("name")
        if of.timed:
            yield from _bounds(jobs.c.seq)
    known = 0 if of.by_end or of.named else 1
    yield from (_labelled(number, valued) for number, valued in enumerate(of.labels) if number >= known)


def _labelled(number: int, valued: bool) -> ColumnElement[bool]:
    # The value, not EXISTS: PostgreSQL would turn that round, and look through all jobs that have the label.
    having = select(labels.c.value).where(labels.c.job == jobs.c.seq, labels.c.key == bindparam(f"key{number}"))
    value = having.scalar_subquery()
    return value == bindparam(f"value{number}") if valued else value.is_not(None)


def _ordered(statement: Select[Any], of: Shape) -> Select[Any]:
    columns = (jobs.c.settled, jobs.c.seq) if of.by_end else (jobs.c.seq,)
    return statement.order_by(*(column.desc() if of.newest else column for column in columns))


def _labels(selection: Selection) -> Sequence[tuple[str, str | None]]:
    """Those with a value first: they are the narrower ones."""
    return sorted(selection.labels, key=lambda label: label[1] is None)


_LIVE: Final = Shape(frozenset(state for state in JobState if not state.final), False, False, (), False, (False, False), False)
LIVE: Final = whole(_LIVE)


def live(after: int, limit: int) -> dict[str, Any]:
    """The parameters of L{LIVE}."""
    return {"above": after, "below": LAST, "limit": limit, "most": limit}
