"""Job arrays in the services of the queue: one job to the outside, as many jobs as it has tasks to the queue."""

from __future__ import annotations

import json
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from modabatchd.errors import FieldError, IllegalAction, QueueAway, UnknownTask
from modabatchd.queue.form import SubmissionForm
from modabatchd.queue.indices import parse_indices
from modabatchd.queue.job import Action, BackendId, Job, JobState, Tally
from tests.deferreds import now
from tests.queue.world import World

IDLE, RUNNING, HELD = JobState.IDLE, JobState.RUNNING, JobState.HELD
COMPLETED, REMOVED = JobState.COMPLETED, JobState.REMOVED


def submitted(world: World, indices: str = "1-3,7") -> str:
    return world.accept(array=parse_indices(indices)).request.id


def tally(world: World, job_id: str) -> Tally:
    found = world.job(job_id).tally
    assert found is not None
    return found


def bodies(world: World) -> list[dict[str, Any]]:
    return [json.loads(message.body) for message in world.messages()]


def act(world: World, job_id: str, action: Action, tasks: str = "") -> int | None:
    wanted = parse_indices(tasks) if tasks else None
    return now(world.control.act(job_id, action, wanted))  # type: ignore[no-any-return]


def finish_all(world: World, job_id: str, exit_status: int = 0) -> None:
    for task in (1, 2, 3, 7):
        world.real_queue.finish(job_id, exit_status=exit_status, task=task)


def test_an_array_is_one_job(world: World) -> None:
    job = world.accept(array=parse_indices("1-3,7"))
    assert job.backend_id == BackendId(1, 0)
    assert (job.state, tally(world, job.request.id)) == (IDLE, Tally(idle=4))
    assert world.queue.calls.count("submit") == 1
    launch = (world.real_spool.directory(job.request.id) / "launch.sh").read_text()
    for line in ("COUNT='4'", "FIRST='1'", "LAST='7'"):
        assert f"export MODACLOUDS_BATCH_TASK_{line}\n" in launch


def test_the_state_follows_from_those_of_the_tasks(world: World) -> None:
    job_id = submitted(world)
    world.real_queue.start(job_id, task=7)
    world.real_queue.hold(job_id, "why", task=2)
    world.look()
    assert (world.state(job_id), tally(world, job_id)) == (RUNNING, Tally(idle=2, running=1, held=1))
    world.real_queue.finish(job_id, exit_status=3, task=7)
    world.look()
    assert (world.state(job_id), tally(world, job_id)) == (IDLE, Tally(idle=2, held=1, completed=1, failed=1))
    task = now(world.store.part.task(job_id, 7))
    assert (task.state, task.sighting.exit_status) == (COMPLETED, 3)
    assert bodies(world) == []


@pytest.mark.parametrize(("status", "retcode"), [(0, 0), (3, 1)])
def test_one_message_when_all_of_it_is_over(world: World, status: int, retcode: int) -> None:
    job_id = submitted(world)
    world.real_queue.finish(job_id, exit_status=status, task=2)
    world.look()
    for task in (1, 3, 7):
        world.real_queue.finish(job_id, task=task)
    world.look()
    assert world.state(job_id) is COMPLETED
    [body] = bodies(world)
    failed = {"failed": 1} if status else {}
    assert (body["job-uuid"], body["retcode"], body["tasks"]) == (job_id, retcode, {"completed": 4, **failed})
    assert world.finished(job_id)


def test_tasks_that_end_together_are_written_and_acknowledged_together(world: World) -> None:
    job_id = submitted(world, "1-300")
    for task in range(1, 301):
        world.real_queue.finish(job_id, task=task)
    gate: Deferred[None] = Deferred()
    world.store.gates = {"advance": gate}
    world.look()
    gate.callback(None)
    assert world.finished(job_id)
    assert world.queue.calls.count("acknowledge") == 2
    # The first one, all others, and the array itself.
    assert world.store.calls.count("advance") == 3


def test_an_array_that_is_removed_tells_no_retcode(world: World) -> None:
    job_id = submitted(world)
    assert act(world, job_id, Action.REMOVE) == 4
    assert (world.state(job_id), tally(world, job_id)) == (REMOVED, Tally(removed=4))
    [body] = bodies(world)
    assert (body["retcode"], body["tasks"]) == (None, {"removed": 4})


def test_an_array_that_is_refused_is_refused_as_a_whole(world: World) -> None:
    world.real_queue.refuse = lambda ticket: "no"
    job_id = submitted(world)
    assert (world.state(job_id), tally(world, job_id)) == (JobState.SUBMISSION_ERROR, Tally(submission_error=4))
    assert bodies(world)[0]["retcode"] is None


# parameters


def with_parameters(world: World, csv: bytes, indices: str = "") -> Job:
    draft = world.draft()
    draft.put("parameters", csv)
    form = SubmissionForm(array=parse_indices(indices) if indices else None)
    return now(world.submission.accept(draft, form))  # type: ignore[no-any-return]


def test_parameters_make_an_array(world: World) -> None:
    job = with_parameters(world, b"A\none\ntwo\n")
    assert job.request.array == parse_indices("1-2")
    assert job.request.has_parameters
    directory = world.real_spool.directory(job.request.id)
    assert (directory / "parameters").read_bytes() == b"export A='one'\nexport A='two'\n"
    assert list(with_parameters(world, b"A\none\ntwo\nthree\n", "2-3").request.array or ()) == [2, 3]


