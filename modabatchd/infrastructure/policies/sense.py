"""What is allowed in a policy, and can hardly be meant.  Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from modabatchd.infrastructure.policies.lines import Way
from modabatchd.infrastructure.policies.remarks import Remark
from modabatchd.infrastructure.policy import Policy, Pool, Size, Spot

_LIMITS: Final = ("scaling", "limits")
#: Hours in the longest month.
_MONTH: Final = 31 * 24.0


def sense(policy: Policy) -> Iterator[Remark]:
    """Everything that can be told without asking anybody."""
    yield from _of_limits(policy)
    yield from _of_money(policy)
    yield from _of_schedules(policy)
    for index, pool in enumerate(policy.pools):
        yield from _of_pool(pool, policy, ("pool", index))
        yield from _of_prices(pool, policy, ("pool", index, "sizes"))


def cheapest(size: Size, pool: Pool) -> float:
    """What a node of a size costs at least."""
    if pool.spot is Spot.NEVER or size.spot_price is None:
        return size.price
    return size.spot_price if pool.spot is Spot.ONLY else min(size.price, size.spot_price)


def _of_limits(policy: Policy) -> Iterator[Remark]:
    """Limits that are in each other's way, or never reached."""
    limits, most = policy.limits, sum(_most_of(pool, policy) for pool in policy.pools)
    kept = sum(pool.min_nodes for pool in policy.pools)
    if kept > limits.max_nodes:
        yield Remark(
            (*_LIMITS, "max_nodes"), f"the pools' min_nodes add up to {kept}, and the limit is {limits.max_nodes} nodes"
        )
    if limits.max_nodes == 0:
        yield Remark((*_LIMITS, "max_nodes"), "the limit is 0 nodes, so nothing is ever started")
    elif most < limits.max_nodes:
        yield Remark((*_LIMITS, "max_nodes"), f"is never reached: the pools may have {most} nodes together")
    cores = _together(policy, lambda size: size.capacity.cpus)
    if limits.max_cores is not None and cores < limits.max_cores:
        yield Remark((*_LIMITS, "max_cores"), f"is never reached: all nodes together have {cores:.0f} cores at most")


def _of_money(policy: Policy) -> Iterator[Remark]:
    """Money that is too little for anything, or more than can be spent."""
    limits, budget = policy.limits, policy.limits.monthly_budget
    hour = _together(policy, lambda size: size.price)
    if limits.max_hourly_cost is not None and hour < limits.max_hourly_cost:
        yield Remark((*_LIMITS, "max_hourly_cost"), f"is never reached: all nodes together cost {hour:.2f} an hour at most")
    if budget is None or not policy.pools:
        return
    way = (*_LIMITS, "monthly_budget")
    least = min(cheapest(size, pool) for pool in policy.pools for size in pool.sizes)
    month = min(hour, limits.max_hourly_cost or hour) * _MONTH
    if budget < least:
        yield Remark(way, f"is less than one hour of the cheapest node costs, which is {least:.4g}")
    elif month < budget:
        yield Remark(way, f"is never reached: a whole month of all nodes costs {month:.2f} at most")
    kept = sum(pool.min_nodes * min(cheapest(size, pool) for size in pool.sizes) for pool in policy.pools) * _MONTH
    if kept > budget:
        yield Remark(way, f"does not last for the pools' min_nodes, which cost {kept:.2f} a month at least")


def _of_schedules(policy: Policy) -> Iterator[Remark]:
    for index, schedule in enumerate(policy.schedules):
        pool = policy.pool(schedule.pool)
        if pool is not None and pool.max_nodes is not None and schedule.min_nodes > pool.max_nodes:
            problem = f"keeps {schedule.min_nodes} nodes, and pool {pool.name} may have {pool.max_nodes}"
            yield Remark(("schedule", index, "min_nodes"), problem)


def _of_pool(pool: Pool, policy: Policy, way: Way) -> Iterator[Remark]:
    limits = policy.limits
    if pool.max_nodes is not None and pool.max_nodes > limits.max_nodes:
        yield Remark((*way, "max_nodes"), f"is never reached: the limit of all pools is {limits.max_nodes} nodes")
    if pool.max_cores is not None and limits.max_cores is not None and pool.max_cores > limits.max_cores:
        yield Remark((*way, "max_cores"), f"is never reached: the limit of all pools is {limits.max_cores} cores")
    forbidden = [index for index, size in enumerate(pool.sizes) if _forbidden(size, pool, policy)]
    if len(forbidden) == len(pool.sizes):
        yield Remark((*way, "sizes"), "the limits forbid even one node of any size, so no job can ever run there")
        return
    for index in forbidden:
        yield Remark((*way, "sizes", index), f"the limits forbid even one node of size {pool.sizes[index].id}")


def _of_prices(pool: Pool, policy: Policy, way: Way) -> Iterator[Remark]:
    counted = policy.limits.max_hourly_cost is not None or policy.limits.monthly_budget is not None
    for index, size in enumerate(pool.sizes):
        if size.price == 0 and counted:
            yield Remark((*way, index), f"the price of size {size.id} is 0, so it counts for no limit of money")
        if size.spot_price is None:
            if pool.spot is not Spot.NEVER:
                where = "so it is never started" if pool.spot is Spot.ONLY else "so it is never a spot node"
                yield Remark((*way, index), f"size {size.id} has no spot_price, {where}")
        elif pool.spot is Spot.NEVER:
            yield Remark((*way, index), f"the spot_price of size {size.id} is not used")
        elif size.spot_price > size.price:
            yield Remark((*way, index), f"the spot_price of size {size.id} is above its price")


def _most_of(pool: Pool, policy: Policy) -> int:
    """How many nodes a pool may have."""
    return policy.limits.max_nodes if pool.max_nodes is None else min(pool.max_nodes, policy.limits.max_nodes)


def _together(policy: Policy, worth: Callable[[Size], float]) -> float:
    """What as many nodes as there may be have at most of something, the pools that have most of it first."""
    left, total = policy.limits.max_nodes, 0.0
    each = [(max(worth(size) for size in pool.sizes), _most_of(pool, policy)) for pool in policy.pools]
    for value, most in sorted(each, reverse=True):
        count = min(left, most)
        left, total = left - count, total + count * value
    return total


def _forbidden(size: Size, pool: Pool, policy: Policy) -> bool:
    limits, cores = policy.limits, [limit for limit in (policy.limits.max_cores, pool.max_cores) if limit is not None]
    dear = limits.max_hourly_cost is not None and cheapest(size, pool) > limits.max_hourly_cost
    return dear or pool.max_nodes == 0 or any(size.capacity.cpus > limit for limit in cores)
