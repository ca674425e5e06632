"""The operations on jobs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from modabatchd.errors import BundleError
from modabatchd.idempotency import Key
from modabatchd.queue.control import Control
from modabatchd.queue.form import parse_form
from modabatchd.queue.interfaces import ISpool
from modabatchd.queue.job import Action, Job, Resources
from modabatchd.queue.submission import Submission
from modabatchd.rest import artifacts, listing_tasks
from modabatchd.rest.artifacts import Artifacts
from modabatchd.rest.looking import found
from modabatchd.rest.naming import action_named, canonical
from modabatchd.rest.once import Once
from modabatchd.rest.operations import Answer, operation, query
from modabatchd.rest.representation import ActionTaken, Submitted, submitted
from modabatchd.store.interfaces import IStore

#: What an operation that acts on jobs is.
_ACTING: Final[dict[str, Any]] = {
    "parameters": listing_tasks.SOME,
    "changes": True,
    "answers": {200: ActionTaken},
    "problems": (409, 422, 502, 503),
}


#: Why a job that asks for this can never run, in a sentence; L{None} if it may.
Outlook = Callable[[Resources], str | None]


class Jobs:
    """What is done with jobs over HTTP; L{modabatchd.rest.looking} tells of them."""

    def __init__(
        self,
        store: IStore,
        spool: ISpool,
        submission: Submission,
        control: Control,
        artifacts: Artifacts,
        once: Once,
        outlook: Outlook | None = None,
    ) -> None:
        """
        @param once: submissions that are sent again go through it.
        @param outlook: L{None}: nobody knows.
        """
        self._store = store
        self._spool = spool
        self._submission = submission
        self._control = control
        self._artifacts = artifacts
        self._once = once
        self._outlook = outlook

    @operation(
        "POST",
        "/jobs",
        "Submit a job",
        changes=True,
        takes_submission=True,
        answers={201: Submitted, 202: Submitted},
        headers={201: ("Location",), 202: ("Location",)},
        problems=(411, 415, 422, 503, 507),
    )
    async def submit_job(self, request: Any) -> Answer:
        """
        Sends a bundle, and says how to run it.  201: the scheduler has the job (or refused it for good: then its job_status is
        submission_error).  202: the job is stored safely, and goes to the scheduler when that can be reached again.  If there
        is no node for it, and none could be started either, the answer holds a warning.
        """
        if request.body is None:
            raise BundleError("missing", "The request has no body.", "Send a form with the field job-bundle.")
        received = await request.body.finished()

        async def submit(key: Key | None) -> Answer:
            return self._taken_in(await self._submission.accept(received.draft, parse_form(received.fields), key))

        try:
            return await self._once.answer(request, received.digest, submit, self._taken_in_before)
        finally:
            # Unless a job has it by now.
            await self._spool.discard(received.draft)

    @operation("DELETE", "/jobs/<job_id>", "Remove a job", **_ACTING)
    async def remove_job(self, request: Any, job_id: str) -> Answer:
        """The same as the action remove."""
        return await self._act(request, job_id, Action.REMOVE)

    @operation(
        "GET POST PUT",
        "/jobs/<job_id>/<action>",
        "Hold, release, suspend, continue or remove a job",
        **_ACTING,
    )
    async def act(self, request: Any, job_id: str, action: str) -> Answer:
        """
        Takes an action on a job, if the job's state allows it; on a job array, on all of its tasks whose states allow it, or on
        some.
        """
        return await self._act(request, job_id, action_named(action))

    @operation("GET", "/jobs/<job_id>/artifacts/<artifact>", "Fetch a file of a job", **artifacts.ABOUT)
    async def get_artifact(self, request: Any, job_id: str, artifact: str) -> None:
        """
        output: an archive of what the application left in MODACLOUDS_BATCH_OUTPUT.  stdout, stderr: what it printed.
        _userlog: the scheduler's events.  Takes a Range, so that a broken download can go on.  The tasks of a job array have
        files of their own.  With follow, stdout or stderr comes as it is printed, and ends with the job; should
        the scheduler run the job again, its output begins again.
        """
        job = await found(self._store, canonical(job_id))
        await self._artifacts.send(request, job.request.id, artifact, job.state.final)

    async def _act(self, request: Any, job_id: str, action: Action) -> Answer:
        known = (await found(self._store, canonical(job_id))).request.id
        done = await self._control.act(known, action, listing_tasks.some(query(request)))
        return Answer(ActionTaken((known, action), tasks=done))

    def _taken_in(self, job: Job) -> Answer:
        waits = job.backend_id is None and not job.state.final
        warning = None if self._outlook is None else self._outlook(job.request.resources)
        return Answer(submitted(job, warning), 202 if waits else 201, headers={"Location": f"/jobs/{job.request.id}"})

    async def _taken_in_before(self, job_id: str) -> Answer:
        return self._taken_in(await found(self._store, canonical(job_id)))
