"""
What providers have of what a policy names: sizes and images, looked up before anything is started.

Nothing is changed at a provider.  Each call has a deadline, as all calls through libcloud have
(L{modabatchd.infrastructure.lanes}).
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from modabatchd.infrastructure.dialects import Offered
from modabatchd.infrastructure.errors import CloudError, CloudRefused
from modabatchd.infrastructure.lanes import Lanes
from modabatchd.infrastructure.libcloud import Speaker, switch_retries_off
from modabatchd.infrastructure.policies.lines import Way
from modabatchd.infrastructure.policies.remarks import Remark
from modabatchd.infrastructure.policy import Pool, Size

_DEADLINE: Final = 30.0
_NOBODY: Final = "00000000-0000-4000-8000-000000000000"


class Catalogue:
    """
    Asks providers.

    @param reactor: see L{Lanes}.
    @param maker: what makes the drivers of a pool; fails with L{CloudRefused}.
    @param deadline: seconds, for each call.
    """

    def __init__(self, reactor: Any, maker: Callable[[Pool], Callable[[], Any]], deadline: float = _DEADLINE) -> None:
        self._reactor = reactor
        self._maker = maker
        self._deadline = deadline
        switch_retries_off()

    async def remarks(self, index: int, pool: Pool) -> list[Remark]:
        """
        What of a pool its provider does not have.

        @param index: the pool's place in the policy.
        """
        way: Way = ("pool", index)
        try:
            speaker, make = Speaker(pool.driver, _NOBODY), self._maker(pool)
            if speaker.dialect.sizes is None:
                return []
            return await self._looked_up(speaker, make, pool, way)
        except CloudRefused as problem:
            return [Remark(way, f"the provider was asked for its sizes and images: {problem.cause} {problem.cure}", error=True)]
        except CloudError as problem:
            return [Remark(way, f"sizes and images could not be looked up: {problem.cause}")]

    async def _looked_up(self, speaker: Speaker, make: Callable[[], Any], pool: Pool, way: Way) -> list[Remark]:
        lanes = Lanes(self._reactor, f"{pool.driver} for pool {pool.name}", lambda: speaker.connect(make), size=1, spare=1)
        lanes.startService()
        try:
            names = [size.id for size in pool.sizes]
            offered = await lanes.run(lambda driver: speaker.offered(driver, names), self._deadline)
            found = [*_of_sizes(pool, offered, way)]
            image = pool.options.get("image", pool.image)
            if image and not await lanes.run(lambda driver: speaker.has_image(driver, image), self._deadline):
                found.append(Remark((*way, "image"), f"{pool.driver} has no image {image!r} for this account", error=True))
            return found
        finally:
            stopping = lanes.stopService()
            if stopping is not None:
                await stopping


def _of_sizes(pool: Pool, offered: Sequence[Offered], way: Way) -> Iterator[Remark]:
    known = {each.id: each for each in offered}
    for index, size in enumerate(pool.sizes):
        if size.id in known:
            yield from _compared(size, known[size.id], (*way, "sizes", index))
        else:
            close = difflib.get_close_matches(size.id, known, 1)
            hint = f" (did you mean {close[0]}?)" if close else ""
            yield Remark((*way, "sizes", index), f"{pool.driver} has no size {size.id!r}{hint}", error=True)


def _compared(size: Size, real: Offered, way: Way) -> Iterator[Remark]:
    """A job that is promised more than there is would start nodes for ever, and run on none."""
    mine = size.capacity
    if real.cpus and mine.cpus > real.cpus:
        yield Remark(way, f"size {size.id} has {real.cpus} cores, and the policy says {mine.cpus}", error=True)
    elif real.cpus > mine.cpus:
        yield Remark(way, f"size {size.id} has {real.cpus} cores, and the policy uses {mine.cpus}")
    if real.memory and mine.memory > real.memory:
        yield Remark(way, f"size {size.id} has {real.memory} MiB of memory, and the policy says {mine.memory}", error=True)
