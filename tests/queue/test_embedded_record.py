"""The decisions of the embedded queue: what may become of a job, what starts next, what its log says."""

import itertools
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modabatchd.queue.embedded import record
from modabatchd.queue.embedded.machine import Machine, this_machine
from modabatchd.queue.embedded.processes import Process, descendants, kin
from modabatchd.queue.embedded.record import Outcome, Record
from modabatchd.queue.embedded.userlog import told
from modabatchd.queue.interfaces import ActionResult, Ticket
from modabatchd.queue.job import Action, BackendId, JobRequest, JobState, Resources

MACHINE = Machine(host="here", cores=4, memory=1000, user="somebody")
GOOD = Outcome(ended=9.0, exit_status=0, user_cpu=1.5, image_size=77)
BAD = Outcome(ended=9.0, exit_status=7)
KILLED = Outcome(ended=9.0, exit_signal=24)


def job(cluster: int = 1, **request: Any) -> Record:
    ticket = Ticket(JobRequest(id=str(uuid4()), submitted=1.0, **request), Path("/files"))
    [each] = record.submitted(ticket, BackendId(cluster), MACHINE, 5.0)
    return each


def running(**request: Any) -> Record:
    return record.started(job(**request), MACHINE, 6.0)


def after(each: Record, *actions: Action) -> Record:
    for action in actions:
        result, each = record.acted(each, action, "why")
        assert result is ActionResult.DONE
    return each


def test_a_job_that_has_just_come() -> None:
    seen = job(12, priority=3).sighting
    assert (seen.state, seen.backend_state, seen.priority) == (JobState.IDLE, "idle", 3)
    assert (seen.global_job_id, seen.universe, seen.run_count) == ("here#12.0#5", "vanilla", 0)


@pytest.mark.parametrize(
    ("resources", "word"),
    [
        (Resources(cpus=5), "4 slots"),
        (Resources(gpus=1), "GPUs"),
        (Resources(memory=1001), "1000"),
        (Resources(cpus=4, memory=1000, disk=1 << 50), None),
    ],
)
def test_what_can_never_run_is_refused(resources: Resources, word: str | None) -> None:
    reason = record.refusal(Ticket(JobRequest(id="x", submitted=0.0, resources=resources), Path("/")), 4, MACHINE)
    assert reason is None if word is None else word in (reason or "")


def test_this_machine() -> None:
    here = this_machine()
    assert here.host
    assert here.cores >= 1
    assert here.memory >= 64


def test_priorities_and_slots() -> None:
    low, wide, high, small = job(1), job(2, priority=1, resources=Resources(cpus=3)), job(3, priority=2), job(4, priority=1)
    everything = [low, wide, high, small]
    assert record.due(everything, [], 5) == [high, wide, small]
    assert record.due(everything, [], 3) == [high]
    assert record.due(everything, [BackendId(2)], 5) == [high, small]
    assert record.due([low, after(high, Action.HOLD)], [], 5) == [low]
    # There were three slots when it came.
    assert record.due([wide, small], [], 2) == [wide]
    assert record.due([wide, small], [BackendId(2)], 2) == []


@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(1, 4)), max_size=12), st.integers(4, 8))
def test_what_is_due_fits_and_is_in_order(wishes: list[tuple[int, int]], slots: int) -> None:
    jobs = [job(n, priority=prio, resources=Resources(cpus=cpus)) for n, (prio, cpus) in enumerate(wishes, 1)]
    chosen = record.due(jobs, [], slots)
    assert sum(each.request.resources.cpus for each in chosen) <= slots
    in_order = sorted(jobs, key=lambda each: (-each.request.priority, each.sighting.backend_id))
    assert chosen == in_order[: len(chosen)]
    assert chosen or not jobs


def test_a_run_that_succeeds() -> None:
    seen = record.ended(running(max_retries=3), GOOD).sighting
    assert (seen.state, seen.exit_status, seen.exit_signal, seen.completed) == (JobState.COMPLETED, 0, None, 9.0)
    assert (seen.user_cpu, seen.image_size, seen.run_count) == (1.5, 77, 1)


@pytest.mark.parametrize("outcome", [BAD, KILLED])
def test_retries(outcome: Outcome) -> None:
    each = running(max_retries=1)
    each = record.ended(each, outcome)
    assert (each.sighting.state, each.completions) == (JobState.IDLE, 1)
    each = record.ended(record.started(each, MACHINE, 10.0), outcome)
    assert (each.sighting.state, each.sighting.run_count) == (JobState.COMPLETED, 2)
    assert (each.sighting.started, each.sighting.current_started) == (6.0, 10.0)


