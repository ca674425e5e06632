"""What is told when a job is over.  Pure."""

from __future__ import annotations

import msgspec

from modabatchd.notifications.message import Message
from modabatchd.queue.job import Job, Tally
from modabatchd.queue.tallies import succeeded


def completion(job: Job, id: str, at: float, reason: str | None) -> Message | None:
    """
    The notification about a job that has reached its final state; L{None} when nobody asked for one.

    Its document holds C{job-uuid} and C{retcode}, the exit status of the application: null when there is none, because
    a signal ended it (then C{exit_signal} tells which) or because it never ran to its end.  For a job array it is 0 when all
    tasks completed with 0, null when none completed, and 1 otherwise; C{tasks} has their numbers by state, and how many failed.

    @param id: of the message.
    @param at: seconds since the epoch.
    @param reason: why it ended as it did, when that is known.
    """
    request = job.request
    if request.notification is None:
        return None
    status = job.sighting.exit_status if job.sighting else None
    signal = job.sighting.exit_signal if job.sighting else None
    body: dict[str, object] = {
        "job-uuid": request.id,
        "job-name": request.name,
        "job_status": job.state,
        "retcode": _retcode(job.tally) if job.tally is not None else None if signal is not None else status,
        "exit_by_signal": signal is not None,
        "exit_signal": signal,
        "reason": reason,
        "labels": request.labels,
    }
    if job.tally is not None:
        body["tasks"] = msgspec.to_builtins(job.tally)
    return Message(id=id, job_id=request.id, url=request.notification, body=msgspec.json.encode(body), created=at)


def _retcode(tally: Tally) -> int | None:
    if not tally.completed:
        return None
    return 0 if succeeded(tally) else 1
