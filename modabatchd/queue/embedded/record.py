"""
What the embedded queue knows of a job, and what may become of it.  Pure: no I/O, no clock.

Note [Runs and their outcomes]
==============================
A job is started several times, if it is held and released, fails with retries left, or the daemon goes down.  Its runs are
counted, and a run's number is on disk before the run is.  C{settled} is the number of the last run whose end was taken
into account, so that an outcome that is found twice, before and after a crash, counts once.

A run that was told to end (hold, removal, shutdown) leaves no outcome.  If it leaves one nevertheless, it was over before
the order came, and the outcome counts: a job that was held too late has completed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import msgspec

from modabatchd.queue.embedded.machine import Machine
from modabatchd.queue.interfaces import ActionResult, Ticket
from modabatchd.queue.job import TRANSITIONS, Action, BackendId, JobRequest, JobState, Sighting

OCCUPYING = (JobState.RUNNING, JobState.SUSPENDED)


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """
    One job, or one task of a job array.

    @ivar request: of the job; the tasks of an array have it in common.
    @ivar directory: where the files of the job are.
    @ivar completions: how many runs came to an end of their own, by exit or signal.
    @ivar settled: see Note [Runs and their outcomes].
    """

    request: JobRequest
    directory: str
    sighting: Sighting
    completions: int = 0
    settled: int = 0

    @property
    def suffix(self) -> str:
        """What the names of its own files end in."""
        return "" if self.sighting.task is None else f".{self.sighting.task}"


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """
    How a run ended.

    @ivar ended: seconds since the epoch.
    @ivar user_cpu: seconds.
    @ivar image_size: KiB.
    @ivar problem: why it cannot be said to have run at all; L{None} if it has.
    @ivar transient: whether the problem is not the job's, and another try may go well.
    """

    ended: float
    exit_status: int | None = None
    exit_signal: int | None = None
    user_cpu: float = 0.0
    image_size: int = 0
    problem: str | None = None
    transient: bool = False


def refusal(ticket: Ticket, slots: int, machine: Machine) -> str | None:
    """Why a job can never run on this machine; L{None} if it can."""
    wanted = ticket.request.resources
    if wanted.cpus > slots:
        return f"The job asks for {wanted.cpus} cores, and the embedded queue has {slots} slots of one core each."
    if wanted.gpus:
        return f"The job asks for {wanted.gpus} GPUs, and the embedded queue offers none."
    if wanted.memory > machine.memory:
        return f"The job asks for {wanted.memory} MiB of memory, and {machine.host} has {machine.memory}."
    return None


def submitted(ticket: Ticket, number: BackendId, machine: Machine, now: float) -> list[Record]:
    """
    A job that has just come, or all tasks of a job array.

    @param number: of the job, or of the array's first task.
    """
    sighting = Sighting(
        job_id=ticket.request.id,
        backend_id=number,
        state=JobState.IDLE,
        backend_state=JobState.IDLE.value,
        global_job_id=f"{machine.host}#{number}#{int(now)}",
        priority=ticket.request.priority,
    )
    return tasks(Record(request=ticket.request, directory=str(ticket.directory), sighting=sighting))


def tasks(first: Record) -> list[Record]:
    """
    All tasks of a job array that has just come; of another job the one record.

    @param first: of the job, or of the array's first task.
    """
    array, seen = first.request.array, first.sighting
    if array is None:
        return [first]
    cluster, (host, _, at) = seen.backend_id.cluster, seen.global_job_id.split("#")
    made = []
    for place, index in enumerate(array):
        number = BackendId(cluster, place)
        own = msgspec.structs.replace(seen, task=index, backend_id=number, global_job_id=f"{host}#{number}#{at}")
        made.append(msgspec.structs.replace(first, sighting=own))
    return made


def due(records: Iterable[Record], busy: Collection[BackendId], slots: int) -> list[Record]:
    """
    The jobs to start now: the highest priority first, then in the order of submission.

    The first that finds too few slots free lets nobody pass, so jobs that need many are not starved by those that need few.
    One that asks for more slots than there are, because there were more when it came, runs alone.

    @param busy: the jobs that have processes; they take up slots.
    """
    everything = list(records)
    free = slots - sum(_width(each, slots) for each in everything if each.sighting.backend_id in busy)
    waiting = [each for each in everything if each.sighting.state is JobState.IDLE and each.sighting.backend_id not in busy]
    chosen = []
    for each in sorted(waiting, key=lambda each: (-each.sighting.priority, each.sighting.backend_id)):
        free -= _width(each, slots)
        if free < 0:
            break
        chosen.append(each)
    return chosen


def started(record: Record, machine: Machine, now: float) -> Record:
    """The job, with its next run begun."""
    seen = record.sighting
    return _enter(
        record,
        JobState.RUNNING,
        run_count=seen.run_count + 1,
        started=seen.started or now,
        current_started=now,
        host=machine.host,
    )


def acted(record: Record, action: Action, reason: str) -> tuple[ActionResult, Record]:
    """The job after an action, and what became of the action."""
    state, transition = record.sighting.state, TRANSITIONS[action]
    if state is transition.to and action in (Action.HOLD, Action.REMOVE):
        return ActionResult.ALREADY_DONE, record
    if state not in transition.allowed:
        return ActionResult.BAD_STATUS, record
    told = action in (Action.HOLD, Action.REMOVE)
    return ActionResult.DONE, _enter(record, transition.to, reason=reason if told else None)


def ended(record: Record, outcome: Outcome) -> Record:
    """The job after its run came to an end of its own: over, or idle again if it may try once more."""
    seen = record.sighting
    if seen.state.final or record.settled >= seen.run_count:
        return record
    if outcome.problem is not None and outcome.transient:
        return interrupted(record)
    if outcome.problem is not None:
        return _settle(_enter(record, JobState.HELD, reason=outcome.problem))
    record = msgspec.structs.replace(record, completions=record.completions + 1)
    used: dict[str, Any] = {"user_cpu": outcome.user_cpu, "image_size": outcome.image_size}
    if outcome.exit_status != 0 and record.completions <= record.request.max_retries:
        state = seen.state if seen.state is JobState.HELD else JobState.IDLE
        return _settle(_enter(record, state, **used, reason=seen.reason))
    how: dict[str, Any] = {"exit_status": outcome.exit_status, "exit_signal": outcome.exit_signal, "completed": outcome.ended}
    return _settle(_enter(record, JobState.COMPLETED, **used, **how))


def lost(record: Record, problem: str) -> Record:
    """The job after its run vanished without a word: held, since to run it again might only repeat that."""
    if record.sighting.state in OCCUPYING:
        record = _enter(record, JobState.HELD, reason=problem)
    return _settle(record)


def interrupted(record: Record) -> Record:
    """The job after we ended its run: it runs again, unless something else is to become of it."""
    if record.sighting.state in OCCUPYING:
        record = _enter(record, JobState.IDLE)
    return _settle(record)


def removed(record: Record, reason: str) -> Record:
    """The job after we ended its run for good."""
    if record.sighting.state in OCCUPYING:
        record = _enter(record, JobState.REMOVED, reason=reason)
    return _settle(record)


def _width(record: Record, slots: int) -> int:
    return min(record.request.resources.cpus, slots)


def _enter(record: Record, state: JobState, reason: str | None = None, **changes: Any) -> Record:
    changed = {"state": state, "backend_state": state.value, "reason": reason} | changes
    return msgspec.structs.replace(record, sighting=msgspec.structs.replace(record.sighting, **changed))


def _settle(record: Record) -> Record:
    return msgspec.structs.replace(record, settled=record.sighting.run_count)
