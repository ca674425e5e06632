"""
Jobs on their way in: intent, queue, record.

Note [A submission whose outcome is unknown]
============================================
The intent is stored before the queue hears of the job, so a crash or a silent queue leaves a job without a backend id that
the queue may or may not have.  It is looked up by our own id and adopted if it is there.  Only when two looks, a settling
time apart, have not found it, it is submitted again: a frozen scheduler may still carry out, after it wakes, what we
sent it before, and the settling time is what it needs for that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from modabatchd.errors import BundleError, QueueAway
from modabatchd.queue.bundle import BundleLimits, BundleSummary, inspect
from modabatchd.queue.form import SubmissionForm
from modabatchd.queue.interfaces import IDraft, IQueue, ISpool, Refusal, Ticket
from modabatchd.queue.job import BackendId, Job, JobRequest, JobState
from modabatchd.queue.launch import launch_script
from modabatchd.queue.watching import Watching
from modabatchd.store.interfaces import IStore
from modabatchd.workers import IWorkers


class Submission:
    """
    Takes jobs in, and sees to it that what was accepted gets into the queue.

    @param inspectors: where bundles are checked.
    @param settle: seconds that a submission of unknown outcome is given to show up in the queue.
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
        settle: float,
        new_id: Callable[[], str],
    ) -> None:
        self._clock = clock
        self._queue = queue
        self._store = store
        self._spool = spool
        self._watching = watching
        self._inspectors = inspectors
        self._limits = limits
        self._settle = settle
        self._new_id = new_id
        self._unbound: dict[str, _Unbound] = {}

    async def accept(self, draft: IDraft, form: SubmissionForm) -> Job:
        """
        Take a job in.

        @param draft: holds the bundle and, if there is one, the input; it is kept, or left for the caller to discard.
        @return: the job, durable; its C{backend_id} is L{None} while the queue is away, its state is C{submission_error}
            when the queue refuses it for good.
        @raise BundleError: the bundle breaks a rule; nothing is kept.
        """
        await self._inspect(draft.directory / "bundle.tar.gz")
        request = self._request(form, has_input=(draft.directory / "input").exists())
        directory = await self._spool.keep(draft, request.id, _launch(request, form))
        try:
            [job] = await self._store.add([request])
        except Exception:
            await self._spool.remove([request.id])
            raise
        return await self._submit(job, directory)

    def resume(self, jobs: Iterable[Job]) -> None:
        """An earlier life left these jobs without a backend id: see to them."""
        self._unbound.update((job.request.id, _Unbound(job)) for job in jobs)

    async def repair(self) -> None:
        """Bring jobs of unknown outcome into the queue.  See Note [A submission whose outcome is unknown]."""
        if not self._unbound:
            return
        found = await self._queue.find(list(self._unbound))
        now = self._clock.seconds()
        for job_id, unbound in list(self._unbound.items()):
            if job_id in found:
                await self._bind(job_id, found[job_id].backend_id)
                self._log.info("job {job_id} was found in the queue", job_id=job_id)
            elif unbound.absent_since is None:
                self._unbound[job_id] = msgspec.structs.replace(unbound, absent_since=now)
            elif now - unbound.absent_since >= self._settle:
                await self._submit(unbound.job, self._spool.directory(job_id))

    async def _inspect(self, bundle: Path) -> None:
        def inspect_file() -> BundleSummary:
            if not bundle.exists():
                raise BundleError("missing", "The request has no job-bundle.", "Send one: curl -F job-bundle=@job.tar.gz …/jobs")
            with bundle.open("rb") as packed:
                return inspect(packed, self._limits)

        await self._inspectors.run(inspect_file)

    def _request(self, form: SubmissionForm, has_input: bool) -> JobRequest:
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
            has_input=has_input,
        )

    async def _submit(self, job: Job, directory: Path) -> Job:
        job_id = job.request.id
        self._unbound.pop(job_id, None)
        try:
            [result] = await self._queue.submit([Ticket(job.request, directory)])
        except QueueAway as problem:
            self._log.warn("job {job_id} waits for the queue: {problem}", job_id=job_id, problem=problem.cause)
            self._unbound[job_id] = _Unbound(job)
            return job
        except BaseException:
            self._unbound[job_id] = _Unbound(job)
            raise
        if isinstance(result, Refusal):
            await self._watching.conclude(job_id, JobState.SUBMISSION_ERROR, result.reason)
            return msgspec.structs.replace(job, state=JobState.SUBMISSION_ERROR)
        await self._bind(job_id, result)
        return msgspec.structs.replace(job, backend_id=result)

    async def _bind(self, job_id: str, backend_id: BackendId) -> None:
        await self._store.bind(job_id, backend_id)
        self._watching.expect(job_id)
        self._unbound.pop(job_id, None)


class _Unbound(msgspec.Struct, frozen=True):
    """A job that the queue may or may not have, and since when it was looked for in vain."""

    job: Job
    absent_since: float | None = None


def _launch(request: JobRequest, form: SubmissionForm) -> bytes:
    own = {"MODACLOUDS_BATCH_JOB_ID": request.id, "MODACLOUDS_BATCH_JOB_NAME": request.name}
    return launch_script(request.arguments, {**form.environment, **own})
