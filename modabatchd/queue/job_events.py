"""
What happens to jobs, told to whoever listens.

Note [One reader]
=================
However many listen, the store is read once for all of them: when it was written to and somebody waits.  What was read last is
kept for a while, so that whoever is a little slower finds it there; who is further behind, or comes back after a lost
connection, reads on from the store.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress
from typing import Final

from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from modabatchd.errors import ModabatchError
from modabatchd.store.interfaces import Event, IStore

_PAGE: Final = 500
_KEPT: Final = 2000


class JobEvents:
    """
    The events of all jobs, as they are stored.  See Note [One reader].

    @param store: tells us of its writes by L{wake}.
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime, store: IStore) -> None:
        self._clock = clock
        self._store = store
        self._kept: deque[Event] = deque(maxlen=_KEPT)
        self._known_from = self._known_to = 0
        self._reading = False
        self._again = False
        self._waiting: list[Deferred[None]] = []

    def wake(self) -> None:
        """The store was written to."""
        if not self._waiting:
            return
        self._again = True
        if not self._reading:
            self._reading = True
            Deferred.fromCoroutine(self._read())

    async def latest(self) -> int:
        """The number of the event that was stored last; 0 if there is none."""
        return await self._store.latest_event()

    async def after(self, number: int, patience: float) -> AsyncGenerator[Sequence[Event], None]:
        """
        What happens, in order and without gaps, for as long as it is asked for.

        @param number: of the last event that is known already.
        @param patience: after so many seconds without an event, an empty sequence says so.
        """
        while True:
            page = self._kept_after(number)
            if page is None:
                page = await self._store.events(number, _PAGE)
            if not page:
                await self._news(number, patience)
                page = self._kept_after(number) or ()
            if page:
                number = page[-1].number
            yield page

    async def about(self, job_id: str, number: int, patience: float) -> bool:
        """
        Wait for an event of one job after that number, but no longer than so many seconds.

        @return: whether there was one.
        """
        until = self._clock.seconds() + patience
        async with aclosing(self.after(number, patience)) as pages:
            async for page in pages:
                if any(event.job_id == job_id for event in page):
                    return True
                if self._clock.seconds() >= until:
                    break
        return False

    def _kept_after(self, number: int) -> Sequence[Event] | None:
        """The events after that one; L{None} when they have to be read from the store."""
        if not self._known_from <= number <= self._known_to:
            return None
        return [event for event in self._kept if event.number > number]

    async def _news(self, number: int, patience: float) -> None:
        if not self._waiting and number > self._known_to:
            # Nobody has listened for a while: what happened meanwhile is of no interest here.
            self._kept.clear()
            self._known_from = self._known_to = number
        waiting: Deferred[None] = Deferred()
        self._waiting.append(waiting)
        # Something may have been written since the store was read last.
        self.wake()
        with suppress(TimeoutError):
            await waiting.addTimeout(patience, self._clock)
        if waiting in self._waiting:
            self._waiting.remove(waiting)

    async def _read(self) -> None:
        try:
            while self._again and self._waiting:
                self._again = False
                self._keep(await self._store.events(self._known_to, _PAGE))
        except ModabatchError as problem:
            self._log.info("events are not told for the moment: {problem}", problem=problem.cause)
        except Exception:
            self._log.failure("events could not be read")
        finally:
            self._reading = False

    def _keep(self, page: Sequence[Event]) -> None:
        if not page:
            return
        dropped = len(self._kept) + len(page) - _KEPT
        if dropped > 0:
            self._known_from = self._kept[dropped - 1].number
        self._kept.extend(page)
        self._known_to = page[-1].number
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.callback(None)
