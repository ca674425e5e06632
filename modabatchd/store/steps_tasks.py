"""What the steps of the tasks of job arrays change in the tables.  Pure."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from modabatchd.queue.job import JobState, Tally
from modabatchd.queue.tallies import failed, is_over, moved, state_of
from modabatchd.store.interfaces import Progress
from modabatchd.store.rows import Row
from modabatchd.store.rows_tasks import compact


class TaskWrites(msgspec.Struct, frozen=True):
    """
    What the steps of one array's tasks change.

    @ivar rows: new values for a task each; C{None} keeps what is there.
    @ivar tally: of the array, after them.
    @ivar last: the last step that changed something; L{None} if none did.
    """

    rows: list[Row]
    tally: Tally
    last: Progress | None

    @property
    def over(self) -> bool:
        """Whether all tasks are over."""
        return is_over(self.tally)

    def state(self, before: JobState) -> JobState:
        """The state of the array, which was C{before} and becomes final only by a step of its own."""
        return before if self.over else state_of(self.tally)


def plan_tasks(steps: Iterable[Progress], seq: int, tally: Tally, states: dict[int, JobState]) -> TaskWrites:
    """
    What steps of the tasks of an array change, each on top of those before it.

    @param seq: of the array.
    @param states: of the stored tasks by index; a step for one that is not among them, or that is over, changes nothing.
    """
    rows: list[Row] = []
    reached = dict(states)
    last = None
    for step in steps:
        before = reached.get(step.task if step.task is not None else -1)
        if step.task is None or before is None or before.final:
            continue
        reached[step.task] = step.state
        rows.append({"job_seq": seq, "index": step.task, "to": step.state.value, "seen": compact(step.sighting)})
        tally = moved(tally, before, step.state, failed(step.sighting))
        last = step
    return TaskWrites(rows, tally, last)