def test_an_outcome_counts_once() -> None:
    each = record.ended(running(max_retries=5), BAD)
    assert record.ended(each, BAD) == each


def test_interruptions_are_no_retries() -> None:
    each = record.interrupted(running(max_retries=1))
    assert (each.sighting.state, each.completions, each.sighting.run_count) == (JobState.IDLE, 0, 1)


def test_a_job_held_too_late_has_completed() -> None:
    assert record.ended(after(running(), Action.HOLD), GOOD).sighting.state is JobState.COMPLETED
    held = record.ended(after(running(max_retries=1), Action.HOLD), BAD)
    assert (held.sighting.state, held.sighting.reason) == (JobState.HELD, "why")
    assert record.ended(after(running(), Action.REMOVE), GOOD).sighting.state is JobState.REMOVED


def test_what_becomes_of_jobs_whose_run_we_ended() -> None:
    assert record.interrupted(after(running(), Action.SUSPEND)).sighting.state is JobState.IDLE
    assert record.interrupted(after(running(), Action.HOLD)).sighting.state is JobState.HELD
    assert record.removed(running(), "bye").sighting.reason == "bye"
    assert record.removed(after(running(), Action.HOLD), "bye").sighting.state is JobState.HELD
    assert record.lost(running(), "gone").sighting.state is JobState.HELD
    assert record.lost(after(running(), Action.REMOVE), "gone").sighting.state is JobState.REMOVED


def test_a_run_that_could_not_be() -> None:
    seen = record.ended(running(), Outcome(ended=9.0, problem="no room")).sighting
    assert (seen.state, seen.reason, seen.exit_status) == (JobState.HELD, "no room", None)


def test_the_log_tells_every_change() -> None:
    one = job()
    steps = [one, record.started(one, MACHINE, 6.0)]
    steps += [after(steps[-1], Action.SUSPEND)]
    steps += [after(steps[-1], Action.CONTINUE)]
    steps += [after(steps[-1], Action.HOLD)]
    steps += [after(steps[-1], Action.RELEASE)]
    steps += [record.started(steps[-1], MACHINE, 8.0)]
    text = told(None, one, "here", 5.0) + "".join(told(a, b, "here", 7.0) for a, b in itertools.pairwise(steps))
    codes = [line[:3] for line in text.splitlines() if line[3:4] == " "]
    assert codes == ["000", "001", "010", "011", "004", "012", "013", "001"]
    assert text.count("\n...\n") == len(codes)
    assert all("(001.000.000)" in line for line in text.splitlines() if line[3:4] == " ")
    assert "return value 0" in told(steps[-1], record.ended(steps[-1], GOOD), "here", 9.0)
    assert "(signal 24)" in told(steps[-1], record.ended(steps[-1], KILLED), "here", 9.0)
    assert told(steps[-1], record.interrupted(steps[-1]), "here", 9.0).startswith("004 ")
    assert "\twhy\n" in told(steps[-1], after(steps[-1], Action.REMOVE), "here", 9.0)
    assert told(one, one, "here", 9.0) == ""


def test_which_processes_belong_to_a_run() -> None:
    shell, daemon, runner, wrapper, script, orphan, stranger = (
        Process(pid, "S", parent, session, 0)
        for pid, parent, session in ((1, 0, 1), (2, 1, 1), (3, 2, 3), (4, 3, 3), (5, 4, 5), (6, 1, 3), (7, 1, 1))
    )
    everything = [shell, daemon, runner, wrapper, script, orphan, stranger]
    assert descendants(3, everything) == [wrapper, script]
    assert set(kin({3}, everything)) == {runner, wrapper, script, orphan}
    # A runner that has not left the daemon's session yet takes nobody with it.
    assert set(kin({7}, everything)) == {stranger}


def test_a_problem_that_is_not_the_jobs_lets_it_try_again() -> None:
    outcome = Outcome(ended=1.0, problem="too many open files", transient=True)
    each = record.ended(running(), outcome)
    assert (each.sighting.state, each.settled, each.completions) == (JobState.IDLE, 1, 0)
    held = after(running(), Action.HOLD)
    assert record.ended(held, outcome).sighting.state is JobState.HELD
