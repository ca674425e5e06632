"""Jobs and messages as rows, and back.  Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

import msgspec

from modabatchd.idempotency import Key
from modabatchd.notifications.message import Delivery, Message
from modabatchd.queue.job import BackendId, Job, JobRequest, JobState, Sighting, StateChange, Tally
from modabatchd.store.interfaces import Event, Listed
from modabatchd.store.schema import changes, jobs, messages

#: A row to be written: its columns by name.
Row = Mapping[str, object]

#: The columns that L{job} reads, in its order.
JOB: Final = (
    jobs.c.seq,
    jobs.c.request,
    jobs.c.state,
    jobs.c.previous_state,
    jobs.c.backend_cluster,
    jobs.c.backend_proc,
    jobs.c.sighting,
    jobs.c.settled,
    jobs.c.tally,
)

#: The columns that L{history} reads, in its order.
CHANGE: Final = (changes.c.state, changes.c.at, changes.c.reason)

#: The columns that L{event} reads, in its order.
EVENT: Final = (changes.c.seq, changes.c.at, jobs.c.id, changes.c.state, changes.c.reason, jobs.c.request)

#: The columns that L{listed} reads, in its order.
LISTED: Final = (jobs.c.seq, jobs.c.id, jobs.c.state, jobs.c.name, jobs.c.tally, jobs.c.settled)

#: The columns that L{delivery} reads, in its order.
DELIVERY: Final = (
    messages.c.id,
    jobs.c.id,
    messages.c.url,
    messages.c.body,
    messages.c.created,
    messages.c.event,
    messages.c.endpoint,
    messages.c.attempts,
)

# Calling the enumeration is several times slower, and a list has many states.
_STATES: Final[Mapping[str | None, JobState]] = {state.value: state for state in JobState}
_REQUESTS: Final = msgspec.json.Decoder(JobRequest)
_SIGHTINGS: Final = msgspec.json.Decoder(Sighting)
_TALLIES: Final = msgspec.json.Decoder(Tally)


def encode(value: msgspec.Struct) -> str:
    """A struct as the text of a column."""
    return msgspec.json.encode(value).decode()


def new_job(request: JobRequest, submitted: float) -> Row:
    """The row of a job that the queue does not have yet.  @param submitted: its place in time, see the schema."""
    tally = _first_tally(request)
    return {
        "id": request.id,
        "name": request.name,
        "state": JobState.IDLE.value,
        "request": encode(request),
        "tally": None if tally is None else encode(tally),
        "submitted": submitted,
    }


def added(seq: int, request: JobRequest) -> Job:
    """The job of such a row, once it has its number."""
    history = (StateChange(JobState.IDLE, request.submitted),)
    return Job(seq=seq, request=request, state=JobState.IDLE, history=history, tally=_first_tally(request))


def new_labels(job: Job) -> Iterable[Row]:
    """The rows of its labels."""
    for key, value in job.request.labels.items():
        yield {"job": job.seq, "key": key, "value": value, "state": job.state.value}


def new_change(seq: int, change: StateChange) -> Row:
    """The row of a line of its history."""
    return {"job": seq, "state": change.state.value, "at": change.at, "reason": change.reason}


def new_message(seq: int | None, message: Message) -> Row:
    """The row of a message about a job, or about none, due at once."""
    return {
        "id": message.id,
        "job": seq,
        "url": message.url,
        "body": message.body,
        "created": message.created,
        "due": message.created,
        "attempts": 0,
        "event": message.event,
        "endpoint": message.endpoint,
    }


def new_key(key: Key) -> Row:
    """The row of a key that has no answer yet."""
    return {"scope": key.scope, "name": key.name, "digest": key.digest, "at": key.at, "job_id": key.job_id}


def job(row: Sequence[Any], history: tuple[StateChange, ...] = ()) -> Job:
    """The job of a row of L{JOB}; further columns are ignored."""
    seq, request, state, previous_state, cluster, proc, sighting, settled, counted, *_ = row
    return Job(
        seq=seq,
        request=_REQUESTS.decode(request),
        state=_STATES[state],
        previous_state=_STATES.get(previous_state),
        backend_id=None if cluster is None else BackendId(cluster, proc),
        sighting=None if sighting is None else _SIGHTINGS.decode(sighting),
        history=history,
        settled=settled,
        tally=tally(counted),
    )


def tally(counted: str | None) -> Tally | None:
    """The tally of a column."""
    return None if counted is None else _TALLIES.decode(counted)


def history(rows: Iterable[Sequence[Any]]) -> tuple[StateChange, ...]:
    """The history of rows of L{CHANGE}."""
    return tuple(StateChange(_STATES[state], at, reason) for state, at, reason in rows)


def histories(rows: Iterable[Sequence[Any]]) -> dict[int, tuple[StateChange, ...]]:
    """The histories of several jobs, by their C{seq}; rows of a job's number and L{CHANGE}, a job's one after the other."""
    return {seq: history(row[1:] for row in rows) for seq, rows in groupby(rows, itemgetter(0))}


def counts(rows: Iterable[Sequence[Any]]) -> dict[JobState, int]:
    """The numbers of jobs by state, in the order of the states."""
    known = {state: number for state, number in rows}  # noqa: C416 - rows are not tuples
    return {state: known.get(state.value, 0) for state in JobState}


def event(row: Sequence[Any]) -> Event:
    """The event of a row of L{EVENT}."""
    number, at, job_id, state, reason, request = row
    asked = _REQUESTS.decode(request)
    return Event(number, at, job_id, asked.name, _STATES[state], reason, asked.labels)


def listed(row: Sequence[Any]) -> Listed:
    """The line of a list of a row of L{LISTED}."""
    seq, id, state, name, counted, settled = row
    return Listed(seq, id, _STATES[state], name, tally(counted), settled)


def delivery(row: Sequence[Any]) -> Delivery:
    """The delivery of a row of L{DELIVERY}."""
    id, job_id, url, body, created, event, endpoint, attempts = row
    message = Message(id=id, job_id=job_id, url=url, body=body, created=created, event=event, endpoint=endpoint)
    return Delivery(message, attempts)


def _first_tally(request: JobRequest) -> Tally | None:
    return None if request.array is None else Tally(idle=request.array.count)
