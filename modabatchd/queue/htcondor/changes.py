"""
What the scheduler tells of changes.

Note [Told is not stored]
=========================
Whoever asked for news may fail to store them.  So each answer has a name, which comes back with the next call once it was
stored, and until then the same span of time is asked for again.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Sequence

from twisted.internet.interfaces import IReactorTime

from modabatchd.queue.htcondor.asking import Asking
from modabatchd.queue.interfaces import News
from modabatchd.queue.job import Sighting


class Changes:
    """
    See L{modabatchd.queue.interfaces.IQueue.news}.

    @param clock: one that nobody sets.
    @param ask: shows the jobs that have entered their status in the last seconds.
    @param asking: tells when that is called for.
    """

    def __init__(self, clock: IReactorTime, ask: Callable[[int], Awaitable[Sequence[Sighting]]], asking: Asking) -> None:
        self._clock = clock
        self._ask = ask
        self._asking = asking
        self._told: tuple[str, float] | None = None

    async def since(self, since: str) -> News:
        """The news.  See Note [Told is not stored]."""
        if self._told is not None and self._told[0] == since:
            self._asking.answered(self._told[1])
        asked = self._clock.seconds()
        if not self._asking.due(asked):
            return News((), since)
        sightings = await self._ask(self._asking.span(asked))
        self._asking.rest(asked, self._clock.seconds())
        self._told = (secrets.token_hex(8), asked)
        return News(sightings, self._told[0])
