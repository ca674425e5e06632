"""
The one supervised loop.

Note [Loops that end]
=====================
Twisted's C{LoopingCall} and C{TimerService} end for ever at the first exception, and nobody hears of it: a queue that was
away for a second would never be looked at again.  So every loop of this daemon is a L{Repeating}.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from modabatchd.errors import ModabatchError

#: What a loop calls: a plain function, or one whose result comes later.
Call = Callable[[], Deferred[Any] | Coroutine[Deferred[Any], Any, Any] | None]


class Repeating(Service):
    """
    Calls something again and again while it runs: at once, and then C{interval} seconds after each call has ended.

    A call that fails is logged, once for each streak of failures, and never ends the loop.  Calls do not overlap.

    @ivar last_success: when a call last ended well, in seconds since the epoch; L{None} before the first.
    @ivar failures: how many calls in a row have failed.
    """

    #: Seconds, and intervals, after which a loop that runs and has had no success counts as stuck.
    _STUCK = (60.0, 10)

    _log = Logger()

    def __init__(self, clock: IReactorTime, interval: float, call: Call, name: str, longest: float | None = None) -> None:
        """
        @param interval: seconds from the end of a call to the next.
        @param longest: after each failure in a row the interval is doubled, up to so many seconds; L{None}: never.
        """
        self.setName(name)
        self._clock = clock
        self._interval = interval
        self._call = call
        self._longest = interval if longest is None else longest
        self._next: IDelayedCall | None = None
        self._current: Deferred[None] | None = None
        self._again = False
        self._since = clock.seconds()
        self.last_success: float | None = None
        self.failures = 0

    @property
    def well(self) -> bool:
        """Whether the last call ended well, and not too long ago."""
        seconds, intervals = self._STUCK
        since = self._since if self.last_success is None else self.last_success
        stuck = self.running and self._clock.seconds() - since > max(seconds, intervals * self._interval)
        return not self.failures and not stuck

    def startService(self) -> None:
        """Make the first call as soon as the reactor comes to it."""
        super().startService()
        self._since = self._clock.seconds()
        self.wake()

    def stopService(self) -> Deferred[None] | None:
        """Call no more.  @return: fires when the call that runs has ended."""
        super().stopService()
        self._unschedule()
        return self._current

    def wake(self) -> None:
        """Call soon instead of after the interval; if a call is under way, once more right after it.  Idempotent."""
        self._again = self._current is not None
        if self.running and self._current is None:
            self._schedule(0)

    def _schedule(self, delay: float) -> None:
        self._unschedule()
        self._next = self._clock.callLater(delay, self._begin)

    def _unschedule(self) -> None:
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def _begin(self) -> None:
        self._next = None
        self._again = False
        current: Deferred[None] = Deferred()
        self._current = current
        done = maybeDeferred(self._call).addCallbacks(self._succeeded, self._failed)
        done.addCallback(lambda _: self._end(current))

    def _succeeded(self, _: object) -> None:
        if self.failures:
            self._log.info("{name}: works again after {failures} failures in a row", name=self.name, failures=self.failures)
        self.last_success = self._clock.seconds()
        self.failures = 0

    def _failed(self, failure: Failure) -> None:
        self.failures += 1
        if self.failures > 1:
            self._log.debug("{name}: failed {failures} times in a row", name=self.name, failures=self.failures)
        elif isinstance(failure.value, ModabatchError):
            self._log.warn("{name}: {problem} Trying on.", name=self.name, problem=failure.value.cause)
        else:
            self._log.failure("{name} failed; trying on", failure, name=self.name)

    def _end(self, current: Deferred[None]) -> None:
        self._current = None
        if self.running:
            self._schedule(0 if self._again else self._delay())
        current.callback(None)

    def _delay(self) -> float:
        # The exponent is bounded because a float overflows at 2 ** 1024.
        return max(self._interval, min(self._interval * 2.0 ** min(self.failures, 32), self._longest))
