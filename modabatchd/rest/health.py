"""Whether the service is well, for whoever watches over it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from modabatchd import __version__
from modabatchd.looping import Repeating
from modabatchd.rest.operations import Answer, operation


class LoopHealth(msgspec.Struct, frozen=True):
    """
    One of the loops that drive the service.

    @ivar well: whether its last round ended well, and not too long ago.
    @ivar failures: how many of its rounds in a row have failed.
    @ivar last_success: when a round last ended well, in seconds since the epoch.
    """

    well: bool
    failures: int
    last_success: float | None


class Health(msgspec.Struct, frozen=True):
    """
    How the service is.

    @ivar status: "degraded" while a loop fails or hangs, for instance because the scheduler is away; jobs are safe.
    @ivar backend: what runs the jobs.
    """

    status: Literal["ok", "degraded"]
    version: str
    backend: str
    loops: dict[str, LoopHealth]


class Pulse:
    """@param loops: by name."""

    def __init__(self, backend: str, loops: Mapping[str, Repeating]) -> None:
        self._backend = backend
        self._loops = loops

    @operation("GET", "/health", "Whether the service is well", tag="service", answers={200: Health})
    async def health(self, request: Any) -> Answer:
        """Answers at once, whatever else is slow or away; status tells whether anything is."""
        loops = {name: LoopHealth(loop.well, loop.failures, loop.last_success) for name, loop in self._loops.items()}
        well = all(loop.well for loop in loops.values())
        return Answer(Health("ok" if well else "degraded", __version__, self._backend, loops))
