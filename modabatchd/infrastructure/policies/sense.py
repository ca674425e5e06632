"""What is allowed in a policy, and can hardly be meant.  Pure."""

from __future__ import annotations

from collections.abc import Iterator

from modabatchd.infrastructure.policy import Policy, Pool, Size, Spot


def warnings(policy: Policy) -> list[str]:
    """Sentences for the owner."""
    return [*_of_limits(policy), *(warning for pool in policy.pools for warning in _of_pool(pool, policy))]


def _of_limits(policy: Policy) -> Iterator[str]:
    limits = policy.limits
    kept = sum(pool.min_nodes for pool in policy.pools)
    if kept > limits.max_nodes:
        yield f"the pools' min_nodes add up to {kept}, and the limit is {limits.max_nodes} nodes"
    if limits.max_nodes == 0:
        yield "the limit is 0 nodes, so nothing is ever started"
    for schedule in policy.schedules:
        pool = policy.pool(schedule.pool)
        if pool is not None and pool.max_nodes is not None and schedule.min_nodes > pool.max_nodes:
            yield f"schedule {schedule.cron!r} keeps {schedule.min_nodes} nodes, and pool {pool.name} may have {pool.max_nodes}"


def _of_pool(pool: Pool, policy: Policy) -> Iterator[str]:
    if pool.requirements.strip(" ()").lower() in ("false", "undefined", "error", "0"):
        yield f"pool {pool.name}: no job can ever match {pool.requirements!r}"
    forbidden = [size for size in pool.sizes if _forbidden(size, pool, policy)]
    for size in forbidden if len(forbidden) < len(pool.sizes) else ():
        yield f"pool {pool.name}: the limits forbid even one node of size {size.id}"
    if len(forbidden) == len(pool.sizes):
        yield f"pool {pool.name}: the limits forbid even one node of any size, so no job can ever run there"
    for size in pool.sizes:
        if size.spot_price is not None and (pool.spot is Spot.NEVER or size.spot_price > size.price):
            yield f"pool {pool.name}: the spot_price of size {size.id} is " + (
                "not used" if pool.spot is Spot.NEVER else "above its price"
            )


def _forbidden(size: Size, pool: Pool, policy: Policy) -> bool:
    limits, cores = policy.limits, [limit for limit in (policy.limits.max_cores, pool.max_cores) if limit is not None]
    price = size.price if size.spot_price is None or pool.spot is Spot.NEVER else min(size.price, size.spot_price)
    dear = limits.max_hourly_cost is not None and price > limits.max_hourly_cost
    return dear or pool.max_nodes == 0 or any(size.capacity.cpus > limit for limit in cores)
