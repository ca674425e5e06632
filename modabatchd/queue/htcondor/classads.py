"""
Jobs as HTCondor wants them, and as HTCondor shows them.  Pure: plain values in, plain values out.

Note [No user text]
===================
A submit description is a program: a line break in a value adds lines to it, C{include command} runs them at submission, and
C{$ENV()} copies the daemon's secrets into the job.  So nothing a user wrote ever gets into one.  It holds our UUIDs,
integers and paths that we chose; arguments, environment and names travel in C{launch.sh}, which only the node reads.
Constraints hold UUIDs and integers alone, for the same reason.

Note [Rows]
===========
Many jobs go to the scheduler as one submission with one row of values for each.  An empty value would silently be taken
over from the first row, that is, from another user's job.  So jobs are grouped by what they ask for at all, and within a
group every row has every value.

Note [Job arrays]
=================
The tasks of an array differ in their index alone, so all else stands in the submit description itself, and each row holds
nothing but the index.  They are one cluster, which is committed as a whole or not at all.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

import msgspec

from modabatchd.queue.indices import Indices
from modabatchd.queue.job import BackendId, JobRequest, JobState, Sighting

#: Seconds that a node may be silent before its jobs are started elsewhere.
LEASE: Final = 240
#: Seconds beyond the wall-time limit after which HTCondor itself ends a run that the wrapper did not.
BACKSTOP: Final = 300
#: Seconds that a finished job waits in the queue to be acknowledged.
GUARD: Final = 30 * 86400

_COMPLETED: Final = 4
_TRANSFERRING_OUTPUT: Final = 6
_STATES: Final[Mapping[int, tuple[JobState, str]]] = MappingProxyType(
    {
        1: (JobState.IDLE, "idle"),
        2: (JobState.RUNNING, "running"),
        3: (JobState.REMOVED, "removed"),
        4: (JobState.COMPLETED, "completed"),
        5: (JobState.HELD, "held"),
        6: (JobState.RUNNING, "transferring_output"),
        7: (JobState.SUSPENDED, "suspended"),
    }
)
_UNIVERSES: Final = {5: "vanilla", 7: "scheduler", 9: "grid", 11: "parallel", 12: "local", 13: "vm"}
_REASONS: Final = {JobState.HELD: "HoldReason", JobState.REMOVED: "RemoveReason"}

#: The attributes of a job ad that L{sighting}, L{half_made} and L{spooled} read.
PROJECTION: Final = (
    "ClusterId",
    "ProcId",
    "ModabatchJobId",
    "ModabatchTask",
    "ModabatchSpooled",
    "StageInFinish",
    "JobStatus",
    "GlobalJobId",
    "JobUniverse",
    "JobPrio",
    "JobRunCount",
    "JobStartDate",
    "JobCurrentStartDate",
    "CompletionDate",
    "ExitCode",
    "ExitBySignal",
    "ExitSignal",
    "ImageSize",
    "RemoteUserCpu",
    "RemoteHost",
    "LastRemoteHost",
    "HoldReason",
    "RemoveReason",
)

#: What a submit description gives a meaning of its own, in the middle of a value.
_UNSAFE: Final = frozenset("$\"'\\;")


#: The events that may mean a change: it runs, its program cannot be run, it was evicted, has ended, its shadow failed, it was
#: removed, suspended, resumed, held, released, its node was lost, is back, or is given up.
_EVENTS: Final = "1,2,4,5,7,9,10,11,12,13,22,23,24"


class EventLog(msgspec.Struct, frozen=True):
    """
    A file for the events of many jobs.

    @ivar stamp: a number that tells it from others.
    """

    stamp: int
    path: str


class Group(msgspec.Struct, frozen=True):
    """
    Jobs that go to the scheduler as one submission.

    @ivar description: the submit description, with a C{$(modabatch_...)} for each value that a row holds.
    @ivar rows: the values, one mapping per job; all have the same keys, and no value is empty.
    @ivar array: whether the rows are the tasks of one job array, see Note [Job arrays]; otherwise each is a job.
    """

    description: dict[str, str]
    rows: list[dict[str, str]]
    array: bool = False


def usable(path: Path) -> bool:
    """Whether a path may stand in a submit description as it is.  See Note [No user text]."""
    text = str(path)
    return path.is_absolute() and text.isprintable() and text == text.strip() and not _UNSAFE.intersection(text)


def canonical(uuid: str) -> str:
    """
    A UUID in its canonical form, safe to stand in a description or a constraint.

    @raise ValueError: it is none.
    """
    if str(UUID(uuid)) != uuid:
        raise ValueError(f"{uuid!r} is not a UUID in its canonical form")
    return uuid


def shape(request: JobRequest) -> tuple[bool, ...]:
    """What a job that is no array asks for at all; jobs of one shape can be one L{Group}.  See Note [Rows]."""
    resources = request.resources
    return (
        request.has_input,
        request.max_wall_time is not None,
        request.max_retries > 0,
        resources.disk is not None,
        resources.gpus > 0,
    )


def group(
    jobs: Sequence[tuple[JobRequest, Path]], instance: str, wrapper: Path, spool: bool, events: EventLog | None = None
) -> Group:
    """
    Jobs of one L{shape} as one submission.

    @param jobs: each with the directory of its files; all paths are L{usable}.
    @param instance: the UUID of this installation.
    @param spool: whether the files are sent to the scheduler, or it reads and writes them where they are.
    @param events: where the events of all of them go as well.
    """
    description = _description(jobs[0][0], instance, wrapper, spool) | _event_log(events)
    return Group(description, [_row(request, directory) for request, directory in jobs])


def array(
    request: JobRequest,
    indices: Indices,
    directory: Path,
    instance: str,
    wrapper: Path,
    spool: bool,
    events: EventLog | None = None,
) -> Group:
    """A job array as one submission.  See L{group}, and Note [Job arrays]."""
    task = "$(modabatch_task)"
    own = {
        "arguments": f"$(modabatch_wall) {task}",
        "transfer_output_files": f"output.tar.gz.{task}",
        "output": f"stdout.{task}",
        "error": f"stderr.{task}",
        "log": f"_userlog.{task}",
        "My.ModabatchTask": task,
    }
    description = {**_row(request, directory), **_description(request, instance, wrapper, spool), **own, **_event_log(events)}
    return Group(description, [{"modabatch_task": f"{index:d}"} for index in indices], array=True)


def _row(request: JobRequest, directory: Path) -> dict[str, str]:
    numbers = {
        "cpus": request.resources.cpus,
        "memory": request.resources.memory,
        "priority": request.priority,
        "wall": request.max_wall_time or 0,
        "backstop": (request.max_wall_time or 0) + BACKSTOP,
        "retries": request.max_retries,
        "disk": request.resources.disk or 0,
        "gpus": request.resources.gpus,
    }
    words = {"id": canonical(request.id), "directory": str(directory)}
    return {f"modabatch_{key}": value for key, value in (words | {key: f"{n:d}" for key, n in numbers.items()}).items()}


def _description(like: JobRequest, instance: str, wrapper: Path, spool: bool) -> dict[str, str]:
    return {
        "universe": "vanilla",
        "executable": str(wrapper),
        "transfer_executable": "true",
        "arguments": "$(modabatch_wall)",
        "initialdir": "$(modabatch_directory)",
        "should_transfer_files": "YES",
        "when_to_transfer_output": "ON_EXIT",
        "transfer_input_files": ", ".join(like.files),
        "transfer_output_files": "output.tar.gz",
        "output": "stdout",
        "error": "stderr",
        "log": "_userlog",
        "request_cpus": "$(modabatch_cpus)",
        "request_memory": "$(modabatch_memory)",
        "priority": "$(modabatch_priority)",
        "job_lease_duration": str(LEASE),
        "notification": "never",
        "batch_name": "modabatch-$(modabatch_id)",
        "leave_in_queue": _leave_in_queue(),
        "My.ModabatchJobId": '"$(modabatch_id)"',
        "My.ModabatchInstance": f'"{canonical(instance)}"',
        "My.ModabatchAcknowledged": "false",
        "My.ModabatchSpooled": "true" if spool else "false",
        **_extras(like),
    }


def _event_log(events: EventLog | None) -> dict[str, str]:
    """What makes an event log the second one of a job."""
    if events is None:
        return {}
    return {"dagman_log": events.path, "My.DAGManNodesMask": f'"{_EVENTS}"', "My.ModabatchEvents": f"{events.stamp:d}"}


def _extras(like: JobRequest) -> dict[str, str]:
    """What not every job asks for; the same for all jobs of a L{shape}."""
    _, limited, retried, sized, accelerated = shape(like)
    wanted = {
        "allowed_execute_duration": ("$(modabatch_backstop)", limited),
        "max_retries": ("$(modabatch_retries)", retried),
        "request_disk": ("$(modabatch_disk)", sized),
        "request_gpus": ("$(modabatch_gpus)", accelerated),
    }
    return {key: value for key, (value, present) in wanted.items() if present}


def _leave_in_queue() -> str:
    over = "(JobStatus == 3 || JobStatus == 4)"
    return f"{over} && ModabatchAcknowledged =!= true && time() - EnteredCurrentStatus < {GUARD}"


def of_instance(instance: str) -> str:
    """The constraint for all jobs of an installation that are not acknowledged yet."""
    return f'ModabatchInstance == "{canonical(instance)}" && ModabatchAcknowledged =!= true'


def changed(instance: str, seconds: int) -> str:
    """The constraint for those jobs of L{of_instance} whose status is so many seconds old at most, by the scheduler's clock."""
    return f"time() - EnteredCurrentStatus <= {seconds:d} && {of_instance(instance)}"