@pytest.mark.parametrize(("csv", "indices"), [(b"A\none\n", "1-2"), (b"A\none\n", "0-1"), (b"A\n", ""), (b"A A\n1\n", "")])
def test_parameters_that_do_not_fit_leave_nothing(world: World, csv: bytes, indices: str) -> None:
    with pytest.raises(FieldError):
        with_parameters(world, csv, indices)
    assert (world.stored(), world.kept(), world.incoming()) == (0, set(), 0)


def test_an_array_that_is_too_large_leaves_nothing(world: World) -> None:
    with pytest.raises(FieldError, match="10001 tasks, and this service takes 10000"):
        submitted(world, "1-10001")
    assert (world.stored(), world.kept()) == (0, set())


# actions


def test_actions_on_all_tasks_that_allow_it(world: World) -> None:
    job_id = submitted(world)
    world.real_queue.finish(job_id, task=3)
    world.look()
    assert act(world, job_id, Action.HOLD) == 3
    assert (world.state(job_id), tally(world, job_id)) == (HELD, Tally(held=3, completed=1))
    with pytest.raises(IllegalAction) as caught:
        act(world, job_id, Action.SUSPEND)
    assert caught.value.state is HELD
    assert act(world, job_id, Action.RELEASE) == 3
    assert act(world, job_id, Action.REMOVE) == 3
    assert world.state(job_id) is COMPLETED
    assert world.finished(job_id)


def test_actions_on_some_tasks(world: World) -> None:
    job_id = submitted(world)
    assert act(world, job_id, Action.HOLD, "1,7") == 2
    assert tally(world, job_id) == Tally(idle=2, held=2)
    assert [numbers for _, numbers, _ in world.real_queue.acts] == [[BackendId(1, 0), BackendId(1, 3)]]
    assert act(world, job_id, Action.HOLD, "1-3") == 2
    with pytest.raises(IllegalAction):
        act(world, job_id, Action.HOLD, "7")
    with pytest.raises(UnknownTask, match="no task 4"):
        act(world, job_id, Action.HOLD, "3-5")
    with pytest.raises(UnknownTask, match="no job array"):
        act(world, world.submitted(), Action.HOLD, "1")


def test_what_the_store_knows_is_old_when_nothing_can_be_done(world: World) -> None:
    job_id = submitted(world)
    world.real_queue.hold(job_id, "by an administrator", task=2)
    assert act(world, job_id, Action.RELEASE) == 1
    assert tally(world, job_id) == Tally(idle=4)


def test_an_array_that_the_queue_does_not_have_yet_cannot_be_acted_upon(world: World) -> None:
    world.real_queue.away = True
    job_id = submitted(world)
    world.real_queue.away = False
    with pytest.raises(QueueAway):
        act(world, job_id, Action.HOLD)


# crashes


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(("part", "method"), [("queue", "submit"), ("store", "bind")])
@pytest.mark.parametrize("restart", [True, False])
def test_an_array_is_submitted_once_wherever_it_is_interrupted(
    world: World, part: str, method: str, when: str, restart: bool
) -> None:
    broken = getattr(world, part)
    setattr(broken, when, {method})
    job_id = submitted(world)
    setattr(broken, when, set())
    if restart:
        world.restart()
    world.wait_out(world.repair)
    world.look()
    assert world.job(job_id).backend_id == BackendId(1, 0)
    assert list(world.real_queue.tickets) == [job_id]
    finish_all(world, job_id)
    world.look()
    assert (world.state(job_id), tally(world, job_id)) == (COMPLETED, Tally(completed=4))
    assert world.finished(job_id)


@pytest.mark.parametrize("restart", [True, False])
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    ("part", "method"),
    [("queue", "fetch"), ("spool", "settle"), ("store", "get"), ("store", "advance"), ("queue", "acknowledge")],
)
@pytest.mark.parametrize("early", [(), (1, 3)])
def test_an_array_is_finished_once_wherever_it_is_interrupted(
    world: World, part: str, method: str, when: str, restart: bool, early: tuple[int, ...]
) -> None:
    job_id = submitted(world)
    for task in early:
        world.real_queue.finish(job_id, task=task)
    world.look()
    broken = getattr(world, part)
    setattr(broken, when, {method})
    finish_all(world, job_id)
    for _ in range(3):
        world.look(6)
    if restart:
        world.restart()
    else:
        setattr(broken, when, set())
    for _ in range(3):
        world.look(6)
    assert (world.state(job_id), tally(world, job_id)) == (COMPLETED, Tally(completed=4))
    assert world.finished(job_id)


def test_tasks_that_vanish_are_given_up_one_by_one(world: World) -> None:
    job_id = submitted(world)
    world.look()
    world.real_queue.vanish(job_id, task=2)
    world.wait_out(world.look)
    assert (world.state(job_id), tally(world, job_id)) == (IDLE, Tally(idle=3, removed=1))
    for task in (1, 3, 7):
        world.real_queue.finish(job_id, task=task)
    world.look()
    assert world.state(job_id) is COMPLETED


def test_what_became_of_tasks_is_found_in_the_history(world: World) -> None:
    job_id = submitted(world)
    world.real_queue.finish(job_id, exit_status=5, task=2)
    now(world.real_queue.acknowledge([BackendId(1, 1)]))
    world.wait_out(world.look)
    assert tally(world, job_id) == Tally(idle=3, completed=1, failed=1)
