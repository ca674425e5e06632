"""The tasks of job arrays as the API shows them.  Pure."""

from __future__ import annotations

from email.utils import formatdate
from typing import Any

import msgspec

from modabatchd.queue.indices import Indices
from modabatchd.queue.job import JobState, Sighting, Tally, Task


class TasksView(msgspec.Struct, frozen=True, kw_only=True):
    """
    What there is of tasks in a job array.

    @ivar by_state: how many tasks are in each state; states that none is in are left out.
    @ivar failed: how many of the completed ones have not ended with exit status 0.
    """

    count: int
    first: int
    last: int
    by_state: dict[JobState, int]
    failed: int


class TaskView(msgspec.Struct, frozen=True, kw_only=True):
    """All about one task of a job array; its values are those of a job.  @ivar task: its index."""

    id: str
    task: int
    job_status: JobState
    backend_job_status: str | None
    cluster_id: int | None
    proc_id: int | None
    global_job_id: str | None
    job_run_count: int
    job_start_date: str | None
    job_current_start_date: str | None
    job_completion_date: str | None
    exit_status: int | None
    exit_by_signal: bool
    exit_signal: int | None
    image_size: int
    local_user_cpu: str
    host: str | None
    hold_reason: str | None
    reason: str | None


def tasks_view(array: Indices, tally: Tally) -> TasksView:
    """The tasks of an array in numbers."""
    return TasksView(count=array.count, first=array.first, last=array.last, by_state=by_state(tally), failed=tally.failed)


def by_state(tally: Tally) -> dict[JobState, int]:
    """How many tasks are in each state that there are any in."""
    return {state: tally.of(state) for state in JobState if tally.of(state)}


def task_view(job_id: str, task: Task) -> TaskView:
    """A task in full."""
    seen = task.sighting
    number = seen.backend_id if seen else None
    reason = seen.reason if seen else None
    return TaskView(
        id=job_id,
        task=task.index,
        job_status=task.state,
        cluster_id=number.cluster if number else None,
        proc_id=number.proc if number else None,
        hold_reason=reason if task.state is JobState.HELD else None,
        reason=reason,
        **observed(seen),
    )


def observed(seen: Sighting | None) -> dict[str, Any]:
    """What the queue said of a job or a task, by the names that the API has for it."""
    return {
        "backend_job_status": seen.backend_state if seen else None,
        "global_job_id": (seen.global_job_id or None) if seen else None,
        "job_run_count": seen.run_count if seen else 0,
        "job_start_date": date(seen.started) if seen else None,
        "job_current_start_date": date(seen.current_started) if seen else None,
        "job_completion_date": date(seen.completed) if seen else None,
        "exit_status": seen.exit_status if seen else None,
        "exit_by_signal": seen is not None and seen.exit_signal is not None,
        "exit_signal": seen.exit_signal if seen else None,
        "image_size": seen.image_size if seen else 0,
        "local_user_cpu": f"{seen.user_cpu if seen else 0.0:.1f}",
        "host": seen.host if seen else None,
    }


def date(at: float | None) -> str | None:
    """A time in seconds since the epoch as RFC 2822 has it, in UTC."""
    return None if at is None else formatdate(at)
