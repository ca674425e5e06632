"""Scaling, put together with its concrete backends; a part of the composition root."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.components import proxyForInterface

from modabatchd.errors import StartupError
from modabatchd.figures import Figure, gauge
from modabatchd.infrastructure.accounting import Accounting
from modabatchd.infrastructure.book import Book
from modabatchd.infrastructure.bootstrap import Joining
from modabatchd.infrastructure.matching import offers
from modabatchd.infrastructure.parts import put_together
from modabatchd.infrastructure.policies.reading import examine
from modabatchd.infrastructure.policy import Policy
from modabatchd.infrastructure.pool import HTCondorPool
from modabatchd.infrastructure.providing import clouds
from modabatchd.infrastructure.scaling import Scaling
from modabatchd.infrastructure.tokens import SigningKey
from modabatchd.queue.htcondor.environment import Access
from modabatchd.queue.interfaces import IQueue, Refusal, Ticket
from modabatchd.queue.job import BackendId, Resources
from modabatchd.rest.analysis import Analysis
from modabatchd.rest.costs import Costs
from modabatchd.rest.infrastructure import Infrastructure
from modabatchd.store.costs import SQLCosts
from modabatchd.store.register import in_store
from modabatchd.store.sql import SQLStore

T = TypeVar("T")

_log: Final = Logger()


class Site(msgspec.Struct, frozen=True, kw_only=True):
    """
    Where nodes come to.

    @ivar policy: the file.
    @ivar signing_key: the file with the key that signs nodes' tokens; its name is the key's.
    @ivar domain: the pool's C{TRUST_DOMAIN} and C{UID_DOMAIN}.
    @ivar collector: C{host:port}, as nodes reach it.
    @ivar private: whether the pool cannot connect to its nodes.
    @ivar directory: where nodes of the local provider live.
    @ivar interval: seconds between two looks when nothing calls for one.
    @ivar dry_run: whether nothing is done of what is decided, whatever the policy says.
    @ivar owner: the URL to which it is posted what only the owner can mend; empty for none.
    @ivar access: how we reach the pool.
    @ivar environment: what the process that speaks to it inherits.
    @ivar scheduler: tells the name of the scheduler that has the jobs.
    """

    policy: Path
    signing_key: Path
    domain: str
    collector: str
    directory: Path
    access: Access
    environment: Mapping[str, str]
    scheduler: Callable[[], Deferred[str]]
    private: bool = False
    interval: float = 5.0
    owner: str = ""
    dry_run: bool = False


class Assembled(msgspec.Struct, frozen=True, kw_only=True):
    """
    What the daemon gets.

    @ivar services: bottom up.
    @ivar scaling: the topmost of them; wake it when a job comes or ends.  Its loop belongs to the service's health.
    @ivar resources: the operations.
    @ivar outlook: tells why a job that asks for this can never run.
    @ivar figures: what is told of the nodes.
    """

    services: tuple[Service, ...]
    scaling: Scaling
    resources: tuple[object, ...]
    outlook: Callable[[Resources], str | None]
    figures: tuple[Figure, ...]

    def waking(self, queue: IQueue) -> IQueue:
        """The queue, so that what happens there is looked at at once."""
        waking: IQueue = WakingQueue(queue, self.scaling.wake)
        return waking


def assemble(reactor: Any, day: Any, site: Site, instance: str, store: SQLStore, new_id: Callable[[], str]) -> Assembled:
    """
    All of it; nothing is touched before the services are started.

    @param reactor: goes by a clock that nobody sets.
    @param day: the same, telling the time of day.
    @param instance: the UUID of this installation.
    @param new_id: makes UUIDs.
    @raise StartupError: the policy is not usable at all, or the key cannot be read.
    """
    policy, unusable = _read(site.policy)
    policy = msgspec.structs.replace(policy, dry_run=policy.dry_run or site.dry_run)
    key = _key(site.signing_key)
    made, broken = clouds(reactor, policy, instance, site.directory)
    ads = offers(policy, site.domain)
    pool = HTCondorPool(day, key, site.domain, site.environment, site.access, ads, site.scheduler)
    register = in_store(store)
    joining = Joining(key=key, collector=site.collector, domain=site.domain, private=site.private)
    wrong = {**unusable, **broken}
    for name, reason in wrong.items():
        _log.error("pool {pool} cannot be used: {reason}", pool=name, reason=reason)
    parts = put_together(day, pool, made, register, policy, joining.user_data, new_id, wrong, site.interval, site.owner)
    nodes = Infrastructure(day, parts.scaling, parts.by_hand, parts.book, register)
    analysis = Analysis(day, store, parts.scaling)
    costs = SQLCosts(store)
    return Assembled(
        services=(pool, *made.values(), Accounting(day, costs, parts.scaling).loop, parts.scaling),
        scaling=parts.scaling,
        resources=(nodes, analysis, Costs(day, store, costs, parts.book)),
        outlook=analysis.outlook,
        figures=tuple(_figures(parts.book)),
    )


class WakingQueue(proxyForInterface(IQueue)):  # type: ignore[misc]
    """
    A queue that tells when a job has come or is over, so that nobody has to look all the time.

    @param queue: the real one.
    @param wake: is told.
    """

    def __init__(self, queue: IQueue, wake: Callable[[], None]) -> None:
        super().__init__(queue)
        self._wake = wake

    def submit(self, tickets: Sequence[Ticket]) -> Deferred[Sequence[BackendId | Refusal]]:
        """See L{IQueue.submit}."""
        return self._told(self.original.submit(tickets))

    def acknowledge(self, backend_ids: Sequence[BackendId]) -> Deferred[None]:
        """See L{IQueue.acknowledge}."""
        return self._told(self.original.acknowledge(backend_ids))

    def _told(self, doing: Deferred[T]) -> Deferred[T]:
        def done(result: T) -> T:
            self._wake()
            return result

        return doing.addCallback(done)


def _figures(book: Book) -> Iterator[Figure]:
    def states() -> Mapping[str, float]:
        return Counter(entry.node.state.value for entry in book.entries.values())

    yield gauge("nodes", "Nodes that are alive, by state.", states, "state")
    yield gauge("month_cost", "What nodes have cost this month, in the policy's currency.", book.spent, "pool")


def _read(path: Path) -> tuple[Policy, dict[str, str]]:
    """What of a policy can be used, and the pools that cannot, each with the reason."""
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        cause = f"The policy {path} cannot be read: {getattr(problem, 'strerror', None) or problem}."
        raise StartupError(cause, "Correct scaling.policy.") from None
    reading = examine(text)
    told = "\n".join(mistake.text(str(path)) for mistake in reading.mistakes)
    if reading.policy is None:
        raise StartupError(told, "conf/policies/complete.toml explains every key.")
    wrong: dict[str, str] = {}
    for mistake in reading.mistakes:
        if mistake.pool is not None:
            wrong[mistake.pool] = " ".join([*([wrong[mistake.pool]] if mistake.pool in wrong else []), mistake.text(str(path))])
    return reading.policy, wrong


def _key(path: Path) -> SigningKey:
    try:
        return SigningKey(path.name, path.read_bytes())
    except OSError as problem:
        cause = f"The signing key {path} cannot be read: {problem.strerror}."
        raise StartupError(cause, "See conf/htcondor-central-manager.conf for how to make one.") from None
