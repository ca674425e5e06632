"""FileSpool: the contract, and what only a file system has."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.logger import globalLogPublisher
from zope.interface import implementer

from modabatchd.errors import NoSpace, StartupError
from modabatchd.queue import files, parcels
from modabatchd.queue.spool import FileSpool
from modabatchd.workers import IWorkers
from tests.contracts.spool import FUTURE, Make, SpoolContract, kept, received, refuses, there
from tests.deferreds import now
from tests.run_now import RunNow

JOB = "6f1c3a52-0d2c-4a57-9a53-1d1b9b3d8f10"


@implementer(IWorkers)
class Slow:
    """Work that is begun when it is asked for, and whose end is told when the test says so."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[], None]] = []

    def run(self, work: Callable[..., Any], *args: Any, **kwargs: Any) -> Deferred[Any]:
        done: Deferred[Any] = Deferred()
        result = RunNow().run(work, *args, **kwargs)
        self.waiting.append(lambda: result.chainDeferred(done))
        return done

    def tell(self) -> None:
        """Tell the ends of all that was begun, what was begun last first."""
        waiting, self.waiting = self.waiting, []
        for tell in reversed(waiting):
            tell()


def started(directory: Path, quota: int = 1 << 30, workers: Any = None) -> FileSpool:
    spool = FileSpool(directory, quota, workers or RunNow())
    spool.prepare()
    spool.startService()
    return spool


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def make(quota: int = 1 << 30, name: str = "") -> FileSpool:
        return started(tmp_path / "spool" if name else tmp_path / f"spool{len(list(tmp_path.iterdir()))}", quota)

    return make


@pytest.fixture
def events() -> Iterator[list[dict]]:
    seen: list[dict] = []
    globalLogPublisher.addObserver(seen.append)
    yield seen
    globalLogPublisher.removeObserver(seen.append)


class TestFileSpool(SpoolContract):
    pass


@pytest.fixture
def open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.usefixtures("open_umask")
def test_nobody_else_can_read(tmp_path: Path) -> None:
    spool = started(tmp_path / "spool")
    received(spool, b"a bundle", b"an input", large=True)
    kept(spool)
    places = [path for path in (tmp_path / "spool").rglob("*") if path.is_dir()]
    assert len(places) == 5
    assert {stat.S_IMODE(path.stat().st_mode) for path in places} == {0o700}
    jobs = [path for path in (tmp_path / "spool/jobs").rglob("*") if path.is_file()]
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in jobs} == {"bundle.tar.gz": 0o600, "launch.sh": 0o600}


@pytest.mark.parametrize("large", [False, True])
def test_files_and_then_directories_are_synced_before_a_job_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, large: bool
) -> None:
    spool = started(tmp_path)
    draft = received(spool, b"a bundle", b"an input", large)
    steps: list[str] = []
    fsync, rename = os.fsync, Path.rename

    def note_fsync(descriptor: int) -> None:
        steps.append("sync " + Path(f"/proc/self/fd/{descriptor}").readlink().name)
        fsync(descriptor)

    def note_rename(path: Path, target: Path) -> Path:
        steps.append("rename")
        return rename(path, target)

    def note_syncfs(descriptor: int) -> bool:
        steps.append("sync all of " + Path(f"/proc/self/fd/{descriptor}").readlink().name)
        return sync_file_system(descriptor)

    sync_file_system = parcels.sync_file_system
    monkeypatch.setattr(parcels, "sync_file_system", note_syncfs)
    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(Path, "rename", note_rename)
    now(spool.keep(draft, JOB, b"a launch"))
    by_name = ["sync bundle.tar.gz", "sync input", "sync launch.sh"]
    if not large:
        assert steps.pop(0) == "sync all of jobs"
        if steps:
            # A kernel that does not tell of errors.
            assert sorted(steps[:3]) == by_name
            assert steps[3:] == [f"sync {JOB}", f"sync {JOB[:2]}", "sync jobs"]
        return
    assert sorted(steps[:3]) == by_name
    assert steps[3:] == [f"sync {draft.directory.name}", "sync jobs", "rename", f"sync {JOB[:2]}", "sync incoming"]


