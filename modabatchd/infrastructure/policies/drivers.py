"""What a pool asks of its driver, and the driver cannot do.  Pure."""

from __future__ import annotations

from collections.abc import Iterator

from modabatchd.infrastructure.dialects import Dialect, complaints
from modabatchd.infrastructure.policies.lines import Way
from modabatchd.infrastructure.policies.remarks import Remark
from modabatchd.infrastructure.policy import Policy, Pool, Spot
from modabatchd.infrastructure.providers import dialect


def drivers(policy: Policy) -> Iterator[Remark]:
    """What the daemon would say of the pools' drivers, and call the pool broken."""
    for index, pool in enumerate(policy.pools):
        spoken = dialect(pool.driver)
        if isinstance(spoken, str):
            yield Remark(("pool", index, "driver"), f"the driver {pool.driver} cannot be used. {spoken}", error=True)
        else:
            yield from _of_options(pool, spoken, ("pool", index))


def _of_options(pool: Pool, spoken: Dialect, way: Way) -> Iterator[Remark]:
    options = {**({"image": pool.image} if pool.image else {}), **pool.options}
    for complaint in complaints(spoken, options, pool.zones, pool.spot is not Spot.NEVER):
        yield Remark(way, f"driver {pool.driver}: {complaint}", error=True)
