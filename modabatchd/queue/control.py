"""
Hold, release, suspend, continue, remove.

Note [What the store says is old]
=================================
The store is as old as the last look at the queue.  So it is never the reason to refuse an action: before a refusal the queue is
looked at.  It may be the reason to try one, because the queue decides for itself; the state may have changed
since, and the answer tells the one it is in then.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from typing import Final

from twisted.logger import Logger

from modabatchd.errors import IllegalAction, QueueAway, QueueRefused, UnknownJob, UnknownTask
from modabatchd.queue.indices import Indices
from modabatchd.queue.interfaces import ActionResult, IQueue
from modabatchd.queue.job import TRANSITIONS, Action, BackendId, Job
from modabatchd.queue.watching import Watching
from modabatchd.shielding import shielded
from modabatchd.store.interfaces import IStore

_REASON: Final = "asked for through the modabatchd API"
_PAGE: Final = 1000
_AS_GOOD: Final = (ActionResult.DONE, ActionResult.ALREADY_DONE)


class Control:
    """Carries actions out.  @param wake: makes the next look at the queue come soon."""

    _log = Logger()

    def __init__(self, queue: IQueue, store: IStore, watching: Watching, wake: Callable[[], None]) -> None:
        self._queue = queue
        self._store = store
        self._watching = watching
        self._wake = wake

    async def act(self, job_id: str, action: Action, tasks: Indices | None = None) -> int | None:
        """
        Do one thing to one job, or to the tasks of a job array whose states allow it.  Its effect shows in the store as soon
        as the queue shows it.

        @param tasks: of an array, the only ones that are meant; L{None} for all.
        @return: of an array, to how many it was done.
        @raise UnknownJob: there is no such job.
        @raise UnknownTask: it is no array, or has not all of these tasks.
        @raise IllegalAction: the state of the job, or of each of the tasks, does not allow it.
        @raise QueueAway: the queue does not answer, then the action may or may not have been taken; or it does not have the
            job yet.
        @raise QueueRefused: the queue does not let this service do it.
        """
        return await shielded(self._act(job_id, action, tasks), f"to {action} job {job_id}")

    async def _act(self, job_id: str, action: Action, tasks: Indices | None) -> int | None:
        job = await self._get(job_id)
        if job.request.array is not None:
            return await self._act_on_tasks(job, job.request.array, action, tasks)
        if tasks is not None:
            raise UnknownTask(f"Job {job_id} is no job array.", "Leave the tasks out, or name a job array.")
        await self._act_on_job(job_id, action)
        return None

    async def _act_on_tasks(self, job: Job, array: Indices, action: Action, tasks: Indices | None) -> int:
        job_id, places = job.request.id, array.places()
        wanted = places.keys() if tasks is None else set(tasks)
        if missing := sorted(wanted - places.keys()):
            raise UnknownTask(f"Job {job_id} has no task {missing[0]}.", "GET its tasks to see which it has.")
        chosen = await self._choose(job_id, action, wanted)
        if job.backend_id is None or not chosen:
            await self._watching.look_at(job_id)
            job, chosen = await self._get(job_id), await self._choose(job_id, action, wanted)
        if not chosen:
            raise _illegal_on_tasks(job, action)
        cluster = _known(job).cluster
        results = await self._queue.act(action, [BackendId(cluster, places[index]) for index in chosen], _REASON)
        done = sum(result in _AS_GOOD for result in results)
        self._log.info("{done} tasks of job {job_id} were asked to {action}", done=done, job_id=job_id, action=action)
        await self._show(job_id)
        if not done:
            raise _refused(action) if ActionResult.DENIED in results else _illegal_on_tasks(await self._get(job_id), action)
        return done

    async def _choose(self, job_id: str, action: Action, wanted: Collection[int]) -> Sequence[int]:
        """Those of some tasks whose states, as the store has them, allow an action."""
        chosen: list[int] = []
        after = -1
        while page := await self._store.tasks(job_id, TRANSITIONS[action].allowed, _PAGE, after):
            after = page[-1].index
            chosen.extend(task.index for task in page if task.index in wanted)
        return chosen

    async def _act_on_job(self, job_id: str, action: Action) -> None:
        backend_id = await self._allowed(job_id, action)
        [result] = await self._queue.act(action, [backend_id], _REASON)
        self._log.info("job {job_id} was asked to {action}: {result}", job_id=job_id, action=action, result=result.value)
        await self._show(job_id)
        if result is ActionResult.DENIED:
            raise _refused(action)
        if result is not ActionResult.DONE:
            self._check(await self._get(job_id), action, result)

    async def _show(self, job_id: str) -> None:
        """See what an action has done."""
        self._wake()
        with suppress(QueueAway):
            # What was done is done; the next look will show it.
            await self._watching.look_at(job_id)

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
        return _known(job)

    async def _get(self, job_id: str) -> Job:
        job = await self._store.get(job_id)
        if job is None:
            raise UnknownJob(f"There is no job {job_id}.", "List the jobs with GET /jobs.")
        return job


def _known(job: Job) -> BackendId:
    """The number of a job that the scheduler has."""
    if job.backend_id is None:
        cause = f"The scheduler does not have job {job.request.id} yet."
        raise QueueAway(cause, "It is handed over in a minute or two; try again then.")
    return job.backend_id


def _refused(action: Action) -> QueueRefused:
    return QueueRefused(
        f"The scheduler does not let this service {action} the job.",
        "Check that the identity in queue.htcondor.token_directory owns its jobs (condor_q -af Owner).",
    )


def _illegal_on_tasks(job: Job, action: Action) -> IllegalAction:
    allowed = " or ".join(sorted(TRANSITIONS[action].allowed))
    cause = f"Of the tasks of job {job.request.id} that are meant, none can be asked to {action}."
    return IllegalAction(job.state, cause, f"To {action} a task, it must be {allowed}.")


def _illegal(job: Job, action: Action) -> IllegalAction:
    allowed = " or ".join(sorted(TRANSITIONS[action].allowed))
    cause = f"Job {job.request.id} is {job.state}, so it cannot be asked to {action}."
    return IllegalAction(job.state, cause, f"To {action} a job, it must be {allowed}.")
