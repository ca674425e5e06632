"""The services of the queue on real parts: files, SQLite, and a queue in memory whose jobs the test moves along."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock
from twisted.logger import LogLevel

from modabatchd.notifications.endpoints import Endpoints
from modabatchd.notifications.message import Message
from modabatchd.queue.bundle import BundleLimits
from modabatchd.queue.control import Control
from modabatchd.queue.form import SubmissionForm
from modabatchd.queue.interfaces import IDraft
from modabatchd.queue.job import Job, JobState
from modabatchd.queue.spool import FileSpool
from modabatchd.queue.submission import Submission
from modabatchd.queue.watching import GRACE, Watching
from modabatchd.store.interfaces import Selection
from modabatchd.store.keys import SQLKeys
from modabatchd.store.preparing import prepare
from modabatchd.store.sql import SQLStore
from modabatchd.store.webhooks import SQLWebhooks
from modabatchd.workers import IWorkers
from tests.deferreds import now
from tests.queue.memory import MemoryQueue
from tests.queue.test_bundle import RUN, pack
from tests.run_now import RunNow

URL = "http://receiver.example.org/done"
PATIENCE = 10.0


class Broken(Exception):
    """A defect or a crash, at a place that the test chose."""


class Interposed:
    """
    Stands before a real part, and lets it fail or wait where the test says so.

    @ivar before: methods that fail before they do anything.
    @ivar after: methods that do what they are asked, and fail then.
    @ivar gates: methods that do what they are asked, and answer once the Deferred has fired.
    @ivar calls: every method that was called, in order.
    """

    def __init__(self, part: Any) -> None:
        self.part = part
        self.before: set[str] = set()
        self.after: set[str] = set()
        self.gates: dict[str, Deferred[None]] = {}
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self.part, name)
        return self._watched(name, attribute) if callable(attribute) else attribute

    def _watched(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            self.calls.append(name)
            if name in self.before:
                return maybeDeferred(self._fail)
            result = method(*args, **kwargs)
            if name in self.after:
                return result.addCallback(self._fail)
            gate = self.gates.get(name)
            return result if gate is None else _behind(gate, result)

        return call

    def _fail(self, result: object = None) -> Any:
        raise Broken("at a place that the test chose")


def _behind(gate: Deferred[None], result: Deferred[Any]) -> Deferred[Any]:
    later: Deferred[Any] = Deferred()
    gate.addCallback(lambda _: result.chainDeferred(later) and None)
    return later


def template(directory: Path) -> tuple[Path, str]:
    """A fresh database as a file, and its installation."""
    file = directory / "template.sqlite"
    return file, prepare(f"sqlite:///{file}")


class World:
    """All of it.  The parts stay over a L{restart}, the services do not."""

    def __init__(self, directory: Path, template: tuple[Path, str], workers: IWorkers | None = None) -> None:
        file, self._instance = template
        shutil.copy(file, directory / "store.sqlite")
        self._directory = directory
        self.workers = workers or RunNow()
        self.clock = Clock()
        self.clock.advance(1_700_000_000)
        self.real_queue = MemoryQueue(self.clock.seconds)
        self._numbers = itertools.count(1)
        self.woken = 0
        self.told = 0
        self.start()

    def start(self) -> None:
        self.store: Any = Interposed(
            SQLStore(f"sqlite:///{self._directory}/store.sqlite", self._instance, self.workers, RunNow()),
        )
        self.store.part.startService()
        self.keys: Any = Interposed(SQLKeys(self.store.part.write, self.store.part.read))
        self.real_spool = FileSpool(self._directory / "spool", 1 << 30, self.workers)
        self.real_spool.prepare()
        self.real_spool.startService()
        self.spool: Any = Interposed(self.real_spool)
        self.queue: Any = Interposed(self.real_queue)
        self.endpoints = Endpoints(SQLWebhooks(self.store.part.write, self.store.part.read), [])
        self.watching = Watching(self.clock, self.queue, self.store, self.spool, self.endpoints, self.new_id, self._count_told)
        self.submission = Submission(
            self.clock,
            self.queue,
            self.store,
            self.spool,
            self.watching,
            self.workers,
            BundleLimits(),
            self.new_id,
            PATIENCE,
        )
        self.control = Control(self.queue, self.store, self.watching, self._wake)
        self.submission.resume(now(self.watching.load()))

    def stop(self) -> None:
        now(self.store.part.stopService())

    def crash(self) -> None:
        """All services are gone in the middle of their work, and come back with workers that do at once what they are given."""
        self.workers = RunNow()
        self.start()

    def restart(self) -> None:
        self.stop()
        self.start()

    def new_id(self) -> str:
        return f"00000000-0000-4000-8000-{next(self._numbers):012}"

    def _count_told(self) -> None:
        self.told += 1

    def _wake(self) -> None:
        self.woken += 1

    def draft(self, bundle: bytes | None = None, input: bytes | None = None) -> IDraft:
        draft: IDraft = self.spool.draft()
        draft.put("bundle.tar.gz", pack(RUN) if bundle is None else bundle)
        if input is not None:
            draft.put("input", input)
        return draft

    def accept(self, **form: Any) -> Job:
        return now(self.submission.accept(self.draft(), SubmissionForm(notification=URL, **form)))

    def submitted(self) -> str:
        """The id of a job that is in the queue."""
        return self.accept().request.id

    def look(self, seconds: float = 0.0) -> None:
        """A look at everything."""
        self.clock.advance(seconds)
        now(self.watching.sweep())

    def hear(self, seconds: float = 0.0) -> None:
        """A look at what the queue tells."""
        self.clock.advance(seconds)
        now(self.watching.look())

    def repair(self, seconds: float = 0.0) -> None:
        self.clock.advance(seconds)
        now(self.submission.repair())

    def wait_out(self, step: Callable[[float], None]) -> None:
        """Repeat a step until whatever waits for a grace time has waited long enough."""
        for _ in range(9):
            step(GRACE / 4)

    def job(self, job_id: str) -> Job:
        job = now(self.store.part.get(job_id))
        assert job is not None
        return job

    def state(self, job_id: str) -> JobState:
        return self.job(job_id).state

    def states(self, job_id: str) -> list[JobState]:
        """All that the job was, oldest first."""
        return [change.state for change in self.job(job_id).history]

    def finished(self, job_id: str) -> bool:
        """Whether all that belongs to a finished job is done, and done once."""
        assert self.job(job_id).settled is not None
        assert len([message for message in self.messages() if message.job_id == job_id]) == 1
        return self.real_queue.acknowledged(job_id)

    def messages(self) -> list[Message]:
        return [delivery.message for delivery in now(self.store.part.due(1e12, 1000))]

    def stored(self) -> int:
        return len(now(self.store.part.page(Selection(), 1000)).jobs)

    def kept(self) -> set[str]:
        return set(now(self.real_spool.unchanged(1e12)))

    def trouble(self, events: list[dict[str, Any]]) -> list[str]:
        """What the services complained of."""
        return [event["log_format"] for event in events if event["log_level"] >= LogLevel.warn]

    def incoming(self) -> int:
        """How many drafts there are, in memory or on the disk."""
        return len(self.real_spool._receiving)
