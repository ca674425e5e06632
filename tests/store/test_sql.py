"""What SQLStore does beyond its contract: threads, accidents, errors."""

import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import create_engine, event, make_url, text
from sqlalchemy.exc import DBAPIError
from twisted.internet.defer import Deferred

from modabatchd.errors import NoSpace
from modabatchd.queue.job import JobState
from modabatchd.store.connecting import read_url, to_read, to_write
from modabatchd.store.interfaces import Page, Progress, Selection
from modabatchd.store.preparing import prepare
from modabatchd.store.sql import SQLStore
from tests.deferreds import now
from tests.run_now import RunNow
from tests.store import databases
from tests.store.values import a_request


class RunLater(RunNow):
    """Does at once what it is asked for, and tells it when it is told to."""

    def __init__(self) -> None:
        self.held: list[Deferred[None]] = []

    def run(self, work: object, *args: object, **kwargs: object) -> Deferred[object]:
        done = super().run(work, *args, **kwargs)
        gate: Deferred[None] = Deferred()
        self.held.append(gate)
        return gate.addCallback(lambda _: done)


@pytest.fixture
def file(tmp_path: Path) -> str:
    return databases.sqlite(tmp_path)


def test_stop_waits_for_what_runs(file: str) -> None:
    readers = RunLater()
    store = SQLStore(file, prepare(file), RunNow(), readers)
    store.startService()
    first, second = store.page(Selection(), 1), store.get("x")
    stopped = store.stopService()
    assert not stopped.called
    readers.held[0].callback(None)
    assert now(first) == Page([])
    assert not stopped.called
    readers.held[1].callback(None)
    assert now(second) is None
    readers.held[2].callback(None)
    now(stopped)


def test_full_disk(file: str) -> None:
    store = databases.opened(file)
    now(store.add([a_request()]))
    before = now(store.page(Selection(), 10))
    # Of a connection, so it must be set where the store will find it.
    event.listen(store._writing, "checkout", lambda connection, *_: connection.execute("PRAGMA max_page_count = 1"))
    with pytest.raises(NoSpace, match="disk of the database is full"):
        now(store.add([a_request(arguments=("x" * 100_000,))]))
    assert now(store.page(Selection(), 10)) == before
    now(store.stopService())


def test_other_errors_surface(file: str) -> None:
    store = databases.opened(file)
    with sqlite3.connect(file.removeprefix("sqlite:///")) as connection:
        connection.execute("DROP TABLE labels")
    connection.close()
    with pytest.raises(DBAPIError, match="labels"):
        now(store.add([a_request(labels={"a": "b"})]))
    with pytest.raises(DBAPIError, match="labels"):
        now(store.page(Selection(labels=(("a", "b"),)), 1))
    now(store.stopService())


def test_reads_do_not_wait_for_a_writer(file: str) -> None:
    store = databases.opened(file)
    [job] = now(store.add([a_request()]))
    other = to_write(read_url(file))
    with other.begin() as connection:
        connection.execute(text("UPDATE jobs SET state = 'held'"))
        assert now(store.get(job.request.id)) == job
    other.dispose()
    assert now(store.page(Selection(states=(JobState.HELD,)), 1)).jobs[0].id == job.request.id
    now(store.stopService())


def test_readers_cannot_write(file: str) -> None:
    prepare(file)
    engine = to_read(read_url(file))
    with engine.connect() as connection, pytest.raises(DBAPIError, match="readonly"):
        connection.execute(text("DELETE FROM jobs"))
    engine.dispose()


def test_settings_of_sqlite(file: str) -> None:
    prepare(file)
    for make in (to_write, to_read):
        engine = make(read_url(file))
        with engine.connect() as connection:
            found = {
                name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
                for name in ("journal_mode", "synchronous", "foreign_keys", "auto_vacuum", "busy_timeout")
            }
        engine.dispose()
        assert found == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "auto_vacuum": 1, "busy_timeout": 10_000}


def test_file_shrinks(file: str) -> None:
    path = Path(file.removeprefix("sqlite:///"))
    store = databases.opened(file)
    empty = path.stat().st_size
    jobs = now(store.add([a_request(labels={"a": "b"}) for _ in range(2000)]))
    now(store.forget([job.request.id for job in jobs]))
    now(store.stopService())
    assert path.stat().st_size < empty + 50_000


def test_postgresql_restarted() -> None:
    with databases.postgresql() as url:
        store = databases.opened(url)
        [job] = now(store.add([a_request()]))
        assert now(store.get(job.request.id)) == job
        _end_connections(url)
        assert now(store.get(job.request.id)) == job
        now(store.advance([Progress(job_id=job.request.id, state=JobState.HELD, at=2.0)]))
        assert now(store.page(Selection(states=(JobState.HELD,)), 1)).jobs[0].id == job.request.id
        now(store.stopService())


def _end_connections(url: str) -> None:
    """What a restart of PostgreSQL does to all connections; here to both of this test's store."""
    own = make_url(url)
    engine = create_engine(own.update_query_dict({"application_name": "the test"}))
    statement = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = :name"
    with engine.connect() as connection:
        ended = connection.scalars(text(statement), {"name": own.query["application_name"]}).all()
    engine.dispose()
    assert ended == [True, True]


WRITER = """
import sys
from modabatchd.store.sql import SQLStore
from tests.store.values import a_request
from tests.deferreds import now
from tests.run_now import RunNow

store = SQLStore(sys.argv[1], "", RunNow(), RunNow())
while True:
    for job in now(store.add([a_request(labels={"a": "b"}) for _ in range(3)])):
        print(job.request.id, flush=True)
"""


def test_killed_while_writing(file: str) -> None:
    prepare(file)
    command = [sys.executable, "-c", WRITER, file]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as writer:
        assert writer.stdout is not None
        acknowledged = [writer.stdout.readline() for _ in range(100)]
        writer.send_signal(signal.SIGKILL)
        acknowledged += writer.stdout.readlines()
    promised = [line.strip() for line in acknowledged if line.endswith("\n")]
    store = databases.opened(file)
    kept = [line.id for line in now(store.page(Selection(), 1_000_000)).jobs]
    assert kept[: len(promised)] == promised
    # One call may have been durable without being heard of, and no call is half there.
    assert len(kept) % 3 == 0
    assert len(kept) - len(promised) <= 3
    assert [line.id for line in now(store.page(Selection(labels=(("a", None),)), 1_000_000)).jobs] == kept
    now(store.stopService())
