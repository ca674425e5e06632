"""
One life of the daemon, in which any call to any part may fail, take its time, or be the last.

Note [Lives that end]
=====================
A process that is killed does nothing any more.  Coroutines cannot be killed, so each effect goes through L{Life.call}: once the
life is over, calls do nothing and are never answered.  What happened before that stays.  Only to discard a draft is answered
at once, because coroutines that are thrown away ask for it on their way.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, Final

import msgspec
from twisted.internet.defer import Deferred, fail, maybeDeferred, succeed
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from modabatchd.errors import NoSpace, QueueAway, StoreAway

#: What does no work that could fail.
_AT_ONCE: Final = frozenset({"draft", "directory", "artifact"})
#: Seconds that an answer may take, and within which a queue that has not answered may still carry out what it was asked.
_LATE: Final = (0.1, 1.0, 4.0, 18.0)
_LATER: Final = 8.0


class Odds(msgspec.Struct, frozen=True):
    """How likely it is that a call fails, takes its time, or is the last of its life."""

    failing: float = 0.0
    late: float = 0.0
    last: float = 0.0


class Life:
    """
    @ivar clock: its timers; they are gone with it.
    @ivar over: whether it is.
    @ivar odds: by the name of a part, or of one of its methods, as C{store.add}.
    """

    def __init__(self, chance: random.Random, odds: dict[str, Odds], log: Callable[[str], None]) -> None:
        self.clock = Clock()
        self.over = False
        self.odds = odds
        self._chance = chance
        self._log = log

    def call(self, part: str, name: str, work: Callable[[], Any]) -> Deferred[Any]:
        """Do the work of a part, well or badly."""
        if self.over:
            return succeed(None) if name == "discard" else Deferred()
        odds = self.odds.get(f"{part}.{name}") or self.odds.get(part) or Odds()
        dice = self._chance.random()
        if dice < odds.last:
            return self._last(part, name, work)
        if dice < odds.last + odds.failing:
            return self._failing(part, name, work)
        self._log(f"{part}.{name}")
        result = maybeDeferred(work)
        return self._late(result) if self._chance.random() < odds.late else result

    def _last(self, part: str, name: str, work: Callable[[], Any]) -> Deferred[Any]:
        after = self._chance.random() < 0.5
        self._log(f"{part}.{name}: the daemon dies {'after' if after else 'before'} it")
        if after:
            maybeDeferred(work).addErrback(lambda _: None)
        self.over = True
        return Deferred()

    def _failing(self, part: str, name: str, work: Callable[[], Any]) -> Deferred[Any]:
        # A draft is always forgotten; only its files may be left.
        ways = ["after"] if name == "discard" else ["before", "after", "untouched"]
        when = self._chance.choice([*ways, "until later"] if name == "submit" else ways)
        problem = _problem(part, when == "untouched", self._chance)
        self._log(f"{part}.{name}: fails {when}, {type(problem).__name__}")
        if when == "after":
            return maybeDeferred(work).addBoth(lambda _: Failure(problem))
        if when == "until later":
            self.lingering(self._chance.uniform(0, _LATER), work)
        return self._late(fail(problem))

    def lingering(self, seconds: float, work: Callable[[], Any]) -> None:
        """Replaced by whoever knows a clock that outlives this life."""

    def _late(self, result: Deferred[Any]) -> Deferred[Any]:
        waiting: Deferred[Any] = Deferred()
        result.addBoth(lambda outcome: self.clock.callLater(self._chance.choice(_LATE), _answer, waiting, outcome) and None)
        return waiting


class Part:
    """Stands before a real part of a life."""

    def __init__(self, name: str, part: Any, life: Life) -> None:
        self._name = name
        self._part = part
        self._life = life

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._part, name)
        if not callable(attribute) or name in _AT_ONCE:
            return attribute
        return lambda *args, **kwargs: self._life.call(self._name, name, lambda: attribute(*args, **kwargs))


def _answer(waiting: Deferred[Any], outcome: Any) -> None:
    if not waiting.called:
        waiting.callback(outcome)


def _problem(part: str, untouched: bool, chance: random.Random) -> Exception:
    cure = "The simulation wants it so."
    if part == "queue":
        return QueueAway("The queue is away.", cure, untouched)
    if chance.random() < 0.3:
        return NoSpace("The disk is full.", cure)
    return StoreAway("The database is away.", cure) if part in ("store", "keys") else OSError("Input/output error")
