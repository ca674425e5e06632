"""Databases that are made, migrated, or refused."""

import os
import re
import sqlite3
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, make_url, text

from modabatchd.errors import StartupError
from modabatchd.queue.job import JobState
from modabatchd.store.connecting import read_url
from modabatchd.store.interfaces import Progress
from modabatchd.store.preparing import migrations, prepare
from modabatchd.store.schema import METADATA, VERSION_TABLE
from tests.deferreds import now
from tests.store import databases
from tests.store.values import a_request


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.sqlite"


def refusal(url: str | Path) -> StartupError:
    with pytest.raises(StartupError) as caught:
        prepare(str(url) if "://" in str(url) else f"sqlite:///{url}")
    assert "\n" not in caught.value.cause + caught.value.cure
    return caught.value


def run(url: str, *statements: str) -> None:
    engine = create_engine(read_url(url))
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()


def test_instance(url: str) -> None:
    instance = prepare(url)
    assert str(uuid.UUID(instance)) == instance
    assert prepare(url) == instance


def test_migrated_is_what_the_tables_say(url: str) -> None:
    prepare(url)
    engine = create_engine(read_url(url))
    with engine.connect() as connection:
        options = {"version_table": VERSION_TABLE, "compare_server_default": url.startswith("postgresql")}
        differences = compare_metadata(MigrationContext.configure(connection, opts=options), METADATA)
    engine.dispose()
    assert differences == []


def test_migrated_as_the_tables_would_be_made(tmp_path: Path) -> None:
    """What alembic does not compare: AUTOINCREMENT, WITHOUT ROWID, conditions of indexes."""
    made, migrated = databases.sqlite(tmp_path), f"sqlite:///{tmp_path}/migrated.sqlite"
    engine = create_engine(made)
    METADATA.create_all(engine)
    engine.dispose()
    prepare(migrated)
    assert _definitions(made) == {name: sql for name, sql in _definitions(migrated).items() if name != VERSION_TABLE}


def _definitions(url: str) -> dict[str, list[str]]:
    engine = create_engine(url)
    with engine.connect() as connection:
        found = connection.execute(text("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")).all()
    engine.dispose()
    # A column that was added later stands in the last line; the name of a table that was made anew is in quotes.
    return {
        name: sorted(filter(None, (part.strip("() \t").replace('"', "") for part in re.split("[\n,]", sql))))
        for name, sql in found
    }


