"""EmbeddedQueue with real processes: what its contract with all queues does not tell."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.task import deferLater

import modabatchd
from modabatchd.errors import QueueAway, StartupError
from modabatchd.queue.embedded import runner
from modabatchd.queue.embedded.machine import this_machine
from modabatchd.queue.embedded.processes import MARK, end_marked, living, look, send
from modabatchd.queue.embedded.queue import EmbeddedQueue
from modabatchd.queue.embedded.record import Outcome
from modabatchd.queue.interfaces import ActionResult, Refusal, Ticket
from modabatchd.queue.job import Action, BackendId, JobState, Resources
from modabatchd.workers import ThreadWorkers
from tests.contracts.jobs import Site, eventually, in_state, make_ticket, process_state
from tests.queue.hosting import WRAPPER


class Lives:
    """The lives of queues in one directory, one after the other."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.workers = ThreadWorkers(reactor, "embedded", 2)
        self.workers.startService()
        self.queues: list[EmbeddedQueue] = []

    def begin(self, slots: int = 4, grace: float = 0.5, **options: Any) -> Site:
        queue = EmbeddedQueue(
            reactor, self.directory / "queue", WRAPPER, self.workers, this_machine(), slots=slots, grace=grace, **options
        )
        queue.startService()
        self.queues.append(queue)
        return Site(self.directory, queue)

    async def end(self) -> None:
        await gatherResults([queue.stopService() for queue in self.queues if queue.running])

    def host(self, *tickets: Ticket) -> "subprocess.Popen[bytes]":
        """A life in a process of its own, with these jobs submitted."""
        pairs = msgspec.json.encode([(ticket.request, str(ticket.directory)) for ticket in tickets]).decode()
        command = [sys.executable, "-m", "tests.queue.hosting", str(self.directory / "queue"), pairs]
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        return process


@pytest_twisted.async_yield_fixture
async def lives(tmp_path: Path) -> AsyncIterator[Lives]:
    several = Lives(tmp_path)
    yield several
    await several.end()
    several.workers.stopService()
    assert not runs(tmp_path)


def runs(directory: Path) -> list[int]:
    """The processes of jobs whose queue is in that directory."""
    wanted = f"{MARK}={directory}/".encode()
    found = []
    for process in living():
        try:
            if wanted in Path(f"/proc/{process.pid}/environ").read_bytes():
                found.append(process.pid)
        except OSError:
            continue
    return found


def long(directory: Path, mark: str, more: str = "") -> str:
    return f"{more}\necho $$ >> '{directory / mark}'; while :; do sleep 0.05; done"


@pytest_twisted.ensureDeferred
async def test_slots(lives: Lives) -> None:
    site = lives.begin(slots=2)
    wide, first = await site.put(long(site.directory, "wide"), resources=Resources(cpus=2))
    narrow, second = await site.put(long(site.directory, "narrow"))
    [refused] = await site.queue.submit([site.ticket("true", resources=Resources(cpus=3))])
    assert isinstance(refused, Refusal)
    await site.marked("wide")
    assert (await site.seen(narrow, JobState.IDLE)).run_count == 0
    assert await site.queue.act(Action.REMOVE, [first], "x") == [ActionResult.DONE]
    await site.marked("narrow")
    assert await site.queue.act(Action.REMOVE, [second], "x") == [ActionResult.DONE]
    await site.seen(wide, JobState.REMOVED)


@pytest_twisted.ensureDeferred
async def test_priorities_then_the_order_of_submission(lives: Lives) -> None:
    site = lives.begin(slots=1)
    names = ["low", "normal", "second", "high"]
    tickets = [
        site.ticket(f"echo {name} >> '{site.directory / 'order'}'", priority=priority)
        for name, priority in zip(names, (-1, 0, 0, 5), strict=True)
    ]
    await site.queue.submit(tickets)
    assert await site.marked("order", 4) == ["high", "normal", "second", "low"]


