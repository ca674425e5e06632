"""
What becomes of jobs that are over: results, final state and message, acknowledgement.

Note [Finishing]
================
A finished job is told to its owner once, and never before its results can be fetched: first the results come into the
spool, then final state and outbox row are written in one transaction, and only then the queue may forget the job.  A crash
in between repeats the steps; each is idempotent, and the store takes the final state only once.  What is final in the store
but still in the queue was not acknowledged, so only that is left to do.  Results may be large and
the queue remote, so finishing happens beside the looks, a few jobs at a time; until it is done the job shows its last state.

Note [Thousands at once]
========================
Bringing results takes its time for each job.  To write a final state and to acknowledge it costs nearly the same for one job
and for hundreds, so whatever has its results while others are being written waits for them, and is written next, all together.
When that fails for a reason that may lie in one of them, each is written by itself.

Note [The end of an array]
==========================
The tasks of an array end one by one, and each is acknowledged then.  When the store says that the last one is over, the
array's own final state follows, with the message, in a transaction of its own, because only now it is known how all of them
ended.  A crash in between leaves an array without live tasks, which the next life concludes; so does whoever writes the end of
one of its tasks again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from typing import Final

import msgspec
from twisted.internet.defer import Deferred, DeferredList, DeferredSemaphore, TimeoutError
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from modabatchd.errors import ModabatchError, QueueRefused
from modabatchd.gathering import Gathering
from modabatchd.notifications.endpoint import Endpoint
from modabatchd.notifications.endpoints import Endpoints
from modabatchd.queue.interfaces import IQueue, ISpool
from modabatchd.queue.job import Job, JobState, Sighting, Subject
from modabatchd.queue.tallies import closed, state_of
from modabatchd.queue.telling import told
from modabatchd.store.interfaces import IStore, Progress

#: Seconds that anybody waits for a job to be finished.
PATIENCE: Final = 5.0
#: Seconds until what could not be finished is tried again.
AGAIN: Final = 5.0
_AT_ONCE: Final = 4
_TOGETHER: Final = 500


class Ending(msgspec.Struct, frozen=True):
    """
    How a job, or a task of a job array, ended.

    @ivar job: as the store has it.
    @ivar reason: why, when that is known.
    @ivar sighting: what the queue said last; L{None} when it knows nothing of the job.
    @ivar task: the index of the task; L{None} for the job as a whole.
    """

    job: Job
    state: JobState
    reason: str | None
    sighting: Sighting | None
    task: int | None = None


class Finishing:
    """
    Sees to jobs that are over.  See Note [Finishing].

    @param new_id: makes the ids of messages.
    @param endpoints: are told of what they want to hear.
    @param settled: called when jobs reached their final state, so that their notifications go out at once.
    @param over: called with each job and task that has reached its final state.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        queue: IQueue,
        store: IStore,
        spool: ISpool,
        endpoints: Endpoints,
        new_id: Callable[[], str],
        settled: Callable[[], None],
        over: Callable[[Subject], None],
    ) -> None:
        self._clock = clock
        self._queue = queue
        self._store = store
        self._spool = spool
        self._endpoints = endpoints
        self._new_id = new_id
        self._settled = settled
        self._over = over
        self._at_once = DeferredSemaphore(_AT_ONCE)
        self._together = Gathering(self._settle_patiently, _TOGETHER)
        self._under_way: dict[Subject, Deferred[None]] = {}
        self._failed: dict[Subject, Sighting] = {}
        self._tried_again = clock.seconds()
        self._troubled: set[str] = set()

    def __contains__(self, subject: object) -> bool:
        """Whether the job or task is being finished."""
        return subject in self._under_way

    def begin(self, sighting: Sighting) -> None:
        """The queue shows that a job is over: see to it, unless that is under way."""
        if sighting.subject not in self._under_way:
            self._failed.pop(sighting.subject, None)
            self._under_way[sighting.subject] = Deferred()
            Deferred.fromCoroutine(self._finish(sighting))

    def try_again(self) -> None:
        """Begin anew what could not be finished a while ago; the queue keeps a job until it is acknowledged."""
        now = self._clock.seconds()
        if abs(now - self._tried_again) >= AGAIN:
            self._tried_again = now
            for sighting in list(self._failed.values()):
                self.begin(sighting)

    async def wait_for(self, job_id: str) -> None:
        """Wait until a job, or whatever of its tasks has ended, is finished, but not for long."""
        await self._wait([done for subject, done in self._under_way.items() if subject.job_id == job_id])

    async def idle(self) -> None:
        """Wait until no job is being finished, but not for long: a large result may take an hour to come."""
        await self._wait(list(self._under_way.values()))

    async def _wait(self, under_way: Sequence[Deferred[None]]) -> None:
        with suppress(TimeoutError):
            await DeferredList([_after(done) for done in under_way], consumeErrors=True).addTimeout(PATIENCE, self._clock)

    async def conclude(self, endings: Sequence[Ending]) -> None:
        """Write final states and the messages about them in one transaction."""
        now = self._clock.seconds()
        endpoints = await self._endpoints.all()
        over = await self._store.advance([step for ending in endings for step in self._steps(ending, now, endpoints)])
        for ending in endings:
            job_id, why = ending.job.request.id, _why(ending.reason, ending.sighting)
            if ending.task is None:
                self._log.info("job {job_id} is over: {state}{why}", job_id=job_id, state=ending.state, why=why)
            self._over(Subject(job_id, ending.task))
        for job_id in over:
            await self.conclude_array(job_id)
        if endings:
            self._settled()

    async def conclude_array(self, job_id: str) -> None:
        """Write the final state of an array whose tasks are all over.  See Note [The end of an array].  Idempotent."""
        job = await self._store.get(job_id)
        if job is not None and job.tally is not None:
            await self.conclude([Ending(job, state_of(job.tally), None, None)])

    def _steps(self, ending: Ending, now: float, endpoints: Collection[Endpoint]) -> Sequence[Progress]:
        job, state, reason, sighting = ending.job, ending.state, ending.reason, ending.sighting
        if ending.task is not None:
            job_id, task = job.request.id, ending.task
            return [Progress(job_id=job_id, state=state, at=now, reason=reason, sighting=sighting, task=task)]
        tally = None if job.tally is None else closed(job.tally, state)
        counted = msgspec.structs.replace(job, tally=tally)
        end = Progress(job_id=job.request.id, state=state, at=now, reason=reason, sighting=sighting)
        return [told(step, counted, endpoints, self._new_id) for step in [*_unseen_run(job, sighting), end]]

    async def _finish(self, sighting: Sighting) -> None:
        job_id, subject = sighting.job_id, sighting.subject
        try:
            job = await self._at_once.run(lambda: Deferred.fromCoroutine(self._bring_results(sighting)))
            [settling] = self._together.add([(sighting, job)])
            await settling
            self._troubled.discard(job_id)
        except Exception:
            self._failed[subject] = sighting
            self._tell_trouble(job_id)
        self._under_way.pop(subject).callback(None)

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

    async def _bring_results(self, sighting: Sighting) -> Job | None:
        """@return: the job, if anybody has to hear of it; L{None} for a task, see L{_settle}."""
        job_id = sighting.job_id
        job = None if sighting.task is not None else await self._store.get(job_id)
        if sighting.task is None and (job is None or job.state.final):
            return None
        try:
            await self._queue.fetch(sighting, self._spool.directory(job_id))
        except QueueRefused as problem:
            self._log.error("job {job_id} ended, but its results are lost: {problem}", job_id=job_id, problem=problem.cause)
        if sighting.task is None:
            await self._spool.settle(job_id)
        return job

    def _settle_patiently(self, items: Sequence[tuple[Sighting, Job | None]]) -> Deferred[Sequence[Failure | None]]:
        return Deferred.fromCoroutine(self._settle(items))

    async def _settle(self, items: Sequence[tuple[Sighting, Job | None]]) -> Sequence[Failure | None]:
        """See Note [Thousands at once].  @return: for each what went wrong."""
        try:
            arrays = await self._arrays({seen.job_id for seen, _ in items if seen.task is not None})
            known = [(seen, arrays.get(seen.job_id) if seen.task is not None else job) for seen, job in items]
            await self.conclude(
                [Ending(job, seen.state, seen.reason, seen, seen.task) for seen, job in known if job is not None]
            )
            for seen, _ in items:
                self._over(seen.subject)
            await self._queue.acknowledge([seen.backend_id for seen, _ in items])
        except Exception as problem:
            if len(items) == 1 or isinstance(problem, ModabatchError):
                return [Failure()] * len(items)
        else:
            return [None] * len(items)
        return [outcome for item in items for outcome in await self._settle([item])]

    async def _arrays(self, job_ids: Collection[str]) -> Mapping[str, Job]:
        """Arrays of which tasks have brought their results, and somebody has to hear of that."""
        arrays: dict[str, Job] = {}
        for job_id in job_ids:
            job = await self._store.get(job_id)
            if job is not None and not job.state.final:
                await self._spool.settle(job_id)
                arrays[job_id] = job
        return arrays


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


def _after(done: Deferred[None]) -> Deferred[None]:
    """Fires after C{done}; cancelling it leaves C{done} alone."""
    later: Deferred[None] = Deferred()
    done.addCallback(lambda _: None if later.called else later.callback(None))
    return later
