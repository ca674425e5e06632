"""What follows for a job array from the states of its tasks."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modabatchd.queue.job import FINAL, BackendId, JobState, Sighting, Tally
from modabatchd.queue.tallies import closed, failed, is_over, moved, state_of, succeeded

STATES = st.sampled_from(JobState)


def tallied(states: list[JobState]) -> Tally:
    return Tally(**Counter(state.value for state in states))


@pytest.mark.parametrize(
    ("tally", "state"),
    [
        (Tally(running=1, idle=9, held=9, suspended=9, completed=9), JobState.RUNNING),
        (Tally(idle=1, held=9, suspended=9, completed=9), JobState.IDLE),
        (Tally(suspended=1, held=9, completed=9, removed=9), JobState.SUSPENDED),
        (Tally(held=1, completed=9, removed=9), JobState.HELD),
        (Tally(completed=1, removed=9, failed=1), JobState.COMPLETED),
        (Tally(removed=9), JobState.REMOVED),
        (Tally(submission_error=9), JobState.SUBMISSION_ERROR),
    ],
)
def test_the_state_of_an_array(tally: Tally, state: JobState) -> None:
    assert state_of(tally) is state


@given(st.lists(STATES, min_size=1))
def test_an_array_is_over_when_all_tasks_are(states: list[JobState]) -> None:
    assert is_over(tallied(states)) is FINAL.issuperset(states)


@given(st.lists(STATES, min_size=1), STATES)
def test_a_task_that_moves(states: list[JobState], after: JobState) -> None:
    assert moved(tallied(states), states[0], after) == tallied([after, *states[1:]])


@given(st.lists(STATES, min_size=1), st.sampled_from(sorted(FINAL)))
def test_closed(states: list[JobState], after: JobState) -> None:
    assert closed(tallied(states), after) == tallied([state if state.final else after for state in states])


def ended(**how: int) -> Sighting:
    number = BackendId(1)
    return Sighting(job_id="", backend_id=number, state=JobState.COMPLETED, backend_state="", global_job_id="", **how)


def test_tasks_that_failed_are_counted() -> None:
    assert [failed(seen) for seen in (None, ended(exit_status=0), ended(exit_status=3), ended(exit_signal=9))] == [
        False,
        False,
        True,
        True,
    ]
    assert moved(Tally(running=2), JobState.RUNNING, JobState.COMPLETED, failed=True) == Tally(running=1, completed=1, failed=1)


def test_success_is_that_all_succeeded() -> None:
    assert succeeded(Tally(completed=2))
    assert not any(map(succeeded, (Tally(completed=2, failed=1), Tally(completed=1, removed=1), Tally(completed=1, idle=1))))
