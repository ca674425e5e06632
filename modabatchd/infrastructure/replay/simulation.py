"""Runs a log through a rule."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from itertools import count
from typing import Protocol

import msgspec

from modabatchd.infrastructure.replay.cluster import Billing, Cluster, Machine, Placement
from modabatchd.infrastructure.replay.log import Job

_DAY = 86400.0


class Rule(Protocol):
    """
    Decides about nodes.

    @ivar name: what it is called.
    @ivar period: seconds between two of its decisions; L{None} if it decides whenever something has happened.
    """

    name: str
    period: float | None

    def decide(self, cluster: Cluster, now: float, start: Callable[[str, int, float], Machine | None]) -> float | None:
        """
        Change the nodes of a cluster.

        @param start: orders a node: its size, its cores, its price per hour; none comes beyond the limits.
        @return: when it wants to decide again even if nothing happens.
        """


class Most(msgspec.Struct, frozen=True):
    """What a cluster may have.  L{None}: any number."""

    nodes: int | None = None
    cores: int | None = None


class Sample(msgspec.Struct, frozen=True):
    """
    What it looked like at one time.  @ivar waiting: cores asked for.  @ivar busy, cores: of nodes.  @ivar money: spent so
    far.
    """

    at: float
    waiting: int
    busy: int
    cores: int
    nodes: int
    money: float


class Run(msgspec.Struct, frozen=True):
    """
    What came of it.

    @ivar waits: seconds, of each job.
    @ivar core_seconds: that were paid for.
    """

    rule: str
    waits: Sequence[float]
    core_seconds: float
    money: float
    starts: int
    samples: Sequence[Sample]


class Simulation:
    """
    One log under one rule.

    @param boot: seconds from the order to the pool.
    @param most: orders beyond it are not carried out, whoever gives them.
    @param sampled: seconds between two samples; 0 for none.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        rule: Rule,
        placement: Placement,
        billing: Billing,
        boot: float,
        most: Most,
        sampled: float = 0.0,
    ) -> None:
        self._jobs = jobs
        self._rule = rule
        self._boot = boot
        self._most = most
        self._now = 0.0
        self._numbers = count()
        self._events: list[tuple[float, int, Machine, Job | None]] = []
        self._waits: list[float] = []
        self._cluster = Cluster(placement, billing, self._started)
        self._sampled = sampled
        self._samples: list[Sample] = []
        self._next = 0
        self._decides = 0.0
        self._woken = False
        self._queued = 0
        self._last = 0.0
        self._sampling = 0.0

    def run(self) -> Run:
        """Until the last job has ended and the last node has gone, or a day longer for nodes that never go."""
        while (moment := self._moment()) is not None:
            self._sample(moment)
            self._now = moment
            self._happen()
            if self._due():
                self._decide()
        cluster = self._cluster
        for machine in list(cluster.machines.values()):
            cluster.stop(machine, self._now)
        return Run(self._rule.name, self._waits, cluster.core_seconds, cluster.money, cluster.started, self._samples)

    def _moment(self) -> float | None:
        """When something happens next; L{None} when nothing is worth waiting for."""
        moments = [self._events[0][0]] if self._events else []
        if self._next < len(self._jobs):
            moments.append(self._jobs[self._next].arrives)
        if self._cluster.queued or self._cluster.machines:
            moments.append(self._decides)
        moment = max(self._now, min(moments)) if moments else None
        over = self._next == len(self._jobs) and not self._events and not self._cluster.queued
        return None if moment is None or (over and moment > self._last + _DAY) else moment

    def _happen(self) -> None:
        """Let everything happen that does at this moment."""
        while self._events and self._events[0][0] <= self._now:
            self._event(*heapq.heappop(self._events)[2:])
        while self._next < len(self._jobs) and self._jobs[self._next].arrives <= self._now:
            self._cluster.submit(self._jobs[self._next])
            self._next += 1
        if self._cluster.queued:
            self._cluster.place()

    def _event(self, machine: Machine, job: Job | None) -> None:
        if job is not None:
            self._cluster.end(machine, job, self._now)
            self._last = self._now
            self._woken = self._woken or not machine.jobs
        elif machine.id in self._cluster.machines:
            self._cluster.join(machine)
            self._woken = True

    def _due(self) -> bool:
        """Whether the rule is asked now."""
        period = self._rule.period
        if period is None:
            return self._woken or self._now >= self._decides or self._cluster.queued > self._queued
        if self._decides + period < self._now:
            # It has slept while there was nothing at all; its clock has not.
            self._decides = -(-self._now // period) * period
        return self._now >= self._decides

    def _decide(self) -> None:
        wish = self._rule.decide(self._cluster, self._now, self._start)
        if self._rule.period is not None:
            self._decides = (self._now // self._rule.period + 1) * self._rule.period
        else:
            self._decides = self._now + _DAY if wish is None else wish
        # Nodes that were called back may have taken jobs.
        if self._cluster.queued:
            self._cluster.place()
        self._woken, self._queued = False, self._cluster.queued

    def _start(self, size: str, cores: int, price: float) -> Machine | None:
        machines = self._cluster.machines
        if self._most.nodes is not None and len(machines) >= self._most.nodes:
            return None
        if self._most.cores is not None and sum(machine.cores for machine in machines.values()) + cores > self._most.cores:
            return None
        machine = self._cluster.order(size, cores, price, self._now, self._boot)
        heapq.heappush(self._events, (machine.ready, next(self._numbers), machine, None))
        return machine

    def _started(self, job: Job, machine: Machine) -> None:
        self._waits.append(self._now - job.arrives)
        # An idle node has work.
        self._woken = self._woken or machine.jobs == 1
        heapq.heappush(self._events, (self._now + job.runs, next(self._numbers), machine, job))

    def _sample(self, until: float) -> None:
        """What it has looked like since the last event."""
        while self._sampled and self._sampling < until:
            machines = self._cluster.machines.values()
            cores = sum(machine.cores for machine in machines)
            busy = sum(machine.cores - machine.free for machine in machines)
            waiting = sum(cpus * len(jobs) for cpus, jobs in self._cluster.waiting.items())
            money = self._cluster.money + sum(self._cluster.owed(machine, self._sampling) for machine in machines)
            self._samples.append(Sample(self._sampling, waiting, busy, cores, len(machines), money))
            self._sampling += self._sampled
