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
in between repeats the steps; each is idempotent, and the store takes the final state only once.  What is final in the store
but still in the queue was not acknowledged, so only that is left to do.  Results may be large and
the queue remote, so finishing happens beside the looks, a few jobs at a time; until it is done the job shows its last state.

Note [Jobs that vanish]
=======================
A job that the queue does not show may have gone to the queue's history, or its submission may be so fresh that this look
missed it.  Only what is in neither queue nor history, at several looks over a grace time, is gone.  A job that the queue has,
but shows in a way that cannot be read, is left as it is.

Note [Strangers]
================
A queue may show jobs of this installation that the store does not know, for instance after the store came back from a
backup.  They are told to the log, once, and otherwise left alone: neither do we know what was promised, nor must the queue
forget them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Final

import msgspec
from twisted.internet.defer import Deferred, DeferredList, DeferredLock, DeferredSemaphore, TimeoutError
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from modabatchd.errors import ModabatchError, QueueRefused
from modabatchd.notifications.completion import completion
from modabatchd.queue.absence import Absences, Unreadable
from modabatchd.queue.interfaces import IQueue, ISpool
from modabatchd.queue.job import Job, JobState, Sighting
from modabatchd.store.interfaces import IStore, Progress

#: Seconds that a job must have been missing until it counts as gone.
GRACE: Final = 60.0
#: Seconds that a look at one job waits for it to be finished.
PATIENCE: Final = 5.0
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
        self._absences = Absences()
        self._finishing: dict[str, Deferred[None]] = {}
        self._troubled: set[str] = set()
        self._strangers: set[str] = set()

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
        """The same for one job; if it has finished, returns when its finishing is done as well, or takes long."""
        await self._turn.run(lambda: Deferred.fromCoroutine(self._look_at_one(job_id)))
        if job_id in self._finishing:
            with suppress(TimeoutError):
                await _after(self._finishing[job_id]).addTimeout(PATIENCE, self._clock)

    async def idle(self) -> None:
        """Wait until no job is being finished, but not for long: a large result may take an hour to come."""
        finished = [_after(done) for done in self._finishing.values()]
        with suppress(TimeoutError):
            await DeferredList(finished, consumeErrors=True).addTimeout(PATIENCE, self._clock)

    async def _look_at_all(self) -> None:
        expected = set(self._seen)
        sightings = await self._queue.sightings()
        shown = {sighting.job_id for sighting in sightings}
        self._strangers &= shown
        await self._take(sightings)
        await self._search(expected - shown)

    async def _look_at_one(self, job_id: str) -> None:
        await self._take((await self._queue.find([job_id])).values())

    async def _take(self, sightings: Iterable[Sighting]) -> None:
        changed = [sighting for sighting in sightings if sighting != self._seen.get(sighting.job_id)]
        changed = [sighting for sighting in changed if await self._is_known(sighting)]
        now = self._clock.seconds()
        steps = [_step(sighting, now) for sighting in changed if not sighting.state.final]
        if steps:
            await self._store.advance(steps)
        for sighting in changed:
            if sighting.state.final:
                self._finish(sighting)
            else:
                self._seen[sighting.job_id] = sighting

    async def _is_known(self, sighting: Sighting) -> bool:
        """Whether the store has the job.  See Note [Strangers]."""
        job_id = sighting.job_id
        if job_id in self._seen or job_id in self._finishing:
            return True
        if job_id in self._strangers:
            return False
        if await self._store.get(job_id) is not None:
            return True
        self._strangers.add(job_id)
        self._log.warn("the queue has job {job_id}, which the store does not know: left alone", job_id=job_id)
        return False

    async def _search(self, missing: Collection[str]) -> None:
        """Look for jobs that the queue does not show.  See Note [Jobs that vanish]."""
        # Some may have been finished since they were expected.
        absent = {job_id for job_id in missing if job_id in self._seen and job_id not in self._finishing}
        self._absences.only(absent)
        if not absent:
            return
        found, unclear = await search(self._queue, absent)
        self._absences.found([*found, *unclear])
        await self._take(found.values())
        now = self._clock.seconds()
        for job_id in absent.difference(found, unclear):
            if self._absences.missed(job_id, now, GRACE):
                self._log.warn("job {job_id} is neither in the queue nor in its history", job_id=job_id)
                await self.conclude(job_id, JobState.REMOVED, "The scheduler does not know this job any more.")
                self._absences.found([job_id])

    def _finish(self, sighting: Sighting) -> None:
        if sighting.job_id not in self._finishing:
            self._finishing[sighting.job_id] = Deferred()
            Deferred.fromCoroutine(self._finish_in_turn(sighting))

    async def _finish_in_turn(self, sighting: Sighting) -> None:
        job_id = sighting.job_id
        try:
            await self._finishing_at_once.run(lambda: Deferred.fromCoroutine(self._finish_now(sighting)))
            self._troubled.discard(job_id)
        except Exception:
            # The next look tries again: the queue keeps the job until it is acknowledged.
            self._tell_trouble(job_id)
        self._finishing.pop(job_id).callback(None)

    def _tell_trouble(self, job_id: str) -> None:
        """Log why a job could not be finished, once for each job: the queue may be away, or the disk full, for long."""
        failure = Failure()
        if job_id in self._troubled:
            return
        self._troubled.add(job_id)
        if isinstance(failure.value, ModabatchError):
            self._log.warn("finishing job {job_id} waits: {problem}", job_id=job_id, problem=failure.value.cause)
        else:
            self._log.failure("finishing job {job_id}; trying on", failure, job_id=job_id)

    async def _finish_now(self, sighting: Sighting) -> None:
        """See Note [Finishing]."""
        job_id = sighting.job_id
        job = await self._store.get(job_id)
        if job is not None and not job.state.final:
            await self._bring_results(sighting)
            await self.conclude(job_id, sighting.state, sighting.reason, sighting)
        self._seen.pop(job_id, None)
        await self._queue.acknowledge([sighting.backend_id])

    async def _bring_results(self, sighting: Sighting) -> None:
        job_id = sighting.job_id
        try:
            await self._queue.fetch(sighting, self._spool.directory(job_id))
        except QueueRefused as problem:
            self._log.error("job {job_id} ended, but its results are lost: {problem}", job_id=job_id, problem=problem.cause)
        await self._spool.settle(job_id)

    async def conclude(self, job_id: str, state: JobState, reason: str | None, sighting: Sighting | None = None) -> None:
        """Write a final state and the message about it in one transaction."""
        job = await self._store.get(job_id)
        if job is not None:
            now = self._clock.seconds()
            ended = msgspec.structs.replace(job, state=state, sighting=sighting or job.sighting)
            message = completion(ended, self._new_id(), now, reason)
            step = Progress(job_id=job_id, state=state, at=now, reason=reason, sighting=sighting, message=message)
            await self._store.advance([*_unseen_run(job, sighting), step])
            self._log.info("job {job_id} is over: {state}{why}", job_id=job_id, state=state, why=_why(reason, sighting))
        self._seen.pop(job_id, None)
        self._settled()


