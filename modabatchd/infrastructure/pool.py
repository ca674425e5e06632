"""
IPoolStatus on a real HTCondor pool.

Note [A pool without nodes]
===========================
A collector that was started a moment ago knows no node, though all of them may be there; each reports within its update
interval, five minutes as HTCondor comes.  Likewise a node of ours can make the collector forget another (HTCondor lets whoever
may advertise take back anybody's ads).  So that a node is not shown does not mean that it is gone; L{PoolLook.collector_since}
tells how much a silence is worth.

Note [A child of its own]
=========================
The questions asked here must not wait for the submission of a thousand jobs, nor the other way round.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final, TypeVar
from uuid import uuid4

import msgspec
from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from modabatchd.errors import QueueAway
from modabatchd.infrastructure import tokens
from modabatchd.infrastructure.interfaces import IPoolStatus
from modabatchd.infrastructure.look import DemandGroup, PoolLook
from modabatchd.infrastructure.node import Capacity
from modabatchd.infrastructure.presences import presences
from modabatchd.infrastructure.tokens import SigningKey
from modabatchd.queue.htcondor import frames
from modabatchd.queue.htcondor.calls import Calls
from modabatchd.queue.htcondor.environment import Access, child_environment
from modabatchd.queue.htcondor.spawning import Spawn

T = TypeVar("T")

_NAME: Final = re.compile(r"modabatch-[0-9a-f]{16}")
#: Seconds for which a token is good that is shown once.
_MOMENT: Final = 600.0
_CURE: Final = (
    "Check that the pool's collector and scheduler run (condor_status -any); nothing is started or stopped meanwhile."
)


@implementer(IPoolStatus)
class HTCondorPool(Service):
    """
    See L{IPoolStatus}, Note [A pool without nodes] and Note [A child of its own].

    @param reactor: provides L{twisted.internet.interfaces.IReactorProcess} and
        L{twisted.internet.interfaces.IReactorTime}.
    @param key: signs the tokens of nodes; the pool's daemons have it.
    @param domain: the pool's C{TRUST_DOMAIN} and C{UID_DOMAIN}.
    @param environment: what the child process inherits.
    @param offers: of each pool of the policy, ads of the machines that it could start, as ClassAd text.
    @param scheduler: tells the name of the scheduler that has the jobs: no other is asked what waits.  An empty name allows
        whichever is found.
    @param deadline: seconds that the pool may take for an answer.
    """

    def __init__(
        self,
        reactor: Any,
        key: SigningKey,
        domain: str,
        environment: Mapping[str, str],
        access: Access = Access(),  # noqa: B008 - frozen
        offers: Mapping[str, Sequence[str]] = {},
        scheduler: Callable[[], Deferred[str]] = lambda: succeed(""),
        deadline: float = 10.0,
    ) -> None:
        self.name = "pool"
        self._reactor = reactor
        self._key = key
        self._domain = domain
        self._offers = {name: list(ads) for name, ads in offers.items()}
        self._scheduler = scheduler
        self._deadline = deadline
        self._calls = Calls(reactor, Spawn(reactor, child_environment(environment, access)))

    def stopService(self) -> Deferred[None]:
        """Fires when the child process is gone."""
        super().stopService()
        return self._calls.stop()

    def look(self) -> Deferred[PoolLook]:
        """See L{IPoolStatus.look}."""
        return Deferred.fromCoroutine(self._look())

    def drain(self, name: str) -> Deferred[None]:
        """See L{IPoolStatus.drain}.  Fails as well if the pool does not show the node."""
        return self._tell(frames.Drain(_checked(name), self._administrator(name)))

    def resume(self, name: str) -> Deferred[None]:
        """See L{IPoolStatus.resume}.  Fails as well if the pool does not show the node."""
        return self._tell(frames.Resume(_checked(name), self._administrator(name)))

    def dismiss(self, name: str) -> Deferred[None]:
        """See L{IPoolStatus.dismiss}."""
        return Deferred.fromCoroutine(self._dismiss(_checked(name)))

    def token(self, name: str, lifetime: float) -> Deferred[str]:
        """See L{IPoolStatus.token}."""
        return succeed(self._node_token(_checked(name), lifetime))

    def revoke(self, names: Collection[str]) -> Deferred[None]:
        """
        See L{IPoolStatus.revoke}.

        HTCondor has no list of tokens: what can be done is to forget the nodes' ads.  A token is good until its own end, but
        for nothing else than to advertise a node of that name.
        """
        return Deferred.fromCoroutine(self._revoke(sorted(map(_checked, names))))

    async def _look(self) -> PoolLook:
        scheduler = await self._scheduler()
        ads: list[dict[str, Any]] = []
        shapes: list[frames.Shape] = []
        # Slots first: a job that starts in between is seen in neither, and no node is started for it.
        await self._call(frames.Slots(), ads.extend, scheduler)
        demand = frames.Demand(self._offers)
        await self._call(demand, lambda part: shapes.extend(msgspec.convert(part, list[frames.Shape])), scheduler)
        return PoolLook(
            at=self._reactor.seconds(),
            demand=tuple(map(_group, shapes)),
            presences=presences(ads),
            collector_since=_since(ads),
        )

    async def _dismiss(self, name: str) -> None:
        await self._tell(frames.Dismiss(name, self._administrator(name)))
        await self._revoke([name])

    async def _revoke(self, names: Sequence[str]) -> None:
        for name in names:
            await self._tell(frames.Forget(name, self._node_token(name, _MOMENT)))

    def _node_token(self, name: str, lifetime: float) -> str:
        return tokens.node_token(self._key, self._domain, name, self._reactor.seconds(), lifetime, uuid4().hex)

    def _administrator(self, name: str) -> str:
        return tokens.administrator_token(self._key, self._domain, name, self._reactor.seconds(), _MOMENT, uuid4().hex)

    def _tell(self, operation: frames.Operation) -> Deferred[None]:
        return self._call(operation, lambda part: None)

    def _call(self, operation: frames.Operation, take: Callable[[Any], None], scheduler: str = "") -> Deferred[None]:
        def translated(failure: Any) -> None:
            problem = failure.trap(QueueAway) and failure.value
            raise QueueAway(problem.cause, _CURE, problem.untouched) from problem

        return self._calls.call(operation, self._deadline, take, scheduler).addErrback(translated)


def _checked(name: str) -> str:
    """@raise ValueError: it is no name of a node of ours, and must not get into a constraint."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not the name of a node")
    return name


def _group(shape: frames.Shape) -> DemandGroup:
    return DemandGroup(
        id=shape.id,
        count=shape.count,
        each=Capacity(cpus=shape.cpus, memory=shape.memory, disk=shape.disk, gpus=shape.gpus),
        oldest=shape.oldest,
        pools=frozenset(shape.offers),
    )


def _since(ads: Sequence[Mapping[str, Any]]) -> float:
    """When the collector was started; now, as far as one knows, if it does not say."""
    collectors = [ad for ad in ads if ad.get("MyType") == "Collector"]
    return max((float(ad.get("StatsLastUpdateTime", 0)) - float(ad.get("StatsLifetime", 0)) for ad in collectors), default=0.0)