@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_files_are_private(path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        store = databases.opened(f"sqlite:///{path}")
        now(store.add([]))
        now(store.forget([]))
        modes = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
        now(store.stopService())
    finally:
        os.umask(before)
    assert modes == dict.fromkeys(["store.sqlite", "store.sqlite-wal", "store.sqlite-shm"], 0o600)


def test_strange_paths(tmp_path: Path) -> None:
    directory = tmp_path / "a b%c#?é"
    directory.mkdir()
    prepare("sqlite:///" + str(directory / "s.sqlite").replace("%", "%25").replace("?", "%3F").replace("#", "%23"))
    assert [file.name for file in directory.iterdir()] == ["s.sqlite"]


def test_empty_file_is_no_obstacle(path: Path) -> None:
    path.touch()
    assert prepare(f"sqlite:///{path}")


def test_no_connection_is_left(url: str) -> None:
    prepare(url)
    if url.startswith("sqlite"):
        assert not [link for link in Path("/proc/self/fd").iterdir() if os.path.realpath(link) in url]
    else:
        name = make_url(url).query["application_name"]
        engine = create_engine(make_url(url).update_query_dict({"application_name": "the test"}))
        with engine.connect() as connection:
            others = text("SELECT count(*) FROM pg_stat_activity WHERE application_name = :name")
            assert connection.scalar(others, {"name": name}) == 0
        engine.dispose()


@pytest.mark.parametrize(
    "url", ["", "x", "mysql://h/d", "sqlite://", "sqlite:///x.sqlite", "sqlite:///:memory:", "postgresql://h:x/d"]
)
def test_unfit_urls(url: str) -> None:
    with pytest.raises(StartupError, match="URL of the database cannot be used"):
        prepare(url)


def test_driver_of_postgresql() -> None:
    assert read_url("postgresql://u:p@h/d").drivername == "postgresql+psycopg"
    assert read_url("postgresql+psycopg://u:p@h/d").password == "p"


def test_newer_database(url: str) -> None:
    prepare(url)
    run(url, f"UPDATE {VERSION_TABLE} SET version_num = '9999'")
    assert "newer release" in refusal(url).cause
    assert "9999" in refusal(url).cause


def test_foreign_database(url: str) -> None:
    if url.startswith("sqlite"):
        Path(url.removeprefix("sqlite:///")).touch()
    run(url, "CREATE TABLE jobs (id INTEGER)", "INSERT INTO jobs VALUES (1)")
    assert "not those of modabatchd" in refusal(url).cause


def test_foreign_file_is_left_as_it_is(path: Path) -> None:
    path.touch()
    run(f"sqlite:///{path}", "CREATE TABLE jobs (id INTEGER)")
    before = path.read_bytes()
    refusal(path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_not_a_database(path: Path) -> None:
    path.write_bytes(b"no database " * 1000)
    problem = refusal(path)
    assert str(path) in problem.cause
    assert "not a database" in problem.cause
    assert path.read_bytes() == b"no database " * 1000


def test_damaged_file(path: Path) -> None:
    store = databases.opened(f"sqlite:///{path}")
    now(store.stopService())
    whole = path.read_bytes()
    path.write_bytes(whole[:8192] + os.urandom(16384) + whole[24576:])
    assert str(path) in refusal(path).cause


def test_truncated_file(path: Path) -> None:
    prepare(f"sqlite:///{path}")
    with path.open("r+b") as file:
        file.truncate(10_000)
    assert str(path) in refusal(path).cause


def test_directory_is_missing(tmp_path: Path) -> None:
    assert str(tmp_path / "no") in refusal(tmp_path / "no/store.sqlite").cause
    assert not (tmp_path / "no").exists()


def test_directory_in_its_place(path: Path) -> None:
    path.mkdir()
    assert str(path) in refusal(path).cause


def test_locked_by_another_program(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modabatchd.store.connecting._PATIENCE", 0.1)
    prepare(f"sqlite:///{path}")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert "locked" in refusal(path).cause
    other.close()


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:s3cret@/d?host=/nonexistent",
        "postgresql://me:s3cret@127.0.0.1:1/d",
        "postgresql://me:s3cret@127.0.0.1:1/d?sslmode=s3cret",
    ],
)
def test_password_is_not_shown(url: str) -> None:
    problem = refusal(url)
    assert "s3cret" not in problem.cause + problem.cure
    assert problem.__cause__ is None
    assert "cannot be used" in problem.cause


def test_database_is_missing() -> None:
    url = make_url(os.environ["MODABATCH_TEST_POSTGRESQL"]).set(database="nobodys")
    assert "does not exist" in refusal(url.render_as_string(hide_password=False)).cause


def test_backend_is_recorded_and_kept(url: str) -> None:
    prepare(url, "embedded")
    store = databases.opened(url)
    [job] = now(store.add([a_request()]))
    now(store.remember_schedd("here"))
    now(store.stopService())
    assert prepare(url, "embedded") == prepare(url) == store.instance
    with pytest.raises(StartupError, match=r"jobs that embedded runs, and queue\.backend is htcondor now") as caught:
        prepare(url, "htcondor")
    assert "queue.backend = embedded" in caught.value.cure
    store = databases.opened(url)
    assert now(store.schedd()) == "here"
    now(store.advance([Progress(job_id=job.request.id, state=JobState.COMPLETED, at=2.0)]))
    now(store.stopService())
    # Only jobs that live are anybody's, and the other way round it is the same.
    prepare(url, "htcondor")
    store = databases.opened(url)
    assert now(store.schedd()) is None
    now(store.add([a_request()]))
    now(store.stopService())
    with pytest.raises(StartupError, match="jobs that htcondor runs"):
        prepare(url, "embedded")


def test_database_of_the_first_revision(url: str) -> None:
    """Whose its live jobs are is not known; what the configuration says is taken for true, once."""
    instance = str(uuid.uuid4())
    _make_first_revision(url)
    row = "INSERT INTO jobs (id, name, state, request) VALUES ('x', '', 'running', '{}')"
    run(url, f"INSERT INTO installation VALUES ('{instance}')", row)
    assert prepare(url, "embedded") == instance
    with pytest.raises(StartupError, match="jobs that embedded runs"):
        prepare(url, "htcondor")


def _make_first_revision(url: str) -> None:
    engine = create_engine(read_url(url))
    with engine.begin() as connection:
        config = migrations()
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
    engine.dispose()


PREPARE = "import sys; from modabatchd.store.preparing import prepare; print(prepare(sys.argv[1]))"


def test_several_at_once(url: str) -> None:
    command = [sys.executable, "-c", PREPARE, url]
    starting = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) for _ in range(3)]
    answers = {process.communicate()[0].strip() for process in starting}
    assert [process.returncode for process in starting] == [0, 0, 0]
    assert answers == {prepare(url)}