@pytest_twisted.ensureDeferred
async def test_hold_and_removal_before_the_start(lives: Lives) -> None:
    site = lives.begin(slots=1)
    _, busy = await site.put(long(site.directory, "busy"))
    held, first = await site.put("true")
    removed, second = await site.put("true")
    assert await site.queue.act(Action.HOLD, [first], "wait") == [ActionResult.DONE]
    assert await site.queue.act(Action.REMOVE, [second, busy], "no") == [ActionResult.DONE] * 2
    await deferLater(reactor, 0.2)
    assert (await site.seen(held, JobState.HELD)).run_count == 0
    assert (await site.seen(removed, JobState.REMOVED)).run_count == 0
    assert await site.queue.act(Action.RELEASE, [first], "go") == [ActionResult.DONE]
    assert (await site.seen(held, JobState.COMPLETED)).run_count == 1


@pytest_twisted.ensureDeferred
async def test_all_processes_of_a_job_are_suspended_and_ended(lives: Lives) -> None:
    site = lives.begin()
    mark = site.directory / "away"
    away = f"env -i setsid sh -c 'echo $$ > {mark}; trap \"\" TERM; while :; do sleep 0.05; done' &"
    ticket, number = await site.put(long(site.directory, "here", away))
    detached, here = int((await site.marked("away"))[0]), int((await site.marked("here"))[0])
    assert await site.queue.act(Action.SUSPEND, [number], "x") == [ActionResult.DONE]
    await gatherResults([Deferred.fromCoroutine(in_state(pid, "T")) for pid in (detached, here)])
    assert await site.queue.act(Action.CONTINUE, [number], "x") == [ActionResult.DONE]
    await in_state(detached, "S", "R")
    assert await site.queue.act(Action.REMOVE, [number], "x") == [ActionResult.DONE]
    await gatherResults([Deferred.fromCoroutine(in_state(pid, "-")) for pid in (detached, here)])
    await site.seen(ticket, JobState.REMOVED)


@pytest_twisted.ensureDeferred
async def test_what_a_job_leaves_behind_ends_with_it(lives: Lives) -> None:
    site = lives.begin()
    mark = site.directory / "away"
    ticket, _ = await site.put(f"setsid sh -c 'echo $$ > {mark}; sleep 1000' & while ! [ -s '{mark}' ]; do sleep 0.02; done")
    assert (await site.seen(ticket, JobState.COMPLETED)).exit_status == 0
    assert process_state(int((await site.marked("away"))[0])) == "-"


@pytest_twisted.ensureDeferred
async def test_sigterm_then_grace_then_sigkill(lives: Lives) -> None:
    site = lives.begin()
    polite = "trap 'echo bye; exit' TERM; " + long(site.directory, "polite")
    deaf, polite_job = site.ticket("trap '' TERM; " + long(site.directory, "deaf")), site.ticket(polite)
    numbers = await site.queue.submit([deaf, polite_job])
    pids = [int((await site.marked(name))[0]) for name in ("deaf", "polite")]
    begun = time.monotonic()
    await site.queue.act(Action.HOLD, [each for each in numbers if isinstance(each, BackendId)], "x")
    await in_state(pids[1], "-")
    assert process_state(pids[0]) != "-"
    await in_state(pids[0], "-")
    assert time.monotonic() - begun > 0.4
    # GNU's timeout passes SIGTERM on to its child and to its group, so it may come twice.
    assert set((polite_job.directory / "stdout").read_text().splitlines()) == {"bye"}


@pytest_twisted.ensureDeferred
async def test_a_released_job_waits_for_its_old_run_to_end(lives: Lives) -> None:
    site = lives.begin()
    ticket, number = await site.put("trap '' TERM; " + long(site.directory, "pids"))
    [first] = await site.marked("pids")
    await site.queue.act(Action.HOLD, [number], "x")
    await site.queue.act(Action.RELEASE, [number], "x")
    assert (await site.seen(ticket, JobState.IDLE)).run_count == 1
    await site.marked("pids", 2)
    assert process_state(int(first)) == "-"


@pytest_twisted.ensureDeferred
async def test_the_wall_time_goes_on_while_a_job_is_suspended(lives: Lives) -> None:
    site = lives.begin()
    ticket, number = await site.put(long(site.directory, "pids"), max_wall_time=1)
    await site.marked("pids")
    assert await site.queue.act(Action.SUSPEND, [number], "x") == [ActionResult.DONE]
    seen = await site.seen(ticket, JobState.COMPLETED)
    assert seen.exit_signal == 24
    assert (ticket.directory / "output.tar.gz").exists()


