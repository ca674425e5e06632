"""An HTCondor pool in memory: machines of a cloud in memory join it, and jobs run on them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

import msgspec
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock
from zope.interface import implementer

from modabatchd.errors import QueueAway
from modabatchd.infrastructure.interfaces import IPoolStatus
from modabatchd.infrastructure.look import DemandGroup, PoolLook, Presence
from modabatchd.infrastructure.memory import MemoryCloud
from modabatchd.infrastructure.node import Capacity, MachineState

GONE = (MachineState.STOPPING, MachineState.TERMINATED, MachineState.STOPPED, MachineState.ERROR)


class SimulatedJob(msgspec.Struct):
    id: str
    submitted: float
    seconds: float
    cpus: int = 1
    node: str | None = None
    started: float | None = None
    ended: float | None = None


class SimulatedNode(msgspec.Struct):
    name: str
    machine: str
    cloud: MemoryCloud
    total: Capacity
    heard: float
    draining: bool = False
    told: int = 0
    hidden_until: float = 0.0


@implementer(IPoolStatus)
class SimulatedPool:
    """
    @ivar away: nobody answers.
    @ivar joins: whether machines join.
    @ivar deaf: nodes that do not hear that they should drain.
    @ivar blind: what was done to a cloud while it, or the pool, could not be seen.
    @ivar killed: jobs that ran when their machine went, with the machine.
    """

    def __init__(self, clock: Clock, clouds: Sequence[MemoryCloud]) -> None:
        self._clock = clock
        self._clouds = clouds
        self.jobs: list[SimulatedJob] = []
        self.nodes: dict[str, SimulatedNode] = {}
        self.away = False
        self.joins = True
        self.deaf: set[str] = set()
        self.since = 0.0
        self.pools = frozenset(cloud.name for cloud in clouds)
        self.killed: list[tuple[str, str]] = []
        self.revoked: list[str] = []
        self.blind: list[str] = []
        self.looks = 0
        self._dismissed: set[str] = set()

    def restart_collector(self) -> None:
        """It knows each node again as soon as that has reported, which takes up to five minutes."""
        self.since = self._clock.seconds()
        for number, node in enumerate(self.nodes.values(), 1):
            node.hidden_until = self.since + 100.0 * number % 290.0

    def submit(self, count: int, seconds: float = 100.0, cpus: int = 1) -> None:
        now = self._clock.seconds()
        for _ in range(count):
            self.jobs.append(SimulatedJob(f"s#{len(self.jobs)}", now, seconds, cpus))

    def waiting(self) -> list[SimulatedJob]:
        return [job for job in self.jobs if job.started is None]

    def running(self, name: str) -> list[SimulatedJob]:
        return [job for job in self.jobs if job.node == name and job.ended is None]

    def step(self) -> None:
        """What HTCondor does by itself: nodes join and report, jobs end and start."""
        now = self._clock.seconds()
        self._join(now)
        for job in self.jobs:
            if job.started is not None and job.ended is None and now >= job.started + job.seconds:
                job.ended = now
        for node in self.nodes.values():
            for job in self.waiting():
                if not node.draining and not self._hidden(node) and job.cpus <= self._free(node).cpus:
                    job.node, job.started = node.name, now

    def _join(self, now: float) -> None:
        for cloud in self._clouds:
            there = {machine.id: machine for machine in cloud.everything() if machine.node_id}
            for name in [name for name, node in self.nodes.items() if node.cloud is cloud]:
                machine = there.get(self.nodes[name].machine)
                if machine is None or machine.state in GONE:
                    self._lose(name)
                else:
                    self.nodes[name].heard = now
            for machine in there.values():
                order = cloud.order(machine.id)
                taken = machine.name in self.nodes or machine.name in self._dismissed
                if self.joins and order and machine.state is MachineState.RUNNING and not taken:
                    total = order.node.capacity
                    self.nodes[machine.name] = SimulatedNode(machine.name, machine.id, cloud, total, now)

    def _lose(self, name: str) -> None:
        for job in self.running(name):
            self.killed.append((job.id, self.nodes[name].machine))
            job.node = job.started = None
        del self.nodes[name]

    def _free(self, node: SimulatedNode) -> Capacity:
        cpus = node.total.cpus - sum(job.cpus for job in self.running(node.name))
        return Capacity(cpus=cpus, memory=node.total.memory * cpus // node.total.cpus)

    def look(self) -> Deferred[PoolLook]:
        return maybeDeferred(self._look)

    def drain(self, name: str) -> Deferred[None]:
        return maybeDeferred(self._drain, name, True)

    def resume(self, name: str) -> Deferred[None]:
        return maybeDeferred(self._drain, name, False)

    def dismiss(self, name: str) -> Deferred[None]:
        return maybeDeferred(self._dismiss, name)

    def token(self, name: str, lifetime: float) -> Deferred[str]:
        return maybeDeferred(self._answered, f"token of {name} for {lifetime:.0f} s")

    def revoke(self, names: Collection[str]) -> Deferred[None]:
        return maybeDeferred(self._revoke, names)

    def _answered(self, answer: str = "") -> str:
        if self.away:
            raise QueueAway("The simulated pool is away.", "Set away to False.", untouched=True)
        return answer

    def _look(self) -> PoolLook:
        self._answered()
        self.looks += 1
        shapes = Counter(job.cpus for job in self.waiting())
        oldest = min((job.submitted for job in self.waiting()), default=0.0)
        return PoolLook(
            at=self._clock.seconds(),
            demand=tuple(
                DemandGroup(
                    id=f"cpus-{cpus}", count=count, each=Capacity(cpus=cpus, memory=128), oldest=oldest, pools=self.pools
                )
                for cpus, count in sorted(shapes.items())
            ),
            presences=tuple(self._presence(node) for node in self.nodes.values() if not self._hidden(node)),
            collector_since=self.since,
        )

    def _hidden(self, node: SimulatedNode) -> bool:
        return self._clock.seconds() < node.hidden_until

    def _presence(self, node: SimulatedNode) -> Presence:
        return Presence(
            name=node.name,
            total=node.total,
            free=self._free(node),
            jobs=tuple(job.id for job in self.running(node.name)),
            draining=node.draining,
            heard=node.heard,
        )

    def _drain(self, name: str, draining: bool) -> None:
        self._answered()
        if name not in self.nodes or self._hidden(self.nodes[name]):
            raise QueueAway("The pool does not show that node.", "Ask for another.")
        self.nodes[name].told += 1
        if name not in self.deaf:
            self.nodes[name].draining = draining

    def _dismiss(self, name: str) -> None:
        self._answered()
        if name in self.nodes:
            self._dismissed.add(name)
            self._lose(name)

    def _revoke(self, names: Collection[str]) -> None:
        self._answered()
        self.revoked.extend(names)
