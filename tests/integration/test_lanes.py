"""Threads whose calls may hang."""

import threading
from collections.abc import AsyncIterator
from itertools import count
from threading import Event

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import DeferredList, gatherResults

from modabatchd.infrastructure.errors import CloudAway
from modabatchd.infrastructure.lanes import Lanes


class Made:
    """Knows its thread."""

    numbers = count()

    def __init__(self) -> None:
        self.number = next(self.numbers)
        self.thread = threading.get_ident()

    def own(self) -> bool:
        return self.thread == threading.get_ident()


@pytest_twisted.async_yield_fixture
async def lanes() -> AsyncIterator[Lanes[Made]]:
    lanes: Lanes[Made] = Lanes(reactor, "lanes", Made, size=2, spare=2)
    lanes.startService()
    yield lanes
    stopped = lanes.stopService()
    if stopped is not None:
        await stopped


@pytest_twisted.ensureDeferred
async def test_each_thread_has_its_own(lanes: Lanes[Made]) -> None:
    assert all(await gatherResults([lanes.run(Made.own, 5.0) for _ in range(50)]))
    numbers = await gatherResults([lanes.run(lambda made: made.number, 5.0) for _ in range(50)])
    assert len(set(numbers)) <= 2


@pytest_twisted.ensureDeferred
async def test_a_new_one_after_a_failure(lanes: Lanes[Made]) -> None:
    before = await lanes.run(lambda made: made.number, 5.0)
    with pytest.raises(ZeroDivisionError):
        await lanes.run(lambda made: 1 // 0, 5.0)
    assert await lanes.run(lambda made: made.number, 5.0) != before


@pytest_twisted.ensureDeferred
async def test_calls_that_hang(lanes: Lanes[Made]) -> None:
    go_on = Event()
    hanging = [lanes.run(lambda made: go_on.wait(30.0), 0.1) for _ in range(4)]
    outcomes = await DeferredList(hanging, consumeErrors=True)
    assert all(not good and failure.check(CloudAway) for good, failure in outcomes)
    with pytest.raises(CloudAway, match="the calls before it"):
        await lanes.run(Made.own, 0.1)
    go_on.set()
    assert await lanes.run(Made.own, 5.0)


@pytest_twisted.ensureDeferred
async def test_the_end_waits_for_what_runs(lanes: Lanes[Made]) -> None:
    go_on = Event()
    running = [lanes.run(lambda made: go_on.wait(30.0), 5.0) for _ in range(2)]
    waiting = lanes.run(Made.own, 5.0)
    stopped = lanes.stopService()
    with pytest.raises(CloudAway):
        await waiting
    assert stopped is not None
    assert not stopped.called
    go_on.set()
    await stopped
    assert await gatherResults(running) == [True, True]
    with pytest.raises(CloudAway):
        await lanes.run(Made.own, 5.0)
