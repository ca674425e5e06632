"""Finished jobs leave the store and the spool when their time is over."""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from modabatchd.queue.interfaces import ISpool
from modabatchd.store.interfaces import IStore

_STEP = 100


class Retention:
    """
    Deletes what is old.

    @param keep: seconds for which a finished job is kept.
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime, store: IStore, spool: ISpool, keep: float) -> None:
        self._clock = clock
        self._store = store
        self._spool = spool
        self._keep = keep

    async def sweep(self) -> None:
        """Delete all that is old, in small steps: files first, so that no file outlives its record."""
        while job_ids := await self._store.expired(self._clock.seconds() - self._keep, _STEP):
            await self._spool.remove(job_ids)
            await self._store.forget(job_ids)
            self._log.info("{count} jobs passed their retention time and were deleted", count=len(job_ids))
