"""Jobs that put something else in the place of files of the embedded queue, and a machine that is short of everything."""

import errno
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.task import deferLater

from modabatchd.queue.embedded import queue as module
from modabatchd.queue.embedded.guarded import open_plain, read_plain, sync, write_anew
from modabatchd.queue.embedded.journal import Journal
from modabatchd.queue.embedded.run import Run
from modabatchd.queue.job import Action, BackendId, JobState, Sighting
from tests.contracts.jobs import Site, eventually, make_ticket
from tests.queue.test_embedded import Lives, long

FILES = 'd=$(dirname "$(readlink /proc/$$/fd/1)"); '


@pytest_twisted.async_yield_fixture
async def lives(tmp_path: Path) -> AsyncIterator[Lives]:
    several = Lives(tmp_path)
    yield several
    await several.end()
    several.workers.stopService()


@pytest.mark.parametrize(
    "script",
    [
        "mkdir ../../outcome",
        "mkdir -p ../../outcome/deep ../../outcome.part",
        "mkfifo ../../outcome ../../outcome.part",
        "ln -s /dev/zero ../../outcome; ln -s /dev/full ../../outcome.part",
        FILES + 'rm "$d/_userlog"; mkfifo "$d/_userlog"',
        FILES + 'rm "$d/_userlog"; mkdir "$d/_userlog"',
        FILES + 'mkdir -p "$d/output.tar.gz/deep"',
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_job_that_is_in_our_way_harms_neither_itself_nor_others(lives: Lives, script: str) -> None:
    site = lives.begin(slots=1)
    hostile, _ = await site.put(f"{script}; exit 3")
    other, _ = await site.put("exit 4")
    assert (await site.seen(hostile, JobState.COMPLETED)).exit_status == 3
    assert (await site.seen(other, JobState.COMPLETED)).exit_status == 4
    assert (hostile.directory / "output.tar.gz").is_file()


@pytest.mark.parametrize(
    "script",
    [
        "mkdir ../output.tar.gz",
        FILES + 'rm "$d/stdout"; mkfifo "$d/stdout"',
        FILES + 'rm "$d/stderr"; ln -s /etc/hosts "$d/stderr"',
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_job_that_spoils_its_results_is_held(lives: Lives, script: str) -> None:
    site = lives.begin(slots=1)
    spoilt, number = await site.put(script)
    assert "output cannot be kept" in ((await site.seen(spoilt, JobState.HELD)).reason or "")
    if "stdout" in script:
        # There it cannot even be started again.
        await site.queue.act(Action.RELEASE, [number], "x")
        await eventually(lambda: _run_count(site, 2))
        assert "could not be started" in ((await site.seen(spoilt, JobState.HELD)).reason or "")


@pytest.mark.parametrize("name", ["bundle.tar.gz", "launch.sh"])
@pytest_twisted.ensureDeferred
async def test_a_job_that_spoils_its_own_files_is_not_waited_for(lives: Lives, name: str) -> None:
    site = lives.begin(slots=1)
    script = f'{FILES} rm "$d/{name}"; mkfifo "$d/{name}"; exit 3'
    spoilt, _ = await site.put(script, max_retries=1)
    assert name in ((await site.seen(spoilt, JobState.HELD)).reason or "")


async def _run_count(site: Site, wanted: int) -> bool:
    [seen] = await site.queue.sightings()
    return seen.run_count == wanted and seen.state is JobState.HELD


@pytest.mark.parametrize("kind", ["directory", "fifo", "link", "garbage", "endless"])
@pytest_twisted.ensureDeferred
async def test_an_outcome_that_cannot_be_read_is_a_run_that_failed(lives: Lives, kind: str) -> None:
    """Found by the next life; that one starts all the same."""
    ticket = make_ticket(lives.directory, long(lives.directory, "pids"))
    host = lives.host(ticket)
    await Site(lives.directory, None).marked("pids")  # type: ignore[arg-type]
    host.kill()
    host.wait()
    outcome = lives.directory / "queue" / "runs" / "1.1" / "outcome"
    put_there(outcome, kind)
    site = lives.begin()
    seen = await site.seen(ticket, JobState.HELD)
    assert "cannot be read" in (seen.reason or "")
    assert not outcome.parent.exists()
    await site.queue.act(Action.REMOVE, [seen.backend_id], "x")


def put_there(path: Path, kind: str) -> None:
    if kind == "directory":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "garbage":
        path.write_bytes(b"{]")
    else:
        path.symlink_to("/dev/zero" if kind == "endless" else "/etc/hosts")


def test_a_journal_reads_plain_files_only(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.open()
    seen = Sighting(
        job_id="x", backend_id=BackendId(1), state=JobState.RUNNING, backend_state="running", global_job_id="", run_count=1
    )
    assert journal.outcome(seen) is None
    journal.run(seen).mkdir()
    for kind in ("directory", "fifo", "link", "garbage", "endless"):
        put_there(journal.run(seen) / "outcome", kind)
        outcome = journal.outcome(seen)
        assert outcome is not None
        assert "cannot be read" in (outcome.problem or "")
        assert not outcome.transient
        write_anew(journal.run(seen) / "outcome", b'{"ended": 1.0}')
        assert journal.outcome(seen) is not None
        (journal.run(seen) / "outcome").unlink()
    journal.close()


def test_plain_files(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_anew(path, b"some words")
    assert read_plain(path, 4) == b"some"
    sync(path)
    sync(tmp_path)
    path.unlink()
    os.mkfifo(path)
    for attempt in (lambda: open_plain(path, os.O_RDONLY), lambda: open_plain(path, os.O_WRONLY), lambda: sync(path)):
        with pytest.raises(OSError, match=r"plain file|No such device"):
            attempt()


@pytest_twisted.ensureDeferred
async def test_one_run_that_cannot_be_settled_does_not_stop_the_others(lives: Lives) -> None:
    site = lives.begin(slots=2)
    queue: Any = site.queue
    first, number = await site.put("exit 5")
    learn = queue._ledger.outcome

    def broken(each: Any) -> Any:
        if each.sighting.backend_id == number:
            raise RuntimeError("the disk has a hole")
        return learn(each)

    queue._ledger.outcome = broken
    others = [await site.put("exit 6") for _ in range(3)]
    for ticket, _ in others:
        await site.seen(ticket, JobState.COMPLETED)
    assert queue.loop.failures > 0
    queue._ledger.outcome = learn
    queue.loop.wake()
    assert (await site.seen(first, JobState.COMPLETED)).exit_status == 5
    await eventually(lambda: _well(queue))


async def _well(queue: Any) -> bool:
    return queue.loop.failures == 0


class Short:
    """Starts no run, for want of something, until it may."""

    def __init__(self, code: int) -> None:
        self.code = code
        self.tries = 0
        self.enough = False

    def __call__(self, *arguments: Any) -> Run:
        self.tries += 1
        if self.enough:
            return Run(*arguments)
        raise OSError(self.code, os.strerror(self.code))


@pytest.mark.parametrize("code", [errno.EMFILE, errno.EAGAIN, errno.ENOMEM])
@pytest_twisted.ensureDeferred
async def test_a_machine_that_is_short_of_something_lets_jobs_wait(
    lives: Lives, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = Short(code)
    monkeypatch.setattr(module, "Run", short)
    monkeypatch.setattr(module, "_RETRY", 0.3)
    site = lives.begin(slots=4)
    queue: Any = site.queue
    tickets = [(await site.put("exit 3"))[0] for _ in range(3)]
    await deferLater(reactor, 1.0)
    assert {seen.state for seen in await site.queue.sightings()} == {JobState.IDLE}
    assert 2 <= short.tries <= 5
    assert queue.loop.failures > 0
    short.enough = True
    for ticket in tickets:
        assert (await site.seen(ticket, JobState.COMPLETED)).exit_status == 3
    await eventually(lambda: _well(queue))


@pytest_twisted.ensureDeferred
async def test_a_queue_that_waits_for_better_times_can_be_stopped(lives: Lives, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "Run", Short(errno.EAGAIN))
    site = lives.begin()
    ticket, _ = await site.put("exit 3")
    await deferLater(reactor, 0.2)
    await lives.end()
    monkeypatch.undo()
    site = lives.begin()
    assert (await site.seen(ticket, JobState.COMPLETED)).exit_status == 3


@pytest_twisted.ensureDeferred
async def test_a_job_that_cannot_be_started_for_another_reason_is_held(lives: Lives, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "Run", Short(errno.EACCES))
    site = lives.begin()
    ticket, _ = await site.put("exit 3")
    assert "could not be started" in ((await site.seen(ticket, JobState.HELD)).reason or "")


@pytest_twisted.ensureDeferred
async def test_a_runner_that_is_short_of_something_is_tried_again(lives: Lives, monkeypatch: pytest.MonkeyPatch) -> None:
    """The runner finds out when it starts the wrapper, and writes that down as the outcome."""
    monkeypatch.setattr(module, "_RETRY", 0.3)
    site = lives.begin()
    queue: Any = site.queue
    learn = queue._ledger.outcome
    told: list[bool] = []

    def short(each: Any) -> Any:
        def as_if(outcome: Any) -> Any:
            told.append(True)
            return type(outcome)(ended=1.0, problem="The job could not be started: no more.", transient=True)

        return learn(each) if told else learn(each).addCallback(as_if)

    queue._ledger.outcome = short
    ticket, _ = await site.put("exit 3")
    seen = await site.seen(ticket, JobState.COMPLETED)
    assert (seen.exit_status, seen.run_count) == (3, 2)
