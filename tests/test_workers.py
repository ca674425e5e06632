"""Threads for blocking work."""

import threading
import time

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import gatherResults
from zope.interface.verify import verifyObject

from modabatchd.workers import IWorkers, ThreadWorkers, WorkersStopped


@pytest.fixture(params=[0.0, 0.002])
def workers(request: pytest.FixtureRequest) -> ThreadWorkers:
    workers = ThreadWorkers(reactor, "test", 2, request.param)
    assert verifyObject(IWorkers, workers)
    return workers


@pytest_twisted.ensureDeferred
async def test_results_and_errors_come_back_on_the_reactors_thread(workers: ThreadWorkers) -> None:
    workers.startService()
    here = threading.current_thread()
    assert await workers.run(lambda *words, end: " ".join(words) + end, "a", "b", end="!") == "a b!"
    assert await workers.run(threading.current_thread) is not here
    with pytest.raises(ZeroDivisionError):
        await workers.run(lambda: 1 / 0)
    assert threading.current_thread() is here
    await workers.stopService()


@pytest_twisted.ensureDeferred
async def test_as_many_at_once_as_there_are_threads(workers: ThreadWorkers) -> None:
    together, most, lock = 0, 0, threading.Lock()

    def work() -> None:
        nonlocal together, most
        with lock:
            together += 1
            most = max(most, together)
        time.sleep(0.01)
        with lock:
            together -= 1

    workers.startService()
    await gatherResults([workers.run(work) for _ in range(20)])
    assert most == 2
    await workers.stopService()


@pytest_twisted.ensureDeferred
async def test_what_comes_before_the_start_waits_for_it_and_what_is_in_line_at_the_stop_is_done(workers: ThreadWorkers) -> None:
    early = workers.run(lambda: "early")
    assert not early.called
    workers.startService()
    assert await early == "early"
    last = [workers.run(time.sleep, 0.01) for _ in range(5)]
    await workers.stopService()
    assert all(each.called for each in last)
    with pytest.raises(WorkersStopped):
        await workers.run(lambda: None)


@pytest_twisted.ensureDeferred
async def test_a_stop_does_not_wait_for_ever(workers: ThreadWorkers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modabatchd.workers._PATIENCE", 0.05)
    gate = threading.Event()
    workers.startService()
    waiting = workers.run(gate.wait)
    await workers.stopService()
    assert not waiting.called
    gate.set()
    assert await waiting


@pytest_twisted.ensureDeferred
async def test_short_work_is_told_at_once_where_work_may_take_long() -> None:
    workers = ThreadWorkers(reactor, "test", 1)
    workers.startService()
    order: list[str] = []
    short = workers.run(lambda: None).addCallback(lambda _: order.append("short"))
    long = workers.run(time.sleep, 0.1).addCallback(lambda _: order.append("long"))
    await short
    assert order == ["short"]
    await long
    await workers.stopService()
