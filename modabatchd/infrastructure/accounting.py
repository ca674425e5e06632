"""The loop that charges jobs for the nodes that they run on."""

from __future__ import annotations

from typing import Final

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime

from modabatchd.infrastructure.costs import ICosts
from modabatchd.infrastructure.scaling import Scaling
from modabatchd.looping import Repeating

#: Seconds between two times.
_INTERVAL: Final = 20.0
#: Seconds until it is known that a job has begun or ended.
LATE: Final = 20.0


class Accounting:
    """
    Charges all time but for the last few seconds, again and again; while the pool cannot be seen, it waits.

    @ivar loop: a service that drives it.
    """

    def __init__(self, clock: IReactorTime, costs: ICosts, scaling: Scaling) -> None:
        self._clock = clock
        self._costs = costs
        self._scaling = scaling
        self.loop = Repeating(clock, _INTERVAL, self.charge, "accounting")

    def charge(self) -> Deferred[None]:
        """Once.  May fail with L{modabatchd.errors.StoreAway}."""
        last, now = self._scaling.last, self._clock.seconds()
        if last is None or last.snapshot.stale:
            return succeed(None)
        return self._costs.charge(now, now - LATE)
