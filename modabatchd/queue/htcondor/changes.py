"""
What the scheduler tells of changes.

Note [Told is not stored]
=========================
Whoever asked for news may fail to store them.  So each answer has a name, which comes back with the next call once it was
stored, and until then the same span of time is asked for again.  How far the events were read comes back in the same way.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import msgspec
from twisted.internet.interfaces import IReactorTime

from modabatchd.queue.htcondor.asking import Asking
from modabatchd.queue.htcondor.events import Found, Marks
from modabatchd.queue.interfaces import News
from modabatchd.queue.job import Sighting

#: How many times longer than a question took it is until the next, at least, when no event calls for one: with events that is
#: only to be sure, without them it is all that there is.
_REST_WITH_EVENTS: Final = 99.0
_REST_WITHOUT: Final = 9.0


class Place(msgspec.Struct, frozen=True):
    """
    How far the news were read.

    @ivar answer: the name of the last answer.
    @ivar marks: how far the events were read.
    """

    answer: str = ""
    marks: Marks = {}


class Changes:
    """
    See L{modabatchd.queue.interfaces.IQueue.news}.

    @param clock: one that nobody sets.
    @param ask: shows the jobs that have entered their status in the last seconds.
    @param read: reads on in the events; L{None} comes back when there are none with this scheduler.
    @param interval: seconds between two questions when nothing calls for one.
    @ivar events: how many were read.
    @ivar questions: how many were put.
    """

    def __init__(
        self,
        clock: IReactorTime,
        ask: Callable[[int], Awaitable[Sequence[Sighting]]],
        read: Callable[[Marks], Awaitable[Found | None]],
        interval: float,
    ) -> None:
        self._clock = clock
        self._ask = ask
        self._read = read
        self._asking = Asking(clock.seconds(), interval)
        self._read_at = clock.seconds()
        self._told: tuple[str, float] | None = None
        self.events = 0
        self.questions = 0

    async def since(self, since: str) -> News:
        """The news.  See Note [Told is not stored]."""
        place = _place(since)
        if self._told is not None and self._told[0] == place.answer:
            self._asking.answered(self._told[1])
        asked = self._clock.seconds()
        found = await self._read(place.marks)
        marks = {} if found is None else found.marks
        if found is not None and found.count:
            self.events += found.count
            self._asking.hint(asked, self._read_at)
        self._read_at = asked
        if not self._asking.due(asked):
            return News((), _text(Place(place.answer, marks)))
        sightings = await self._put(asked, _REST_WITHOUT if found is None else _REST_WITH_EVENTS)
        self._told = (secrets.token_hex(8), asked)
        return News(sightings, _text(Place(self._told[0], marks)))

    async def _put(self, asked: float, rest: float) -> Sequence[Sighting]:
        self.questions += 1
        sightings = await self._ask(self._asking.span(asked))
        self._asking.rest(asked, self._clock.seconds(), rest)
        return sightings


def _place(since: str) -> Place:
    """What is no place, because another backend or a release to come wrote it, is the beginning."""
    try:
        return msgspec.json.decode(since, type=Place)
    except msgspec.MsgspecError:
        return Place()


def _text(place: Place) -> str:
    return msgspec.json.encode(place).decode()
