"""Databases that refuse, freeze, or fail."""

import sqlite3
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

import pytest
import pytest_twisted
from sqlalchemy import Engine, make_url, text
from sqlalchemy.exc import DBAPIError
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater

from modabatchd.errors import StoreAway
from modabatchd.rest import problems
from modabatchd.store.connecting import arguments, read_url, to_claim, to_prepare, to_read, to_write
from modabatchd.store.interfaces import Page, Selection
from modabatchd.store.preparing import prepare
from modabatchd.store.sql import SQLStore
from modabatchd.workers import ThreadWorkers
from tests.deferreds import now
from tests.run_now import RunNow
from tests.store import databases, freezing
from tests.store.values import a_request

ENGINES = [to_prepare, to_write, to_read, to_claim]


def both(store: SQLStore) -> list[Deferred[object]]:
    """A write and a read."""
    return [store.add([a_request()]), store.page(Selection(), 1)]


def test_refused_connections() -> None:
    store = SQLStore("postgresql://u:s3cret@127.0.0.1:1/d", str(uuid.uuid4()), RunNow(), RunNow())
    for call in both(store):
        with pytest.raises(StoreAway, match="does not answer") as caught:
            now(call)
        assert problems.problem(caught.value).status == 503
        assert problems.problem(caught.value).type.endswith(":store-away")
        assert problems.headers(caught.value)["Retry-After"]
    now(store.stopService())


def test_sqlite_locked_by_another_program(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modabatchd.store.connecting._PATIENCE", 0.1)
    url = databases.sqlite(tmp_path)
    store = databases.opened(url)
    other = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    write, read = both(store)
    with pytest.raises(StoreAway):
        now(write)
    assert now(read) == Page([])
    other.close()
    assert now(both(store)[0])
    now(store.stopService())


def test_writes_that_are_not_allowed(url: str) -> None:
    allowed = [False]
    store = SQLStore(url, prepare(url), RunNow(), RunNow(), None, lambda: allowed[-1])
    write, read = both(store)
    with pytest.raises(StoreAway, match="another daemon"):
        now(write)
    assert now(read) == Page([])
    allowed.append(True)
    assert now(both(store)[0])
    now(store.stopService())


@contextmanager
def frozen() -> Iterator[tuple[freezing.Proxy, SQLStore, Clock, list[ThreadWorkers]]]:
    """A store in real threads whose database can be frozen, with a clock for its deadlines."""
    clock = Clock()
    workers = [ThreadWorkers(reactor, "writer", 1), ThreadWorkers(reactor, "readers", 2)]
    with databases.postgresql() as url, freezing.before(url) as (proxy, there):
        store = SQLStore(f"{there}&connect_timeout=2", prepare(url), *workers, clock)
        for service in (*workers, store):
            service.startService()
        yield proxy, store, clock, workers


@pytest_twisted.ensureDeferred
async def test_frozen_for_a_while() -> None:
    with frozen() as (proxy, store, clock, workers):
        for call in both(store):
            await call
        # So that the next call does not wait for company.
        await deferLater(reactor, 0, lambda: None)
        proxy.freeze()
        calls = [*both(store), *both(store), *both(store)]
        await deferLater(reactor, 0.2, lambda: None)
        assert not any(call.called for call in calls)
        clock.advance(20)
        for call in calls:
            with pytest.raises(StoreAway):
                await call
        proxy.thaw()
        # The threads are free again, and what was in line is not done late: only the call that had begun may be.
        [added] = await store.add([a_request()])
        stored = (await store.page(Selection(), 10)).jobs
        assert stored[-1].id == added.request.id
        assert len(stored) <= 3
        await store.stopService()
        for each in workers:
            await each.stopService()


@pytest_twisted.ensureDeferred
async def test_frozen_at_the_end() -> None:
    with frozen() as (proxy, store, clock, workers):
        for call in both(store):
            await call
        proxy.freeze()
        calls = [*both(store), *both(store)]
        await deferLater(reactor, 0.1, lambda: None)
        began = monotonic()
        stopped = store.stopService()
        spent = 0.0
        while not stopped.called:
            clock.advance(0.1)
            spent += 0.1
            await deferLater(reactor, 0.01, lambda: None)
        for call in calls:
            with pytest.raises(StoreAway):
                await call
        for each in workers:
            await each.stopService()
        assert spent < 6
        assert monotonic() - began < 6


# Settings of connections


def test_arguments() -> None:
    plain = arguments(make_url("postgresql://h/d"), {"statement_timeout": 9})
    assert plain == {
        "connect_timeout": 5,
        "keepalives": 1,
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 15_000,
        "options": "-c statement_timeout=9",
    }


def test_the_url_has_the_last_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGOPTIONS", "-c from=environment")
    found = arguments(make_url("postgresql://h/d?connect_timeout=7&options=-ca%3Db&options=-cc%3Dd"), {"s": 1})
    assert "connect_timeout" not in found
    assert found["options"] == "-c s=1 -ca=b -cc=d"
    assert arguments(make_url("postgresql://h/d"), {"s": 1})["options"] == "-c s=1 -c from=environment"


def test_settings_of_postgresql() -> None:
    with databases.postgresql() as url:
        found = {}
        for make in ENGINES:
            engine = make(read_url(url))
            with engine.connect() as connection:
                found[make] = connection.scalar(text("SHOW statement_timeout"))
                assert str(connection.scalar(text("SHOW search_path"))).startswith("test_")
            engine.dispose()
    # A migration may take long.
    assert found == {to_prepare: "0", to_write: "15s", to_read: "15s", to_claim: "15s"}


def test_statement_that_takes_too_long() -> None:
    with databases.postgresql() as url:
        long = make_url(url)
        options = f"{long.query['options']} -cstatement_timeout=50"
        store = databases.opened(long.update_query_dict({"options": options}).render_as_string(hide_password=False))
        with pytest.raises(StoreAway):
            now(store.write(lambda connection: connection.execute(text("SELECT pg_sleep(5)"))))
        now(store.stopService())


@pytest.mark.parametrize("make", ENGINES)
def test_parameters_are_not_told(url: str, make: Callable[..., Engine]) -> None:
    if make is to_claim and url.startswith("sqlite"):
        return
    engine = make(read_url(url))
    with engine.connect() as connection, pytest.raises(DBAPIError) as caught:
        connection.execute(text("SELECT * FROM nothing WHERE a = :a"), {"a": "s3cret"})
    engine.dispose()
    assert "s3cret" not in str(caught.value)
