"""
Hold, release, suspend, continue, remove.

Note [What the store says is old]
=================================
The store is as old as the last look at the queue.  So it is never the reason to refuse an action: before a refusal the queue is
looked at.  It may be the reason to try one, because the queue decides for itself; the state may have changed
since, and the answer tells the one it is in then.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from twisted.logger import Logger

from modabatchd.errors import IllegalAction, QueueAway, QueueRefused, UnknownJob
from modabatchd.queue.interfaces import ActionResult, IQueue
from modabatchd.queue.job import TRANSITIONS, Action, BackendId, Job
from modabatchd.queue.watching import Watching
from modabatchd.shielding import shielded
from modabatchd.store.interfaces import IStore

_REASON = "asked for through the modabatchd API"


class Control:
    """Carries actions out.  @param wake: makes the next look at the queue come soon."""

    _log = Logger()

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
        @raise QueueAway: the queue does not answer, then the action may or may not have been taken; or it does not have the
            job yet.
        @raise QueueRefused: the queue does not let this service do it.
        """
        await shielded(self._act(job_id, action), f"to {action} job {job_id}")

    async def _act(self, job_id: str, action: Action) -> None:
        backend_id = await self._allowed(job_id, action)
        [result] = await self._queue.act(action, [backend_id], _REASON)
        self._log.info("job {job_id} was asked to {action}: {result}", job_id=job_id, action=action, result=result.value)
        self._wake()
        with suppress(QueueAway):
            # What was done is done; the next look will show it.
            await self._watching.look_at(job_id)
        if result is ActionResult.DENIED:
            raise QueueRefused(
                f"The scheduler does not let this service {action} the job.",
                "Check that the identity in queue.htcondor.token_directory owns its jobs (condor_q -af Owner).",
            )
        if result is not ActionResult.DONE:
            self._check(await self._get(job_id), action, result)

    def _check(self, job: Job, action: Action, result: ActionResult) -> None:
        """The queue did nothing: see whether that is as good."""
        as_asked = job.state is TRANSITIONS[action].to or not job.state.final
        if result is ActionResult.ALREADY_DONE and as_asked:
            return
        if job.state not in TRANSITIONS[action].allowed:
            raise _illegal(job, action)
        cause = f"The scheduler did not {action} job {job.request.id}, which is {job.state}: {result.value}."
        raise IllegalAction(job.state, cause, "Its state may just be changing: look at the job and try again.")

    async def _allowed(self, job_id: str, action: Action) -> BackendId:
        """The job's number in the queue, if its state allows the action.  See Note [What the store says is old]."""
        job = await self._get(job_id)
        if not job.state.final and (job.backend_id is None or job.state not in TRANSITIONS[action].allowed):
            await self._watching.look_at(job_id)
            job = await self._get(job_id)
        if job.state not in TRANSITIONS[action].allowed:
            raise _illegal(job, action)
        if job.backend_id is None:
            cause = f"The scheduler does not have job {job_id} yet."
            raise QueueAway(cause, "It is handed over in a minute or two; try again then.")
        return job.backend_id

    async def _get(self, job_id: str) -> Job:
        job = await self._store.get(job_id)
        if job is None:
            raise UnknownJob(f"There is no job {job_id}.", "List the jobs with GET /jobs.")
        return job


def _illegal(job: Job, action: Action) -> IllegalAction:
    allowed = " or ".join(sorted(TRANSITIONS[action].allowed))
    cause = f"Job {job.request.id} is {job.state}, so it cannot be asked to {action}."
    return IllegalAction(job.state, cause, f"To {action} a job, it must be {allowed}.")
