"""
Threads for blocking work: named, bounded, started and stopped with the service that owns them.

Note [Short work]
=================
Handing work to a thread and its outcome back costs more than a short read of a database does: each time another thread must
wake up and get hold of the interpreter.  So a thread whose work is always short may go on with what else is in line for a
moment, and tell all that it has done together.  Where work may take long, what was done before it would have to wait.

Note [Many ends]
================
To tell the reactor of an end is to wake it up, and to wait for the interpreter until it has gone back to sleep.  So a thread
that has done some work leaves the outcome where the reactor finds it, and wakes it up only if no other end has done so
already: the busier the reactor is, the more ends it is told of at once.

Note [Work that does not end]
=============================
Nothing ends a thread from outside: a database may be frozen, a disk may hang.  So a stop waits for a while only, and never on
the reactor's thread; what still runs then ends with the process.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from queue import Empty, SimpleQueue
from threading import Thread
from time import monotonic
from typing import Any, Final, ParamSpec, TypeVar

import msgspec
from twisted.application.service import Service
from twisted.internet.defer import Deferred, TimeoutError, fail
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import Interface, implementer

P = ParamSpec("P")
R = TypeVar("R")

#: Seconds for which a stop waits.
_PATIENCE: Final = 10.0


class IWorkers(Interface):
    """A place where blocking work is done without holding up the reactor."""

    def run(work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> Deferred[R]:
        """
        Call C{work} there.

        @return: fires on the reactor's thread with what C{work} returned or raised.
        """


class WorkersStopped(Exception):
    """Work came after the workers were stopped."""


class _Task(msgspec.Struct):
    """Work for a thread, and what came of it."""

    done: Deferred[Any]
    work: Callable[[], Any]
    outcome: Any = None


@implementer(IWorkers)
class ThreadWorkers(Service):
    """
    Threads of its own, so that slow work of one kind cannot starve another kind.

    What is given before the start waits for it; what is given after the stop fails with L{WorkersStopped}.

    @param reactor: provides L{twisted.internet.interfaces.IReactorFromThreads} and L{IReactorTime
        <twisted.internet.interfaces.IReactorTime>}.
    @param size: how many calls run at once; further ones wait in line.
    @param together: seconds for which a thread goes on before it tells what it has done.  See Note [Short work].
    """

    _log = Logger()

    def __init__(self, reactor: Any, name: str, size: int, together: float = 0.0) -> None:
        self.setName(name)
        self._reactor = reactor
        self._size = size
        self._together = together
        self._line: SimpleQueue[_Task | None] = SimpleQueue()
        self._ended: deque[_Task] = deque()
        self._told = True
        self._threads = 0
        self._waiting = 0
        self._stopped: Deferred[None] | None = None

    def startService(self) -> None:
        """Take work; threads come as they are needed."""
        super().startService()
        for _ in range(min(self._waiting, self._size)):
            self._grow()

    def stopService(self) -> Deferred[None]:
        """Fires when the calls that are in line are done, or after some seconds.  See Note [Work that does not end]."""
        super().stopService()
        stopped: Deferred[None] = Deferred()
        self._stopped = stopped
        for _ in range(self._threads):
            self._line.put(None)
        if not self._threads:
            stopped.callback(None)
        return stopped.addTimeout(_PATIENCE, self._reactor).addErrback(self._gave_up)

    def run(self, work: Callable[..., R], *args: Any, **kwargs: Any) -> Deferred[R]:
        """See L{IWorkers.run}."""
        if self._stopped is not None:
            return fail(WorkersStopped(f"{self.name} have been stopped"))
        done: Deferred[R] = Deferred()
        self._waiting += 1
        self._line.put(_Task(done, partial(work, *args, **kwargs)))
        if self.running and self._threads < min(self._waiting, self._size):
            self._grow()
        return done

    def _grow(self) -> None:
        self._threads += 1
        # A daemon, so that it cannot keep the process from ending.
        Thread(target=self._serve, name=f"{self.name}-{self._threads}", daemon=True).start()

    def _serve(self) -> None:
        """In a thread."""
        ends = False
        while not ends:
            ended, ends = self._batch()
            self._ended.extend(ended)
            if ended and self._told:
                self._told = False
                self._reactor.callFromThread(self._tell)
        self._reactor.callFromThread(self._end)

    def _batch(self) -> tuple[Sequence[_Task], bool]:
        """Carry out what is in line, for a moment; also tells whether the thread is to end.  See Note [Short work]."""
        ended: list[_Task] = []
        task = self._line.get()
        until = monotonic() + self._together
        while task is not None:
            _carry_out(task)
            ended.append(task)
            if monotonic() >= until:
                return ended, False
            try:
                task = self._line.get_nowait()
            except Empty:
                return ended, False
        return ended, True

    def _tell(self) -> None:
        """See Note [Many ends]: what ends from now on wakes the reactor up again."""
        self._told = True
        for _ in range(len(self._ended)):
            task = self._ended.popleft()
            self._waiting -= 1
            task.done.callback(task.outcome)

    def _end(self) -> None:
        self._threads -= 1
        if not self._threads and self._stopped is not None and not self._stopped.called:
            self._stopped.callback(None)

    def _gave_up(self, failure: Failure) -> None:
        failure.trap(TimeoutError)
        self._log.warn("{name} still work while the service stops; they end with the process", name=self.name)


def _carry_out(task: _Task) -> None:
    try:
        task.outcome = task.work()
    except BaseException:
        task.outcome = Failure()
