"""
The composition root: the parts of the daemon, each made from the ones before it.

It and what it calls for nodes and figures, L{modabatchd.infrastructure_tap} and L{modabatchd.metrics_tap}, alone name concrete
backends.
"""

from __future__ import annotations

import os
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar
from uuid import uuid4

import msgspec
from twisted.application import strports
from twisted.application.service import Service
from twisted.logger import Logger

from modabatchd import __version__, startup
from modabatchd.clocks import TimeOfDay
from modabatchd.config import Settings, address
from modabatchd.figures import Figure
from modabatchd.lag import Lag
from modabatchd.looping import Call, Repeating
from modabatchd.metrics_tap import of_htcondor, of_services, of_spool
from modabatchd.notifications.addresses import allowed
from modabatchd.notifications.agent import guarded_client
from modabatchd.notifications.delivery import Courier
from modabatchd.notifications.endpoints import Endpoints
from modabatchd.queue.bulk import BulkControl
from modabatchd.queue.bundle import BundleLimits
from modabatchd.queue.control import Control
from modabatchd.queue.embedded.machine import this_machine
from modabatchd.queue.embedded.queue import EmbeddedQueue
from modabatchd.queue.following import Following
from modabatchd.queue.htcondor.deadlines import Deadlines
from modabatchd.queue.htcondor.environment import Access
from modabatchd.queue.htcondor.events import Events
from modabatchd.queue.htcondor.queue import HTCondorQueue
from modabatchd.queue.interfaces import IQueue
from modabatchd.queue.job_events import JobEvents
from modabatchd.queue.retention import Retention
from modabatchd.queue.rounds import Rounds
from modabatchd.queue.spool import FileSpool
from modabatchd.queue.submission import Submission
from modabatchd.queue.watching import Watching
from modabatchd.rest.app import Application
from modabatchd.rest.artifacts import Artifacts
from modabatchd.rest.documentation import Documentation
from modabatchd.rest.health import Pulse
from modabatchd.rest.jobs import Jobs
from modabatchd.rest.live import Live
from modabatchd.rest.looking import Looking
from modabatchd.rest.many import Many
from modabatchd.rest.metrics import Metrics
from modabatchd.rest.once import Once
from modabatchd.rest.operations import operations
from modabatchd.rest.site import Site
from modabatchd.rest.tasks import Tasks
from modabatchd.rest.upload import Upload
from modabatchd.rest.webhooks import Webhooks
from modabatchd.stack import Stack
from modabatchd.store.bulk import bulk_in
from modabatchd.store.claiming import Claim
from modabatchd.store.connecting import read_url
from modabatchd.store.glancing import Glances
from modabatchd.store.keys import SQLKeys
from modabatchd.store.sql import SQLStore
from modabatchd.store.webhooks import SQLWebhooks
from modabatchd.workers import IWorkers, ThreadWorkers

if TYPE_CHECKING:
    from modabatchd.infrastructure_tap import Assembled

S = TypeVar("S", bound=Service)

_WRAPPER: Final = Path(__file__).parent / "queue/wrapper.sh"
_OURS: Final = "MODABATCH_"
#: Seconds between two searches for jobs that are past their retention time.
_RETENTION: Final = 600.0
#: Seconds between two searches for actions on many jobs that a crash has broken off; what is new begins at once.
_OPERATIONS: Final = 60.0
_LONGEST_PAUSE: Final = 10.0
#: Seconds between two looks at what the queue tells of changes.
_BEAT: Final = 0.2
#: Seconds for which a reader of the database goes on before it tells what it has read.
_TOGETHER: Final = 0.002


class _Parts(msgspec.Struct, frozen=True, kw_only=True):
    """
    What the API stands on.

    @ivar queue: wakes the scaling up, if there is one.
    @ivar loops: by name; some are added while the API is made.
    @ivar figures: for the metrics, beside those of the other parts.
    """

    store: SQLStore
    spool: FileSpool
    queue: IQueue
    watching: Watching
    submission: Submission
    outcomes: SQLWebhooks
    endpoints: Endpoints
    courier: Courier
    scaling: Assembled | None
    loops: dict[str, Repeating]
    figures: list[Figure] = []


