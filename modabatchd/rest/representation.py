"""Jobs as the API shows them.  Pure."""

from __future__ import annotations

from email.utils import formatdate

import msgspec

from modabatchd.queue.job import Job, JobState, Resources
from modabatchd.store.interfaces import Listed


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


class JobEntry(msgspec.Struct, frozen=True):
    """One entry of the list of jobs."""

    id: str
    job_status: JobState
    job_name: str


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
    history: tuple[HistoryEntry, ...]


class ActionTaken(msgspec.Struct, frozen=True):
    """@ivar result: the job's id and the action."""

    result: tuple[str, str]


def submitted(job: Job, warning: str | None = None) -> Submitted:
    """The answer to a submission."""
    number = job.backend_id.cluster if job.backend_id else None
    return Submitted(job.request.id, number, job.state, msgspec.UNSET if warning is None else warning)


def entry(listed: Listed) -> JobEntry:
    """A job in a list."""
    return JobEntry(id=listed.id, job_status=listed.job_status, job_name=listed.job_name)


def view(job: Job) -> JobView:
    """A job in full."""
    request, seen, number = job.request, job.sighting, job.backend_id
    reason = job.history[-1].reason if job.history else None
    return JobView(
        id=request.id,
        job_name=request.name,
        job_status=job.state,
        backend_job_status=seen.backend_state if seen else None,
        previous_job_status=job.previous_state,
        cluster_id=number.cluster if number else None,
        proc_id=number.proc if number else None,
        global_job_id=(seen.global_job_id or None) if seen else None,
        job_universe=seen.universe if seen else "vanilla",
        job_priority=seen.priority if seen else request.priority,
        job_run_count=seen.run_count if seen else 0,
        job_submission_date=_date(request.submitted) or "",
        job_start_date=_date(seen.started) if seen else None,
        job_current_start_date=_date(seen.current_started) if seen else None,
        job_completion_date=_date(seen.completed) if seen else None,
        exit_status=seen.exit_status if seen else None,
        exit_by_signal=seen is not None and seen.exit_signal is not None,
        exit_signal=seen.exit_signal if seen else None,
        image_size=seen.image_size if seen else 0,
        local_user_cpu=f"{seen.user_cpu if seen else 0.0:.1f}",
        host=seen.host if seen else None,
        hold_reason=reason if job.state is JobState.HELD else None,
        reason=reason,
        arguments=request.arguments,
        labels=request.labels,
        resources=_resources(request.resources),
        max_wall_time=request.max_wall_time,
        max_retries=request.max_retries,
        history=tuple(HistoryEntry(change.state, _date(change.at) or "", change.reason) for change in job.history),
    )


def _resources(resources: Resources) -> ResourcesView:
    return ResourcesView(cpus=resources.cpus, memory=resources.memory, disk=resources.disk, gpus=resources.gpus)


def _date(at: float | None) -> str | None:
    return None if at is None else formatdate(at)
