"""All of the daemon but its HTTP, on files, SQLite, a queue in memory and a clock of its own, in one life after the other."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from treq.client import HTTPClient
from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock

from modabatchd.clocks import TimeOfDay
from modabatchd.looping import Repeating
from modabatchd.notifications.delivery import Courier
from modabatchd.notifications.endpoints import Endpoints
from modabatchd.queue.bundle import BundleLimits
from modabatchd.queue.control import Control
from modabatchd.queue.retention import Retention
from modabatchd.queue.rounds import Rounds
from modabatchd.queue.spool import FileSpool
from modabatchd.queue.submission import Submission
from modabatchd.queue.watching import Watching
from modabatchd.rest.once import Once
from modabatchd.store.interfaces import Selection
from modabatchd.store.keys import SQLKeys
from modabatchd.store.sql import SQLStore
from modabatchd.store.webhooks import SQLWebhooks
from tests.deferreds import now
from tests.run_now import RunNow
from tests.simulation.life import Life, Odds, Part
from tests.simulation.queue import Queue
from tests.simulation.receivers import Receivers

#: When all begins; later than any real file was written, so that retention finds each of them old.
_EPOCH: Final = 4_000_000_000.0
_YEAR: Final = 365 * 86400.0
_PATIENCE: Final = 15.0
#: Seconds between two rounds of a loop, by its name.
_LOOPS: Final = {"look": 4.0, "sweep": 60.0, "repair": 10.0}


class World:
    """
    What outlives the daemon, and the daemon.

    @ivar log: one line for each thing that happened; the same seed writes the same log.
    @ivar odds: of the parts, by name; of this life and those that follow.
    @ivar broken: rules that were broken on the way.
    """

    def __init__(self, directory: Path, template: tuple[Path, str], chance: random.Random) -> None:
        file, self._instance = template
        shutil.copy(file, directory / "store.sqlite")
        self._directory = directory
        self._chance = chance
        self._numbers = 0
        self._steady = Clock()
        self._leapt = 0.0
        self.odds: dict[str, Odds] = {}
        self.log: list[str] = []
        self.broken: list[str] = []
        self.lives: list[Life] = []
        self.queue = Queue(self.seconds, self.broken.append)
        self.receivers = Receivers(chance, self._posted, self.note)
        self.born()

    def seconds(self) -> float:
        """The time of day."""
        return _EPOCH + self._steady.seconds() + self._leapt

    def note(self, line: str) -> None:
        """Write a line of the log."""
        self.log.append(f"{len(self.lives)} {self.seconds():.3f} {line}")

    def born(self) -> None:
        """Begin a life."""
        life = Life(self._chance, self.odds, self.note)
        life.lingering = self._linger
        self.lives.append(life)
        self.note("a life begins")
        self.real_store = SQLStore(f"sqlite:///{self._directory}/store.sqlite", self._instance, RunNow(), RunNow())
        self.real_spool = FileSpool(self._directory / "spool", 1 << 30, RunNow())
        self.real_spool.prepare()
        self.real_spool.startService()
        self._assemble(life, Part("store", self.real_store, life), Part("spool", self.real_spool, life))

    def _assemble(self, life: Life, store: Any, spool: Any) -> None:
        day: Any = TimeOfDay(life.clock, self.seconds)
        queue: Any = Part("queue", self.queue, life)
        keys: Any = Part("keys", SQLKeys(self.real_store.write, self.real_store.read), life)
        self.spool = spool
        self.once = Once(day, keys)
        registered: Any = Part("webhooks", SQLWebhooks(self.real_store.write, self.real_store.read), life)
        endpoints = Endpoints(registered, [])
        courier = Courier(day, store, endpoints, HTTPClient(self.receivers), 15.0, self._chance.random)
        watching = Watching(day, queue, store, spool, endpoints, self._new_id, courier.wake)
        self.submission = Submission(day, queue, store, spool, watching, RunNow(), BundleLimits(), self._new_id, _PATIENCE)
        rounds = Rounds(watching, self.submission)
        calls = {"look": rounds.look, "sweep": rounds.sweep, "repair": self.submission.repair}
        loops = {name: Repeating(day, _LOOPS[name], call, name, 10.0) for name, call in calls.items()}
        self.control = Control(queue, store, watching, loops["look"].wake)
        self.retention = Retention(day, store, spool, _YEAR, keys, _YEAR, life.clock.seconds)
        self._services = MultiService()
        for service in (courier, rounds, *loops.values()):
            service.setServiceParent(self._services)
        self._services.startService()

    def die(self) -> None:
        """The daemon is killed; only the connections to the database have to be closed by hand."""
        self.lives[-1].over = True
        now(self.real_store.stopService())

    def begin(self, work: Callable[[], Any]) -> None:
        """Have a client ask for something; what comes of it, it has to see for itself."""
        Deferred.fromCoroutine(work()).addErrback(lambda failure: self.note(f"refused: {failure.type.__name__}"))

    def run(self, seconds: float, step: float = 2.0) -> None:
        """Let time pass; a daemon that has died is started again."""
        for _ in range(round(seconds / step)):
            self._steady.advance(step)
            self.lives[-1].clock.advance(step)
            if self.lives[-1].over:
                self.die()
                self.born()

    def leap(self, seconds: float) -> None:
        """Somebody sets the clock."""
        self.note(f"the clock is set by {seconds:.0f} s")
        self._leapt += seconds

    def job_ids(self) -> list[str]:
        """Of all jobs that the store has."""
        return [listed.id for listed in now(self.real_store.page(Selection(), 1000)).jobs]

    def _linger(self, seconds: float, work: Callable[[], Any]) -> None:
        self._steady.callLater(seconds, lambda: maybeDeferred(work).addErrback(lambda _: None))

    def _new_id(self) -> str:
        self._numbers += 1
        return f"00000000-0000-4000-8000-{self._numbers:012}"

    def _posted(self, message_id: str, url: str) -> None:
        for delivery in now(self.real_store.due(float("inf"), 1000)):
            if delivery.message.id == message_id:
                job = now(self.real_store.get(delivery.message.job_id))
                if job is None or not job.state.final or job.request.notification != url:
                    self.broken.append(f"{message_id} was sent for a job that is not over")
                return
        self.broken.append(f"{message_id} was sent, and is not in the outbox")
