"""
Jobs on their way in: intent, queue, record.

Note [Accepted is accepted]
===========================
Once the intent is stored, the job will be run, and the client is told so, whatever goes wrong between queue and record: a
client that got an error would send the job again.  And a client that disconnects must not leave a half-made job behind, so
taking a job in is not cancelled with the request.

Note [A submission whose outcome is unknown]
============================================
The intent is stored before the queue hears of the job, so a crash or a silent queue leaves a job without a backend id that
the queue may or may not have.  It is looked up by our own id and adopted if it is there.  Only when looks over the queue's
settling time have not found it, it is submitted again: a frozen scheduler may still carry out, after it wakes, what we
sent it before, and the settling time is what it needs for that.  A submission that certainly never reached the queue needs
no such time.  While a submission is under way nobody looks for its job.

Note [Patience]
===============
A submission may take long: a queue that is frozen is noticed late, and files may have a long way to go.  A client is not kept
waiting for that, since its job is accepted anyway, nor is the loop that repairs.  Whoever waits gives up after a while; the
submission goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress

import msgspec
from twisted.internet.defer import TimeoutError
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from modabatchd.errors import QueueAway
from modabatchd.idempotency import Key
from modabatchd.queue.absence import Absences
from modabatchd.queue.bundle import BundleLimits
from modabatchd.queue.contents import Contents, examine, indices
from modabatchd.queue.form import SubmissionForm
from modabatchd.queue.interfaces import IDraft, IQueue, ISpool, Refusal, Ticket
from modabatchd.queue.job import BackendId, Job, JobRequest, JobState
from modabatchd.queue.launch import launch_script
from modabatchd.queue.watching import Watching, search
from modabatchd.shielding import shielded
from modabatchd.store.interfaces import IStore
from modabatchd.workers import IWorkers


class Submission:
    """
    Takes jobs in, and sees to it that what was accepted gets into the queue.

    @param inspectors: where bundles are checked.
    @ivar accepted: how many submissions were, in this life.
    @param patience: seconds that anybody waits for a submission.  See Note [Patience].
    @param largest_array: how many tasks a job array may have.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        queue: IQueue,
        store: IStore,
        spool: ISpool,
        watching: Watching,
        inspectors: IWorkers,
        limits: BundleLimits,
        new_id: Callable[[], str],
        patience: float = 15.0,
        largest_array: int = 10_000,
    ) -> None:
        self._clock = clock
        self._queue = queue
        self._store = store
        self._spool = spool
        self._watching = watching
        self._inspectors = inspectors
        self._limits = limits
        self._absences = Absences()
        self._new_id = new_id
        self._patience = patience
        self._largest_array = largest_array
        self.accepted = 0
        # Jobs that the queue may or may not have; those of them whose submission is under way, or certainly did not reach the
        # queue; jobs that the store may or may not have.
        self._unbound: dict[str, Job] = {}
        self._submitting: set[str] = set()
        self._untouched: set[str] = set()
        self._doubtful: set[str] = set()

    async def accept(self, draft: IDraft, form: SubmissionForm, key: Key | None = None) -> Job:
        """
        Take a job in.  See Note [Accepted is accepted].

        @param draft: holds the bundle and, if there are any, the input and the parameters; it is kept, or discarded.
        @param key: recorded with the job, if there is one.
        @return: the job, durable; its C{backend_id} is L{None} while the queue is away or slow, its state is
            C{submission_error} when the queue refuses it for good.
        @raise BundleError: the bundle breaks a rule; nothing is kept.
        @raise FieldError: the parameters do, or the job array is too large; nothing is kept.
        @raise NoSpace: nothing is kept.
        """
        return await shielded(self._accept(draft, form, key), "a submission")

    def resume(self, jobs: Iterable[Job]) -> None:
        """An earlier life left these jobs without a backend id: see to them."""
        self._unbound.update((job.request.id, job) for job in jobs)

    async def repair(self) -> None:
        """
        Bring jobs of unknown outcome into the queue.  See Note [A submission whose outcome is unknown].

        @raise ModabatchError: it cannot be done for the moment; the next call tries again.
        """
        for job_id in list(self._doubtful):
            self.resume(await self._recorded(job_id))
        asked = {job_id: job for job_id, job in self._unbound.items() if job_id not in self._submitting}
        if not asked:
            return
        found, unclear = await search(self._queue, list(asked))
        self._absences.found([*found, *unclear])
        now = self._clock.seconds()
        missing = [job for job_id, job in asked.items() if job_id not in found and job_id not in unclear]
        absent = [job for job in missing if self._is_absent(job.request.id, now)]
        for job_id, sighting in found.items():
            self._log.info("job {job_id} was found in the queue", job_id=job_id)
            first = sighting.backend_id if sighting.task is None else BackendId(sighting.backend_id.cluster)
            await self._bind(asked[job_id], first)
        await self._submit_patiently([job for job in absent if await self._is_wanted(job)])

    def _is_absent(self, job_id: str, now: float) -> bool:
        return job_id in self._untouched or self._absences.missed(job_id, now, self._queue.settling)

    async def _is_wanted(self, job: Job) -> bool:
        """Whether a job still waits for the queue: what we were told at the start may have been settled meanwhile."""
        stored = await self._store.get(job.request.id)
        if stored is not None and stored.backend_id is None and not stored.state.final:
            return True
        self._settled(job.request.id)
        return False

    async def _accept(self, draft: IDraft, form: SubmissionForm, key: Key | None) -> Job:
        try:
            contents = await self._inspectors.run(examine, draft, self._limits)
            request = self._request(form, contents)
            await self._spool.keep(draft, request.id, _launch(request, form), contents.parameters)
        except BaseException:
            await self._spool.discard(draft)
            raise
        job = await self._add(request, [] if key is None else [msgspec.structs.replace(key, job_id=request.id)])
        self.accepted += 1
        self._log.info("job {job_id} is taken in", job_id=request.id)
        results: Mapping[str, BackendId | Refusal] = {}
        try:
            results = await self._submit_patiently([job])
        except QueueAway as problem:
            self._log.warn("job {job_id} waits for the queue: {problem}", job_id=request.id, problem=problem.cause)
        except Exception:
            self._log.failure("submitting job {job_id}; it is looked for later", job_id=request.id)
        return _with(job, results.get(request.id))

    async def _add(self, request: JobRequest, keys: Sequence[Key]) -> Job:
        try:
            [job] = await self._store.add([request], keys)
        except Exception:
            # The store may have failed after it had done its work.
            self._doubtful.add(request.id)
            jobs: Sequence[Job] = ()
            with suppress(Exception):
                jobs = await self._recorded(request.id)
            if not jobs:
                raise
            [job] = jobs
        return job

    async def _recorded(self, job_id: str) -> Sequence[Job]:
        """The job that the store has after all; when it has none, its files are deleted."""
        job = await self._store.get(job_id)
        if job is None:
            await self._spool.remove([job_id])
        self._doubtful.discard(job_id)
        return [] if job is None else [job]

    def _request(self, form: SubmissionForm, contents: Contents) -> JobRequest:
        return JobRequest(
            id=self._new_id(),
            submitted=self._clock.seconds(),
            name=form.name,
            arguments=form.arguments,
            labels=form.labels,
            resources=form.resources,
            priority=form.priority,
            max_retries=form.max_retries,
            max_wall_time=form.max_wall_time,
            notification=form.notification,
            has_input=contents.has_input,
            array=indices(form.array, contents.rows, self._largest_array),
            has_parameters=contents.rows is not None,
        )

    async def _submit_patiently(self, jobs: Sequence[Job]) -> Mapping[str, BackendId | Refusal]:
        """
        Put jobs into the queue; whatever becomes of that, they are repaired until they are there.

        @return: what the queue said, by job id; nothing, if it takes longer than anybody waits.  See Note [Patience].
        """
        with suppress(TimeoutError):
            return await shielded(self._submit(jobs), f"submitting {len(jobs)} jobs").addTimeout(self._patience, self._clock)
        self._log.info("the queue is slow: {count} jobs are still on their way into it", count=len(jobs))
        return {}

    async def _submit(self, jobs: Sequence[Job]) -> Mapping[str, BackendId | Refusal]:
        """The same, however long it takes."""
        by_id = {job.request.id: job for job in jobs}
        if not by_id:
            return {}
        self._absences.found(by_id)
        self._unbound.update(by_id)
        self._submitting.update(by_id)
        self._untouched.difference_update(by_id)
        try:
            tickets = [Ticket(job.request, self._spool.directory(job_id)) for job_id, job in by_id.items()]
            results = dict(zip(by_id, await self._queue.submit(tickets), strict=True))
            await self._record_or_find_later(by_id, results)
        except QueueAway as problem:
            if problem.untouched:
                self._untouched.update(by_id)
            raise
        finally:
            self._submitting.difference_update(by_id)
        return results

    async def _record_or_find_later(self, jobs: Mapping[str, Job], results: Mapping[str, BackendId | Refusal]) -> None:
        try:
            await self._record(jobs, results)
        except Exception:
            self._log.failure("recording {count} submissions; what is not recorded is looked for later", count=len(results))

    async def _record(self, jobs: Mapping[str, Job], results: Mapping[str, BackendId | Refusal]) -> None:
        for job_id, result in results.items():
            if isinstance(result, Refusal):
                self._log.warn("the queue refuses job {job_id}: {reason}", job_id=job_id, reason=result.reason)
                await self._watching.conclude(job_id, JobState.SUBMISSION_ERROR, result.reason)
                self._settled(job_id)
            else:
                await self._bind(jobs[job_id], result)

    async def _bind(self, job: Job, backend_id: BackendId) -> None:
        await self._store.bind(job.request.id, backend_id)
        self._watching.expect(job.request)
        self._settled(job.request.id)

    def _settled(self, job_id: str) -> None:
        self._unbound.pop(job_id, None)
        self._untouched.discard(job_id)
        self._absences.found([job_id])


def _with(job: Job, result: BackendId | Refusal | None) -> Job:
    if isinstance(result, Refusal):
        return msgspec.structs.replace(job, state=JobState.SUBMISSION_ERROR)
    return msgspec.structs.replace(job, backend_id=result)


def _launch(request: JobRequest, form: SubmissionForm) -> bytes:
    own = {"MODACLOUDS_BATCH_JOB_ID": request.id, "MODACLOUDS_BATCH_JOB_NAME": request.name}
    if request.array is not None:
        counted = {"COUNT": request.array.count, "FIRST": request.array.first, "LAST": request.array.last}
        own |= {f"MODACLOUDS_BATCH_TASK_{name}": str(number) for name, number in counted.items()}
    return launch_script(request.arguments, {**form.environment, **own}, request.has_parameters)
