"""
Jobs looked up by our own ids, in the scheduler's queue and in its history.

Note [Half-made jobs]
=====================
A remote scheduler takes a job first and its files afterwards; meanwhile the job is held.  If we die in between, such a job is
left over, and it can never run.  It carries no C{StageInFinish}, unlike any job whose files arrived.  C{sightings} does not
show half-made jobs; C{find} takes them out of the queue and calls them absent, so that they are submitted again, unless
their files are on the way right now.  An array of which one task is half-made is so as a whole.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, Protocol

from twisted.logger import Logger

from modabatchd.queue.absence import Unreadable
from modabatchd.queue.htcondor import classads, frames
from modabatchd.queue.htcondor.calls import Taker, ignore
from modabatchd.queue.htcondor.reading import Reading, best
from modabatchd.queue.indices import MOST
from modabatchd.queue.job import Sighting

#: How many ids one question names.
_PIECE: Final = 500


class Ask(Protocol):
    """Has the scheduler that has the jobs carry an operation out."""

    async def __call__(self, operation: frames.Operation, take: Taker) -> None:
        """@param take: called with each part of the result."""


class Finding:
    """
    Looks jobs up.

    @param ask: asks about the queue.
    @param search: searches the history.
    @param sending: the ids of jobs whose files are on their way.
    """

    _log = Logger()

    def __init__(self, instance: str, reading: Reading, sending: Collection[str], ask: Ask, search: Ask) -> None:
        self._instance = instance
        self._reading = reading
        self._sending = sending
        self._ask = ask
        self._search = search

    async def find(self, job_ids: Collection[str]) -> Mapping[str, Sighting]:
        """See L{modabatchd.queue.interfaces.IQueue.find} and Note [Half-made jobs]."""
        found: dict[str, Sighting] = {}
        odd: set[str] = set()
        ordered = sorted(job_ids)
        for start in range(0, len(ordered), _PIECE):
            piece = ordered[start : start + _PIECE]
            found.update(best(self._reading.read(await self._in_queue(piece), odd)))
            missing = [job_id for job_id in piece if job_id not in found and job_id not in odd]
            if missing:
                found.update(best(self._reading.read(await self._in_history(missing, 2 * len(missing)), odd)))
        if unclear := odd - found.keys():
            raise Unreadable(unclear, found)
        return found

    async def tasks(self, job_id: str, history: bool) -> Sequence[Sighting]:
        """See L{modabatchd.queue.interfaces.IQueue.tasks} and Note [Half-made jobs]."""
        odd: set[str] = set()
        ads = list(await self._in_queue([job_id]))
        if history:
            ads += await self._in_history([job_id], 2 * MOST)
        by_task: dict[int | None, list[Sighting]] = {}
        for sighting in self._reading.read(ads, odd):
            by_task.setdefault(sighting.task, []).append(sighting)
        if odd:
            raise Unreadable(odd, {})
        return [best(some)[job_id] for some in by_task.values()]

    async def _in_queue(self, job_ids: Sequence[str]) -> Sequence[Mapping[str, Any]]:
        """The ads of jobs in the queue, those of half-made ones taken out."""
        ads: list[dict[str, Any]] = []
        await self._ask(frames.Query(classads.of_jobs(self._instance, job_ids), classads.PROJECTION), ads.extend)
        useless = classads.left_over([ad for ad in ads if ad.get("ModabatchJobId") not in self._sending])
        if useless:
            self._log.warn("{count} jobs whose files never arrived are taken out of the queue", count=len(useless))
            await self._ask(frames.Discard([(job.cluster, job.proc) for job in useless]), ignore)
        return [ad for ad in ads if classads.backend_id(ad) not in useless]

    async def _in_history(self, job_ids: Sequence[str], most: int) -> Sequence[Mapping[str, Any]]:
        """The ads of jobs in the history; one may stand there twice, once as a half-made one that was taken out."""
        ads: list[dict[str, Any]] = []
        await self._search(frames.History(classads.of_jobs(self._instance, job_ids), classads.PROJECTION, most), ads.extend)
        return ads
