"""The operations on jobs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Final

import msgspec

from modabatchd.errors import BundleError
from modabatchd.idempotency import Key
from modabatchd.queue.control import Control
from modabatchd.queue.form import parse_form
from modabatchd.queue.interfaces import ISpool
from modabatchd.queue.job import Action, Job, Resources
from modabatchd.queue.submission import Submission
from modabatchd.rest import artifacts, listing, listing_tasks
from modabatchd.rest.artifacts import Artifacts
from modabatchd.rest.naming import action_named, canonical, unknown
from modabatchd.rest.once import Once
from modabatchd.rest.operations import Answer, operation, query
from modabatchd.rest.representation import ActionTaken, JobEntry, JobView, Submitted, entry, submitted, view
from modabatchd.rest.streaming import stream
from modabatchd.store.interfaces import IStore, Listed, Selection

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
    """The jobs over HTTP."""

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

    @operation(
        "GET",
        "/jobs",
        "List jobs",
        parameters=listing.PARAMETERS,
        answers={200: list[JobEntry]},
        headers={200: ("Link",)},
        problems=(422,),
    )
    async def list_jobs(self, request: Any) -> Answer | None:
        """
        All jobs, newest last.  With parameters, a page of those that fit all of them; a Link header leads to the next page.
        """
        asked = query(request)
        page = listing.page(asked)
        if page is None:
            return await self._all(request)
        found = await self._store.page(page.selection, page.limit + 1, page.after)
        shown = found[: page.limit]
        headers = {"Link": listing.next_link(asked, shown[-1])} if len(found) > page.limit else {}
        return Answer([entry(listed) for listed in shown], headers=headers)

    @operation("GET", "/jobs/<job_id>", "Look at a job", answers={200: JobView}, problems=(404,))
    async def get_job(self, request: Any, job_id: str) -> Answer:
        """All about one job."""
        return Answer(view(await self._job(job_id)))

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
        files of their own.
        """
        job = await self._job(job_id)
        await self._artifacts.send(request, job.request.id, artifact, job.state.final)

    async def _act(self, request: Any, job_id: str, action: Action) -> Answer:
        known = (await self._job(job_id)).request.id
        done = await self._control.act(known, action, listing_tasks.some(query(request)))
        return Answer(ActionTaken((known, action), tasks=done))

    def _taken_in(self, job: Job) -> Answer:
        waits = job.backend_id is None and not job.state.final
        warning = None if self._outlook is None else self._outlook(job.request.resources)
        return Answer(submitted(job, warning), 202 if waits else 201, headers={"Location": f"/jobs/{job.request.id}"})

    async def _taken_in_before(self, job_id: str) -> Answer:
        return self._taken_in(await self._job(job_id))

    async def _job(self, job_id: str) -> Job:
        job = await self._store.get(canonical(job_id))
        if job is None:
            raise unknown(job_id)
        return job

    async def _all(self, request: Any) -> Answer | None:
        first = await self._store.page(Selection(), listing.LARGEST_PAGE)
        if len(first) < listing.LARGEST_PAGE:
            return Answer([entry(listed) for listed in first])
        await stream(request, "application/json", self._array(first))
        return None

    async def _array(self, page: Sequence[Listed]) -> AsyncIterator[bytes]:
        """The list of all jobs as JSON, a page at a time, so that its length costs no memory."""
        opening = b"["
        while page:
            yield opening + msgspec.json.encode([entry(listed) for listed in page])[1:-1]
            opening = b","
            page = await self._store.page(Selection(), listing.LARGEST_PAGE, page[-1].seq)
        yield b"]\n"
