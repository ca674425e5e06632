"""Services that stand on each other."""

from __future__ import annotations

from twisted.application.service import MultiService, Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger


class Stack(MultiService):
    """
    Starts its services bottom up and stops them top down, each after the one above it has stopped.

    A plain MultiService stops all at once, so a loop could lose the store under its feet.
    """

    _log = Logger()

    def stopService(self) -> Deferred[None]:
        """Fires when the last one has stopped."""
        Service.stopService(self)
        return Deferred.fromCoroutine(self._stop_in_turn())

    async def _stop_in_turn(self) -> None:
        for service in reversed(list(self)):
            try:
                await maybeDeferred(service.stopService)
            except Exception:
                # The services below must be stopped all the same.
                self._log.failure("stopping {name}", name=service.name)
