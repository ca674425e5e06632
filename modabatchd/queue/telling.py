"""Steps of jobs with the messages about them.  Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from modabatchd.notifications.endpoint import Endpoint
from modabatchd.notifications.notices import notices
from modabatchd.queue.job import Job
from modabatchd.store.interfaces import Progress


def told(step: Progress, job: Job, endpoints: Iterable[Endpoint], new_id: Callable[[], str]) -> Progress:
    """
    A step of a job as a whole, with the messages about it; the store drops them if the job's state stays what it was.

    @param job: as the store has it.
    @param endpoints: all there are.
    @param new_id: makes the ids of messages.
    """
    there = msgspec.structs.replace(job, state=step.state, sighting=step.sighting or job.sighting)
    return msgspec.structs.replace(step, messages=notices(there, step.at, step.reason, endpoints, new_id))
