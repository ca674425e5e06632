"""What the steps of jobs change in the tables.  Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from modabatchd.queue.job import JobState, StateChange
from modabatchd.store.interfaces import Progress
from modabatchd.store.rows import Row, encode, new_change, new_message


class Standing(msgspec.Struct, frozen=True):
    """What of a stored job decides what a step changes."""

    seq: int
    state: JobState


class Writes(msgspec.Struct, frozen=True):
    """
    Rows to be written, in this order.

    @ivar jobs: new values for a job each; C{None} keeps what is there.  The job is C{job_seq}.
    @ivar labels: the state that the labels of a job repeat.
    @ivar changes: new lines of the history.
    @ivar messages: new messages.
    """

    jobs: list[Row] = []
    labels: list[Row] = []
    changes: list[Row] = []
    messages: list[Row] = []


def plan(steps: Iterable[Progress], standings: Mapping[str, Standing]) -> Writes:
    """
    What steps change, each on top of those before it.

    @param standings: the stored jobs by id; a step for a job that is not among them, or that is over, changes nothing.
    """
    writes = Writes()
    reached = dict(standings)
    for step in steps:
        standing = reached.get(step.job_id)
        if standing is not None and not standing.state.final:
            _write(writes, step, standing)
            reached[step.job_id] = Standing(standing.seq, step.state)
    return writes


def _write(writes: Writes, step: Progress, standing: Standing) -> None:
    changed = step.state is not standing.state
    if changed or step.sighting is not None:
        writes.jobs.append(_job(step, standing, changed))
    if changed:
        writes.labels.append({"job_seq": standing.seq, "to": step.state.value})
        writes.changes.append(new_change(standing.seq, StateChange(step.state, step.at, step.reason)))
    if step.message is not None:
        writes.messages.append(new_message(standing.seq, step.message))


def _job(step: Progress, standing: Standing, changed: bool) -> Row:
    sighting = step.sighting
    return {
        "job_seq": standing.seq,
        "to": step.state.value,
        "previous": standing.state.value if changed else None,
        "ended": step.at if step.state.final else None,
        "seen": None if sighting is None else encode(sighting),
        "cluster": None if sighting is None else sighting.backend_id.cluster,
        "proc": None if sighting is None else sighting.backend_id.proc,
    }
