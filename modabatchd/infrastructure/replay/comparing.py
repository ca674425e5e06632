"""One log under one policy, and under the rules of others with the same machines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from modabatchd.infrastructure.policy import Policy, Pool, Size, Spot
from modabatchd.infrastructure.replay.cluster import Billing, Kind, Placement
from modabatchd.infrastructure.replay.figures import Figures, figures
from modabatchd.infrastructure.replay.hazards import Hazards
from modabatchd.infrastructure.replay.log import Log, split, work
from modabatchd.infrastructure.replay.peers import peers
from modabatchd.infrastructure.replay.planned import EPOCH, Planned
from modabatchd.infrastructure.replay.simulation import Most, Rule, Sample, Simulation

_SAMPLES: Final = 4000
#: Seconds between two samples at least.
_FINEST: Final = 10.0
_NONE: Final = Hazards()


class Replay:
    """
    Runs a log.

    @param boot: seconds from the order of a node to the pool.
    @param hazards: what goes wrong, for everybody.
    @ivar cores: of the largest size of the policy.
    @ivar jobs: of the log, those that are wider than that split.
    @ivar work: core seconds of all jobs.
    @ivar begins: the log's first second, in seconds since the epoch.
    @ivar samples: of the runs that took them, by rule.
    """

    def __init__(self, policy: Policy, log: Log, placement: Placement, boot: float, hazards: Hazards = _NONE) -> None:
        self._policy = policy
        self._placement = placement
        self._boot = boot
        self._hazards = hazards
        self.begins = EPOCH if log.begins is None else log.begins
        self._kinds = [_kind(size, pool) for pool in policy.pools for size in pool.sizes]
        quantum = max((pool.billing_quantum for pool in policy.pools), default=0.0)
        self._billing = Billing(max(1.0, quantum))
        self.cores = max(kind.cores for kind in self._kinds)
        self.jobs = split(log.jobs, self.cores)
        self.work = work(self.jobs)
        self.samples: dict[str, Sequence[Sample]] = {}

    def ours(self, sampled: bool = False) -> Figures:
        """What the policy makes of it."""
        return self._run(Planned(self._policy, self.begins), sampled)

    def peers(self, sampled: bool = False) -> Iterator[Figures]:
        """What the others do."""
        for rule in peers(self._kinds):
            yield self._run(rule, sampled)

    def _run(self, rule: Rule, sampled: bool) -> Figures:
        limits = self._policy.limits
        most = Most(limits.max_nodes, limits.max_cores)
        every = max(_FINEST, self._span() / _SAMPLES) if sampled else 0.0
        run = Simulation(self.jobs, rule, self._placement, self._billing, self._boot, most, every, self._hazards).run()
        self.samples[run.rule] = run.samples
        return figures(run, self.work)

    def _span(self) -> float:
        return max((job.arrives + job.runs for job in self.jobs), default=0.0) + 1.0


def _kind(size: Size, pool: Pool) -> Kind:
    """As the others take it: from the spot market where the policy does, for they are to have the same prices."""
    spot = pool.spot is not Spot.NEVER and size.spot_price is not None
    price = size.spot_price if spot and size.spot_price is not None else size.price
    return Kind(size.id, size.capacity.cpus, price, spot)
