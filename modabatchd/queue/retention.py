"""
Finished jobs leave the store and the spool when their time is over.

Note [Strays]
=============
A crash between the keeping of a job's files and the record of the job leaves files that no record points to.  They are told
from files whose record is about to come by their age.  A store that came back from a backup, or the wrong one, knows nothing
of many files as well; so strays are given the retention time of finished jobs, and a day at least, before they are deleted.
"""

from __future__ import annotations

from typing import Final

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from modabatchd.queue.interfaces import ISpool
from modabatchd.store.interfaces import IStore

_STEP: Final = 100
_DAY: Final = 86400.0


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
        self._searched: float | None = None

    async def sweep(self) -> None:
        """Delete all that is old, in small steps: files first, so that no file outlives its record."""
        while job_ids := await self._store.expired(self._clock.seconds() - self._keep, _STEP):
            await self._spool.remove(job_ids)
            await self._store.forget(job_ids)
            self._log.info("{count} jobs passed their retention time and were deleted", count=len(job_ids))
        now = self._clock.seconds()
        if self._searched is None or abs(now - self._searched) >= _DAY:
            await self._delete_strays(now - max(self._keep, _DAY))
            self._searched = now

    async def _delete_strays(self, since: float) -> None:
        """See Note [Strays]."""
        for job_id in await self._spool.unchanged(since):
            if await self._store.get(job_id) is None:
                self._log.warn("the files of job {job_id}, which the store does not know, are deleted", job_id=job_id)
                await self._spool.remove([job_id])