def of_events(instance: str, stamp: int) -> str:
    """The constraint for all jobs of an installation whose events go to the file of that stamp."""
    return f'ModabatchEvents == {stamp:d} && ModabatchInstance == "{canonical(instance)}"'


def of_jobs(instance: str, job_ids: Collection[str]) -> str:
    """The constraint for some jobs of an installation, by our own ids."""
    listed = ", ".join(f'"{canonical(job_id)}"' for job_id in job_ids)
    return f'ModabatchInstance == "{canonical(instance)}" && member(ModabatchJobId, {{{listed}}})'


def of_numbers(jobs: Collection[tuple[int, int]]) -> str:
    """The constraint for some jobs, by cluster and proc."""
    procs: dict[int, list[int]] = {}
    for cluster, proc in jobs:
        procs.setdefault(cluster, []).append(proc)
    listed = {cluster: ", ".join(f"{proc:d}" for proc in some) for cluster, some in procs.items()}
    return " || ".join(f"(ClusterId == {cluster:d} && member(ProcId, {{{some}}}))" for cluster, some in listed.items())


def clinging(jobs: Collection[BackendId]) -> str:
    """The constraint for those of some jobs that are held, but that their nodes still have to let go of."""
    # What is cheap to tell comes first: the scheduler asks it of all jobs.
    return f"JobStatus == 5 && RemoteHost isnt undefined && ({of_numbers([(job.cluster, job.proc) for job in jobs])})"


