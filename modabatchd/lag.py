"""How late the reactor is: whatever holds it up, holds up everybody."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from twisted.application.service import Service
from twisted.internet.interfaces import IDelayedCall, IReactorTime

#: Seconds between two measurements.
_INTERVAL: Final = 0.5
#: Upper bounds of what is told apart, in seconds.
BOUNDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, float("inf"))


class Lag(Service):
    """
    Has itself called twice a second, and notes by how much that was late.

    @param clock: one that nobody sets.
    @ivar total: seconds of all lags together.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self.setName("lag")
        self._clock = clock
        self._counts = [0] * len(BOUNDS)
        self._next: IDelayedCall | None = None
        self._due = 0.0
        self.total = 0.0

    def startService(self) -> None:
        """Measure from now on."""
        super().startService()
        self._schedule()

    def stopService(self) -> None:
        """Measure no more."""
        super().stopService()
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def cumulated(self) -> Iterator[tuple[float, int]]:
        """Bounds, each with how many lags were not longer."""
        count = 0
        for bound, more in zip(BOUNDS, self._counts, strict=True):
            count += more
            yield bound, count

    def _schedule(self) -> None:
        self._due = self._clock.seconds() + _INTERVAL
        self._next = self._clock.callLater(_INTERVAL, self._measure)

    def _measure(self) -> None:
        late = max(0.0, self._clock.seconds() - self._due)
        self.total += late
        self._counts[next(index for index, bound in enumerate(BOUNDS) if late <= bound)] += 1
        self._schedule()
