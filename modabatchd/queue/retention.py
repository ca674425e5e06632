"""
Finished jobs leave the store and the spool when their time is over, and the keys of requests the store.

Note [Strays]
=============
A crash between the keeping of a job's files and the record of the job leaves files that no record points to.  They are told
from files whose record is about to come by their age.  A store that came back from a backup, or the wrong one, knows nothing
of many files as well; so strays are given the retention time of finished jobs, and a day at least, before they are deleted.

Note [A clock that cannot be trusted]
=====================================
What is old is told by the time of day, which somebody may set: if it leaps forward by a month, everything looks old.  So it is
compared with a clock that nobody sets.  While both go at the same pace, the time of day is trusted; after a leap that goes on
for a day first, so that there is time to notice and to set it right.  The first sweep of a life has nothing to compare with, so
it deletes nothing; the clock of a machine that has just been started may be put right in a moment.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Final

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from modabatchd.idempotency import IKeys
from modabatchd.queue.interfaces import ISpool
from modabatchd.store.interfaces import IStore

_STEP: Final = 100
#: How many jobs one sweep deletes or looks up at the most.
_MOST: Final = 500
_DAY: Final = 86400.0
#: Seconds of difference between the clocks that are called a leap.
_LEAP: Final = 60.0


def since_boot() -> float:
    """Seconds that nobody sets; they go on while the machine is suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Retention:
    """
    Deletes what is old, some of it in each sweep.

    @param keep: seconds for which a finished job is kept.
    @param keep_keys: seconds for which the key of a request is kept.
    @param monotonic: a clock that nobody sets, and that does not stand still while the machine is suspended.
    @param more: called when a sweep has left something to delete, so that the next one comes soon.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        store: IStore,
        spool: ISpool,
        keep: float,
        keys: IKeys,
        keep_keys: float,
        monotonic: Callable[[], float] = since_boot,
        more: Callable[[], None] = lambda: None,
    ) -> None:
        self._clock = clock
        self._store = store
        self._spool = spool
        self._keep = keep
        self._keys = keys
        self._keep_keys = keep_keys
        self._pace = _Pace(monotonic)
        self._more = more
        self._searched: float | None = None
        self._suspects: list[str] = []

    async def sweep(self) -> None:
        """Delete what is old, in small steps: files first, so that no file outlives its record."""
        now = self._clock.seconds()
        if not self._pace.trusted(now):
            return
        left = _MOST
        while left > 0 and (job_ids := await self._store.expired(now - self._keep, min(_STEP, left))):
            await self._spool.remove(job_ids)
            await self._store.forget(job_ids)
            self._log.info("{count} jobs passed their retention time and were deleted", count=len(job_ids))
            left -= len(job_ids)
        await self._delete_strays(now)
        expired = await self._keys.expire(now - self._keep_keys, _MOST)
        if left <= 0 or self._suspects or expired == _MOST:
            self._more()

    async def _delete_strays(self, now: float) -> None:
        """See Note [Strays]."""
        if self._searched is None or abs(now - self._searched) >= _DAY:
            self._suspects = list(await self._spool.unchanged(now - max(self._keep, _DAY)))
            self._searched = now
        for job_id in self._suspects[:_MOST]:
            if await self._store.get(job_id) is None:
                self._log.warn("the files of job {job_id}, which the store does not know, are deleted", job_id=job_id)
                await self._spool.remove([job_id])
            self._suspects.remove(job_id)


class _Pace:
    """Whether the time of day can be trusted.  See Note [A clock that cannot be trusted]."""

    _log = Logger()

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._ahead: float | None = None
        self._trusted_from = -math.inf

    def trusted(self, now: float) -> bool:
        """Call it before each sweep, with the time of day."""
        steady = self._monotonic()
        if self._ahead is None:
            self._ahead = now - steady
            return False
        leap = now - steady - self._ahead
        if abs(leap) > _LEAP:
            self._log.warn("the clock was set by {leap:.0f} s: for a day, nothing is deleted because of its age", leap=leap)
            self._ahead += leap
            self._trusted_from = steady + _DAY
        return steady >= self._trusted_from
