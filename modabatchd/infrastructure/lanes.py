"""
Threads for calls that may hang, each with a thing of its own to make them with.

Note [Calls that hang]
======================
A provider that answers one byte every few seconds holds a thread for as long as it likes: the time-outs of sockets are for
one read.  A thread cannot be killed.  So a call that misses its deadline fails, and its thread is abandoned: another one takes
its place, and it ends by itself when its call comes back.  Their number is bounded; when so many hang, calls wait in
line, and fail at their deadlines without having begun.  The threads are daemonic, and do not keep the process from ending.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from typing import Any, Generic, TypeVar

from twisted.application.service import Service
from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from modabatchd.infrastructure.errors import CloudAway

D = TypeVar("D")
T = TypeVar("T")

_LATER = "It is asked again; what was asked for may still happen."


class _Call(Generic[D]):
    """@ivar lane: who makes it; L{None} while it waits in line."""

    def __init__(self, work: Callable[[D], Any]) -> None:
        self.work = work
        self.result: Deferred[Any] = Deferred()
        self.timer: IDelayedCall | None = None
        self.lane: _Lane[D] | None = None


class _Lane(Generic[D]):
    """A thread, and what it makes its calls with: made there, by its first call, and anew after a call that failed."""

    def __init__(self, name: str, make: Callable[[], D], done: Callable[[_Lane[D], _Call[D], Any], None]) -> None:
        self._make = make
        self._done = done
        self._calls: SimpleQueue[_Call[D] | None] = SimpleQueue()
        Thread(target=self._run, name=name, daemon=True).start()

    def give(self, call: _Call[D] | None) -> None:
        """The next call; L{None} to end."""
        self._calls.put(call)

    def _run(self) -> None:
        driver: D | None = None
        while (call := self._calls.get()) is not None:
            result: Any
            try:
                driver = self._make() if driver is None else driver
                result = call.work(driver)
            except BaseException:
                driver, result = None, Failure()
            self._done(self, call, result)


class Lanes(Service, Generic[D]):
    """
    See Note [Calls that hang].

    @param reactor: provides L{twisted.internet.interfaces.IReactorTime} and
        L{twisted.internet.interfaces.IReactorFromThreads}.
    @param make: makes what a thread makes its calls with; called in the thread.
    @param size: how many calls are made at once.
    @param spare: how many calls may hang beyond their deadlines.
    """

    def __init__(self, reactor: Any, name: str, make: Callable[[], D], size: int, spare: int) -> None:
        self.setName(name)
        self._reactor = reactor
        self._make = make
        self._size = size
        self._spare = spare
        self._line: deque[_Call[D]] = deque()
        self._idle: list[_Lane[D]] = []
        self._busy: set[_Lane[D]] = set()
        self._hanging: set[_Lane[D]] = set()
        self._ended: Deferred[None] | None = None

    def stopService(self) -> Deferred[None] | None:
        """What waits in line fails.  @return: fires when the calls under way have ended or missed their deadlines."""
        super().stopService()
        for call in list(self._line):
            self._fail(call, f"{self.name} is being stopped.")
        while self._idle:
            self._idle.pop().give(None)
        if self._busy:
            self._ended = Deferred()
        return self._ended

    def run(self, work: Callable[[D], T], deadline: float) -> Deferred[T]:
        """
        Call C{work} in a thread.

        @param deadline: seconds from now.
        @return: fires with what it returned or raised, or fails with L{CloudAway}.
        """
        if not self.running:
            return fail(CloudAway(f"{self.name} is not running.", "Start it."))
        call: _Call[D] = _Call(work)
        call.timer = self._reactor.callLater(deadline, self._late, call, deadline)
        self._line.append(call)
        self._assign()
        return call.result

    def _assign(self) -> None:
        while self.running and self._line and (lane := self._free()) is not None:
            call = self._line.popleft()
            call.lane = lane
            self._busy.add(lane)
            lane.give(call)

    def _free(self) -> _Lane[D] | None:
        if self._idle:
            return self._idle.pop()
        if len(self._busy) < self._size and len(self._hanging) < self._spare:
            return _Lane(str(self.name), self._make, self._done)
        return None

    def _done(self, lane: _Lane[D], call: _Call[D], result: Any) -> None:
        self._reactor.callFromThread(self._settle, lane, call, result)

    def _settle(self, lane: _Lane[D], call: _Call[D], result: Any) -> None:
        if lane in self._hanging:
            self._hanging.discard(lane)
            lane.give(None)
            self._assign()
            return
        self._busy.discard(lane)
        if self.running:
            self._idle.append(lane)
        else:
            lane.give(None)
        self._end(call, result)

    def _late(self, call: _Call[D], deadline: float) -> None:
        call.timer = None
        if call.lane is None:
            self._fail(call, f"{self.name}: the calls before it took more than {deadline:g} s.")
            return
        self._busy.discard(call.lane)
        self._hanging.add(call.lane)
        self._end(call, Failure(CloudAway(f"{self.name} has not answered within {deadline:g} s.", _LATER)))

    def _fail(self, call: _Call[D], cause: str) -> None:
        self._line.remove(call)
        self._end(call, Failure(CloudAway(cause, _LATER)))

    def _end(self, call: _Call[D], result: Any) -> None:
        if call.timer is not None:
            call.timer.cancel()
        self._assign()
        call.result.callback(result)
        if self._ended is not None and not self._busy:
            ended, self._ended = self._ended, None
            ended.callback(None)
