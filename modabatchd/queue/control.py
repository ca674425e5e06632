"""Hold, release, suspend, continue, remove."""

from __future__ import annotations

from collections.abc import Callable

from modabatchd.errors import IllegalAction, QueueAway, QueueRefused, UnknownJob
from modabatchd.queue.interfaces import ActionResult, IQueue
from modabatchd.queue.job import TRANSITIONS, Action, Job
from modabatchd.queue.watching import Watching
from modabatchd.store.interfaces import IStore

_REASON = "asked for through the modabatchd API"


class Control:
    """Carries actions out.  @param wake: makes the next look at the queue come soon."""

    def __init__(self, queue: IQueue, store: IStore, watching: Watching, wake: Callable[[], None]) -> None:
        self._queue = queue
        self._store = store
        self._watching = watching
        self._wake = wake

    async def act(self, job_id: str, action: Action) -> None:
        """
        Do one thing to one job.  Its effect shows in the store as soon as the queue shows it.

        @raise UnknownJob: there is no such job.
        @raise IllegalAction: the job's state does not allow it.
        @raise QueueAway: the queue does not answer; the action may or may not have been taken.
        """
        job = await self._allowed(job_id, action)
        if job.backend_id is None:
            raise QueueAway(f"The scheduler does not have job {job_id} yet.", "Try again once it is back; the job is safe.")
        [result] = await self._queue.act(action, [job.backend_id], _REASON)
        await self._watching.look_at(job_id)
        self._wake()
        if result is ActionResult.DENIED:
            raise QueueRefused(
                f"The scheduler does not let this service {action} the job.",
                "Check that the identity in queue.htcondor.token_directory owns its jobs (condor_q -af Owner).",
            )
        if result not in (ActionResult.DONE, ActionResult.ALREADY_DONE):
            raise _illegal(await self._get(job_id), action)

    async def _allowed(self, job_id: str, action: Action) -> Job:
        job = await self._get(job_id)
        if job.state in TRANSITIONS[action].allowed:
            return job
        if not job.state.final:
            # The store may be one look behind the queue.
            await self._watching.look_at(job_id)
            job = await self._get(job_id)
        if job.state not in TRANSITIONS[action].allowed:
            raise _illegal(job, action)
        return job

    async def _get(self, job_id: str) -> Job:
        job = await self._store.get(job_id)
        if job is None:
            raise UnknownJob(f"There is no job {job_id}.", "List the jobs with GET /jobs.")
        return job


def _illegal(job: Job, action: Action) -> IllegalAction:
    allowed = " or ".join(sorted(TRANSITIONS[action].allowed))
    cause = f"Job {job.request.id} is {job.state}, so it cannot be asked to {action}."
    return IllegalAction(job.state, cause, f"To {action} a job, it must be {allowed}.")
