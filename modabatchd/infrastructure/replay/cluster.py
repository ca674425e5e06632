"""A simulated cluster: nodes boot, jobs start as soon as they fit, and somebody pays."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import StrEnum

import msgspec

from modabatchd.infrastructure.replay.log import Job


class Placement(StrEnum):
    """
    Which of the nodes with room a job gets.

    C{oldest}: what the shipped configuration of the negotiator does.  C{fullest}: best fit, HTCondor's default.
    """

    OLDEST = "oldest"
    FULLEST = "fullest"


class Kind(msgspec.Struct, frozen=True):
    """A size of machine.  @ivar spot: whether the provider may take it back when it likes."""

    size: str
    cores: int
    price: float
    spot: bool = False


class Machine:
    """
    A node.

    @ivar born: when it was ordered.
    @ivar ready: when it joins.
    @ivar empty_since: when it had its last job, or joined.
    @ivar bound: jobs that wait for it and for no other.
    @ivar running: those that run there.
    @ivar view: whatever a rule keeps about it; L{None} after each change.
    """

    __slots__ = (
        "born",
        "bound",
        "cores",
        "draining",
        "empty_since",
        "free",
        "id",
        "jobs",
        "price",
        "ready",
        "running",
        "size",
        "spot",
        "up",
        "view",
    )

    def __init__(self, number: int, kind: Kind, born: float, ready: float) -> None:
        self.id = number
        self.size = kind.size
        self.cores = self.free = kind.cores
        self.price = kind.price
        self.spot = kind.spot
        self.born = born
        self.ready = self.empty_since = ready
        self.up = self.draining = False
        self.jobs = 0
        self.running: list[Job] = []
        self.bound: list[Job] = []
        self.view: object = None


class Billing:
    """How long a node is paid for."""

    def __init__(self, quantum: float = 1.0, least: float = 60.0) -> None:
        self._quantum = quantum
        self._least = least

    def seconds(self, lived: float) -> float:
        """What is paid for a node that lived so long."""
        return max(self._least, -(-lived // self._quantum) * self._quantum)


class Cluster:
    """
    All nodes and all waiting jobs.

    @param on_start: is told of each job that starts: the job and its node.
    @ivar machines: by number, the oldest first.
    @ivar waiting: by cores, the oldest first.
    @ivar queued: how many wait.
    @ivar asked: the cores that jobs which wait or run ask for.
    @ivar busy: the cores that jobs run on.
    @ivar cores: of all nodes.
    @ivar core_seconds, money: that were paid for nodes that have ended.
    """

    def __init__(self, placement: Placement, billing: Billing, on_start: Callable[[Job, Machine], None]) -> None:
        self._find = self._oldest if placement is Placement.OLDEST else self._fullest
        self._billing = billing
        self._on_start = on_start
        self._open: list[Machine] = []
        self._numbers = 0
        self.machines: dict[int, Machine] = {}
        self.waiting: dict[int, deque[Job]] = {}
        self.queued = self.asked = self.busy = self.cores = 0
        self.started = 0
        self.core_seconds = 0.0
        self.money = 0.0

    def submit(self, job: Job) -> None:
        """A job arrives."""
        self.waiting.setdefault(job.cpus, deque()).append(job)
        self.queued += 1
        self.asked += job.cpus

    def order(self, kind: Kind, now: float, boot: float) -> Machine:
        """Start a node."""
        self._numbers += 1
        self.started += 1
        machine = Machine(self._numbers, kind, now, now + boot)
        self.machines[machine.id] = machine
        self.cores += machine.cores
        return machine

    def join(self, machine: Machine) -> None:
        """A node has booted."""
        machine.up, machine.view = True, None
        self._reopen()
        for job in machine.bound:
            self._run(job, machine)
        machine.bound = []

    def bind(self, job: Job, machine: Machine) -> None:
        """
        A job that waits will run on a node that boots, and has its cores there already; the caller takes it off the queue.
        """
        machine.free -= job.cpus
        machine.jobs += 1
        machine.bound.append(job)
        self.queued -= 1

    def drain(self, machine: Machine) -> None:
        """It takes no more jobs."""
        machine.draining, machine.view = True, None
        self._reopen()

    def resume(self, machine: Machine) -> None:
        """It takes jobs again."""
        machine.draining, machine.view = False, None
        self._reopen()

    def stop(self, machine: Machine, now: float) -> None:
        """End a node, which must be empty."""
        if machine.jobs:
            raise AssertionError("a node with jobs was stopped")
        self._end(machine, now)

    def lose(self, machine: Machine, now: float) -> list[Job]:
        """A node ends by itself.  @return: what ran there; it waits again, as what was to run there does."""
        for job in (*machine.running, *machine.bound):
            self.waiting.setdefault(job.cpus, deque()).appendleft(job)
            self.queued += 1
        self.busy -= sum(job.cpus for job in machine.running)
        self._end(machine, now)
        return machine.running

    def _end(self, machine: Machine, now: float) -> None:
        del self.machines[machine.id]
        self.cores -= machine.cores
        self.core_seconds += self._billing.seconds(now - machine.born) * machine.cores
        self.money += self.owed(machine, now)
        self._reopen()

    def owed(self, machine: Machine, now: float) -> float:
        """What a node has cost until now."""
        return self._billing.seconds(now - machine.born) / 3600.0 * machine.price

    def end(self, machine: Machine, job: Job, now: float) -> None:
        """A job has ended."""
        machine.free += job.cpus
        machine.jobs -= 1
        machine.running.remove(job)
        self.busy -= job.cpus
        self.asked -= job.cpus
        machine.view = None
        if not machine.jobs:
            machine.empty_since = now

    def place(self) -> bool:
        """Start all jobs that fit; of those, the ones that have waited longest first.  Whether any started."""
        started = False
        shapes = sorted((jobs for jobs in self.waiting.values() if jobs), key=lambda jobs: jobs[0].arrives)
        for jobs in shapes:
            while jobs and (machine := self._find(jobs[0].cpus)) is not None:
                self._put(jobs.popleft(), machine)
                started = True
        return started

    def _put(self, job: Job, machine: Machine) -> None:
        machine.free -= job.cpus
        machine.jobs += 1
        machine.view = None
        self.queued -= 1
        self._run(job, machine)

    def _run(self, job: Job, machine: Machine) -> None:
        machine.running.append(job)
        self.busy += job.cpus
        self._on_start(job, machine)

    def _oldest(self, cores: int) -> Machine | None:
        for machine in self._open:
            if machine.free >= cores:
                return machine
        return None

    def _fullest(self, cores: int) -> Machine | None:
        fitting = [machine for machine in self._open if machine.free >= cores]
        return min(fitting, key=lambda machine: machine.free, default=None)

    def _reopen(self) -> None:
        self._open = [machine for machine in self.machines.values() if machine.up and not machine.draining]