def test_when_the_file_system_tells_of_an_error_each_file_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = started(tmp_path)
    monkeypatch.setattr(parcels, "sync_file_system", lambda descriptor: False)
    synced: list[Path] = []
    sync = files.sync
    monkeypatch.setattr(files, "sync", lambda path: (synced.append(path), sync(path)))
    place = now(spool.keep(received(spool), JOB, b""))
    assert synced == [place / "bundle.tar.gz", place / "launch.sh", place, place.parent]


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("problem", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_keeps_nothing_and_can_be_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, problem: int, large: bool
) -> None:
    spool = started(tmp_path, quota=100)
    draft = received(spool, bytes(50), large=large)

    def full(path: Path) -> None:
        raise OSError(problem, os.strerror(problem))

    with monkeypatch.context() as patch:
        patch.setattr(parcels, "sync_file_system", lambda descriptor: False)
        patch.setattr(files, "sync", full)
        with pytest.raises(NoSpace, match="disk is full"):
            now(spool.keep(draft, JOB, b""))
    assert not spool.directory(JOB).exists()
    assert spool.used == 50
    now(spool.keep(draft, JOB, b""))
    assert spool.used == 50


def test_another_error_of_the_disk_is_told_as_it_is(tmp_path: Path) -> None:
    spool = started(tmp_path)
    (tmp_path / "jobs" / JOB[:2]).touch()
    for large in (False, True):
        with pytest.raises((NotADirectoryError, FileExistsError)):
            now(spool.keep(received(spool, large=large), JOB, b""))


def test_of_many_that_are_kept_together_one_alone_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever goes wrong with it, and whenever: another job's directory is in its way, or its file cannot be synced."""
    spool = started(tmp_path)
    spool._workers = slow = Slow()
    ids = [JOB[:-2] + f"{number:02}" for number in range(10)]
    other = spool.directory(ids[3])
    other.mkdir(parents=True)
    sync = files.sync

    def broken(path: Path) -> None:
        if path.parent.name == ids[7]:
            raise OSError(errno.EIO, "Input/output error")
        sync(path)

    monkeypatch.setattr(files, "sync", broken)
    monkeypatch.setattr(parcels, "sync_file_system", lambda descriptor: False)
    first = spool.keep(received(spool), str(JOB), b"")
    keeping = {job_id: spool.keep(received(spool), job_id, b"") for job_id in ids}
    slow.tell()
    assert now(first)
    assert len(slow.waiting) == 1
    slow.tell()
    with pytest.raises(FileExistsError):
        now(keeping.pop(ids[3]))
    with pytest.raises(OSError, match="Input/output"):
        now(keeping.pop(ids[7]))
    assert list(other.iterdir()) == []
    assert not spool.directory(ids[7]).exists()
    assert all((now(done) / "bundle.tar.gz").exists() for done in keeping.values())


@pytest.mark.parametrize("large", [False, True])
def test_a_job_never_takes_the_place_of_another(tmp_path: Path, large: bool) -> None:
    spool = started(tmp_path)
    now(spool.keep(received(spool, b"first"), JOB, b""))
    second = received(spool, b"second", large=large)
    with pytest.raises(OSError, match="not empty" if large else "exists"):
        now(spool.keep(second, JOB, b""))
    assert (spool.directory(JOB) / "bundle.tar.gz").read_bytes() == b"first"
    now(spool.discard(second))
    assert not second.directory.exists()


@pytest.mark.parametrize("large", [False, True])
def test_a_draft_that_is_just_being_kept_is_not_discarded(tmp_path: Path, large: bool) -> None:
    spool = started(tmp_path)
    draft = received(spool, large=large)
    spool._workers = slow = Slow()
    keeping = spool.keep(draft, JOB, b"")
    if large:
        draft.directory.mkdir()
    now(spool.discard(draft))
    assert there(draft)
    slow.tell()
    assert (now(keeping) / "bundle.tar.gz").exists()


