"""
What follows for a job array from the states of its tasks.  Pure.

Note [The state of an array]
============================
An array is C{running} while one of its tasks runs; otherwise C{idle} while one of them waits, C{suspended} while one of them is
suspended, and C{held} when all that is left is held.  When the last task is over, it is C{completed} if one of them has
completed, whatever its exit status; otherwise C{removed}, or C{submission_error} if the scheduler refused it as a whole.
"""

from __future__ import annotations

from typing import Final

import msgspec

from modabatchd.queue.job import JobState, Sighting, Tally

#: The first of these in which there is a task is the state of the array.
_RANKED: Final = (
    JobState.RUNNING,
    JobState.IDLE,
    JobState.SUSPENDED,
    JobState.HELD,
    JobState.COMPLETED,
    JobState.REMOVED,
    JobState.SUBMISSION_ERROR,
)


def state_of(tally: Tally) -> JobState:
    """The state of an array that has at least one task.  See Note [The state of an array]."""
    return next(state for state in _RANKED if tally.of(state))


def is_over(tally: Tally) -> bool:
    """Whether all tasks have reached their final states."""
    return state_of(tally).final


def moved(tally: Tally, before: JobState, after: JobState, failed: bool = False) -> Tally:
    """The tally once a task has gone from one state to another; C{failed} tells whether it has L{failed}."""
    return _with(tally, {before: -1, after: +1} if before is not after else {}, int(failed))


def closed(tally: Tally, state: JobState) -> Tally:
    """The tally once all tasks that were not over have gone to a final state."""
    growth = {live: -tally.of(live) for live in JobState if not live.final}
    return _with(tally, {**growth, state: -sum(growth.values())}, 0)


def failed(sighting: Sighting | None) -> bool:
    """Whether a task has completed, but not with exit status 0."""
    return sighting is not None and sighting.state is JobState.COMPLETED and sighting.exit_status != 0


def succeeded(tally: Tally) -> bool:
    """Whether all tasks have completed with exit status 0."""
    others = sum(tally.of(state) for state in JobState if state is not JobState.COMPLETED)
    return others == tally.failed == 0


def _with(tally: Tally, growth: dict[JobState, int], failures: int) -> Tally:
    changed = {state.value: tally.of(state) + more for state, more in growth.items()}
    return msgspec.structs.replace(tally, **changed, failed=tally.failed + failures)
