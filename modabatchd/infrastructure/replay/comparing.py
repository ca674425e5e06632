"""One log under one policy, and under the rules of others with the same machines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from modabatchd.infrastructure.policy import Policy
from modabatchd.infrastructure.replay.cluster import Billing, Placement
from modabatchd.infrastructure.replay.figures import Figures, figures
from modabatchd.infrastructure.replay.log import Job, split, work
from modabatchd.infrastructure.replay.peers import Kind, peers
from modabatchd.infrastructure.replay.planned import Planned
from modabatchd.infrastructure.replay.simulation import Most, Rule, Run, Sample, Simulation

_SAMPLES: Final = 4000


class Replay:
    """
    Runs a log.

    @param boot: seconds from the order of a node to the pool.
    @ivar cores: of the largest size of the policy.
    @ivar jobs: of the log, those that are wider than that split.
    @ivar work: core seconds of all jobs.
    @ivar samples: of the last run that took them.
    """

    def __init__(self, policy: Policy, jobs: Sequence[Job], placement: Placement, boot: float) -> None:
        self._policy = policy
        self._placement = placement
        self._boot = boot
        self._kinds = [Kind(size.id, size.capacity.cpus, size.price) for pool in policy.pools for size in pool.sizes]
        quantum = max((pool.billing_quantum for pool in policy.pools), default=0.0)
        self._billing = Billing(max(1.0, quantum))
        self.cores = max(kind.cores for kind in self._kinds)
        self.jobs = split(jobs, self.cores)
        self.work = work(self.jobs)
        self.samples: Sequence[Sample] = ()

    def ours(self, sampled: bool = False) -> Figures:
        """What the policy makes of it."""
        run = self._run(Planned(self._policy), self._span() / _SAMPLES if sampled else 0.0)
        self.samples = run.samples
        return figures(run, self.work)

    def peers(self) -> list[Figures]:
        """What the others do."""
        return [figures(self._run(rule), self.work) for rule in peers(self._kinds)]

    def _run(self, rule: Rule, sampled: float = 0.0) -> Run:
        limits = self._policy.limits
        most = Most(limits.max_nodes, limits.max_cores)
        return Simulation(self.jobs, rule, self._placement, self._billing, self._boot, most, sampled).run()

    def _span(self) -> float:
        return max((job.arrives + job.runs for job in self.jobs), default=0.0) + 1.0
