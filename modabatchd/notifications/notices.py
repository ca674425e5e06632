"""What is told of a job.  Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime

import msgspec

from modabatchd.notifications.endpoint import EVENTS, Endpoint, Event
from modabatchd.notifications.message import Message
from modabatchd.queue.job import Job, Tally
from modabatchd.queue.tallies import succeeded


def notices(
    job: Job, at: float, reason: str | None, endpoints: Iterable[Endpoint], new_id: Callable[[], str]
) -> tuple[Message, ...]:
    """
    The messages about a job that has entered the state it is in: to its own URL if it is over, and to the endpoints that want
    to hear of it.

    @param at: seconds since the epoch.
    @param reason: why it is in that state, when that is known.
    @param endpoints: all there are.
    """
    event, request = EVENTS[job.state], job.request
    receivers: list[tuple[str, str | None]] = []
    if request.notification is not None and job.state.final:
        receivers.append((request.notification, None))
    receivers += [(endpoint.url, endpoint.id) for endpoint in endpoints if endpoint.wants(event, request.labels)]
    body = _body(job, event, at, reason) if receivers else b""
    return tuple(
        Message(id=new_id(), job_id=request.id, url=url, body=body, created=at, event=event, endpoint=endpoint)
        for url, endpoint in receivers
    )


def _body(job: Job, event: Event, at: float, reason: str | None) -> bytes:
    """
    The document: C{type} and C{timestamp} as Standard Webhooks have them, and beside them C{job-uuid} and C{retcode}, the
    exit status of the application: null when there is none, because a signal ended it (then C{exit_signal} tells which) or
    because it has not run to its end.  For a job array it is 0 when all tasks completed with 0, null when none completed, and 1
    otherwise; C{tasks} has their numbers by state, and how many failed.
    """
    status = job.sighting.exit_status if job.sighting else None
    signal = job.sighting.exit_signal if job.sighting else None
    document: dict[str, object] = {
        "type": event,
        "timestamp": datetime.fromtimestamp(at, UTC),
        "job-uuid": job.request.id,
        "job-name": job.request.name,
        "job_status": job.state,
        "retcode": _retcode(job.tally) if job.tally is not None else None if signal is not None else status,
        "exit_by_signal": signal is not None,
        "exit_signal": signal,
        "reason": reason,
        "labels": job.request.labels,
    }
    if job.tally is not None:
        document["tasks"] = msgspec.to_builtins(job.tally)
    return msgspec.json.encode(document)


def _retcode(tally: Tally) -> int | None:
    if not tally.completed:
        return None
    return 0 if succeeded(tally) else 1


def test(endpoint: Endpoint, id: str, at: float) -> Message:
    """A message that is about nothing."""
    body = {"type": Event.TEST, "timestamp": datetime.fromtimestamp(at, UTC), "webhook": endpoint.id}
    return Message(
        id=id, job_id=None, url=endpoint.url, body=msgspec.json.encode(body), created=at, event=Event.TEST, endpoint=endpoint.id
    )
