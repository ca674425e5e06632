"""
Which job a node's price is charged to.  Pure.

Note [Shares]
=============
A job's share of its node is the largest of its shares of cores, memory and GPUs: who takes all the memory leaves nothing that
could be sold, however many cores are idle.  If the shares of the jobs that run at the same time add up to more than the whole
node (one has the cores, another one the memory), each is charged that much less, so that they add up to it.  What is left, as
well as the time in which a node boots, idles or is being stopped, is charged to nobody.  So all charges, and what was
charged to nobody, add up to what the nodes have cost.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from modabatchd.infrastructure.money import month, next_month
from modabatchd.infrastructure.node import Capacity, Node

_HOUR = 3600.0

#: The number of a job, and which of its runs it is.
RunKey = tuple[int, int]


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """
    A job's run on a node of ours.  Times are seconds since the epoch.

    @ivar key: the job's number, and which of its runs it is.
    @ivar node: the node's name.
    @ivar ended: L{None} while it goes on.
    @ivar asked: what the job asks for.
    @ivar labels: the job's.
    """

    key: RunKey
    node: str
    started: float
    ended: float | None
    asked: Capacity
    labels: Mapping[str, str] = {}


class Charge(msgspec.Struct, frozen=True):
    """So much more is charged to a run, in a month."""

    month: str
    pool: str
    run: Run
    amount: float


def charges(nodes: Iterable[Node], runs: Iterable[Run], begin: float, end: float) -> Iterator[Charge]:
    """What is charged for a span of time.  See Note [Shares]."""
    by_node: defaultdict[str, list[Run]] = defaultdict(list)
    for run in runs:
        by_node[run.node].append(run)
    for node in nodes:
        if mine := by_node.get(node.name):
            for first, last in _months(max(begin, node.requested), end if node.stopped is None else min(end, node.stopped)):
                yield from _of_node(node, mine, first, last)


def share(asked: Capacity, whole: Capacity) -> float:
    """A job's share of a node that it has for itself."""
    parts = ((asked.cpus, whole.cpus), (asked.memory, whole.memory), (asked.gpus, whole.gpus))
    return min(1.0, max(part / total for part, total in parts if total))


def _of_node(node: Node, runs: Sequence[Run], begin: float, end: float) -> Iterator[Charge]:
    """Within a month."""
    spans = [(max(begin, run.started), end if run.ended is None else min(end, run.ended), run) for run in runs]
    shares = {run.key: share(run.asked, node.capacity) for _, _, run in spans}
    edges = sorted(
        (at, comes, run.key) for first, last, run in spans if first < last for at, comes in ((first, True), (last, False))
    )
    seconds: defaultdict[RunKey, float] = defaultdict(float)
    there: set[RunKey] = set()
    before = begin
    for at, comes, key in edges:
        crowd = max(1.0, sum(shares[each] for each in there))
        for each in there:
            seconds[each] += (at - before) * shares[each] / crowd
        before = at
        (there.add if comes else there.discard)(key)
    for _, _, run in spans:
        if run.key in seconds:
            yield Charge(month(begin), node.offering.pool, run, node.price * seconds[run.key] / _HOUR)


def _months(begin: float, end: float) -> Iterator[tuple[float, float]]:
    while begin < end:
        last = min(end, next_month(begin))
        yield begin, last
        begin = last
