"""
Calls to the database, each with a deadline.

Note [Calls nobody waits for]
=============================
A call that has missed its deadline fails with L{StoreAway}, but nothing can take its thread off it.  If the call has begun,
the connections of its kind are cut: PostgreSQL ends statements sooner than we lose patience, so what has not ended is frozen
or beyond the network, and the others that use it wait for the same.  If it is still in line, its turn will come when the
database is back; it must not be carried out then, because whoever asked has been told that it failed, and may have asked for
something else since.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol, TypeVar

from sqlalchemy import Executable, Row
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from modabatchd.errors import StoreAway
from modabatchd.store.failures import away, reason
from modabatchd.store.versions import Touched
from modabatchd.workers import IWorkers

R = TypeVar("R")

#: Seconds that a call may take, the time in line included.
_PATIENCE: Final = 20.0
#: The same when the daemon is about to end, and when a call has missed even that.
_HURRY: Final = 3.0
_LAST: Final = 0.5


def _nothing() -> None:
    """Nobody wants to know."""


class Write(Protocol):
    """Does C{work(connection, *args)} in a transaction, in the writer's thread."""

    def __call__(self, work: Callable[..., R], *args: Any, touched: Touched = None) -> Deferred[R]:
        """Do it.  @param touched: see Note [Versions] in L{modabatchd.store.versions}."""


class Read(Protocol):
    """Carries out a statement in a reader's thread."""

    def __call__(self, convert: Callable[[Sequence[Row[Any]]], R], statement: Executable, **values: Any) -> Deferred[R]:
        """What C{convert} makes of its rows."""


class Calls:
    """
    Has work done by one kind of workers, and gives up what takes too long.

    @ivar hurried: whether L{hurry} has been called.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime | None,
        name: str,
        workers: IWorkers,
        cut: Callable[[bool], None],
    ) -> None:
        """
        @param clock: L{None} gives every call all the time in the world.
        @param name: says in the log what fails.
        @param cut: makes work that hangs fail; when it is told L{True}, work that begins later too.
        """
        self._clock = clock
        self._name = name
        self._workers = workers
        self._cut = cut
        self._patience = _PATIENCE
        self._under_way: set[_Call] = set()
        self._idle: Deferred[None] | None = None
        self._away = False
        self.hurried = False

    def run(self, work: Callable[..., R], *args: Any, ended: Callable[[], None] = _nothing) -> Deferred[R]:
        """
        Have work done.

        @param ended: called when it has ended, before the caller is told; also when the caller waits no more.
        @return: fails with L{StoreAway} when the deadline is missed.  Then the work may or may not be done; if it has not
            begun, it never will be.
        """
        call = _Call(lambda: work(*args), ended)
        self._under_way.add(call)
        if self._clock is not None:
            call.until = self._clock.seconds() + self._patience
            call.deadline = self._clock.callLater(self._patience, self._give_up, call)
        self._workers.run(call.perform).addBoth(self._ended, call)
        return call.waiting

    def hurry(self) -> None:
        """From now on calls get less time, those that are under way included.  Idempotent."""
        if not self.hurried:
            self.hurried = True
            self._shorten(_HURRY)

    def idle(self) -> Deferred[None]:
        """Fires when the last call that is under way has ended, those that were given up included; asked for once."""
        self._idle = Deferred()
        self._tell_idle()
        return self._idle

    def _shorten(self, patience: float) -> None:
        self._patience = patience
        if self._clock is None:
            return
        now = self._clock.seconds()
        for call in self._under_way:
            call.until = min(call.until, now + patience)
            if call.deadline is not None and call.deadline.active():
                call.deadline.reset(max(0.0, call.until - now))

    def _give_up(self, call: _Call) -> None:
        self._tell_log(away(), "it did not answer in time")
        if self.hurried:
            self._shorten(_LAST)
        call.given_up = True
        if call.begun:
            self._cut(self.hurried)
        call.tell(Failure(away()))

    def _ended(self, result: Any, call: _Call) -> None:
        problem = result.value if isinstance(result, Failure) else None
        call.ended()
        self._under_way.discard(call)
        if call.deadline is not None and call.deadline.active():
            call.deadline.cancel()
        if not call.given_up:
            self._tell_log(problem)
        call.tell(result)
        self._tell_idle()

    def _tell_idle(self) -> None:
        if self._idle is not None and not self._under_way and not self._idle.called:
            self._idle.callback(None)

    def _tell_log(self, problem: BaseException | None, why: str = "") -> None:
        """One line when the database goes away, one when it is back."""
        if isinstance(problem, StoreAway):
            if not self._away:
                why = why or reason(problem.__cause__ or problem)
                self._log.warn("The database is away ({name}): {why}", name=self._name, why=why)
            self._away = True
        elif problem is None and not self.hurried:
            # At the end the last thing that works is to close what was cut.
            if self._away:
                self._log.info("The database is back ({name}).", name=self._name)
            self._away = False


class _Call:
    """
    @ivar waiting: what the caller has.  Cancelling it ends the waiting, not the work.
    @ivar begun: whether a thread works on it, or has.
    @ivar ended: to be called once the work has ended.
    @ivar given_up: whether the deadline was missed.
    @ivar until: the time of the deadline.
    """

    def __init__(self, work: Callable[[], Any], ended: Callable[[], None]) -> None:
        self._work = work
        self.ended = ended
        self.begun = False
        self.waiting: Deferred[Any] = Deferred()
        self.given_up = False
        self.until = 0.0
        self.deadline: IDelayedCall | None = None

    def perform(self) -> Any:
        """Do the work; on another thread.  See Note [Calls nobody waits for]."""
        if self.given_up:
            raise away()
        self.begun = True
        return self._work()

    def tell(self, result: Any) -> None:
        """Give the caller the result, unless it has one already or has stopped waiting."""
        if not self.waiting.called:
            self.waiting.callback(result)
