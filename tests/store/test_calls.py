"""Deadlines of calls, without a database."""

from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred, execute
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.python.failure import Failure

from modabatchd.errors import StoreAway
from modabatchd.store.calls import Calls
from modabatchd.store.failures import away
from tests.deferreds import now
from tests.run_now import RunNow


class OneThread:
    """Does one thing after the other when it is told to: begins it, and ends it."""

    def __init__(self) -> None:
        self.line: list[tuple[Deferred[Any], Any]] = []

    def run(self, work: Any, *args: Any, **kwargs: Any) -> Deferred[Any]:
        done: Deferred[Any] = Deferred()
        self.line.append((done, lambda: work(*args, **kwargs)))
        return done

    def begin(self) -> Deferred[Any]:
        done, work = self.line.pop(0)
        result = execute(work)
        result.addErrback(lambda failure: failure)
        outcome: list[Any] = []
        result.addBoth(outcome.append)
        held: Deferred[Any] = Deferred()
        held.addCallback(lambda _: done.callback(outcome[0]))
        return held


class World:
    def __init__(self) -> None:
        self.clock = Clock()
        self.thread = OneThread()
        self.cuts: list[bool] = []
        self.did: list[str] = []
        self.calls = Calls(self.clock, "writing", self.thread, self.cuts.append)

    def call(self, what: str) -> Deferred[None]:
        return self.calls.run(self.did.append, what)


@pytest.fixture
def world() -> World:
    return World()


def test_in_time(world: World) -> None:
    waiting = world.call("a")
    world.clock.advance(19)
    world.thread.begin().callback(None)
    assert now(waiting) is None
    assert world.did == ["a"]
    assert not world.clock.getDelayedCalls()


def test_begun_too_slow_and_still_in_line(world: World) -> None:
    first, second = world.call("a"), world.call("b")
    ending = world.thread.begin()
    world.clock.advance(20)
    for waiting in (first, second):
        with pytest.raises(StoreAway):
            now(waiting)
    # Once, for what had begun; what had not must not be done any more.
    assert world.cuts == [False]
    ending.callback(None)
    world.thread.begin().callback(None)
    assert world.did == ["a"]
    assert not world.clock.getDelayedCalls()


def test_idle_when_the_threads_are(world: World) -> None:
    given_up = world.call("a").addErrback(lambda failure: failure.trap(StoreAway))
    ending = world.thread.begin()
    world.clock.advance(20)
    assert given_up.called
    idle = world.calls.idle()
    assert not idle.called
    ending.callback(None)
    now(idle)
    assert Calls(None, "", RunNow(), world.cuts.append).idle().called


def test_cancelled_work_is_still_under_way(world: World) -> None:
    waiting = world.call("a")
    waiting.cancel()
    with pytest.raises(CancelledError):
        now(waiting)
    idle = world.calls.idle()
    assert not idle.called
    world.thread.begin().callback(None)
    assert idle.called


def test_hurry(world: World) -> None:
    old = world.call("a")
    world.clock.advance(18)
    young = world.call("b")
    for _ in range(2):
        world.calls.hurry()
    new = world.call("c")
    world.clock.advance(2)
    assert [waiting.called for waiting in (old, young, new)] == [True, False, False]
    # Having waited in vain once, it does not wait again.
    world.clock.advance(0.5)
    last = world.call("d")
    assert young.called
    assert new.called
    world.clock.advance(0.5)
    for waiting in (old, young, new, last):
        with pytest.raises(StoreAway):
            now(waiting)
    assert world.cuts == []


def test_cut_for_good_in_a_hurry(world: World) -> None:
    world.call("a").addErrback(lambda failure: failure.trap(StoreAway))
    world.thread.begin()
    world.calls.hurry()
    world.clock.advance(3)
    assert world.cuts == [True]


def test_the_log_is_told_once(world: World) -> None:
    outcomes: list[Any] = [None, away(), away(), ValueError(), away(), None, None]

    def next_outcome() -> None:
        outcome = outcomes.pop(0)
        if outcome is not None:
            raise outcome from OSError("connection refused\nand more")

    calls = Calls(world.clock, "writing", RunNow(), world.cuts.append)
    with capturedLogs() as events:
        while outcomes:
            calls.run(next_outcome).addErrback(Failure.trap, Exception)
    told = [event["log_format"].format(**event) for event in events]
    assert told == ["The database is away (writing): connection refused", "The database is back (writing)."]
