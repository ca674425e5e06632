"""Whether there could ever be a node for a job."""

from __future__ import annotations

from collections.abc import Sequence

from modabatchd.infrastructure.planning.choices import Choice
from modabatchd.infrastructure.planning.packing import Vector, holds
from modabatchd.infrastructure.policy import Policy


def why_never(each: Vector, options: Sequence[Choice], policy: Policy) -> str:
    """
    Why no node could ever run such a job, as half a sentence; empty if one could.

    @param options: what could be started and its requirements match, the cheapest first.
    """
    if not options:
        return "no pool has nodes that these jobs' requirements accept"
    fitting = [choice for choice in options if holds(choice.room, each)]
    if not fitting:
        return _too_large(each, options)
    if not any(within(choice, policy) for choice in fitting):
        return f"the limits forbid even one node of {fitting[0].offering.size}, the cheapest size that holds such a job"
    return ""


def within(choice: Choice, policy: Policy) -> bool:
    """Whether the limits allow a node of it when there is no other."""
    limits, cores, pool = policy.limits, choice.capacity.cpus, policy.pool(choice.offering.pool)
    nodes = [limits.max_nodes, *(() if pool is None or pool.max_nodes is None else (pool.max_nodes,))]
    most = [limits.max_cores, *(() if pool is None else (pool.max_cores,))]
    affordable = limits.max_hourly_cost is None or choice.price <= limits.max_hourly_cost
    return affordable and min(nodes) > 0 and all(limit is None or cores <= limit for limit in most)


def _too_large(each: Vector, options: Sequence[Choice]) -> str:
    for index, unit in enumerate(("cpus", "MiB of memory", "KiB of disk", "gpus")):
        largest = max(choice.room[index] for choice in options)
        if each[index] > largest:
            return f"{each[index]} {unit} asked, the largest size has {largest}"
    return "each of what is asked is to be had, but no size has all of it together"
