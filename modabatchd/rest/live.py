"""
What happens, while it happens: events of jobs as server-sent events (WHATWG HTML, "Server-sent events").

Note [Long answers]
===================
Such an answer has no end of its own.  A comment every some seconds keeps what stands between from closing the connection, and
lets us see that the client has gone.  How many of them there may be is limited, since each takes a descriptor.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Final
from uuid import UUID

import msgspec

from modabatchd.errors import FieldError, ModabatchError
from modabatchd.notifications.endpoint import EVENTS
from modabatchd.queue.job_events import JobEvents
from modabatchd.rest.listing import check, first, label, number
from modabatchd.rest.operations import Parameter, operation, query
from modabatchd.rest.problems import HTTPRefusal
from modabatchd.rest.representation import event_view
from modabatchd.rest.streaming import AS_IT_COMES, stream
from modabatchd.store.interfaces import Event

MEDIA: Final = "text/event-stream"
_PATIENCE: Final = 15.0
_MOST: Final = 200
_LARGEST: Final = 2**63 - 1
_KINDS: Final = tuple(str(kind) for kind in EVENTS.values())
_PARAMETERS: Final = (
    Parameter(
        name="job", description="Only of this job; may be repeated.", schema={"type": "string", "format": "uuid"}, repeated=True
    ),
    Parameter(name="label", description="Only of jobs with this label: KEY, or KEY=VALUE.", schema={"type": "string"}),
    Parameter(name="kind", description="Only of this kind; may be repeated.", schema={"enum": list(_KINDS)}, repeated=True),
    Parameter(
        name="after",
        description="Begin after the event of this id; 0 for all that is stored. Without it, with what happens from now on.",
        schema={"type": "integer", "minimum": 0, "maximum": _LARGEST},
    ),
    Parameter(
        name="Last-Event-ID",
        place="header",
        description="The same, as browsers send it when they connect again; goes before after.",
        schema={"type": "string", "pattern": "^[0-9]{1,19}$"},
    ),
)


class Wanted(msgspec.Struct, frozen=True):
    """
    Which events are to be told; the conditions that are given must all hold.

    @ivar jobs: ids.
    @ivar label: C{(key, value)}; a value of L{None} means "has the label".
    """

    jobs: Collection[str] = ()
    label: tuple[str, str | None] | None = None
    kinds: Collection[str] = ()

    def takes(self, event: Event) -> bool:
        """Whether this event is one of them."""
        key, value = self.label or (None, None)
        return (
            (not self.jobs or event.job_id in self.jobs)
            and (not self.kinds or EVENTS[event.job_status] in self.kinds)
            and (key is None or (key in event.labels and value in (None, event.labels[key])))
        )


class Live:
    """The events over HTTP.  See Note [Long answers]."""

    def __init__(self, events: JobEvents) -> None:
        self._events = events
        self._open = 0

    @operation(
        "GET", "/events", "Watch what happens to jobs", parameters=_PARAMETERS, answers={200: (MEDIA,)}, problems=(422, 503)
    )
    async def watch_events(self, request: Any) -> None:
        """
        Server-sent events: one whenever a job enters a state, with what happened as JSON.  Its id is that of Last-Event-ID, so
        that a client that connects again misses nothing.  The answer has no end.
        """
        asked = query(request)
        wanted = _wanted(asked)
        after = await self._beginning(asked, request.getHeader("last-event-id"))
        if self._open >= _MOST:
            cause = f"{_MOST} clients watch already."
            raise HTTPRefusal(503, "too-many-streams", cause, "Try again later.", {"Retry-After": "30"})
        self._open += 1
        try:
            await stream(request, MEDIA, self._told(after, wanted), AS_IT_COMES)
        finally:
            self._open -= 1

    async def _beginning(self, asked: Mapping[str, Sequence[str]], last: str | None) -> int:
        given = last or first(asked, "after")
        latest = await self._events.latest()
        # A number beyond the last one is of another database: whoever waited for it would wait in vain.
        return latest if given is None else min(latest, number("after", given, 0, _LARGEST))

    async def _told(self, after: int, wanted: Wanted) -> AsyncGenerator[bytes, None]:
        yield b"retry: 2000\n\n"
        try:
            async with aclosing(self._events.after(after, _PATIENCE)) as pages:
                async for page in pages:
                    yield b"".join(_encoded(event) for event in page if wanted.takes(event)) or b":\n\n"
        except ModabatchError:
            # The client comes again, and misses nothing.
            return


def _encoded(event: Event) -> bytes:
    body = msgspec.json.encode(event_view(event))
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (event.number, EVENTS[event.job_status].encode(), body)


def _wanted(asked: Mapping[str, Sequence[str]]) -> Wanted:
    check(asked, (parameter for parameter in _PARAMETERS if parameter.place == "query"))
    text = first(asked, "label")
    return Wanted(_jobs(asked.get("job", ())), None if text is None else label(text), _kinds(asked.get("kind", ())))


def _jobs(given: Sequence[str]) -> Collection[str]:
    try:
        return frozenset(str(UUID(each)) for each in given)
    except ValueError:
        raise FieldError("job", f"job is {', '.join(given)[:200]!r}, which is no id of a job.", "Send a UUID.") from None


def _kinds(given: Sequence[str]) -> Collection[str]:
    if not set(given) <= set(_KINDS):
        raise FieldError("kind", f"There is no kind among {', '.join(given)[:200]!r}.", f"Kinds are {', '.join(_KINDS)}.")
    return frozenset(given)
