"""HTCondorQueue on a real pool: what administrators do, what breaks, and what must not get through."""

import io
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import msgspec
import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults, succeed
from twisted.internet.task import LoopingCall, deferLater

import modabatchd.queue
from modabatchd.errors import ConfigurationError, QueueAway
from modabatchd.queue.htcondor.classads import group
from modabatchd.queue.htcondor.deadlines import Deadlines
from modabatchd.queue.htcondor.environment import Access, child_environment
from modabatchd.queue.htcondor.queue import HTCondorQueue
from modabatchd.queue.interfaces import ActionResult, Refusal, Ticket
from modabatchd.queue.job import Action, BackendId, JobRequest, JobState, Resources, Sighting

T = TypeVar("T")

pytestmark = pytest.mark.pool

WRAPPER = Path(modabatchd.queue.__file__).with_name("wrapper.sh")
MODES = ["direct", "spool"]


class Site:
    """A queue on the pool under test, and a place for the files of its jobs."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.instance = str(uuid4())
        self.access = Access(
            collector=os.environ["MODABATCH_TEST_COLLECTOR"],
            schedd=os.environ["MODABATCH_TEST_SCHEDD"],
            token_directory=Path(os.environ["MODABATCH_TEST_TOKEN_DIR"]),
            config_file=Path(os.environ["MODABATCH_TEST_CONDOR_CONFIG"]),
        )
        self.queues: list[HTCondorQueue] = []
        self.remembered: str | None = None

    def queue(self, transfer: Any = "auto", deadlines: Deadlines = Deadlines(), **access: Any) -> HTCondorQueue:  # noqa: B008
        reached = Access(**{name: getattr(self.access, name) for name in Access.__struct_fields__} | access)
        queue = HTCondorQueue(
            reactor,
            self.instance,
            WRAPPER,
            self.directory,
            os.environ,
            reached,
            transfer,
            deadlines,
            lambda: succeed(self.remembered),
            self._remember,
        )
        queue.startService()
        self.queues.append(queue)
        return queue

    def _remember(self, name: str) -> Deferred[str]:
        self.remembered = self.remembered or name
        return succeed(self.remembered)

    def ticket(self, script: str, arguments: str = "", **request: Any) -> Ticket:
        job_id = str(uuid4())
        directory = self.directory / job_id
        directory.mkdir(parents=True)
        (directory / "bundle.tar.gz").write_bytes(bundle(script))
        (directory / "launch.sh").write_text(f"set -- {arguments}\ncd work && exec ./run.sh\n")
        (directory / "launch.sh").chmod(0o600)
        return Ticket(JobRequest(id=job_id, submitted=time.time(), **request), directory)


def bundle(script: str) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        content = f"#!/bin/sh\n{script}\n".encode()
        run = tarfile.TarInfo("run.sh")
        run.mode, run.size = 0o755, len(content)
        archive.addfile(run, io.BytesIO(content))
    return packed.getvalue()


@pytest_twisted.async_yield_fixture
async def site() -> AsyncIterator[Site]:
    # Spaces and commas mean something to HTCondor; they must not matter.
    directory = Path(os.environ["MODABATCH_TEST_POOL_DIR"]) / f"jobs of {uuid4().hex}, all"
    directory.mkdir(mode=0o700)
    there = Site(directory)
    yield there
    queue = there.queue()
    left = [sighting.backend_id for sighting in await queue.sightings()]
    await queue.act(Action.REMOVE, left, "test over")
    await queue.acknowledge(left)
    await gatherResults([each.stopService() for each in there.queues])
    shutil.rmtree(directory, ignore_errors=True)


async def eventually(look: Callable[[], Awaitable[T | None]], within: float = 60.0) -> T:
    """The first result of C{look} that is true."""
    until = time.monotonic() + within
    while True:
        result = await look()
        if result:
            return result
        assert time.monotonic() < until, f"not within {within} s"
        await deferLater(reactor, 0.1)


async def seen(queue: HTCondorQueue, ticket: Ticket, *states: JobState) -> Sighting:
    """The job, once it is in one of these states."""

    async def look() -> Sighting | None:
        for sighting in await queue.sightings():
            if sighting.job_id == ticket.request.id:
                assert sighting.state in states or not sighting.state.final, sighting
                return sighting if sighting.state in states else None
        return None

    return await eventually(look)


async def put(queue: HTCondorQueue, ticket: Ticket) -> BackendId:
    [result] = await queue.submit([ticket])
    assert isinstance(result, BackendId), result
    return result


def tool(name: str, *arguments: str) -> str:
    """Run one of HTCondor's own tools, as an administrator would."""
    return subprocess.run(
        [os.environ["MODABATCH_TEST_CONDOR"], name, *arguments], check=True, capture_output=True, text=True, timeout=60
    ).stdout


