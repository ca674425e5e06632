"""Pages of lists, read from the database of the jobs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Protocol, TypeVar

from msgspec.structs import replace
from sqlalchemy import Executable
from twisted.internet.defer import Deferred

from modabatchd.queue.job import Job, StateChange
from modabatchd.store import rows, statements, statements_lists
from modabatchd.store.interfaces import Listed, Page, Place, Selection, Span
from modabatchd.store.statements_lists import LAST, Shape, parameters, shape

R = TypeVar("R")

#: How many rows are few; see L{modabatchd.store.glancing}.
_FEW: Final = 200
#: How many histories one statement asks for: databases limit the number of parameters.
_HISTORIES: Final = 500


class Read(Protocol):
    """Carries out a statement."""

    def __call__(self, convert: Callable[[Sequence[Any]], R], statement: Executable, **values: Any) -> Deferred[R]:
        """What C{convert} makes of its rows."""


class Lists:
    """See L{modabatchd.store.interfaces.IStore.page} and L{modabatchd.store.interfaces.IStore.jobs}."""

    def __init__(self, read: Read, glance: Read) -> None:
        """@param glance: the one for statements that give a few rows of an index."""
        self._read = read
        self._glance = glance

    def page(self, selection: Selection, limit: int, after: Place | None) -> Deferred[Page[Listed]]:
        """A page."""
        return Deferred.fromCoroutine(self._page(selection, limit, after, statements_lists.page, rows.listed))

    def jobs(self, selection: Selection, limit: int, after: Place | None, history: bool) -> Deferred[Page[Job]]:
        """A page of whole jobs."""
        return Deferred.fromCoroutine(self._jobs(selection, limit, after, history))

    async def _jobs(self, selection: Selection, limit: int, after: Place | None, history: bool) -> Page[Job]:
        page = await self._page(selection, limit, after, statements_lists.whole, rows.job)
        if not history:
            return page
        histories: dict[int, tuple[StateChange, ...]] = {}
        for start in range(0, len(page.jobs), _HISTORIES):
            seqs = [job.seq for job in page.jobs[start : start + _HISTORIES]]
            histories |= await self._read(rows.histories, statements.HISTORIES, jobs=seqs)
        return Page([replace(job, history=histories.get(job.seq, ())) for job in page.jobs], page.next)

    async def _page(
        self,
        selection: Selection,
        limit: int,
        after: Place | None,
        statement: Callable[[Shape], Executable],
        convert: Callable[[Sequence[Any]], Any],
    ) -> Page[Any]:
        low, high = [await self._first_since(time, missing) for time, missing in _times(selection.submitted)]
        wanted, values = shape(selection), parameters(selection, limit + 1, after, low, high)
        read = self._glance if limit <= _FEW and not wanted.sifted else self._read
        found = await read(lambda lines: [convert(line) for line in lines], statement(wanted), **values)
        shown = found[:limit]
        if len(found) > limit:
            return Page(shown, _place(shown[-1].seq, shown[-1].settled))
        if not wanted.sifted:
            return Page(shown)
        return Page(shown, await self._read(_last_place, statements_lists.last_examined(wanted), **values))

    async def _first_since(self, time: float | None, otherwise: int) -> int:
        if time is None:
            return otherwise
        found = await self._glance(list, statements_lists.FIRST_SINCE, time=time)
        return int(found[0][0]) if found else LAST


def _times(span: Span) -> Iterable[tuple[float | None, int]]:
    """Its ends, and the numbers that stand for them if they are not given."""
    return (span.since, 1), (span.until, LAST)


def _last_place(found: Sequence[Any]) -> Place | None:
    return _place(found[0][0], found[0][1]) if found else None


def _place(seq: int, ended: float | None) -> Place:
    return Place(seq, ended or 0.0)