def backend_id(ad: Mapping[str, Any]) -> BackendId:
    """The number of the job that an ad is about."""
    return BackendId(int(ad["ClusterId"]), int(ad["ProcId"]))


def spooled(ad: Mapping[str, Any]) -> bool:
    """Whether the files of the job were sent to the scheduler, so that its results must be fetched from there."""
    return ad.get("ModabatchSpooled") is True


def half_made(ad: Mapping[str, Any]) -> bool:
    """Whether the job was submitted, but its files never all got to the scheduler."""
    return spooled(ad) and not ad.get("StageInFinish")


def left_over(ads: Collection[Mapping[str, Any]]) -> Collection[BackendId]:
    """Those of some jobs that are L{half_made}.  An array of which one task is half-made is so as a whole."""
    clusters = {ad["ClusterId"] for ad in ads if half_made(ad) and "ModabatchTask" in ad}
    return {backend_id(ad) for ad in ads if half_made(ad) or ad["ClusterId"] in clusters}


def sighting(ad: Mapping[str, Any]) -> Sighting:
    """What a job ad says, in our words."""
    state, word = _STATES[_status(ad)]
    completed = state is JobState.COMPLETED
    by_signal = ad.get("ExitBySignal") is True
    return Sighting(
        job_id=ad["ModabatchJobId"],
        backend_id=backend_id(ad),
        state=state,
        backend_state=word,
        global_job_id=str(ad.get("GlobalJobId", "")),
        universe=_UNIVERSES.get(int(ad.get("JobUniverse", 5)), "vanilla"),
        priority=int(ad.get("JobPrio", 0)),
        run_count=int(ad.get("JobRunCount", 0)),
        started=_time(ad, "JobStartDate"),
        current_started=_time(ad, "JobCurrentStartDate"),
        completed=_time(ad, "CompletionDate") if completed else None,
        exit_status=_number(ad, "ExitCode") if completed and not by_signal else None,
        exit_signal=_number(ad, "ExitSignal") if completed and by_signal else None,
        image_size=int(ad.get("ImageSize", 0)),
        user_cpu=float(ad.get("RemoteUserCpu", 0.0)),
        host=_host(ad),
        reason=_text(ad, _REASONS.get(state, "")),
        task=_number(ad, "ModabatchTask"),
    )


def _status(ad: Mapping[str, Any]) -> int:
    """The job's status; the scheduler sets "completed" some milliseconds before it says when that was."""
    status = int(ad["JobStatus"])
    return _TRANSFERRING_OUTPUT if status == _COMPLETED and not ad.get("CompletionDate") else status


def _time(ad: Mapping[str, Any], attribute: str) -> float | None:
    # HTCondor writes 0 for a time that has not come yet.
    return float(ad[attribute]) if ad.get(attribute) else None


def _number(ad: Mapping[str, Any], attribute: str) -> int | None:
    return int(ad[attribute]) if attribute in ad else None


def _text(ad: Mapping[str, Any], attribute: str) -> str | None:
    return str(ad[attribute]) if ad.get(attribute) else None


def _host(ad: Mapping[str, Any]) -> str | None:
    """The node's name without the slot: C{slot1_3@node7.example.org} is on C{node7.example.org}."""
    host = _text(ad, "RemoteHost") or _text(ad, "LastRemoteHost")
    return None if host is None else re.sub(r"^slot[0-9_]*@", "", host)
