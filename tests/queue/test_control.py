"""Hold, release, suspend, continue, remove."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from twisted.internet.defer import CancelledError, Deferred, fail, succeed

from modabatchd.errors import IllegalAction, QueueAway, QueueRefused, UnknownJob
from modabatchd.queue.interfaces import ActionResult
from modabatchd.queue.job import TRANSITIONS, Action, BackendId, JobState
from tests.deferreds import now
from tests.queue.world import GRACE, World


def in_state(world: World, state: JobState) -> str:
    """A job that store and queue show in that state."""
    if state is JobState.SUBMISSION_ERROR:
        world.real_queue.refuse = lambda ticket: "no"
        return world.submitted()
    job_id = world.submitted()
    if state is JobState.COMPLETED:
        world.real_queue.finish(job_id)
    else:
        world.real_queue._change((job_id, None), state=state)
    world.look()
    assert world.state(job_id) is state
    return job_id


def act(world: World, job_id: str, action: Action) -> None:
    now(world.control.act(job_id, action))


PAIRS = [(state, action) for state in JobState for action in Action]
ALLOWED = [(state, action) for state, action in PAIRS if state in TRANSITIONS[action].allowed]
FORBIDDEN = [pair for pair in PAIRS if pair not in ALLOWED]


@pytest.mark.parametrize(("state", "action"), ALLOWED)
def test_what_a_state_allows_is_done_and_shows_at_once(world: World, state: JobState, action: Action) -> None:
    job_id = in_state(world, state)
    act(world, job_id, action)
    assert world.state(job_id) is TRANSITIONS[action].to
    [(asked, numbers, reason)] = world.real_queue.acts
    assert (asked, numbers) == (action, [world.job(job_id).backend_id])
    assert "modabatchd" in reason
    assert world.woken == 1


@pytest.mark.parametrize(("state", "action"), FORBIDDEN)
def test_what_a_state_does_not_allow_is_refused_with_the_state(world: World, state: JobState, action: Action) -> None:
    job_id = in_state(world, state)
    with pytest.raises(IllegalAction) as caught:
        act(world, job_id, action)
    assert caught.value.state == state
    assert state in caught.value.cause
    assert action in caught.value.cause
    assert all(allowed in caught.value.cure for allowed in TRANSITIONS[action].allowed)
    assert world.real_queue.acts == []
    assert world.state(job_id) is state


@pytest.mark.parametrize("action", Action)
def test_an_unknown_job(world: World, action: Action) -> None:
    with pytest.raises(UnknownJob):
        act(world, str(uuid4()), action)
    assert world.queue.calls == []


@pytest.mark.parametrize("action", Action)
def test_while_the_queue_is_away_nothing_is_done(world: World, action: Action) -> None:
    job_id = in_state(world, JobState.RUNNING)
    world.real_queue.away = True
    with pytest.raises(QueueAway):
        act(world, job_id, action)
    world.real_queue.away = False
    assert world.real_queue.acts == []
    assert world.state(job_id) is JobState.RUNNING


def test_a_final_state_is_told_without_the_queue(world: World) -> None:
    job_id = in_state(world, JobState.COMPLETED)
    world.real_queue.away = True
    with pytest.raises(IllegalAction):
        act(world, job_id, Action.REMOVE)


def test_a_removed_job_is_told_as_removed(world: World) -> None:
    job_id = in_state(world, JobState.RUNNING)
    act(world, job_id, Action.REMOVE)
    assert len(world.messages()) == 1
    assert world.real_queue.acknowledged(job_id)


@pytest.mark.parametrize("action", Action)
def test_a_job_that_the_queue_does_not_have_yet(world: World, action: Action) -> None:
    world.real_queue.away = True
    job_id = world.accept().request.id
    with pytest.raises(QueueAway):
        act(world, job_id, action)
    world.real_queue.away = False
    with pytest.raises(QueueAway if JobState.IDLE in TRANSITIONS[action].allowed else IllegalAction):
        act(world, job_id, action)
    assert world.real_queue.acts == []
    world.wait_out(world.repair)
    if JobState.IDLE in TRANSITIONS[action].allowed:
        act(world, job_id, action)
        assert world.state(job_id) is TRANSITIONS[action].to


def test_a_job_whose_number_was_not_recorded_is_found_and_acted_on(world: World) -> None:
    world.store.before = {"bind"}
    job_id = world.accept().request.id
    world.store.before = set()
    act(world, job_id, Action.HOLD)
    assert world.state(job_id) is JobState.HELD


def test_the_queue_is_looked_at_before_an_action_is_refused(world: World) -> None:
    job_id = in_state(world, JobState.IDLE)
    world.real_queue.start(job_id)
    act(world, job_id, Action.SUSPEND)
    assert world.state(job_id) is JobState.SUSPENDED


@pytest.mark.parametrize("action", [Action.HOLD, Action.SUSPEND, Action.CONTINUE])
def test_a_job_that_ended_since_the_last_look_is_refused_with_its_new_state(world: World, action: Action) -> None:
    job_id = in_state(world, JobState.SUSPENDED if action is Action.CONTINUE else JobState.RUNNING)
    world.real_queue._change((job_id, None), state=JobState.COMPLETED, completed=world.clock.seconds(), exit_status=0)
    with pytest.raises(IllegalAction) as caught:
        act(world, job_id, action)
    assert caught.value.state == JobState.COMPLETED
    assert world.state(job_id) is JobState.COMPLETED


def test_what_an_administrator_was_quicker_with_is_as_good(world: World) -> None:
    job_id = in_state(world, JobState.RUNNING)
    world.real_queue.hold(job_id, "by the administrator")
    act(world, job_id, Action.HOLD)
    assert world.state(job_id) is JobState.HELD
    world.real_queue.remove(job_id, "by the administrator")
    act(world, job_id, Action.REMOVE)
    assert world.state(job_id) is JobState.REMOVED


def answers(world: World, result: ActionResult) -> None:
    world.real_queue.act = lambda *args: succeed([result])  # type: ignore[method-assign]


@pytest.mark.parametrize("result", [ActionResult.NOT_FOUND, ActionResult.BAD_STATUS, ActionResult.ERROR])
def test_what_the_queue_does_not_do_is_never_told_as_done(world: World, result: ActionResult) -> None:
    job_id = in_state(world, JobState.RUNNING)
    answers(world, result)
    with pytest.raises(IllegalAction) as caught:
        act(world, job_id, Action.HOLD)
    assert caught.value.state == JobState.RUNNING
    assert result.value in caught.value.cause
    assert "must be" not in caught.value.cure


def test_already_done_is_no_answer_for_a_job_that_has_completed(world: World) -> None:
    job_id = in_state(world, JobState.RUNNING)
    world.real_queue._change((job_id, None), state=JobState.COMPLETED)
    answers(world, ActionResult.ALREADY_DONE)
    with pytest.raises(IllegalAction) as caught:
        act(world, job_id, Action.REMOVE)
    assert caught.value.state == JobState.COMPLETED


def test_what_this_service_may_not_do_is_told_as_that(world: World) -> None:
    job_id = in_state(world, JobState.RUNNING)
    answers(world, ActionResult.DENIED)
    with pytest.raises(QueueRefused) as caught:
        act(world, job_id, Action.HOLD)
    assert "condor_q" in caught.value.cure


def test_an_action_that_was_taken_is_done_even_if_the_queue_goes_away_then(world: World) -> None:
    job_id = in_state(world, JobState.RUNNING)
    world.real_queue.find = lambda *args: fail(QueueAway("Away.", "Wait."))  # type: ignore[method-assign]
    act(world, job_id, Action.HOLD)
    world.look()
    assert world.state(job_id) is JobState.HELD


def test_an_action_is_finished_when_its_client_has_gone(world: World, events: list[dict[str, Any]]) -> None:
    job_id = in_state(world, JobState.RUNNING)
    gate: Deferred[None] = Deferred()
    world.queue.gates = {"act": gate}
    acting = Deferred.fromCoroutine(world.control.act(job_id, Action.HOLD))
    acting.addErrback(lambda failure: failure.trap(CancelledError))
    acting.cancel()
    gate.callback(None)
    assert world.state(job_id) is JobState.HELD
    assert world.trouble(events) == []


def test_two_at_once_both_get_an_answer(world: World) -> None:
    job_id = in_state(world, JobState.RUNNING)
    gate: Deferred[None] = Deferred()
    world.queue.gates = {"act": gate}
    acting = [Deferred.fromCoroutine(world.control.act(job_id, Action.REMOVE)) for _ in range(2)]
    gate.callback(None)
    for each in acting:
        now(each)
    assert len(world.messages()) == 1


def test_the_action_goes_to_the_job_that_was_named(world: World) -> None:
    first, second = in_state(world, JobState.RUNNING), in_state(world, JobState.RUNNING)
    act(world, second, Action.HOLD)
    world.look(GRACE)
    assert (world.state(first), world.state(second)) == (JobState.RUNNING, JobState.HELD)
    assert world.real_queue.acts[0][1] != [BackendId(1)]