def running(comm: str, trait: str) -> list[int]:
    """Processes of that name whose command line or environment holds some text."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "comm").read_text().strip() == comm[:15] and any(
                trait.encode() in (process / file).read_bytes() for file in ("cmdline", "environ")
            ):
                found.append(int(process.name))
        except OSError:
            continue
    return found


def scheduler_process() -> int:
    [pid] = running("condor_schedd", os.environ["MODABATCH_TEST_COLLECTOR"])
    return pid


def child_processes() -> list[int]:
    def parent(pid: int) -> int:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])

    name = Path("/proc/self/comm").read_text().strip()
    candidates = set(running(name, "htcondor.child")) | set(running(Path(sys.executable).name, "htcondor.child"))
    return [pid for pid in candidates if parent(pid) == os.getpid()]


@pytest.mark.parametrize("mode", MODES)
@pytest_twisted.ensureDeferred
async def test_results_come_back(site: Site, mode: str) -> None:
    queue = site.queue(mode)
    ticket = site.ticket("echo told; echo complained >&2; echo made > $MODACLOUDS_BATCH_OUTPUT/result; exit 3")
    await put(queue, ticket)
    sighting = await seen(queue, ticket, JobState.COMPLETED)
    assert (sighting.exit_status, sighting.exit_signal, sighting.run_count) == (3, None, 1)
    assert sighting.completed is not None
    assert abs(sighting.completed - time.time()) < 60
    await queue.fetch(sighting, ticket.directory)
    await queue.fetch(sighting, ticket.directory)
    assert (ticket.directory / "stdout").read_text() == "told\n"
    assert (ticket.directory / "stderr").read_text() == "complained\n"
    assert str(sighting.backend_id.cluster) in (ticket.directory / "_userlog").read_text()
    with tarfile.open(ticket.directory / "output.tar.gz") as output:
        made = output.extractfile("output/result")
        assert made is not None
        assert made.read() == b"made\n"


@pytest_twisted.ensureDeferred
async def test_input_reaches_a_remote_job(site: Site) -> None:
    queue = site.queue("spool")
    ticket = site.ticket('cat "$MODACLOUDS_BATCH_INPUT"', has_input=True)
    (ticket.directory / "input").write_bytes(b"bytes \x00\xff\n")
    await put(queue, ticket)
    await queue.fetch(await seen(queue, ticket, JobState.COMPLETED), ticket.directory)
    assert (ticket.directory / "stdout").read_bytes() == b"bytes \x00\xff\n"


@pytest_twisted.ensureDeferred
async def test_a_scheduler_of_this_machine_reads_the_files_where_they_are(site: Site) -> None:
    queue = site.queue("auto")
    number = await put(queue, site.ticket("true"))
    assert tool("condor_q", str(number), "-af", "ModabatchSpooled").strip() in ("false", "")


@pytest_twisted.ensureDeferred
async def test_signal(site: Site) -> None:
    queue = site.queue()
    ticket = site.ticket("kill -9 $$")
    await put(queue, ticket)
    sighting = await seen(queue, ticket, JobState.COMPLETED)
    assert (sighting.exit_status, sighting.exit_signal) == (None, 9)


@pytest_twisted.ensureDeferred
async def test_wall_time_limit(site: Site) -> None:
    queue = site.queue()
    ticket = site.ticket("echo begun; sleep 60", max_wall_time=1)
    await put(queue, ticket)
    sighting = await seen(queue, ticket, JobState.COMPLETED)
    assert (sighting.exit_status, sighting.exit_signal) == (None, 24)
    assert (ticket.directory / "stdout").read_text() == "begun\n"


@pytest_twisted.ensureDeferred
async def test_retries(site: Site) -> None:
    queue = site.queue()
    marks = site.directory / "marks"
    succeeding = site.ticket(f"echo run >> '{marks}'; test $(wc -l < '{marks}') -ge 2", max_retries=5)
    failing = site.ticket("exit 7", max_retries=1)
    for ticket in (succeeding, failing):
        await put(queue, ticket)
    good = await seen(queue, succeeding, JobState.COMPLETED)
    bad = await seen(queue, failing, JobState.COMPLETED)
    assert (good.exit_status, good.run_count) == (0, 2)
    assert (bad.exit_status, bad.run_count) == (7, 2)


@pytest_twisted.ensureDeferred
async def test_an_administrators_hold_and_release_show(site: Site) -> None:
    queue = site.queue()
    ticket = site.ticket("sleep 60")
    number = await put(queue, ticket)
    await seen(queue, ticket, JobState.RUNNING)
    tool("condor_hold", "-reason", "machine room flooded", str(number))
    sighting = await seen(queue, ticket, JobState.HELD)
    assert sighting.reason is not None
    assert "machine room flooded" in sighting.reason
    tool("condor_release", str(number))
    sighting = await seen(queue, ticket, JobState.RUNNING)
    assert sighting.reason is None


@pytest.mark.parametrize("mode", MODES)
@pytest_twisted.ensureDeferred
async def test_an_administrators_removal_shows_until_it_is_acknowledged(site: Site, mode: str) -> None:
    queue = site.queue(mode)
    ticket = site.ticket("sleep 60")
    number = await put(queue, ticket)
    await seen(queue, ticket, JobState.RUNNING)
    tool("condor_rm", "-reason", "too loud", str(number))
    sighting = await seen(queue, ticket, JobState.REMOVED)
    assert "too loud" in (sighting.reason or "")
    await queue.fetch(sighting, ticket.directory)
    await queue.acknowledge([number])
    assert await queue.sightings() == []


@pytest_twisted.ensureDeferred
async def test_suspend_stops_the_process_and_continue_goes_on(site: Site) -> None:
    queue = site.queue()
    marks = site.directory / "pid"
    ticket = site.ticket(f"echo $$ > '{marks}.part'; mv '{marks}.part' '{marks}'; while :; do sleep 0.1; done")
    number = await put(queue, ticket)
    await seen(queue, ticket, JobState.RUNNING)

    async def started() -> bool:
        return marks.exists()

    def state() -> str:
        return Path(f"/proc/{int(marks.read_text())}/stat").read_text().rpartition(")")[2].split()[0]

    async def stopped() -> bool:
        return state() == "T"

    async def going() -> bool:
        return state() != "T"

    await eventually(started)
    assert await queue.act(Action.SUSPEND, [number], "test") == [ActionResult.DONE]
    await eventually(stopped)
    await seen(queue, ticket, JobState.SUSPENDED)
    assert await queue.act(Action.CONTINUE, [number], "test") == [ActionResult.DONE]
    await eventually(going)
    await seen(queue, ticket, JobState.RUNNING)


@pytest_twisted.ensureDeferred
async def test_results_of_actions(site: Site) -> None:
    queue = site.queue()
    over, waiting = site.ticket("true"), site.ticket("true", resources=Resources(cpus=5000))
    done, idle = await put(queue, over), await put(queue, waiting)
    await seen(queue, over, JobState.COMPLETED)
    nobody = BackendId(2_000_000_000, 0)
    assert await queue.act(Action.HOLD, [done, idle, nobody], "our words") == [
        ActionResult.BAD_STATUS,
        ActionResult.DONE,
        ActionResult.NOT_FOUND,
    ]
    # A moment later the scheduler adds who it was.
    assert ((await seen(queue, waiting, JobState.HELD)).reason or "").startswith("our words")
    assert await queue.act(Action.HOLD, [idle], "again") == [ActionResult.ALREADY_DONE]
    assert await queue.act(Action.SUSPEND, [idle], "held") == [ActionResult.BAD_STATUS]
    assert await queue.act(Action.RELEASE, [idle], "go on") == [ActionResult.DONE]
    assert await queue.act(Action.REMOVE, [idle], "enough") == [ActionResult.DONE]
    await seen(queue, waiting, JobState.REMOVED)


@pytest_twisted.ensureDeferred
async def test_an_acknowledged_job_leaves_the_queue_and_is_found_in_the_history(site: Site) -> None:
    queue = site.queue()
    ticket = site.ticket("exit 5")
    number = await put(queue, ticket)
    await seen(queue, ticket, JobState.COMPLETED)
    await queue.acknowledge([number, BackendId(2_000_000_000, 0)])
    assert await queue.sightings() == []

    async def left() -> bool:
        return not tool("condor_q", str(number), "-af", "ClusterId").strip()

    await eventually(left)
    found = await queue.find([ticket.request.id, str(uuid4())])
    assert list(found) == [ticket.request.id]
    assert found[ticket.request.id].exit_status == 5
    await queue.acknowledge([number])


@pytest_twisted.ensureDeferred
async def test_nothing_a_user_wrote_is_in_the_job(site: Site) -> None:
    marker = "intruder"
    hostile = f'{marker}"\nexecutable = /bin/{marker}\ninclude command : touch {site.directory}/{marker}\n$ENV(HOME)'
    queue = site.queue()
    ticket = site.ticket("true", f"'{hostile}'", name=hostile, labels={hostile: hostile}, notification=hostile)
    number = await put(queue, ticket)
    ad = tool("condor_q", str(number), "-l")
    assert ticket.request.id in ad
    assert marker not in ad
    assert f'JobBatchName = "modabatch-{ticket.request.id}"' in ad
    assert "Args = " in ad
    assert not (site.directory / marker).exists()
    await seen(queue, ticket, JobState.COMPLETED)


@pytest_twisted.ensureDeferred
async def test_many_jobs_of_many_shapes_keep_to_themselves(site: Site) -> None:
    queue = site.queue()
    shapes: list[dict[str, Any]] = [
        {"priority": 3},
        {"max_wall_time": 30, "priority": -2},
        {"resources": Resources(cpus=5000, disk=4096)},
        {"resources": Resources(cpus=5000, memory=777)},
    ]
    tickets = [site.ticket("true", **shapes[index % len(shapes)]) for index in range(40)]
    missing = site.ticket("true")
    (missing.directory / "bundle.tar.gz").unlink()
    *numbers, refused = await queue.submit([*tickets, missing])
    assert isinstance(refused, Refusal)
    assert "bundle.tar.gz" in refused.reason
    assert len(set(numbers)) == 40
    found = await queue.find([ticket.request.id for ticket in tickets])
    assert [found[ticket.request.id].backend_id for ticket in tickets] == numbers
    assert [found[ticket.request.id].priority for ticket in tickets] == [each.request.priority for each in tickets]
    places = dict(line.split(maxsplit=1) for line in tool("condor_q", "-af", "ModabatchJobId", "Iwd").splitlines())
    for ticket in tickets:
        if ticket.request.id in places:
            assert places[ticket.request.id] == str(ticket.directory)


@pytest_twisted.ensureDeferred
async def test_a_frozen_scheduler_freezes_nobody(site: Site) -> None:
    queue = site.queue(deadlines=Deadlines(query=1.0, submit=2.0))
    await put(queue, site.ticket("true"))
    gaps: list[float] = []
    last = [time.monotonic()]

    def tick() -> None:
        now = time.monotonic()
        gaps.append(now - last[0])
        last[0] = now

    ticking = LoopingCall(tick)
    scheduler = scheduler_process()
    os.kill(scheduler, signal.SIGSTOP)
    try:
        last[0] = time.monotonic()
        ticking.start(0.01)
        for call, deadline in ((lambda: queue.sightings(), 1.0), (lambda: queue.submit([site.ticket("true")]), 2.0)):
            await deferLater(reactor, 2.1)
            begun = time.monotonic()
            with pytest.raises(QueueAway):
                await call()
            assert deadline - 0.1 < time.monotonic() - begun < deadline + 1.5
        ticking.stop()
    finally:
        os.kill(scheduler, signal.SIGCONT)
    assert max(gaps) < 0.25

    async def back() -> bool:
        try:
            return len(await queue.sightings()) > 0
        except QueueAway:
            return False

    await eventually(back)


@pytest_twisted.ensureDeferred
async def test_a_submission_to_a_frozen_scheduler_is_there_once_or_never(site: Site) -> None:
    """What find says once the scheduler answers again stays true."""
    queue = site.queue(deadlines=Deadlines(submit=0.5))
    await put(queue, site.ticket("true", resources=Resources(cpus=5000)))
    lost = site.ticket("true", resources=Resources(cpus=5000))
    scheduler = scheduler_process()
    os.kill(scheduler, signal.SIGSTOP)
    try:
        with pytest.raises(QueueAway):
            await queue.submit([lost])
    finally:
        os.kill(scheduler, signal.SIGCONT)
    await deferLater(reactor, 2.1)
    patient = site.queue()
    at_once = await patient.find([lost.request.id])
    await deferLater(reactor, 2)
    assert set(await patient.find([lost.request.id])) == set(at_once)


@pytest_twisted.ensureDeferred
async def test_a_child_killed_in_the_middle(site: Site) -> None:
    queue = site.queue()
    ticket = site.ticket("true")
    await put(queue, ticket)
    scheduler = scheduler_process()
    os.kill(scheduler, signal.SIGSTOP)
    try:
        lost = queue.sightings()
        await deferLater(reactor, 0.2)
        assert not lost.called
        for pid in child_processes():
            os.kill(pid, signal.SIGKILL)
        with pytest.raises(QueueAway):
            await lost
    finally:
        os.kill(scheduler, signal.SIGCONT)
    assert [sighting.job_id for sighting in await queue.sightings()] == [ticket.request.id]


HALF = """
import sys, msgspec, htcondor2
from modabatchd.queue.htcondor import child, classads
group = msgspec.json.decode(sys.stdin.buffer.read(), type=classads.Group)
schedd = child.Scheduler()._schedd()
print(schedd.submit(htcondor2.Submit(group.description), spool=True, itemdata=iter(group.rows)).cluster())
"""


def make_half(site: Site, ticket: Ticket) -> int:
    """Submit a job as the queue does, and die before its files are sent."""
    half = group([(ticket.request, ticket.directory)], site.instance, WRAPPER, spool=True)
    made = subprocess.run(
        [sys.executable, "-c", HALF],
        input=msgspec.json.encode(half),
        env=child_environment(os.environ, site.access),
        check=True,
        capture_output=True,
    )
    return int(made.stdout)


@pytest_twisted.ensureDeferred
async def test_a_half_made_job_is_cleared_away_and_can_be_made_again(site: Site) -> None:
    queue = site.queue("spool")
    ticket = site.ticket("true")
    cluster = make_half(site, ticket)
    assert tool("condor_q", str(cluster), "-af", "HoldReasonCode").strip() == "16"
    assert await queue.sightings() == []
    assert await queue.find([ticket.request.id]) == {}
    assert not tool("condor_q", str(cluster), "-af", "ClusterId").strip()
    assert await queue.find([ticket.request.id]) == {}
    number = await put(queue, ticket)
    assert (await seen(queue, ticket, JobState.COMPLETED)).backend_id == number


@pytest_twisted.ensureDeferred
async def test_files_that_vanish_while_they_are_sent(site: Site) -> None:
    queue = site.queue("spool")
    good, bad = site.ticket("true"), site.ticket("true", has_input=True)
    with pytest.raises(ValueError, match="UUID"):
        await queue.submit([Ticket(JobRequest(id="x", submitted=0.0), site.directory)])
    (bad.directory / "launch.sh").unlink()
    number, refused = await queue.submit([good, bad])
    assert isinstance(number, BackendId)
    assert isinstance(refused, Refusal)


@pytest_twisted.ensureDeferred
async def test_no_pool_at_all(site: Site) -> None:
    queue = site.queue(collector="127.0.0.1:1")
    calls: list[Deferred[Any]] = [
        queue.sightings(),
        queue.find([str(uuid4())]),
        queue.submit([site.ticket("true")]),
        queue.act(Action.HOLD, [BackendId(1)], "x"),
        queue.acknowledge([BackendId(1)]),
    ]
    for call in calls:
        with pytest.raises(QueueAway) as caught:
            await call
        assert "condor_status" in caught.value.cure


@pytest_twisted.ensureDeferred
async def test_an_unknown_scheduler_is_named(site: Site) -> None:
    queue = site.queue(schedd="nobody@nowhere")
    with pytest.raises(QueueAway, match="nobody@nowhere"):
        await queue.sightings()


@pytest_twisted.ensureDeferred
async def test_while_the_scheduler_that_has_the_jobs_is_not_there_no_other_is_asked(site: Site) -> None:
    site.remembered = "gone@nowhere"
    queue = site.queue(schedd=None)
    for call in (queue.sightings(), queue.find([str(uuid4())]), queue.submit([site.ticket("true")])):
        with pytest.raises(QueueAway, match="gone@nowhere") as caught:
            await call
        assert caught.value.untouched
        assert "queue.htcondor.schedd" in caught.value.cure
    assert site.remembered == "gone@nowhere"
    site.remembered = None


@pytest_twisted.ensureDeferred
async def test_the_scheduler_is_remembered(site: Site) -> None:
    queue = site.queue(schedd=None)
    ticket = site.ticket("true")
    await put(queue, ticket)
    name = site.remembered
    assert name == tool("condor_status", "-schedd", "-af", "Name").strip()
    # A second life finds it by that name, and sees the same jobs.
    assert [seen.job_id for seen in await site.queue(schedd=None).sightings()] == [ticket.request.id]
    assert site.remembered == name


@pytest_twisted.ensureDeferred
async def test_a_service_that_stops_waits_for_no_frozen_scheduler(site: Site) -> None:
    queue = site.queue("spool", Deadlines(query=1000.0, submit=1000.0))
    await put(queue, site.ticket("true"))
    scheduler = scheduler_process()
    os.kill(scheduler, signal.SIGSTOP)
    try:
        waiting: list[Deferred[Any]] = [queue.submit([site.ticket("true")]), queue.sightings()]
        await deferLater(reactor, 0.5)
        begun = time.monotonic()
        queue.hurry()
        for each in waiting:
            with pytest.raises(QueueAway):
                await each
        await queue.stopService()
        assert time.monotonic() - begun < 9.0
    finally:
        os.kill(scheduler, signal.SIGCONT)
    assert not child_processes()


@pytest_twisted.ensureDeferred
async def test_no_process_is_left_behind(site: Site) -> None:
    queue = site.queue()
    await queue.sightings()
    assert child_processes()
    await queue.stopService()
    assert not child_processes()


def test_a_spool_that_htcondor_cannot_be_told(site: Site) -> None:
    with pytest.raises(ConfigurationError, match="path"):
        HTCondorQueue(reactor, site.instance, WRAPPER, Path('/srv/"quoted"'), {})
