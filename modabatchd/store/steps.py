"""What the steps of jobs change in the tables.  Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import msgspec

from modabatchd.queue.job import JobState, StateChange, Tally
from modabatchd.queue.tallies import closed, is_over
from modabatchd.store.interfaces import Progress
from modabatchd.store.rows import Row, encode, new_change, new_message
from modabatchd.store.steps_tasks import plan_tasks


class Standing(msgspec.Struct, frozen=True):
    """
    What of a stored job decides what a step changes.

    @ivar tally: L{None} for a job that is no array.
    @ivar tasks: the states of those tasks of an array that have steps, by index.
    """

    seq: int
    state: JobState
    tally: Tally | None = None
    tasks: dict[int, JobState] = {}


class Writes(msgspec.Struct, frozen=True):
    """
    Rows to be written, in this order.

    @ivar jobs: new values for a job each; C{None} keeps what is there.  The job is C{job_seq}.
    @ivar labels: the state that the labels of a job repeat.
    @ivar changes: new lines of the history.
    @ivar messages: new messages.
    @ivar tasks: new values for a task each.
    @ivar closings: arrays whose tasks that are not over go to a state.
    @ivar over: the ids of the arrays of which all tasks are over, and which are not final yet.
    @ivar counts: by how much the number of jobs in a state grows.
    """

    jobs: list[Row] = []
    labels: list[Row] = []
    changes: list[Row] = []
    messages: list[Row] = []
    tasks: list[Row] = []
    closings: list[Row] = []
    over: list[str] = []
    counts: Counter[JobState] = msgspec.field(default_factory=Counter)


def plan(steps: Iterable[Progress], standings: Mapping[str, Standing]) -> Writes:
    """
    What steps change, each on top of those before it; those of tasks come first.

    @param standings: the stored jobs by id; a step for a job that is not among them, or that is over, changes nothing.
    """
    writes = Writes()
    reached = dict(standings)
    of_tasks: dict[str, list[Progress]] = {}
    of_jobs: list[Progress] = []
    for step in steps:
        (of_jobs if step.task is None else of_tasks.setdefault(step.job_id, [])).append(step)
    for job_id, several in of_tasks.items():
        standing = reached.get(job_id)
        if standing is not None and standing.tally is not None and not standing.state.final:
            reached[job_id] = _write_tasks(writes, job_id, several, standing, standing.tally)
    for step in of_jobs:
        standing = reached.get(step.job_id)
        if standing is not None and not standing.state.final:
            reached[step.job_id] = _write(writes, step, standing)
    return writes


def _write_tasks(writes: Writes, job_id: str, steps: list[Progress], standing: Standing, before: Tally) -> Standing:
    planned = plan_tasks(steps, standing.seq, before, standing.tasks)
    writes.tasks.extend(planned.rows)
    if planned.over:
        writes.over.append(job_id)
    if planned.last is None:
        return standing
    state = planned.state(standing.state)
    after = Standing(standing.seq, state, planned.tally)
    writes.jobs.append({**_values(standing.seq, standing.state, state), "tally": encode(planned.tally)})
    if state is not standing.state:
        _enter(writes, standing, StateChange(state, planned.last.at, planned.last.reason))
    return after


def _write(writes: Writes, step: Progress, standing: Standing) -> Standing:
    changed = step.state is not standing.state
    tally = standing.tally
    if changed or step.sighting is not None:
        writes.jobs.append(_job(step, standing))
    if changed:
        _enter(writes, standing, StateChange(step.state, step.at, step.reason))
        writes.messages.extend(new_message(standing.seq, message) for message in step.messages)
    if tally is not None and step.state.final and not is_over(tally):
        tally = closed(tally, step.state)
        writes.closings.append({"job_seq": standing.seq, "to": step.state.value})
        writes.jobs.append({**_values(standing.seq, step.state, step.state), "tally": encode(tally)})
    return Standing(standing.seq, step.state, tally)


def _enter(writes: Writes, standing: Standing, change: StateChange) -> None:
    writes.counts.update({standing.state: -1, change.state: 1})
    writes.labels.append({"job_seq": standing.seq, "to": change.state.value})
    writes.changes.append(new_change(standing.seq, change))


def _job(step: Progress, standing: Standing) -> Row:
    sighting = step.sighting
    return {
        **_values(standing.seq, standing.state, step.state),
        "ended": step.at if step.state.final else None,
        "seen": None if sighting is None else encode(sighting),
        "cluster": None if sighting is None else sighting.backend_id.cluster,
        "proc": None if sighting is None else sighting.backend_id.proc,
    }


def _values(seq: int, before: JobState, after: JobState) -> dict[str, object]:
    """A row of new values that changes no more than the state."""
    previous = before.value if after is not before else None
    unchanged = dict.fromkeys(("ended", "seen", "cluster", "proc", "tally"))
    return {**unchanged, "job_seq": seq, "to": after.value, "previous": previous}
