"""
Calls to a child process, one at a time, each with a deadline.

Note [A scheduler that does not answer]
=======================================
When a call misses its deadline, the child is killed, for nothing else ends a call of htcondor2.  All calls that wait behind
it fail as well: each of them would only wait for its own deadline.  For a moment after that calls fail at once, so that
whoever is being served meanwhile is served quickly; then the next call tries again.

A child that merely died takes only its present call with it.  The others go to a new one, which is started a little later
each time, should it die over and over.  A child that could not even be started, for want of memory or processes, has died.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from modabatchd.errors import ModabatchError, QueueAway, QueueRefused
from modabatchd.queue.htcondor.frames import Answer, Operation, Problem, Request
from modabatchd.queue.htcondor.process import ChildProcess

#: Submissions after which a child is replaced.
RECYCLE: Final = 1000
#: Seconds for which calls fail at once after one missed its deadline.
PAUSE: Final = 2.0
#: Seconds that a child may take to start, and to end.
_START: Final = 20.0
_END: Final = 2.0
_FIRST_DELAY: Final = 0.1
_LONGEST_DELAY: Final = 5.0

_CURE_AWAY: Final = (
    "Check that the scheduler runs (condor_status -schedd) and that queue.htcondor names it; jobs are safe meanwhile."
)
_CURE_ELSEWHERE: Final = (
    "If the scheduler that has the jobs was renamed, set queue.htcondor.schedd to its new name, as condor_status -schedd shows "
    "it; otherwise see that it runs.  Jobs are safe meanwhile."
)
_CURE_DENIED: Final = (
    "Put a token of an identity in the scheduler's ALLOW_WRITE into queue.htcondor.token_directory "
    "(condor_token_create makes one), or run the service as a user that ALLOW_WRITE names."
)
_STOPPING: Final = "The service is being stopped."
_CURE_REFUSED: Final = "Change the job, or have the scheduler's administrator change its limits."


#: Takes each part of a result.
Taker = Callable[[Any], None]


class Denied(QueueAway):
    """The scheduler answered that it does not let us; what was asked of it did not happen."""

    def __init__(self, cause: str, cure: str) -> None:
        super().__init__(cause, cure, untouched=True)


class _Call:
    """A call that waits for its turn or for its answer."""

    def __init__(
        self, operation: Operation, deadline: float, take: Callable[[Any], None], schedd: str, sending: float | None
    ) -> None:
        self.operation = operation
        self.deadline = deadline
        self.schedd = schedd
        self.sending = deadline if sending is None else sending
        self._take = take
        self._problem: Failure | None = None
        self.done: Deferred[None] = Deferred()

    def take(self, part: Any) -> None:
        """A part of the result has come."""
        try:
            self._take(part)
        except Exception:
            self._problem = Failure()

    def finish(self) -> None:
        """All of the result has come."""
        self.done.callback(None) if self._problem is None else self.done.errback(self._problem)

    def fail(self, problem: ModabatchError) -> None:
        """There will be no result."""
        self.done.errback(problem)


class Calls:
    """
    A child process that is started when it is needed, and the calls that go to it.

    @param spawn: starts a child with that protocol.
    @param idle: seconds without a call after which the child is let go; L{None} keeps it.
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime, spawn: Callable[[ChildProcess], object], idle: float | None = None) -> None:
        self._clock = clock
        self._spawn = spawn
        self._idle = idle
        self._waiting: deque[_Call] = deque()
        self._current: _Call | None = None
        self._child: ChildProcess | None = None
        self._ready = False
        self._timer: IDelayedCall | None = None
        self._restart: IDelayedCall | None = None
        self._deaths = 0
        self._closed_until = 0.0
        self._closes_at: float | None = None
        self._number = 0
        self._leaving: dict[ChildProcess, IDelayedCall | None] = {}
        self._emptied: list[Deferred[None]] = []

    def call(
        self,
        operation: Operation,
        deadline: float,
        take: Callable[[Any], None],
        schedd: str = "",
        sending: float | None = None,
    ) -> Deferred[None]:
        """
        Make a call.

        @param deadline: seconds that the child may take for it, once it is its turn.
        @param take: called with each part of the result, as it comes.
        @param schedd: the name of the only scheduler that may be asked; empty for the one that is found.
        @param sending: seconds that the child may take instead, whenever it says that it is sending files.
        @return: fires after the last part; fails with L{QueueAway} or L{QueueRefused}.
        """
        call = _Call(operation, deadline, take, schedd, sending)
        closed = self._closed()
        if closed is not None:
            call.fail(_away(closed, untouched=True))
            return call.done
        self._waiting.append(call)
        self._proceed()
        return call.done

    def hurry(self, within: float) -> None:
        """Whatever runs or still comes may take so many seconds from now, and no longer; after that calls fail at once."""
        self._closes_at = self._clock.seconds() + within
        if self._timer is not None and self._timer.getTime() > self._closes_at:
            self._timer.reset(within)

    def stop(self) -> Deferred[None]:
        """Let the child go; fires when there is none any more.  Calls that still wait fail."""
        self._fail_all(_STOPPING)
        if self._restart is not None:
            self._restart.cancel()
            self._restart = None
        self._let_go()
        done: Deferred[None] = Deferred()
        self._emptied.append(done)
        self._tell_emptied()
        return done

    def _closed(self) -> str | None:
        """Why no call can be made at the moment."""
        asked_too_soon = self._clock.seconds() < self._closed_until
        return self._closed_for_good() or ("The scheduler did not answer a moment ago." if asked_too_soon else None)

    def _closed_for_good(self) -> str | None:
        over = self._closes_at is not None and self._clock.seconds() >= self._closes_at
        return _STOPPING if over else None

    def _proceed(self) -> None:
        """Start what can be started."""
        if self._current is not None or not self._waiting or self._restart is not None:
            return
        if self._child is None:
            self._start_child()
        elif self._ready:
            self._send(self._waiting.popleft())

    def _start_child(self) -> None:
        def answered(answer: Answer) -> None:
            if self._child is child:
                self._answered(answer)

        child = ChildProcess(answered, lambda reason: self._ended(child, reason))
        self._child = child
        self._ready = False
        self._arm(_START, lambda: self._give_up("HTCondor's client library did not start in time."))
        try:
            self._spawn(child)
        except OSError as problem:
            self._ended(child, f"it could not be started: {problem}")

    def _send(self, call: _Call) -> None:
        assert self._child is not None  # noqa: S101 - for the type checker
        self._current = call
        self._number += 1
        self._expect(call.deadline)
        self._child.send(Request(self._number, call.operation, call.schedd))

    def _expect(self, deadline: float) -> None:
        """The next word of the child must come in time."""
        self._arm(deadline, lambda: self._give_up(f"The scheduler did not answer within {deadline:g} s."))

    def _answered(self, answer: Answer) -> None:
        if not self._ready:
            self._ready = True
            self._disarm()
        elif self._current is not None:
            self._deaths = 0
            if answer.last:
                self._finish(self._current, answer)
            elif answer.sending is not None:
                self._expect(self._current.sending if answer.sending else self._current.deadline)
            else:
                self._current.take(answer.result)
        self._proceed()

    def _finish(self, call: _Call, answer: Answer) -> None:
        self._current = None
        self._disarm()
        if answer.submits >= RECYCLE:
            self._let_go()
        elif self._idle is not None:
            self._arm(self._idle, self._let_go)
        if answer.problem is not None:
            call.fail(_error(answer.problem))
        else:
            call.take(answer.result)
            call.finish()

    def _give_up(self, cause: str) -> None:
        """See Note [A scheduler that does not answer]."""
        self._closed_until = self._clock.seconds() + PAUSE
        child, self._child = self._child, None
        self._timer = None
        if child is not None:
            self._leaving[child] = None
        # First those who wait: they must hear of it, whatever becomes of the child.
        self._fail_all(self._closed_for_good() or cause)
        if child is not None:
            child.kill()

    def _ended(self, child: ChildProcess, reason: str) -> None:
        """A child is gone: one that was let go, or the present one by its own accident."""
        hastening = self._leaving.pop(child, None)
        if hastening is not None and hastening.active():
            hastening.cancel()
        if child is self._child:
            self._child = None
            self._disarm()
            self._log.warn("the HTCondor child process ended: {reason}", reason=reason)
            delay = min(_FIRST_DELAY * 2**self._deaths, _LONGEST_DELAY)
            self._deaths += 1
            self._restart = self._clock.callLater(delay, self._restarted)
            # Before it was ready there is no present call; then the first in line pays, lest it wait for ever.
            untouched = self._current is None
            lost = self._current or (self._waiting.popleft() if self._waiting else None)
            self._current = None
            if lost is not None:
                lost.fail(_away(f"The child process that talks to HTCondor ended ({reason}).", untouched))
        self._tell_emptied()

    def _restarted(self) -> None:
        self._restart = None
        self._proceed()

    def _let_go(self) -> None:
        """Let the child end by itself, and see to it that it does."""
        self._disarm()
        child, self._child = self._child, None
        if child is not None:
            self._leaving[child] = self._clock.callLater(_END, child.kill)
            child.retire()

    def _fail_all(self, cause: str) -> None:
        current, self._current = self._current, None
        waiting = list(self._waiting)
        self._waiting.clear()
        if current is not None:
            current.fail(_away(cause))
        for call in waiting:
            call.fail(_away(cause, untouched=True))

    def _arm(self, delay: float, then: Callable[[], None]) -> None:
        self._disarm()

        def fire() -> None:
            self._timer = None
            then()

        left = delay if self._closes_at is None else max(0.0, self._closes_at - self._clock.seconds())
        self._timer = self._clock.callLater(min(delay, left), fire)

    def _disarm(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _tell_emptied(self) -> None:
        if self._child is None and not self._leaving:
            emptied, self._emptied = self._emptied, []
            for done in emptied:
                done.callback(None)


def converted(results: list[Any], kind: Any, many: bool = False) -> Any:
    """A taker of results that makes them what they are."""
    if many:
        return lambda part: results.extend(msgspec.convert(part, list[kind]))
    return lambda part: results.append(msgspec.convert(part, kind))


def ignore(part: object) -> None:
    """The call has no result."""


def refused(cause: str) -> QueueRefused:
    """The scheduler has said no, for good."""
    return QueueRefused(cause, _CURE_REFUSED)


def _away(cause: str, untouched: bool = False) -> QueueAway:
    return QueueAway(cause, _CURE_AWAY, untouched)


def _error(problem: Problem) -> ModabatchError:
    if problem.kind == "refused":
        return refused(problem.cause)
    if problem.kind == "elsewhere":
        return QueueAway(problem.cause, _CURE_ELSEWHERE, untouched=True)
    if problem.kind == "denied":
        return Denied(f"The scheduler does not let this service in: {problem.cause}", _CURE_DENIED)
    return _away(f"The scheduler cannot be reached: {problem.cause}", problem.untouched)