@pytest_twisted.ensureDeferred
async def test_nothing_of_the_daemon_leaks_into_a_job(lives: Lives, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODABATCH_STORE__URL", "postgresql://secret")
    site = lives.begin()
    with (site.directory / "open").open("wb") as secret:
        os.set_inheritable(secret.fileno(), True)
        ticket, _ = await site.put("ls /proc/self/fd | wc -l; env; umask; cat; cd $HOME && touch x && cd $TMPDIR && touch y")
        seen = await site.seen(ticket, JobState.COMPLETED)
    assert seen.exit_status == 0
    descriptors, *variables = (ticket.directory / "stdout").read_text().splitlines()
    assert int(descriptors) == 4
    assert "0022" in variables
    known = {"PATH", "LANG", "HOME", "TMPDIR", "USER", "LOGNAME", "PWD", "OLDPWD", "SHLVL", "_"}
    names = {line.partition("=")[0] for line in variables if "=" in line}
    assert {name for name in names - known if not name.startswith("MODACLOUDS_BATCH_")} == set()


@pytest_twisted.ensureDeferred
async def test_what_was_used_is_told(lives: Lives) -> None:
    site = lives.begin()
    ticket, _ = await site.put("sh -c 'i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done'")
    seen = await site.seen(ticket, JobState.COMPLETED)
    assert 0.02 < seen.user_cpu < 20
    assert seen.image_size > 500
    assert seen.host == this_machine().host


@pytest_twisted.ensureDeferred
async def test_a_job_that_kills_its_runner_is_held(lives: Lives) -> None:
    site = lives.begin()
    killing = "exec 3<&-; (echo $$; while :; do sleep 0.05; done) & kill -9 $(ps -o sid= -p $$); sleep 60"
    ticket, number = await site.put(killing)
    seen = await site.seen(ticket, JobState.HELD)
    assert "killed" in (seen.reason or "")
    await eventually(lambda: _true(not runs(site.directory)))
    assert await site.queue.act(Action.REMOVE, [number], "x") == [ActionResult.DONE]


@pytest_twisted.ensureDeferred
async def test_a_job_whose_files_vanish_before_it_starts_is_held(lives: Lives) -> None:
    site = lives.begin(slots=1)
    _, busy = await site.put(long(site.directory, "busy"))
    ticket, number = await site.put("true")
    (ticket.directory / "launch.sh").rename(site.directory / "launch.sh")
    await site.queue.act(Action.REMOVE, [busy], "x")
    assert "launch.sh" in ((await site.seen(ticket, JobState.HELD)).reason or "")
    (site.directory / "launch.sh").rename(ticket.directory / "launch.sh")
    await site.queue.act(Action.RELEASE, [number], "x")
    await site.seen(ticket, JobState.COMPLETED)


@pytest_twisted.ensureDeferred
async def test_rerun_on_shutdown(lives: Lives) -> None:
    site = lives.begin(slots=2)
    ticket, number = await site.put(long(site.directory, "pids"))
    suspended, second = await site.put(long(site.directory, "others"))
    held, third = await site.put("true")
    await site.queue.act(Action.HOLD, [third], "not yet")
    await site.marked("pids")
    await site.marked("others")
    await site.queue.act(Action.SUSPEND, [second], "x")
    await lives.end()
    assert not runs(site.directory)
    site = lives.begin(slots=2)
    await site.marked("pids", 2)
    await site.marked("others", 2)
    seen = await site.seen(ticket, JobState.RUNNING)
    assert (seen.backend_id, seen.run_count) == (number, 2)
    assert (await site.seen(suspended, JobState.RUNNING)).run_count == 2
    assert (await site.seen(held, JobState.HELD)).reason == "not yet"
    [fresh] = await site.queue.submit([site.ticket("true")])
    assert fresh == BackendId(4)
    assert list((site.directory / "queue" / "runs").iterdir())


@pytest_twisted.ensureDeferred
async def test_remove_on_shutdown_within_the_grace(lives: Lives) -> None:
    site = lives.begin(on_shutdown="remove")
    ticket, _ = await site.put("trap '' TERM; " + long(site.directory, "pids"))
    await site.marked("pids")
    begun = time.monotonic()
    await lives.end()
    assert time.monotonic() - begun < 15.0
    assert not runs(site.directory)
    site = lives.begin()
    assert "stopped" in ((await site.seen(ticket, JobState.REMOVED)).reason or "")
    assert "009 (" in (ticket.directory / "_userlog").read_text()


@pytest_twisted.ensureDeferred
async def test_a_runner_that_is_deaf_is_killed_with_its_run(lives: Lives) -> None:
    site = lives.begin(grace=0.1)
    await site.put(long(site.directory, "pids"))
    script = look(int((await site.marked("pids"))[0]))
    assert script is not None
    os.kill(script.session, signal.SIGSTOP)
    begun = time.monotonic()
    await lives.end()
    assert time.monotonic() - begun < 15.0
    assert not runs(site.directory)


@pytest_twisted.ensureDeferred
async def test_numbers_are_never_used_again(lives: Lives) -> None:
    site = lives.begin()
    ticket, number = await site.put("true")
    await site.seen(ticket, JobState.COMPLETED)
    await site.queue.acknowledge([number])
    assert list((site.directory / "queue" / "jobs").iterdir()) == []
    await lives.end()
    site = lives.begin()
    assert await site.queue.sightings() == []
    _, next_number = await site.put("true")
    assert next_number == BackendId(number.cluster + 1)


@pytest_twisted.ensureDeferred
async def test_kill_9_of_the_daemon(lives: Lives) -> None:
    ignoring = "trap '' TERM HUP; " + long(lives.directory, "pids", "setsid sh -c 'while :; do sleep 0.05; done' &")
    ticket, quick = make_ticket(lives.directory, ignoring), make_ticket(lives.directory, "exit 3")
    host = lives.host(ticket, quick)
    await Site(lives.directory, None).marked("pids")  # type: ignore[arg-type]
    await eventually(lambda: _true("005 (" in _log(quick)))
    [pid] = await Site(lives.directory, None).marked("pids")  # type: ignore[arg-type]
    host.kill()
    host.wait()
    # Its runner sees to that, without a next life.
    await in_state(int(pid), "-")
    site = lives.begin()
    await site.marked("pids", 2)
    seen = await site.seen(ticket, JobState.RUNNING)
    assert (seen.backend_id, seen.run_count) == (BackendId(1), 2)
    seen = await site.seen(quick, JobState.COMPLETED)
    assert (seen.exit_status, seen.run_count) == (3, 1)


@pytest_twisted.ensureDeferred
async def test_kill_9_of_the_daemon_and_its_runners(lives: Lives) -> None:
    ticket = make_ticket(lives.directory, "trap '' TERM HUP; " + long(lives.directory, "pids"))
    host = lives.host(ticket)
    [pid] = await Site(lives.directory, None).marked("pids")  # type: ignore[arg-type]
    script = look(int(pid))
    assert script is not None
    os.kill(host.pid, signal.SIGSTOP)
    os.kill(script.session, signal.SIGKILL)
    host.kill()
    host.wait()
    assert process_state(int(pid)) != "-"
    site = lives.begin()
    assert process_state(int(pid)) == "-"
    await site.marked("pids", 2)


@pytest_twisted.ensureDeferred
async def test_a_run_that_ended_while_the_daemon_was_dying_is_not_repeated(lives: Lives) -> None:
    ticket = make_ticket(lives.directory, f"echo run >> '{lives.directory / 'marks'}'; sleep 0.3; exit 4")
    host = lives.host(ticket)
    await Site(lives.directory, None).marked("marks")  # type: ignore[arg-type]
    os.kill(host.pid, signal.SIGSTOP)
    outcome = lives.directory / "queue" / "runs" / "1.1" / runner.OUTCOME
    await eventually(lambda: _true(outcome.exists()))
    host.kill()
    host.wait()
    site = lives.begin()
    seen = await site.seen(ticket, JobState.COMPLETED)
    assert (seen.exit_status, seen.run_count) == (4, 1)
    assert await site.marked("marks") == ["run"]
    assert not outcome.exists()


@pytest_twisted.ensureDeferred
async def test_a_directory_serves_one_daemon(lives: Lives) -> None:
    lives.begin()
    with pytest.raises(StartupError, match="Another daemon"):
        lives.begin()


@pytest_twisted.ensureDeferred
async def test_a_directory_that_cannot_be_used(lives: Lives) -> None:
    (lives.directory / "queue").write_text("a file")
    with pytest.raises(StartupError):
        lives.begin()


@pytest_twisted.ensureDeferred
async def test_a_damaged_record_is_named(lives: Lives) -> None:
    site = lives.begin()
    await site.put("true")
    await lives.end()
    (site.directory / "queue" / "jobs" / "1.json").write_text("{")
    with pytest.raises(StartupError, match=r"1\.json"):
        lives.begin()


@pytest_twisted.ensureDeferred
async def test_a_submission_that_cannot_be_written_leaves_nothing(lives: Lives) -> None:
    site = lives.begin()
    jobs = site.directory / "queue" / "jobs"
    (jobs / "2.json").mkdir()
    with pytest.raises(QueueAway):
        await site.queue.submit([site.ticket("true"), site.ticket("true")])
    assert await site.queue.sightings() == []
    assert not (jobs / "1.json").exists()
    (jobs / "2.json").rmdir()
    assert (await site.put("true"))[1] == BackendId(1)


@pytest_twisted.ensureDeferred
async def test_a_cancelled_submission_is_finished_all_the_same(lives: Lives) -> None:
    site = lives.begin()
    ticket = site.ticket("true")
    submitting = site.queue.submit([ticket])
    submitting.cancel()
    with pytest.raises(CancelledError):
        await submitting
    await site.seen(ticket, JobState.COMPLETED)


RUN_WITH_A_SHORT_BACKSTOP = """
from modabatchd.queue.embedded import runner, watch
watch.BACKSTOP = 0.3
runner.main()
"""


def test_a_run_that_nothing_ends_is_killed_at_the_backstop(tmp_path: Path) -> None:
    """Without packages, too: the runner must do with the standard library."""
    ticket = make_ticket(tmp_path, "true")
    wrapper = tmp_path / "wrapper.sh"
    wrapper.write_text("trap '' TERM; setsid sleep 1000 & while :; do sleep 0.05; done")
    assignment = runner.Assignment(str(tmp_path / "run"), str(ticket.directory), str(wrapper), 1, 1.0, ticket.request.files)
    command = [sys.executable, "-P", "-S", "-s", "-c", RUN_WITH_A_SHORT_BACKSTOP, msgspec.json.encode(assignment._asdict())]
    packages = str(Path(modabatchd.__file__).parent.parent)
    with subprocess.Popen(command, stdin=subprocess.PIPE, env={"PYTHONPATH": packages}) as process:
        assert process.wait() == 0
    outcome = msgspec.json.decode((tmp_path / "run" / runner.OUTCOME).read_bytes(), type=Outcome)
    assert (outcome.exit_status, outcome.exit_signal) == (None, signal.SIGXCPU)


def test_a_number_that_has_gone_to_a_stranger_is_not_signalled() -> None:
    with subprocess.Popen(["sleep", "60"]) as stranger:
        seen = look(stranger.pid)
        assert seen is not None
        send(seen._replace(started=seen.started - 1), signal.SIGKILL)
        time.sleep(0.1)
        assert stranger.poll() is None
        send(seen, signal.SIGKILL)
        assert stranger.wait() == -signal.SIGKILL


def test_nobody_else_is_taken_for_a_run(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "60"], env={MARK: "/some/where/else/runs/1.1"}) as stranger:
        assert end_marked(f"{tmp_path}/runs/", 1.0)
        assert stranger.poll() is None
        stranger.kill()


async def _true(value: bool) -> bool:
    return value


def _log(ticket: Ticket) -> str:
    path = ticket.directory / "_userlog"
    return path.read_text() if path.exists() else ""