class Daemon:
    """
    Makes the parts of the daemon, each from the ones before it, and stacks up those that are services.

    @param instance: the UUID of this installation.
    """

    def __init__(self, reactor: Any, settings: Settings, instance: str) -> None:
        self._reactor = reactor
        self._day: Any = TimeOfDay(reactor)
        self._settings = settings
        self._instance = instance
        self._stack = Stack()

    def service(self) -> Service:
        """All of them, bottom up."""
        settings, clock = self._settings, self._day
        files, inspectors = self._workers("writers of files", 4), self._workers("inspectors", 2)
        store = self._store()
        spool = self._add(FileSpool(settings.spool.directory, settings.spool.quota, files))
        spool.prepare()
        queue = self._queue(store)
        self._reactor.addSystemEventTrigger("before", "shutdown", queue.hurry)
        scaling = self._scaling(store, queue)
        known = queue if scaling is None else scaling.waking(queue)
        outcomes = SQLWebhooks(store.write, store.read)
        endpoints = Endpoints(outcomes, startup.own_secrets(settings.daemon.directory))
        courier = self._courier(store, endpoints)
        watching = Watching(clock, known, store, spool, endpoints, _new_id, courier.wake)
        submission = self._submission(known, store, spool, watching, inspectors)
        parts = _Parts(
            store=store,
            spool=spool,
            queue=known,
            watching=watching,
            submission=submission,
            outcomes=outcomes,
            endpoints=endpoints,
            courier=courier,
            scaling=scaling,
            loops=self._loops(watching, submission, store, spool, courier),
        )
        if isinstance(queue, EmbeddedQueue):
            parts.loops["embedded"] = queue.loop
        else:
            parts.figures.extend(of_htcondor(queue.changes))
        once = Once(clock, SQLKeys(store.write, store.read))
        self._serve(self._resources(parts, once), spool, files, once)
        return self._stack

    def _loops(
        self, watching: Watching, submission: Submission, store: SQLStore, spool: FileSpool, courier: Courier
    ) -> dict[str, Repeating]:
        wanted = self._settings.queue
        rounds = self._add(Rounds(watching, submission))
        return {
            "watching": self._add(Repeating(self._day, _BEAT, rounds.look, "watching", longest=wanted.poll_interval)),
            "sweeping": self._loop("sweeping", wanted.sweep_interval, rounds.sweep),
            "submission": self._loop("submission", wanted.poll_interval, submission.repair),
            "retention": self._retention(store, spool),
            "notifications": self._add(courier).loop,
        }

    def _resources(self, parts: _Parts, once: Once) -> Sequence[object]:
        """What the API consists of."""
        clock, store, settings = self._day, parts.store, self._settings
        control = Control(parts.queue, store, parts.watching, parts.loops["watching"].wake)
        readers, events = self._workers("readers of files", 4), JobEvents(clock, store)
        store.listen(events.wake)
        following = Following(clock, parts.queue, store, parts.spool, events, readers)
        artifacts = Artifacts(parts.spool, following, readers)
        outlook = None if parts.scaling is None else parts.scaling.outlook
        overlap = settings.notifications.secret_overlap
        return [
            Many(self._bulk(parts, control)),
            Jobs(store, parts.spool, parts.submission, control, artifacts, once, outlook),
            Looking(store, events),
            Live(events),
            Tasks(store, artifacts, control),
            Webhooks(clock, parts.endpoints, store, parts.outcomes, parts.courier, overlap, _new_id),
            *self._nodes(parts),
            Pulse(settings.queue.backend, parts.loops),
            self._metrics(parts),
        ]

    def _bulk(self, parts: _Parts, control: Control) -> BulkControl:
        loops, store = parts.loops, parts.store
        watch, go_on = loops["watching"].wake, lambda: loops["operations"].wake()
        bulk = BulkControl(self._day, parts.queue, store, bulk_in(store), control.act, _new_id, watch, go_on)
        loops["operations"] = self._loop("operations", _OPERATIONS, bulk.carry_out)
        return bulk

    def _nodes(self, parts: _Parts) -> Sequence[object]:
        if parts.scaling is None:
            return ()
        parts.loops["scaling"] = parts.scaling.scaling.loop
        parts.figures.extend(parts.scaling.figures)
        return parts.scaling.resources

    def _metrics(self, parts: _Parts) -> Metrics:
        services = of_services(parts.watching, parts.submission, parts.courier)
        figures = [*services, *of_spool(parts.spool, self._settings.spool.quota), *parts.figures]
        return Metrics(self._day.seconds, parts.store, parts.loops, self._add(Lag(self._reactor)), figures)

    def _scaling(self, store: SQLStore, queue: EmbeddedQueue | HTCondorQueue) -> Assembled | None:
        """What has nodes come and go, if the owner wants that."""
        wanted, condor = self._settings.scaling, self._settings.queue.htcondor
        if wanted.policy is None or wanted.signing_key is None or not isinstance(queue, HTCondorQueue):
            return None
        # Not before it is needed: libcloud takes its time to import.
        from modabatchd.infrastructure_tap import Site, assemble

        site = Site(
            policy=wanted.policy,
            signing_key=wanted.signing_key,
            domain=wanted.domain,
            collector=wanted.collector or condor.collector,
            private=wanted.private,
            interval=wanted.interval,
            owner=wanted.notification,
            dry_run=wanted.dry_run,
            scheduler=queue.scheduler,
            directory=self._settings.daemon.directory / "nodes",
            access=self._access(),
            environment=_without_ours(os.environ),
        )
        assembled = assemble(self._reactor, self._day, site, self._instance, store, _new_id)
        for service in assembled.services:
            self._add(service)
        return assembled

    def _add(self, service: S) -> S:
        service.setServiceParent(self._stack)
        return service

    def _workers(self, name: str, size: int, together: float = 0.0) -> ThreadWorkers:
        return self._add(ThreadWorkers(self._reactor, name, size, together))

    def _store(self) -> SQLStore:
        url, reactor = self._settings.store.url, self._reactor
        claim = self._add(Claim(reactor, url, self._instance, self._workers("claiming", 1), reactor.stop))
        writer, readers = self._workers("writer", 1), self._workers("readers", 2, _TOGETHER)
        glances = Glances(url) if read_url(url).drivername == "sqlite" else None
        store = self._add(SQLStore(url, self._instance, writer, readers, reactor, claim.held, glances))
        reactor.addSystemEventTrigger("before", "shutdown", store.hurry)
        return store

    def _loop(self, name: str, interval: float, call: Call) -> Repeating:
        return self._add(Repeating(self._day, interval, call, name, longest=max(interval, _LONGEST_PAUSE)))

    def _queue(self, store: SQLStore) -> EmbeddedQueue | HTCondorQueue:
        if self._settings.queue.backend == "htcondor":
            return self._add(self._htcondor(store))
        embedded = self._settings.queue.embedded
        directory = self._settings.daemon.directory / "embedded"
        queue = EmbeddedQueue(
            self._day,
            directory,
            _WRAPPER,
            self._workers("files of runs", 2),
            this_machine(),
            embedded.slots,
            embedded.on_shutdown,
            embedded.grace,
        )
        queue.prepare()
        return self._add(queue)

    def _access(self) -> Access:
        wanted = self._settings.queue.htcondor
        return Access(
            collector=wanted.collector or None,
            schedd=wanted.schedd or None,
            token_directory=wanted.token_directory,
            config_file=wanted.config_file,
        )

    def _htcondor(self, store: SQLStore) -> HTCondorQueue:
        wanted = self._settings.queue.htcondor
        deadlines = Deadlines(query=wanted.query_timeout, submit=wanted.submit_timeout, transfer=wanted.transfer_timeout)
        spool = self._settings.spool.directory
        return HTCondorQueue(
            self._reactor,
            self._instance,
            _WRAPPER,
            spool,
            _without_ours(os.environ),
            self._access(),
            wanted.transfer,
            deadlines,
            store.schedd,
            store.remember_schedd,
            self._settings.queue.poll_interval,
            Events(spool / "events", self._workers("readers of events", 1), self._day.seconds),
        )

    def _retention(self, store: SQLStore, spool: FileSpool) -> Repeating:
        keep, keep_keys = self._settings.spool.retention, self._settings.http.key_retention
        keys = SQLKeys(store.write, store.read)
        retention = Retention(self._day, store, spool, keep, keys, keep_keys, more=lambda: loop.wake())
        loop = self._loop("retention", _RETENTION, retention.sweep)
        return loop

    def _courier(self, store: SQLStore, endpoints: Endpoints) -> Courier:
        wanted = self._settings.notifications
        client = guarded_client(self._reactor, lambda address: allowed(address, wanted.allowed_private), wanted.timeout)
        return Courier(self._day, store, endpoints, client, wanted.timeout, random.random)

    def _submission(
        self, queue: IQueue, store: SQLStore, spool: FileSpool, watching: Watching, inspectors: IWorkers
    ) -> Submission:
        wanted = self._settings.bundle
        limits = BundleLimits(
            max_members=wanted.max_members, max_unpacked=wanted.max_unpacked_size, max_ratio=wanted.max_compression_ratio
        )
        largest = self._settings.queue.max_array_size
        return Submission(self._day, queue, store, spool, watching, inspectors, limits, _new_id, largest_array=largest)

    def _serve(self, resources: Sequence[object], spool: FileSpool, files: IWorkers, once: Once) -> None:
        settings = self._settings.http
        everything = [*resources, Documentation(about for resource in resources for about, _ in operations(resource))]
        application = Application(everything, settings.allowed_hosts, lambda head: Upload(head, spool, files), once)
        site = Site(application.resource(), application.reception, settings, self._reactor)
        self._add(strports.service(settings.listen, site, reactor=self._reactor))
        self._add(Announcement(self._settings))


class Announcement(Service):
    """Tells the log, once all else has been started, where the daemon listens and where its state is."""

    _log = Logger()

    def __init__(self, settings: Settings) -> None:
        self.setName("announcement")
        self._settings = settings

    def startService(self) -> None:
        """Tell."""
        super().startService()
        settings = self._settings
        self._log.info(
            "modabatchd {version} listens on {where}; queue: {backend}; state: {directory}",
            version=__version__,
            where=address(settings.http.listen),
            backend=settings.queue.backend,
            directory=settings.daemon.directory,
        )


def _without_ours(environ: Mapping[str, str]) -> Mapping[str, str]:
    """An environment for child processes: our own variables may hold the password of the database."""
    return {name: value for name, value in environ.items() if not name.startswith(_OURS)}


def _new_id() -> str:
    return str(uuid4())
