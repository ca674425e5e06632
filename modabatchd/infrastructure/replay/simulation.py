"""Runs a log through a rule."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from itertools import count
from typing import Protocol

import msgspec

from modabatchd.infrastructure.replay.cluster import Billing, Cluster, Kind, Machine, Placement
from modabatchd.infrastructure.replay.hazards import Fate, Hazards, fate
from modabatchd.infrastructure.replay.log import Job

_DAY = 86400.0
#: Days without any event after which jobs that wait are believed to wait for ever: a budget is a month's.
_FOR_EVER = 32 * _DAY
_NONE = Hazards()


Start = Callable[[Kind], Machine | None]


class Rule(Protocol):
    """
    Decides about nodes.

    @ivar name: what it is called.
    @ivar patience: seconds after which a node that has not joined is given up for it; L{None} if it does that itself.
    @ivar period: seconds between two of its decisions; L{None} if it decides whenever something has happened.
    """

    name: str
    period: float | None
    patience: float | None

    def decide(self, cluster: Cluster, now: float, start: Start) -> float | None:
        """
        Change the nodes of a cluster.

        @param start: orders a node; none comes beyond the limits.
        @return: when it wants to decide again even if nothing happens.
        """


class Most(msgspec.Struct, frozen=True):
    """What a cluster may have.  L{None}: any number."""

    nodes: int | None = None
    cores: int | None = None


class Sample(msgspec.Struct, frozen=True):
    """
    What it looked like since the last one: the most of each.

    @ivar asked: cores that jobs which wait or run ask for.
    @ivar busy, cores: those that jobs run on, and all, of nodes.
    @ivar money: spent until then.
    """

    at: float
    asked: int
    busy: int
    cores: int
    nodes: int
    money: float


def largest(samples: Sequence[Sample]) -> Sample:
    """The most of each, over several."""
    return Sample(**{name: max(getattr(sample, name) for sample in samples) for name in Sample.__struct_fields__})


class Run(msgspec.Struct, frozen=True):
    """
    What came of it.

    @ivar waits: seconds until its first run, of each job that had one.
    @ivar never: how many jobs had none, because nothing is started for them any more.
    @ivar again: how many runs were lost with their nodes, and had to be made again.
    @ivar core_seconds: that were paid for.
    """

    rule: str
    waits: Sequence[float]
    core_seconds: float
    money: float
    starts: int
    samples: Sequence[Sample]
    never: int = 0
    again: int = 0


class Simulation:
    """
    One log under one rule.

    @param boot: seconds from the order to the pool.
    @param most: orders beyond it are not carried out, whoever gives them.
    @param sampled: seconds between two samples; 0 for none.
    @param hazards: what goes wrong.
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
        hazards: Hazards = _NONE,
    ) -> None:
        self._jobs = jobs
        self._rule = rule
        self._boot = boot
        self._most = most
        self._now = 0.0
        self._numbers = count()
        self._hazards = hazards
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._lost: set[int] = set()
        self._again = 0
        self._active = 0.0
        self._waits: list[float] = []
        self._cluster = Cluster(placement, billing, self._started)
        self._sampled = sampled
        self._samples: list[Sample] = []
        self._peak: Sample | None = None
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
        return Run(
            rule=self._rule.name,
            waits=self._waits,
            core_seconds=cluster.core_seconds,
            money=cluster.money,
            starts=cluster.started,
            samples=self._samples,
            never=cluster.queued,
            again=self._again,
        )

    def _moment(self) -> float | None:
        """When something happens next; L{None} when nothing is worth waiting for."""
        moments = [self._events[0][0]] if self._events else []
        if self._next < len(self._jobs):
            moments.append(self._jobs[self._next].arrives)
        if self._cluster.queued or self._cluster.machines:
            moments.append(self._decides)
        moment = max(self._now, min(moments)) if moments else None
        quiet = self._next == len(self._jobs) and not self._events
        end = self._active + _FOR_EVER if self._cluster.queued else self._last + _DAY
        return None if moment is None or (quiet and moment > end) else moment

    def _happen(self) -> None:
        """Let everything happen that does at this moment."""
        while self._events and self._events[0][0] <= self._now:
            self._active = self._now
            heapq.heappop(self._events)[2]()
        while self._next < len(self._jobs) and self._jobs[self._next].arrives <= self._now:
            self._cluster.submit(self._jobs[self._next])
            self._next += 1
        if self._cluster.queued:
            self._cluster.place()

    def _at(self, moment: float, event: Callable[[], None]) -> None:
        heapq.heappush(self._events, (moment, next(self._numbers), event))

    def _ended(self, machine: Machine, job: Job) -> None:
        if machine.id in self._cluster.machines:
            self._cluster.end(machine, job, self._now)
            self._last = self._now
            self._woken = self._woken or not machine.jobs

    def _joined(self, machine: Machine, lives: float) -> None:
        if machine.id in self._cluster.machines:
            self._cluster.join(machine)
            self._woken = True
            if machine.spot and lives < float("inf"):
                self._at(self._now + lives, lambda: self._gone(machine))

    def _gone(self, machine: Machine) -> None:
        """Its provider has taken a node back, or it was given up."""
        if machine.id in self._cluster.machines:
            lost = self._cluster.lose(machine, self._now)
            self._lost |= {id(job) for job in lost}
            self._again += len(lost)
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

    def _start(self, kind: Kind) -> Machine | None:
        machines = self._cluster.machines
        if self._most.nodes is not None and len(machines) >= self._most.nodes:
            return None
        if self._most.cores is not None and self._cluster.cores + kind.cores > self._most.cores:
            return None
        machine = self._cluster.order(kind, self._now, self._boot)
        self._expect(machine, fate(self._hazards, machine.id))
        return machine

    def _expect(self, machine: Machine, fate: Fate) -> None:
        if fate.joins:
            self._at(machine.ready, lambda: self._joined(machine, fate.lives))
        elif self._rule.patience is not None:
            self._at(machine.born + self._rule.patience, lambda: self._gone(machine))

    def _started(self, job: Job, machine: Machine) -> None:
        if id(job) not in self._lost:
            self._waits.append(self._now - job.arrives)
        # An idle node has work.
        self._woken = self._woken or machine.jobs == 1
        self._at(self._now + job.runs, lambda: self._ended(machine, job))

    def _sample(self, until: float) -> None:
        """What it has looked like since the last event."""
        if not self._sampled:
            return
        cluster = self._cluster
        present = Sample(self._sampling, cluster.asked, cluster.busy, cluster.cores, len(cluster.machines), 0.0)
        self._peak = largest((self._peak or present, present))
        while self._sampling < until:
            owed = sum(cluster.owed(machine, self._sampling) for machine in cluster.machines.values())
            self._samples.append(msgspec.structs.replace(self._peak, at=self._sampling, money=cluster.money + owed))
            self._peak = present
            self._sampling += self._sampled
