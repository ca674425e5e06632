"""What writes to the tables, each within one transaction."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import accumulate, islice
from typing import Any, Final, TypeVar

import msgspec
from sqlalchemy import Connection, Executable

from modabatchd.idempotency import Key
from modabatchd.notifications.message import Attempt
from modabatchd.queue.job import BackendId, Job, JobRequest, JobState
from modabatchd.store import rows, rows_tasks, statements, statements_tasks
from modabatchd.store.interfaces import Progress
from modabatchd.store.steps import Standing, plan

T = TypeVar("T")

#: Jobs that are added together, with their keys.
Group = tuple[Sequence[JobRequest], Sequence[Key]]

#: How many ids one statement names: databases limit the number of parameters.
_IDS: Final = 500


def add_all(connection: Connection, groups: Sequence[Group]) -> Sequence[Sequence[Job]]:
    """Record jobs that came one by one, each with the keys of its submission.  @return: the jobs of each group."""
    requests = [request for some, _ in groups for request in some]
    added = iter(_add(connection, requests, [key for _, some in groups for key in some]))
    return [list(islice(added, len(some))) for some, _ in groups]


def bind_all(connection: Connection, numbers: Sequence[tuple[str, BackendId]]) -> Sequence[None]:
    """Record the numbers that the queue gave jobs."""
    values = [{"job_id": job_id, "cluster": number.cluster, "proc": number.proc} for job_id, number in numbers]
    execute(connection, statements.BIND, values)
    return [None] * len(numbers)


def _add(connection: Connection, requests: Sequence[JobRequest], keys: Sequence[Key]) -> Sequence[Job]:
    if not requests:
        return []
    seqs = connection.execute(statements.ADD_JOBS, _new_jobs(requests, connection.scalar(statements.LATEST))).scalars().all()
    added = [rows.added(seq, request) for seq, request in zip(seqs, requests, strict=True)]
    execute(
        connection, statements_tasks.ADD_TASKS, [row for job in added for row in rows_tasks.new_tasks(job.seq, job.request)]
    )
    _count(connection, {JobState.IDLE: len(added)})
    execute(connection, statements.ADD_LABELS, [row for job in added for row in rows.new_labels(job)])
    execute(connection, statements.ADD_CHANGES, [rows.new_change(job.seq, *job.history) for job in added])
    execute(connection, statements.ADD_KEYS, [rows.new_key(key) for key in keys])
    return added


def _new_jobs(requests: Sequence[JobRequest], latest: float | None) -> Sequence[rows.Row]:
    first = -math.inf if latest is None else latest
    times = accumulate((request.submitted for request in requests), max, initial=first)
    return [rows.new_job(request, time) for request, time in zip(requests, islice(times, 1, None), strict=True)]


def advance(connection: Connection, steps: Sequence[Progress], until: str | None) -> Collection[str]:
    """
    Write steps of jobs.  See L{modabatchd.store.steps.plan}.

    @param until: up to where the queue's news are written then; L{None} leaves that as it is.
    @return: the ids of the jobs that are over now.
    """
    if until is not None:
        connection.execute(statements.REMEMBER_NEWS, {"until": until})
    writes = plan(steps, _standings(connection, steps))
    execute(connection, statements_tasks.ADVANCE_TASKS, writes.tasks)
    execute(connection, statements.ADVANCE, writes.jobs)
    execute(connection, statements_tasks.CLOSE_TASKS, writes.closings)
    execute(connection, statements.RELABEL, writes.labels)
    execute(connection, statements.ADD_CHANGES, writes.changes)
    execute(connection, statements.ADD_MESSAGES, writes.messages)
    _count(connection, writes.counts)
    return writes.over


def _standings(connection: Connection, steps: Sequence[Progress]) -> Mapping[str, Standing]:
    standings = {
        id: Standing(seq, JobState(state), rows.tally(tally))
        for ids in _portions({step.job_id for step in steps})
        for id, seq, state, tally in connection.execute(statements.STANDINGS, {"ids": ids})
    }
    indices: dict[str, set[int]] = {}
    for step in steps:
        if step.task is not None and step.job_id in standings:
            indices.setdefault(step.job_id, set()).add(step.task)
    for job_id, wanted in indices.items():
        tasks = _states(connection, standings[job_id].seq, wanted)
        standings[job_id] = msgspec.structs.replace(standings[job_id], tasks=tasks)
    return standings


def _states(connection: Connection, seq: int, indices: Collection[int]) -> dict[int, JobState]:
    return {
        index: JobState(state)
        for some in _portions(indices)
        for index, state in connection.execute(statements_tasks.STATES, {"job_seq": seq, "indices": some})
    }


def tried(connection: Connection, outcome: Executable, message_id: str, attempt: Attempt, time: float) -> None:
    """Record a try to deliver a message.  @param outcome: the statement that says what becomes of the message, at C{time}."""
    values = {"message_id": message_id, "why": attempt.problem}
    connection.execute(statements.TRY, {**values, "tried": attempt.at, "answered": attempt.status})
    connection.execute(outcome, {**values, "time": time})


def forget(connection: Connection, job_ids: Collection[str]) -> None:
    """Delete jobs with all that belongs to them."""
    for ids in _portions(job_ids):
        gone = Counter(connection.execute(statements.FORGET, {"ids": ids}).scalars())
        _count(connection, {JobState(state): -number for state, number in gone.items()})


def _count(connection: Connection, growth: Mapping[JobState, int]) -> None:
    execute(connection, statements.COUNT, [{"of": state.value, "more": more} for state, more in growth.items() if more])


def remember_schedd(connection: Connection, name: str) -> str:
    """Record a scheduler, unless another one has live jobs.  @return: the one that is recorded now."""
    connection.execute(statements.REMEMBER_SCHEDD, {"name": name})
    return str(connection.scalar(statements.SCHEDD))


def execute(connection: Connection, statement: Executable, values: Any) -> None:
    """Execute a statement once, or once for each of several sets of values; for none of them not at all."""
    if values:
        connection.execute(statement, values)


def _portions(ids: Collection[T]) -> Iterable[Sequence[T]]:
    everything = list(ids)
    return (everything[start : start + _IDS] for start in range(0, len(everything), _IDS))
