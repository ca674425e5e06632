"""One daemon for a database."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text
from twisted.internet.task import Clock
from twisted.logger import capturedLogs

from modabatchd.errors import StartupError, StoreAway
from modabatchd.store.claiming import Claim, Claimed, claim_file
from modabatchd.store.preparing import prepare
from modabatchd.store.sql import SQLStore
from tests.deferreds import now
from tests.run_now import RunNow
from tests.store import databases, freezing
from tests.store.test_preparing import run
from tests.store.values import a_request

CLAIM = """
import sys
from modabatchd.store.claiming import claim_file

claim_file(sys.argv[1])
print(flush=True)
sys.stdin.read()
"""


def test_file_is_claimed_by_a_process(tmp_path: Path) -> None:
    real, other = tmp_path / "real", tmp_path / "other"
    real.mkdir()
    other.mkdir()
    (other / "link.sqlite").symlink_to(real / "store.sqlite")
    url = databases.sqlite(real)
    command = [sys.executable, "-c", CLAIM, url]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]) as first:
        assert first.stdout is not None
        assert first.stdout.readline()
        for same in (url, f"sqlite:///{other}/link.sqlite", f"sqlite:///{other}/../real/store.sqlite"):
            with pytest.raises(Claimed, match="Another modabatchd works on the database"):
                claim_file(same)
        first.kill()
    claim_file(url)
    assert (real / "store.sqlite-lock").stat().st_mode & 0o777 == 0o600


def test_file_that_cannot_be_claimed(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match="No such file"):
        claim_file(f"sqlite:///{tmp_path}/no/store.sqlite")


def test_no_file_no_claim() -> None:
    claim_file("postgresql://127.0.0.1:1/d")


def test_claim_of_sqlite_is_nothing(tmp_path: Path) -> None:
    url = databases.sqlite(tmp_path)
    claim = Claim(Clock(), url, prepare(url), RunNow(), pytest.fail)
    assert claim.held()
    claim.startService()
    assert claim.held()
    assert claim.stopService() is None


class World:
    """Daemons on one database; those that were told to stop are in C{stopped}."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.clock = Clock()
        self.instance = prepare(url)
        self.stopped: list[Claim] = []
        self.claims: list[Claim] = []

    def claim(self, url: str = "") -> Claim:
        claim = Claim(self.clock, url or self.url, self.instance, RunNow(), lambda: self.stopped.append(claim))
        claim.startService()
        self.claims.append(claim)
        return claim

    def end_session(self) -> None:
        """What a restart of PostgreSQL does, or an administrator."""
        url = make_url(self.url)
        engine = create_engine(url.update_query_dict({"application_name": "the test"}))
        ending = text("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = :name")
        with engine.connect() as connection:
            assert connection.scalars(ending, {"name": url.query["application_name"]}).all() == [True]
        engine.dispose()

    def look(self) -> None:
        self.clock.advance(2)


@pytest.fixture
def postgresql() -> Iterator[str]:
    with databases.postgresql() as url:
        yield url


@pytest.fixture
def world(postgresql: str) -> Iterator[World]:
    world = World(postgresql)
    yield world
    for claim in world.claims:
        now(claim.stopService())


def test_second_daemon_is_refused(world: World) -> None:
    claim = world.claim()
    assert claim.held()
    for start in (lambda: prepare(world.url), world.claim):
        with pytest.raises(Claimed, match="Another modabatchd works on this database"):
            start()
    world.look()
    assert claim.held()
    now(claim.stopService())
    assert not claim.held()
    assert prepare(world.url) == world.instance
    assert world.claim().held()


def test_nothing_is_migrated_under_another_daemon(world: World) -> None:
    world.claim()
    run(world.url, "UPDATE modabatch_version SET version_num = '0001'", "ALTER TABLE installation DROP COLUMN backend")
    with pytest.raises(Claimed):
        prepare(world.url)
    # It would be there already.
    run(world.url, "ALTER TABLE installation ADD COLUMN backend TEXT")


def test_schemas_are_claimed_one_by_one(world: World) -> None:
    world.claim()
    with databases.postgresql() as url:
        other = World(url)
        assert other.claim().held()
        now(other.claims[0].stopService())


def test_second_daemon_is_told_in_the_log(world: World) -> None:
    world.claim()
    with capturedLogs() as events, pytest.raises(Claimed):
        world.claim()
    assert [(event["log_level"].name, event["problem"]) for event in events] == [
        ("critical", "Another modabatchd works on this database.")
    ]


def test_database_is_away_at_the_start(world: World) -> None:
    with pytest.raises(StartupError, match="does not answer"):
        world.claim("postgresql://127.0.0.1:1/d")


def test_session_that_ended_is_begun_again(world: World) -> None:
    claim = world.claim()
    for _ in range(2):
        world.end_session()
        world.look()
        assert claim.held()
        with pytest.raises(Claimed):
            prepare(world.url)
    assert world.stopped == []


def test_another_daemon_took_it(world: World) -> None:
    first = world.claim()
    store = SQLStore(world.url, world.instance, RunNow(), RunNow(), None, first.held)
    world.end_session()
    second = world.claim()
    with capturedLogs() as events:
        for _ in range(3):
            world.look()
    assert [event["log_level"].name for event in events] == ["critical"]
    assert world.stopped == [first]
    assert not first.held()
    assert second.held()
    with pytest.raises(StoreAway):
        now(store.add([a_request()]))
    now(second.stopService())
    # It does not come back.
    world.look()
    assert not first.held()
    now(store.stopService())


def test_database_away_for_a_while(world: World) -> None:
    with freezing.before(world.url) as (proxy, there):
        claim = world.claim(there)
        proxy.close()
        world.look()
        assert not claim.held()
        assert world.stopped == []
        now(claim.stopService())


def test_own_session_that_lingers_is_not_another_daemon(world: World) -> None:
    with freezing.before(world.url) as (proxy, there):
        claim = world.claim(there)
        proxy.freeze()
        proxy.let_new_ones_through()
        assert claim._lines is not None
        claim._lines.cut()
        world.look()
        assert not claim.held()
        eventually(world, claim.held)
        assert world.stopped == []
        now(claim.stopService())


def eventually(world: World, holds: Callable[[], bool]) -> None:
    for _ in range(20):
        if holds():
            return
        world.look()
    pytest.fail("not within 20 looks")
