"""
What the queue reports, brought into the store.

Note [One look at a time]
=========================
A report is older than the moment it is written.  If an action's own look and the regular one overlapped, the older of the
two could be written last and a held job would be seen running again.  So looks take turns: ask, compare, write, next.

Note [Finishing]
================
A finished job is told to its owner once, and never before its results can be fetched: first the results come into the
spool, then final state and outbox row are written in one transaction, and only then the queue may forget the job.  A crash
in between repeats the steps; each is idempotent, and the store takes the final state only once.  Results may be large and
the queue remote, so finishing happens beside the looks, a few jobs at a time; until it is done the job shows its last state.

Note [Jobs that vanish]
=======================
A job that the queue does not show may have gone to the queue's history, or its submission may be so fresh that this look
missed it.  Only what is in neither queue nor history, at two looks with a grace time between them, is gone.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Final

import msgspec
from twisted.internet.defer import Deferred, DeferredLock, DeferredSemaphore, gatherResults
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from modabatchd.errors import QueueAway, QueueRefused
from modabatchd.notifications.completion import completion
from modabatchd.queue.interfaces import IQueue, ISpool
from modabatchd.queue.job import Job, JobState, Sighting
from modabatchd.store.interfaces import IStore, Progress

#: Seconds between the two looks that a vanished job must be missing at.
GRACE: Final = 60.0
_PAGE: Final = 1000
_FINISHING_AT_ONCE: Final = 4


class Watching:
    """
    Keeps the store in step with the queue.

    @param new_id: makes the ids of messages.
    @param settled: called when jobs reached their final state, so that their notifications go out at once.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        queue: IQueue,
        store: IStore,
        spool: ISpool,
        new_id: Callable[[], str],
        settled: Callable[[], None],
    ) -> None:
        self._clock = clock
        self._queue = queue
        self._store = store
        self._spool = spool
        self._new_id = new_id
        self._settled = settled
        self._turn = DeferredLock()
        self._finishing_at_once = DeferredSemaphore(_FINISHING_AT_ONCE)
        self._seen: dict[str, Sighting | None] = {}
        self._missing: dict[str, float] = {}
        self._finishing: dict[str, Deferred[None]] = {}

    async def load(self) -> Sequence[Job]:
        """
        Learn which jobs the store holds as live.  Call it once, before anything else.

        @return: those without a backend id.
        """
        unbound: list[Job] = []
        after = 0
        while page := await self._store.live(after, _PAGE):
            after = page[-1].seq
            unbound.extend(job for job in page if job.backend_id is None)
            self._seen.update((job.request.id, job.sighting) for job in page if job.backend_id is not None)
        return unbound

    def expect(self, job_id: str) -> None:
        """The queue has taken this job: from now on it must show it."""
        self._seen.setdefault(job_id, None)

    async def look(self) -> None:
        """Compare all that the queue shows with what the store holds, and bring the store up to date."""
        await self._turn.run(lambda: Deferred.fromCoroutine(self._look_at_all()))

    async def look_at(self, job_id: str) -> None:
        """The same for one job; returns when its finishing, if it has finished, is done as well."""
        await self._turn.run(lambda: Deferred.fromCoroutine(self._look_at_one(job_id)))
        if job_id in self._finishing:
            await _after(self._finishing[job_id])

    async def idle(self) -> None:
        """Wait until no job is being finished."""
        await gatherResults([_after(done) for done in self._finishing.values()])

    async def _look_at_all(self) -> None:
        expected = set(self._seen)
        sightings = await self._queue.sightings()
        await self._take(sightings)
        await self._search(expected.difference(sighting.job_id for sighting in sightings))

    async def _look_at_one(self, job_id: str) -> None:
        await self._take((await self._queue.find([job_id])).values())

    async def _take(self, sightings: Iterable[Sighting]) -> None:
        changed = [sighting for sighting in sightings if sighting != self._seen.get(sighting.job_id)]
        now = self._clock.seconds()
        steps = [_step(sighting, now) for sighting in changed if not sighting.state.final]
        if steps:
            await self._store.advance(steps)
        for sighting in changed:
            self._missing.pop(sighting.job_id, None)
            if sighting.state.final:
                self._finish(sighting)
            else:
                self._seen[sighting.job_id] = sighting

    async def _search(self, missing: Collection[str]) -> None:
        """Look for jobs that the queue does not show.  See Note [Jobs that vanish]."""
        for job_id in self._missing.keys() - missing:
            del self._missing[job_id]
        absent = set(missing).difference(self._finishing)
        if not absent:
            return
        found = await self._queue.find(absent)
        await self._take(found.values())
        now = self._clock.seconds()
        for job_id in absent.difference(found):
            if now - self._missing.setdefault(job_id, now) >= GRACE:
                self._log.warn("job {job_id} is neither in the queue nor in its history: recorded as removed", job_id=job_id)
                del self._missing[job_id]
                await self.conclude(job_id, JobState.REMOVED, "The scheduler does not know this job any more.")

    def _finish(self, sighting: Sighting) -> None:
        if sighting.job_id not in self._finishing:
            self._finishing[sighting.job_id] = Deferred()
            Deferred.fromCoroutine(self._finish_in_turn(sighting))

    async def _finish_in_turn(self, sighting: Sighting) -> None:
        job_id = sighting.job_id
        try:
            await self._finishing_at_once.run(lambda: Deferred.fromCoroutine(self._finish_now(sighting)))
        except QueueAway as problem:
            self._log.warn("finishing job {job_id} waits: {problem}", job_id=job_id, problem=problem.cause)
        except Exception:
            # The next look tries again: the queue keeps the job until it is acknowledged.
            self._log.failure("finishing job {job_id}", job_id=job_id)
        self._finishing.pop(job_id).callback(None)

    async def _finish_now(self, sighting: Sighting) -> None:
        """See Note [Finishing]."""
        job_id = sighting.job_id
        try:
            await self._queue.fetch(sighting, self._spool.directory(job_id))
        except QueueRefused as problem:
            self._log.error("job {job_id} ended, but its results are lost: {problem}", job_id=job_id, problem=problem.cause)
        await self._spool.settle(job_id)
        await self.conclude(job_id, sighting.state, sighting.reason, sighting)
        await self._queue.acknowledge([sighting.backend_id])

    async def conclude(self, job_id: str, state: JobState, reason: str | None, sighting: Sighting | None = None) -> None:
        """Write a final state and the message about it in one transaction."""
        job = await self._store.get(job_id)
        if job is not None:
            now = self._clock.seconds()
            ended = msgspec.structs.replace(job, state=state, sighting=sighting or job.sighting)
            message = completion(ended, self._new_id(), now)
            step = Progress(job_id=job_id, state=state, at=now, reason=reason, sighting=sighting, message=message)
            await self._store.advance([step])
        self._seen.pop(job_id, None)
        self._settled()


def _step(sighting: Sighting, now: float) -> Progress:
    return Progress(job_id=sighting.job_id, state=sighting.state, at=now, reason=sighting.reason, sighting=sighting)


def _after(done: Deferred[None]) -> Deferred[None]:
    """Fires after C{done}; cancelling it leaves C{done} alone."""
    later: Deferred[None] = Deferred()
    done.addCallback(lambda _: None if later.called else later.callback(None))
    return later
