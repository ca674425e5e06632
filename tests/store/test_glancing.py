"""Reads on the thread of the reactor: what they give, and when they leave it to the threads."""

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from modabatchd.queue.job import JobState
from modabatchd.store import statements
from modabatchd.store.glancing import Glances
from modabatchd.store.interfaces import Selection
from modabatchd.store.preparing import prepare
from modabatchd.store.sql import SQLStore
from tests.contracts.store import StoreContract
from tests.deferreds import now
from tests.run_now import RunNow
from tests.store import databases
from tests.store.values import add


class Watch:
    """A clock of which every look takes so many seconds."""

    def __init__(self) -> None:
        self.time = 100.0
        self.pace = 0.0
        self.overloaded = False

    def __call__(self) -> float:
        self.time += self.pace
        return self.time


class Threads(RunNow):
    """@ivar calls: how often they were asked."""

    def __init__(self) -> None:
        self.calls = 0

    def run(self, work, *args, **kwargs):
        self.calls += 1
        return super().run(work, *args, **kwargs)


class World:
    def __init__(self, directory: Path) -> None:
        url = databases.sqlite(directory)
        self.path = url.removeprefix("sqlite:///")
        self.watch = Watch()
        self.threads = Threads()
        self.asked = 0
        self.glances = Glances(url, self.watch, self._disk)
        self.store = SQLStore(url, prepare(url), RunNow(), self.threads, glances=self.glances)
        self.store.startService()

    def _disk(self) -> int:
        """Every look finds that the disk was asked once more, if the clock goes."""
        self.asked += self.watch.pace > 0 and not self.watch.overloaded
        return self.asked


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    there = World(tmp_path)
    yield there
    now(there.store.stopService())


def test_a_few_rows_need_no_thread(world: World) -> None:
    [job_id] = add(world.store, labels={"team": "blue"})
    assert now(world.store.get(job_id)).request.id == job_id
    assert now(world.store.counts())[JobState.IDLE] == 1
    for selection in (Selection(), Selection(labels=(("team", "blue"),)), Selection(states=(JobState.IDLE,), newest=True)):
        assert [line.id for line in now(world.store.page(selection, 100)).jobs] == [job_id]
    assert world.threads.calls == 0
    for selection, limit in ((Selection(), 1000), (Selection(prefix="x"), 10)):
        now(world.store.page(selection, limit))
    assert world.threads.calls > 1


def test_after_a_slow_read_threads_read_for_a_while(world: World) -> None:
    [job_id] = add(world.store)
    world.watch.pace = 0.03
    assert now(world.store.get(job_id)) is not None
    assert world.threads.calls == 0
    world.watch.pace = 0.0
    assert now(world.store.get(job_id)) is not None
    assert world.threads.calls == 1
    world.watch.time += 10
    assert now(world.store.get(job_id)) is not None
    assert world.threads.calls == 1


def test_an_overloaded_machine_is_no_reason_for_threads(world: World) -> None:
    [job_id] = add(world.store)
    world.watch.pace, world.watch.overloaded = 0.03, True
    for _ in range(3):
        assert now(world.store.get(job_id)) is not None
    assert world.threads.calls == 0


def test_what_goes_on_for_too_long_is_broken_off(world: World) -> None:
    add(world.store, 100)
    long = text("SELECT count(*) FROM jobs a, jobs b, jobs c, jobs d")
    world.watch.pace = 0.06
    assert world.glances.fetch(long, {}) is None


def test_what_fails_is_left_to_the_threads(world: World) -> None:
    [job_id] = add(world.store)
    assert world.glances.fetch(text("SELECT * FROM nothing"), {}) is None
    assert world.glances.fetch(text("DELETE FROM jobs"), {}) is None
    # A writer's lock keeps no reader out.
    with sqlite3.connect(world.path, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        assert len(world.glances.fetch(statements.GET, {"id": job_id}) or ()) == 1
        other.execute("ROLLBACK")
    other.close()


def test_closed(world: World) -> None:
    world.glances.close()
    assert world.glances.fetch(statements.COUNTS, {}) is None


@pytest.fixture
def url(tmp_path: Path) -> str:
    return databases.sqlite(tmp_path)


class TestGlancingStore(StoreContract):
    """The contract, with reads on both ways."""

    @pytest.fixture
    def stores(self, url: str) -> Iterator[list[SQLStore]]:
        opened = [_glancing(url)]
        yield opened
        now(opened[-1].stopService())

    @pytest.fixture
    def store(self, stores: list[SQLStore]) -> SQLStore:
        return stores[0]

    @pytest.fixture
    def reopen(self, stores: list[SQLStore], url: str) -> Callable[[], SQLStore]:
        def reopen() -> SQLStore:
            now(stores[-1].stopService())
            stores.append(_glancing(url))
            return stores[-1]

        return reopen


def _glancing(url: str) -> SQLStore:
    store = SQLStore(url, prepare(url), RunNow(), RunNow(), glances=Glances(url))
    store.startService()
    return store