async def search(queue: IQueue, job_ids: Collection[str]) -> tuple[Mapping[str, Sighting], Collection[str]]:
    """What a queue shows of jobs, and which it has, but shows in a way that cannot be read; all others are absent."""
    try:
        return await queue.find(job_ids), ()
    except Unreadable as problem:
        return problem.found, problem.job_ids


def _unseen_run(job: Job, sighting: Sighting | None) -> Sequence[Progress]:
    """The beginning of a run that was over before any look saw it, for the job's history."""
    if sighting is None or sighting.current_started is None or job.state is not JobState.IDLE:
        return ()
    # HTCondor counts whole seconds: the run may seem to have begun before the job was there.
    began = max(sighting.current_started, job.history[-1].at if job.history else job.request.submitted)
    return (Progress(job_id=job.request.id, state=JobState.RUNNING, at=began),)


def _why(reason: str | None, sighting: Sighting | None) -> str:
    if reason is not None:
        return f", {reason}"
    if sighting is None or (sighting.exit_status is None and sighting.exit_signal is None):
        return ""
    ended = f"exit status {sighting.exit_status}" if sighting.exit_signal is None else f"signal {sighting.exit_signal}"
    return f", {ended}"


def _step(sighting: Sighting, now: float) -> Progress:
    return Progress(job_id=sighting.job_id, state=sighting.state, at=now, reason=sighting.reason, sighting=sighting)


def _after(done: Deferred[None]) -> Deferred[None]:
    """Fires after C{done}; cancelling it leaves C{done} alone."""
    later: Deferred[None] = Deferred()
    done.addCallback(lambda _: None if later.called else later.callback(None))
    return later