def test_keeping_counts_all_the_time(tmp_path: Path) -> None:
    spool = started(tmp_path, quota=100)
    draft = received(spool, bytes(100))
    spool._workers = slow = Slow()
    spool.keep(draft, JOB, b"")
    assert refuses(spool)
    slow.tell()
    assert spool.used == 100


def test_the_count_at_the_start_does_not_bring_back_what_is_removed(tmp_path: Path) -> None:
    first = started(tmp_path)
    now(first.keep(received(first, bytes(100)), JOB, b""))
    slow = Slow()
    spool = started(tmp_path, workers=slow)
    slow.tell()
    removing = spool.remove([JOB])
    while slow.waiting:
        slow.tell()
    now(removing)
    assert spool.used == 0


def test_the_count_at_the_start_does_not_count_twice(tmp_path: Path) -> None:
    first = started(tmp_path)
    now(first.keep(received(first, bytes(100)), JOB, b""))
    slow = Slow()
    spool = started(tmp_path, workers=slow)
    slow.tell()
    spool.artifact(JOB, "stdout").write_bytes(bytes(11))
    settling = spool.settle(JOB)
    while slow.waiting:
        slow.tell()
    now(settling)
    assert spool.used == 111


def test_the_count_follows_no_links_and_bears_what_it_cannot_read(tmp_path: Path) -> None:
    spool = started(tmp_path / "spool")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "large").write_bytes(bytes(1 << 20))
    now(spool.keep(received(spool, bytes(10)), JOB, b""))
    inner = spool.directory(JOB) / "work"
    inner.mkdir()
    (inner / "file").write_bytes(bytes(5))
    (inner / "link").symlink_to(tmp_path / "elsewhere")
    (inner / "loop").symlink_to(inner)
    (inner / "closed").mkdir(mode=0)
    now(spool.settle(JOB))
    assert 15 <= spool.used < 2000
    now(spool.remove([JOB]))
    assert spool.used == 0
    assert not spool.directory(JOB).exists()
    assert (tmp_path / "elsewhere" / "large").exists()


def test_permissions_do_not_keep_a_job_from_being_removed(tmp_path: Path) -> None:
    spool = started(tmp_path / "spool")
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o750)
    now(spool.keep(received(spool), JOB, b""))
    inner = spool.directory(JOB) / "work" / "deep"
    inner.mkdir(parents=True)
    (inner / "file").touch()
    (inner / "link").symlink_to(outside)
    inner.chmod(0o500)
    inner.parent.chmod(0)
    now(spool.remove([JOB]))
    assert not spool.directory(JOB).exists()
    assert stat.S_IMODE(outside.stat().st_mode) == 0o750


def test_what_cannot_be_deleted_is_logged_and_the_rest_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, events: list[dict]
) -> None:
    spool = started(tmp_path)
    stuck, free = kept(spool, bytes(10), b""), kept(spool, bytes(10), b"")
    delete = files.delete

    def partly(directory: Path) -> None:
        if directory.name == stuck:
            raise OSError(errno.EBUSY, "busy")
        delete(directory)

    monkeypatch.setattr(files, "delete", partly)
    now(spool.remove([stuck, free]))
    assert not spool.directory(free).exists()
    assert spool.used == 10
    assert [event["job_id"] for event in events if "cannot be deleted" in event["log_format"]] == [stuck]
    assert list(now(spool.unchanged(FUTURE))) == [stuck]


def test_only_directories_of_jobs_are_told_as_unchanged(tmp_path: Path) -> None:
    spool = started(tmp_path)
    job_id = kept(spool)
    (tmp_path / "jobs" / "note").touch()
    (tmp_path / "jobs" / "ff").mkdir(exist_ok=True)
    (tmp_path / "jobs" / "ff" / "misplaced").mkdir()
    assert list(now(spool.unchanged(FUTURE))) == [job_id]


def test_a_directory_that_cannot_be_used_stops_the_start_with_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StartupError) as caught:
        FileSpool(tmp_path / "file", 100, RunNow()).prepare()
    assert "\n" not in caught.value.cause
    assert str(tmp_path / "file") in caught.value.cause
