"""
What others do, as far as their documentation and sources tell, each on the same simulated cluster.

All of them see the queue without delay and never wait for a provider, so what is shown of them is their best.  None of them
knows what money is.  What has not joined is given up after the time that most of them have for it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

from modabatchd.infrastructure.replay.cluster import Cluster, Kind, Machine
from modabatchd.infrastructure.replay.simulation import Rule, Start

#: Seconds after which a node that has not joined is given up.
PATIENCE: Final = 900.0


class Packing:
    """
    Packs waiting jobs into nodes that are there or boot, and starts nodes for the rest.

    @param kinds: the largest is started while it is filled; what is left gets the smallest that holds it.
    @param idle: seconds that a node without jobs is kept.
    @param quiet: seconds after a start in which nothing is stopped.
    """

    patience: float | None = PATIENCE

    def __init__(self, name: str, period: float, kinds: Sequence[Kind], idle: float, quiet: float = 0.0) -> None:
        self.name = name
        self.period: float | None = period
        self._kinds = sorted(kinds, key=lambda kind: kind.cores)
        self._idle = idle
        self._quiet = quiet
        self._started = float("-inf")

    def decide(self, cluster: Cluster, now: float, start: Start) -> None:
        """See L{Rule}."""
        for free in _new_rooms(cluster, self._kinds[-1].cores):
            used = self._kinds[-1].cores - free
            kind = next(kind for kind in self._kinds if kind.cores >= used)
            start(kind)
            self._started = now
        if now - self._started >= self._quiet:
            for machine in _empty(cluster):
                if now - machine.empty_since >= self._idle:
                    cluster.stop(machine, now)


class Allocating:
    """
    Slurm's power saving: a job for which nothing is free is allocated to a node that is then powered up, and waits for that
    one.

    @param idle: seconds that a node without jobs is kept.
    """

    patience: float | None = PATIENCE

    def __init__(self, name: str, period: float, kind: Kind, idle: float) -> None:
        self.name = name
        self.period: float | None = period
        self._kind = kind
        self._idle = idle

    def decide(self, cluster: Cluster, now: float, start: Start) -> None:
        """See L{Rule}."""
        booting = [machine for machine in cluster.machines.values() if not machine.up and machine.free]
        for cpus, jobs in sorted(cluster.waiting.items(), reverse=True):
            while jobs and (machine := self._node(cpus, booting, start)) is not None:
                cluster.bind(jobs.popleft(), machine)
        for machine in _empty(cluster):
            if now - machine.empty_since >= self._idle:
                cluster.stop(machine, now)

    def _node(self, cpus: int, booting: list[Machine], start: Start) -> Machine | None:
        for machine in booting:
            if machine.free >= cpus:
                return machine
        new = start(self._kind)
        if new is not None:
            booting.append(new)
        return new


class PerMinute:
    """
    Google's cluster toolkit, for HTCondor: once a minute, nodes for the cores asked for, less those that are idle or boot.

    It ignores free cores on busy nodes, and goes down as soon as the target does: booting nodes first, then idle ones.
    """

    period: float | None = 60.0
    patience: float | None = PATIENCE

    def __init__(self, name: str, kind: Kind) -> None:
        self.name = name
        self._kind = kind

    def decide(self, cluster: Cluster, now: float, start: Start) -> None:
        """See L{Rule}."""
        asked = sum(cpus * len(jobs) for cpus, jobs in cluster.waiting.items())
        booting = [machine for machine in cluster.machines.values() if not machine.up]
        spare = [*booting, *_empty(cluster)]
        missing = -(-asked // self._kind.cores) - len(spare)
        for _ in range(missing):
            start(self._kind)
        for machine in spare[: max(0, -missing)]:
            cluster.stop(machine, now)


class Formula:
    """
    Azure Batch's formula from its documentation: every five minutes, the average of three minutes' tasks.

    It goes down to half at most at a time, and a node that is to go finishes its tasks.
    """

    period: float | None = 60.0
    patience: float | None = PATIENCE

    def __init__(self, name: str, kind: Kind) -> None:
        self.name = name
        self._kind = kind
        self._tasks: deque[int] = deque(maxlen=3)
        self._ticks = 0

    def decide(self, cluster: Cluster, now: float, start: Start) -> None:
        """See L{Rule}."""
        asked = sum(cpus * len(jobs) for cpus, jobs in cluster.waiting.items())
        self._tasks.append(asked + sum(machine.cores - machine.free for machine in cluster.machines.values()))
        self._ticks += 1
        for machine in [machine for machine in _empty(cluster, draining=True) if machine.draining]:
            cluster.stop(machine, now)
        if self._ticks % 5 == 0:
            self._resize(cluster, now, start)

    def _resize(self, cluster: Cluster, now: float, start: Start) -> None:
        current = [machine for machine in cluster.machines.values() if not machine.draining]
        target = -(-round(sum(self._tasks) / len(self._tasks)) // self._kind.cores)
        target = max(target, len(current) // 2)
        for _ in range(target - len(current)):
            start(self._kind)
        for machine in sorted(current, key=lambda machine: (machine.up, machine.jobs))[: max(0, len(current) - target)]:
            if machine.jobs:
                cluster.drain(machine)
            else:
                cluster.stop(machine, now)


def peers(kinds: Sequence[Kind]) -> list[Rule]:
    """All of them, for the largest of these kinds; Karpenter once more with all."""
    largest = max(kinds, key=lambda kind: kind.cores)
    rules: list[Rule] = [
        PerMinute("Google cluster-toolkit", largest),
        Allocating("AWS ParallelCluster", 10.0, largest, idle=600.0),
        Allocating("slurm-gcp", 10.0, largest, idle=300.0),
        Packing("cluster-autoscaler", 10.0, [largest], idle=600.0, quiet=600.0),
        Packing("Karpenter", 10.0, [largest], idle=0.0),
        Formula("Azure Batch formula", largest),
    ]
    if len(kinds) > 1:
        rules.append(Packing("Karpenter, all sizes", 10.0, kinds, idle=0.0))
    return rules


def _empty(cluster: Cluster, draining: bool = False) -> list[Machine]:
    return [
        machine
        for machine in cluster.machines.values()
        if machine.up and not machine.jobs and (draining or not machine.draining)
    ]


def _new_rooms(cluster: Cluster, cores: int) -> list[int]:
    """What is left free on each of the nodes that are missing for the jobs that fit nowhere, first fit, large jobs first."""
    here = [machine.free for machine in cluster.machines.values() if not machine.draining and machine.free]
    new: list[int] = []
    for cpus, jobs in sorted(cluster.waiting.items(), reverse=True):
        left = len(jobs)
        for rooms in (here, new):
            for index, free in enumerate(rooms):
                fits = min(left, free // cpus)
                rooms[index] = free - fits * cpus
                left -= fits
        while left > 0:
            fits = min(left, cores // cpus)
            new.append(cores - fits * cpus)
            left -= fits
    return new
