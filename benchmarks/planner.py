"""
What one plan for the nodes takes.

Nothing else is measured here than the pure decision: what the daemon does before and after it waits for others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from statistics import median
from time import perf_counter
from typing import Final

from benchmarks.report import Result, below, spread
from benchmarks.rounds import interleaved, ratios
from modabatchd.infrastructure.look import DemandGroup
from modabatchd.infrastructure.node import Capacity, NodeState, Offering
from modabatchd.infrastructure.planning import Memory, SeenNode, Snapshot, plan
from modabatchd.infrastructure.policy import Limits, Policy, Pool, Size

#: Milliseconds.
BAR: Final = 20.0
#: How much more many jobs may take than few: it has to be told once why the rest gets no nodes.
SAME: Final = 1.5
_NOW: Final = 1_700_000_000.0
_GIB: Final = 1024


def measure(quick: bool) -> Iterator[Result]:
    """Many groups, nodes and sizes; then many jobs in one group."""
    groups, nodes, sizes = (10, 50, 5) if quick else (100, 500, 10)
    rounds = 3 if quick else 50
    policy = _policy(sizes)
    (many,) = interleaved(rounds, _timed(_cluster(groups, nodes, policy), policy))
    what = f"a plan for {groups} autoclusters, {nodes} nodes, {sizes} sizes"
    yield below(what, median(many), BAR, "ms", ours=f"{spread(many)} ms")
    few, lots = interleaved(rounds, *(_timed(_queue(jobs, 2 * sizes), _policy(sizes, starts=10), 20) for jobs in (10, 100_000)))
    ratio = ratios(lots, few)
    what = "a plan for 100,000 idle jobs in one autocluster, against 10"
    yield Result(what, f"{median(lots):.3g} ms", f"{median(few):.3g} ms", spread(ratio), f"< {SAME:g}", median(ratio) < SAME)


def _timed(snapshot: Snapshot, policy: Policy, times: int = 1) -> Callable[[], float]:
    """Milliseconds of one plan, when asked."""

    def measured() -> float:
        begin = perf_counter()
        for _ in range(times):
            plan(snapshot, policy, Memory(), _NOW)
        return (perf_counter() - begin) * 1000 / times

    return measured


def _policy(sizes: int, starts: int = 100) -> Policy:
    found = tuple(
        Size(id=f"s{cores}", capacity=Capacity(cpus=cores, memory=2 * _GIB * cores), price=0.02 * cores)
        for cores in range(2, 2 * sizes + 1, 2)
    )
    pool = Pool(name="burst", driver="local", sizes=found)
    return Policy(pools=(pool,), limits=Limits(max_nodes=600, starts_per_minute=starts))


def _queue(jobs: int, cores: int) -> Snapshot:
    """One autocluster; each job is worth a node, and ten nodes may be started."""
    return Snapshot(groups=(_group("one", jobs, Capacity(cpus=cores)),))


def _cluster(groups: int, nodes: int, policy: Policy) -> Snapshot:
    """Nodes that are partly busy, and jobs of all shapes."""
    chance = Random(1)
    shapes = [Capacity(cpus=chance.randint(1, 8), memory=chance.randint(1, 16) * _GIB) for _ in range(groups)]
    return Snapshot(
        groups=tuple(_group(f"g{index}", chance.randint(1, 200), shape) for index, shape in enumerate(shapes)),
        nodes=tuple(_node(index, chance, policy) for index in range(nodes)),
    )


def _group(name: str, count: int, each: Capacity) -> DemandGroup:
    return DemandGroup(id=name, count=count, each=each, oldest=_NOW - 60, pools=frozenset({"burst"}))


def _node(index: int, chance: Random, policy: Policy) -> SeenNode:
    size = chance.choice(policy.pools[0].sizes)
    free = chance.randint(0, size.capacity.cpus)
    return SeenNode(
        id=f"node-{index}",
        offering=Offering(pool="burst", size=size.id),
        capacity=size.capacity,
        price=size.price,
        state=NodeState.UP,
        requested=_NOW - chance.randint(100, 10_000),
        free=Capacity(cpus=free, memory=chance.randint(0, 2 * _GIB * free)),
        jobs=size.capacity.cpus - free,
        heard=True,
    )
