"""Events of a real pool: whatever happens to a job shows, although nobody asks for it otherwise."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest
import pytest_twisted
from twisted.internet import reactor

from modabatchd.queue.htcondor.environment import Access
from modabatchd.queue.htcondor.events import Events
from modabatchd.queue.htcondor.queue import HTCondorQueue
from modabatchd.queue.job import Action, JobState
from modabatchd.workers import ThreadWorkers
from tests.contracts.jobs import Site
from tests.contracts.queue import Reader, long_job
from tests.integration.test_queue_contract import WRAPPER

pytestmark = pytest.mark.pool

#: Seconds after which the scheduler is asked, if nothing calls for it: never.
NEVER = 1e6


@pytest_twisted.async_yield_fixture
async def site() -> AsyncIterator[Site]:
    directory = Path(os.environ["MODABATCH_TEST_POOL_DIR"]) / f"events {uuid4().hex}"
    directory.mkdir(mode=0o700)
    access = Access(
        collector=os.environ["MODABATCH_TEST_COLLECTOR"],
        schedd=os.environ["MODABATCH_TEST_SCHEDD"],
        token_directory=Path(os.environ["MODABATCH_TEST_TOKEN_DIR"]),
        config_file=Path(os.environ["MODABATCH_TEST_CONDOR_CONFIG"]),
    )
    workers = ThreadWorkers(reactor, "events", 2)
    workers.startService()
    events = Events(directory / "events", workers, time.time)
    queue = HTCondorQueue(
        reactor, str(uuid4()), WRAPPER, directory, os.environ, access, "direct", interval=NEVER, events=events
    )
    queue.startService()
    yield Site(directory, queue)
    left = [sighting.backend_id for sighting in await queue.sightings()]
    await queue.act(Action.REMOVE, left, "test over")
    await queue.acknowledge(left)
    await queue.stopService()
    await workers.stopService()
    shutil.rmtree(directory, ignore_errors=True)


def tool(name: str, *arguments: str) -> None:
    """Run one of HTCondor's own tools, as an administrator would."""
    subprocess.run(
        [os.environ["MODABATCH_TEST_CONDOR"], name, *arguments], check=True, capture_output=True, text=True, timeout=60
    )


@pytest_twisted.ensureDeferred
async def test_what_happens_to_jobs_is_told_by_events(site: Site) -> None:
    reader = Reader(site)
    await site.queue.news("")
    long, number = await site.put(long_job(site, "pids"))
    await reader.reads(long, JobState.RUNNING)
    tool("condor_hold", str(number), "-reason", "by hand")
    await reader.reads(long, JobState.HELD)
    tool("condor_release", str(number))
    await reader.reads(long, JobState.RUNNING)
    assert reader.known[long.request.id].run_count == 2
    await site.queue.act(Action.SUSPEND, [number], "wait")
    await reader.reads(long, JobState.SUSPENDED)
    await site.queue.act(Action.CONTINUE, [number], "go on")
    await reader.reads(long, JobState.RUNNING)
    tool("condor_rm", str(number))
    await reader.reads(long, JobState.REMOVED)
    short, _ = await site.put("exit 3")
    await reader.reads(short, JobState.COMPLETED)
    assert reader.known[short.request.id].exit_status == 3
    log = (short.directory / "_userlog").read_text()
    assert all(f"{event} (" in log for event in ("000", "001", "005"))
