"""The contract of IQueue, on the embedded queue and on a real pool, with both ways for files to get there."""

import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Literal
from uuid import uuid4

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import maybeDeferred

import modabatchd.queue
from modabatchd.queue.embedded.machine import this_machine
from modabatchd.queue.embedded.queue import EmbeddedQueue
from modabatchd.queue.htcondor.environment import Access
from modabatchd.queue.htcondor.queue import HTCondorQueue
from modabatchd.queue.job import Action
from modabatchd.workers import ThreadWorkers
from tests.contracts.jobs import Site
from tests.contracts.queue import QueueContract

WRAPPER = Path(modabatchd.queue.__file__).with_name("wrapper.sh")


class TestEmbedded(QueueContract):
    @pytest_twisted.async_yield_fixture
    async def site(self, tmp_path: Path) -> AsyncIterator[Site]:
        workers = ThreadWorkers(reactor, "embedded", 2)
        workers.startService()
        queue = EmbeddedQueue(reactor, tmp_path / "queue", WRAPPER, workers, this_machine(), slots=4, grace=2.0)
        queue.startService()
        yield Site(tmp_path, queue)
        await queue.stopService()
        workers.stopService()


class PoolContract(QueueContract):
    transfer: Literal["direct", "spool"]

    @pytest_twisted.async_yield_fixture
    async def site(self) -> AsyncIterator[Site]:
        directory = Path(os.environ["MODABATCH_TEST_POOL_DIR"]) / f"contract {uuid4().hex}"
        directory.mkdir(mode=0o700)
        access = Access(
            collector=os.environ["MODABATCH_TEST_COLLECTOR"],
            schedd=os.environ["MODABATCH_TEST_SCHEDD"],
            token_directory=Path(os.environ["MODABATCH_TEST_TOKEN_DIR"]),
            config_file=Path(os.environ["MODABATCH_TEST_CONDOR_CONFIG"]),
        )
        queue = HTCondorQueue(reactor, str(uuid4()), WRAPPER, directory, os.environ, access, self.transfer)
        queue.startService()
        yield Site(directory, queue)
        left = [sighting.backend_id for sighting in await queue.sightings()]
        await queue.act(Action.REMOVE, left, "test over")
        await queue.acknowledge(left)
        await maybeDeferred(queue.stopService)
        shutil.rmtree(directory, ignore_errors=True)


@pytest.mark.pool
class TestHTCondorDirect(PoolContract):
    transfer = "direct"


@pytest.mark.pool
class TestHTCondorSpool(PoolContract):
    transfer = "spool"
