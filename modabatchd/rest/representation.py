"""Jobs as the API shows them.  Pure."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from modabatchd.queue.job import Job, JobState, Resources
from modabatchd.rest.representation_tasks import TasksView, by_state, date, observed, tasks_view
from modabatchd.store.interfaces import Event, Listed


class Submitted(msgspec.Struct, frozen=True):
    """
    A job that was accepted.

    @ivar backend_id: its number in the queue (HTCondor's ClusterId); null while the scheduler is away, or when it refused it.
    @ivar warning: why it can never run, as things stand; only there if it cannot.
    """

    job_id: str
    backend_id: int | None
    job_status: JobState
    warning: str | msgspec.UnsetType = msgspec.UNSET


class JobEntry(msgspec.Struct, frozen=True, omit_defaults=True):
    """
    One entry of the list of jobs.

    @ivar tasks: of a job array, how many tasks are in each state.
    @ivar tasks_failed: of a job array, how many of the completed ones have not ended with exit status 0.
    """

    id: str
    job_status: JobState
    job_name: str
    tasks: dict[JobState, int] | None = None
    tasks_failed: int | None = None


class HistoryEntry(msgspec.Struct, frozen=True):
    """A state that a job was in, since when (RFC 2822, UTC), and why, if that is known."""

    job_status: JobState
    since: str
    reason: str | None


class ResourcesView(msgspec.Struct, frozen=True):
    """What a job asks of its node: cores, MiB, KiB, devices."""

    cpus: int
    memory: int
    disk: int | None
    gpus: int


class JobView(msgspec.Struct, frozen=True, kw_only=True):
    """
    All about one job.  Dates are RFC 2822 in UTC; what is not known (yet) is null.

    @ivar backend_job_status: the queue's own word for the state.
    @ivar exit_status: the application's own exit status.
    @ivar exit_signal: the signal that ended the application; 24 when it exceeded its wall-time limit.
    @ivar image_size: KiB.
    @ivar local_user_cpu: seconds.
    @ivar host: the node that it runs or last ran on.
    @ivar hold_reason: why it is held.
    @ivar reason: why it is in the state it is in, where the scheduler says so.
    @ivar tasks: of a job array.
    """

    id: str
    job_name: str
    job_status: JobState
    backend_job_status: str | None
    previous_job_status: JobState | None
    cluster_id: int | None
    proc_id: int | None
    global_job_id: str | None
    job_universe: str
    job_priority: int
    job_run_count: int
    job_submission_date: str
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
    arguments: tuple[str, ...]
    labels: dict[str, str]
    resources: ResourcesView
    max_wall_time: int | None
    max_retries: int
    tasks: TasksView | None
    history: tuple[HistoryEntry, ...]


class JobCounts(msgspec.Struct, frozen=True, kw_only=True):
    """How many jobs are in each state, and in all of them."""

    idle: int
    running: int
    suspended: int
    held: int
    removed: int
    completed: int
    submission_error: int
    total: int


class EventView(msgspec.Struct, frozen=True):
    """A job has entered a state; since when (RFC 2822, UTC), and why, if that is known."""

    id: str
    job_name: str
    job_status: JobState
    since: str
    reason: str | None
    labels: dict[str, str]


class ActionTaken(msgspec.Struct, frozen=True, omit_defaults=True):
    """
    @ivar result: the job's id and the action.
    @ivar tasks: of a job array, to how many tasks it was done.
    """

    result: tuple[str, str]
    tasks: int | None = None


def submitted(job: Job, warning: str | None = None) -> Submitted:
    """The answer to a submission."""
    number = job.backend_id.cluster if job.backend_id else None
    return Submitted(job.request.id, number, job.state, msgspec.UNSET if warning is None else warning)


def entry(listed: Listed) -> JobEntry:
    """A job in a list."""
    if listed.tally is None:
        return JobEntry(listed.id, listed.job_status, listed.job_name)
    return JobEntry(listed.id, listed.job_status, listed.job_name, by_state(listed.tally), listed.tally.failed)


def counted(counts: Mapping[JobState, int]) -> JobCounts:
    """The numbers of jobs."""
    return JobCounts(**{state.value: number for state, number in counts.items()}, total=sum(counts.values()))


def event_view(event: Event) -> EventView:
    """An event."""
    return EventView(event.job_id, event.job_name, event.job_status, date(event.at) or "", event.reason, event.labels)


def view(job: Job) -> JobView:
    """A job in full."""
    request, seen, number = job.request, job.sighting, job.backend_id
    reason = job.history[-1].reason if job.history else None
    return JobView(
        id=request.id,
        job_name=request.name,
        job_status=job.state,
        previous_job_status=job.previous_state,
        cluster_id=number.cluster if number else None,
        proc_id=number.proc if number else None,
        job_universe=seen.universe if seen else "vanilla",
        job_priority=seen.priority if seen else request.priority,
        job_submission_date=date(request.submitted) or "",
        hold_reason=reason if job.state is JobState.HELD else None,
        reason=reason,
        arguments=request.arguments,
        labels=request.labels,
        resources=_resources(request.resources),
        max_wall_time=request.max_wall_time,
        max_retries=request.max_retries,
        tasks=None if request.array is None or job.tally is None else tasks_view(request.array, job.tally),
        history=tuple(HistoryEntry(change.state, date(change.at) or "", change.reason) for change in job.history),
        **observed(seen),
    )


def _resources(resources: Resources) -> ResourcesView:
    return ResourcesView(cpus=resources.cpus, memory=resources.memory, disk=resources.disk, gpus=resources.gpus)
