"""The operations that tell of jobs, all from the store."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Any, Final

import msgspec
from twisted.internet.defer import Deferred

from modabatchd.queue.job import Job
from modabatchd.queue.job_events import JobEvents
from modabatchd.rest import listing
from modabatchd.rest.asking import only
from modabatchd.rest.coding import wants_gzip, zipped
from modabatchd.rest.naming import canonical, unknown
from modabatchd.rest.operations import Answer, Either, Parameter, operation, query
from modabatchd.rest.projection import PROJECTION, JobPart, is_historical, is_listed, part, projection
from modabatchd.rest.representation import JobCounts, JobEntry, JobView, counted, entry, view
from modabatchd.rest.revalidation import IF_NONE_MATCH, UNCHANGED, has_version, is_conditional, with_version
from modabatchd.rest.streaming import stream
from modabatchd.store.interfaces import IStore, Listed, Page, Selection

_LONGEST_WAIT: Final = 300
_WAIT: Final = Parameter(
    name="wait",
    description="Seconds to wait for the job's next change.",
    schema={"type": "integer", "minimum": 0, "maximum": _LONGEST_WAIT},
)


class Looking:
    """Looking at jobs over HTTP.  Answers have versions, so that whoever polls is told in a moment that nothing has changed."""

    def __init__(self, store: IStore, events: JobEvents) -> None:
        self._store = store
        self._events = events

    @operation(
        "GET",
        "/jobs",
        "List jobs",
        parameters=(*listing.PARAMETERS, IF_NONE_MATCH),
        answers={200: Either((list[JobEntry], list[JobPart])), 304: None},
        headers={200: ("Link", "ETag"), 304: ("ETag",)},
        problems=(422,),
    )
    async def list_jobs(self, request: Any) -> Answer | None:
        """
        All jobs, newest last.  With parameters, a page of those that fit all of them; a Link header leads to the next page.
        Where few jobs fit, a page may hold less than its limit, or nothing, though there is a next one.
        """
        asked = query(request)
        wanted = listing.wanted(asked)
        version = self._store.version()
        if has_version(request, version):
            return UNCHANGED
        if wanted is None:
            return await self._all(request, version)
        found = await self._page(wanted)
        headers = {} if found.next is None else {"Link": listing.next_link(asked, found.next)}
        return with_version(Answer(found.jobs, headers=headers), version, self._store.version())

    @operation(
        "GET",
        "/jobs/counts",
        "Count jobs",
        parameters=(IF_NONE_MATCH,),
        answers={200: JobCounts, 304: None},
        headers={200: ("ETag",), 304: ("ETag",)},
        problems=(422,),
    )
    async def count_jobs(self, request: Any) -> Answer:
        """How many jobs are in each state.  The numbers are kept, so that they cost nothing."""
        only(query(request))
        version = self._store.version()
        if has_version(request, version):
            return UNCHANGED
        answer = Answer(counted(await self._store.counts()))
        return with_version(answer, version, self._store.version())

    @operation(
        "GET",
        "/jobs/<job_id>",
        "Look at a job",
        parameters=(PROJECTION, _WAIT, IF_NONE_MATCH),
        answers={200: Either((JobView, JobPart)), 304: None},
        headers={200: ("ETag",), 304: ("ETag",)},
        problems=(404, 422),
    )
    async def get_job(self, request: Any, job_id: str) -> Answer:
        """
        All about one job, or some of it.  With wait, once the job enters another state, is over already, or differs from what
        If-None-Match says, and at the latest after so many seconds.
        """
        asked = query(request)
        only(asked, "fields", "wait")
        fields, known = projection(asked), canonical(job_id)
        patience = listing.number("wait", listing.first(asked, "wait") or "0", 0, _LONGEST_WAIT)
        if patience and (not is_conditional(request) or has_version(request, self._store.version(known))):
            await self._next_change(known, patience)
        version = self._store.version(known)
        if has_version(request, version):
            return UNCHANGED
        job = await found(self._store, known)
        answer = Answer(view(job) if fields is None else part(job, fields))
        return with_version(answer, version, self._store.version(known))

    async def _next_change(self, job_id: str, patience: float) -> None:
        number = await self._events.latest()
        if not (await found(self._store, job_id)).state.final:
            await self._events.about(job_id, number, patience)

    async def _page(self, wanted: listing.Wanted) -> Page[Any]:
        selection, limit, after, fields = wanted.selection, wanted.limit, wanted.after, wanted.fields
        if fields is not None and not is_listed(fields):
            whole = await self._store.jobs(selection, limit, after, is_historical(fields))
            return Page([part(job, fields) for job in whole.jobs], whole.next)
        page = await self._store.page(selection, limit, after)
        return Page([entry(job) if fields is None else part(job, fields) for job in page.jobs], page.next)

    async def _all(self, request: Any, version: str | None) -> Answer | None:
        first = await self._store.page(Selection(), listing.LARGEST_PAGE)
        if first.next is None:
            return with_version(Answer([entry(listed) for listed in first.jobs]), version, self._store.version())
        pieces = self._array(first)
        request.setHeader(b"Vary", b"Accept-Encoding")
        if wants_gzip(request.requestHeaders):
            request.setHeader(b"Content-Encoding", b"gzip")
            pieces = zipped(pieces)
        await stream(request, "application/json", pieces)
        return None

    async def _array(self, page: Page[Listed]) -> AsyncGenerator[bytes, None]:
        """The list of all jobs as JSON, a page at a time, so that its length costs no memory."""
        yield b"[" + _inside(page.jobs)
        while page.next is not None:
            page = await self._store.page(Selection(), listing.LARGEST_PAGE, page.next)
            if page.jobs:
                yield b"," + _inside(page.jobs)
        yield b"]\n"


def found(store: IStore, job_id: str) -> Deferred[Job]:
    """A job.  @param job_id: L{canonical}.  @raise UnknownJob: there is none."""
    return store.get(job_id).addCallback(lambda job: job or _raise(job_id))


def _raise(job_id: str) -> Job:
    raise unknown(job_id)


def _inside(jobs: Sequence[Listed]) -> bytes:
    return msgspec.json.encode([entry(listed) for listed in jobs])[1:-1]
