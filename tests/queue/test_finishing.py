"""Jobs that are over: results, final state and message, acknowledgement."""

from __future__ import annotations

import json
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred, fail

from modabatchd.errors import NoSpace, QueueAway, QueueRefused
from modabatchd.queue.finishing import AGAIN, PATIENCE
from modabatchd.queue.job import JobState
from tests.deferreds import now
from tests.queue.world import World

IDLE = JobState.IDLE
COMPLETED = JobState.COMPLETED


CRASHES = [("queue", "fetch"), ("spool", "settle"), ("store", "get"), ("store", "advance"), ("queue", "acknowledge")]


def test_the_message_tells_how_the_job_ended(world: World) -> None:
    first, second = world.submitted(), world.submitted()
    world.real_queue.finish(first, exit_status=3)
    world.real_queue.finish(second, exit_signal=9)
    world.look()
    bodies = {body["job-uuid"]: body for body in (json.loads(message.body) for message in world.messages())}
    assert (bodies[first]["retcode"], bodies[first]["exit_signal"]) == (3, None)
    assert (bodies[second]["retcode"], bodies[second]["exit_signal"]) == (None, 9)
    assert world.told == 2


def test_results_are_fetched_and_counted_before_the_job_is_told_as_over(world: World) -> None:
    job_id = world.submitted()
    used = world.real_spool.used
    world.real_queue.finish(job_id, stdout=bytes(100), output=bytes(1000))
    world.look()
    steps = [call for call in world.queue.calls if call in ("fetch", "acknowledge")]
    assert steps == ["fetch", "acknowledge"]
    assert world.real_spool.used >= used + 1100


@pytest.mark.parametrize("restart", [True, False])
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(("part", "method"), CRASHES)
def test_finishing_is_done_once_wherever_it_is_interrupted(
    world: World, part: str, method: str, when: str, restart: bool, events: list[dict[str, Any]]
) -> None:
    job_id = world.submitted()
    world.look()
    used = world.real_spool.used
    world.real_queue.finish(job_id, stdout=bytes(100))
    broken = getattr(world, part)
    setattr(broken, when, {method})
    for _ in range(3):
        world.look(1)
    assert [event["log_level"].name for event in events if "finishing job" in event["log_format"]] == ["critical"]
    if restart:
        world.restart()
    else:
        setattr(broken, when, set())
    for _ in range(3):
        world.look(1)
    assert world.state(job_id) is COMPLETED
    assert world.finished(job_id)
    assert world.real_spool.used == used + 100 + len(b"000 to 005\n")
    assert world.states(job_id).count(COMPLETED) == 1


def test_what_was_not_acknowledged_is_not_fetched_again(world: World) -> None:
    job_id = world.submitted()
    world.real_queue.finish(job_id)
    world.queue.before = {"acknowledge"}
    world.look()
    assert world.state(job_id) is COMPLETED
    world.restart()
    world.look()
    assert world.queue.calls == ["sightings", "acknowledge"]
    assert world.finished(job_id)


@pytest.mark.parametrize("problem", [QueueAway("Away.", "Wait."), NoSpace("Full.", "Delete."), OSError("io")])
def test_trouble_with_finishing_is_logged_once(world: World, problem: Exception, events: list[dict[str, Any]]) -> None:
    job_id = world.submitted()
    world.real_queue.finish(job_id)
    world.real_queue.fetch = lambda *args: fail(problem)  # type: ignore[method-assign]
    for _ in range(5):
        world.look(1)
    assert len(world.trouble(events)) == 1
    assert world.state(job_id) is IDLE


def test_results_that_the_queue_has_lost_do_not_keep_the_job_from_ending(world: World, events: list[dict[str, Any]]) -> None:
    job_id = world.submitted()
    world.real_queue.finish(job_id)
    world.real_queue.fetch = lambda *args: fail(QueueRefused("No such files.", "None."))  # type: ignore[method-assign]
    world.look()
    assert world.state(job_id) is COMPLETED
    assert any("results are lost" in complaint for complaint in world.trouble(events))
    assert world.finished(job_id)


def test_one_job_that_cannot_be_finished_does_not_hold_up_others(world: World) -> None:
    stuck, free = world.submitted(), world.submitted()
    for job_id in (stuck, free):
        world.real_queue.finish(job_id)
    fetch = world.real_queue.fetch
    world.real_queue.fetch = lambda sighting, directory: (  # type: ignore[method-assign]
        fail(OSError("io")) if sighting.job_id == stuck else fetch(sighting, directory)
    )
    world.look()
    assert (world.state(stuck), world.state(free)) == (IDLE, COMPLETED)


def test_many_jobs_finish_a_few_at_a_time(world: World) -> None:
    gate: Deferred[None] = Deferred()
    ids = [world.submitted() for _ in range(10)]
    for job_id in ids:
        world.real_queue.finish(job_id)
    world.queue.gates = {"fetch": gate}
    world.look()
    world.look()
    assert world.queue.calls.count("fetch") == 4
    idle = Deferred.fromCoroutine(world.watching.idle())
    assert not idle.called
    gate.callback(None)
    now(idle)
    assert all(world.finished(job_id) for job_id in ids)
    assert world.queue.calls.count("fetch") == 10


def test_nobody_waits_long_for_a_large_result_when_all_stops(world: World) -> None:
    world.real_queue.finish(world.submitted())
    world.queue.gates = {"fetch": Deferred()}
    world.look()
    idle = Deferred.fromCoroutine(world.watching.idle())
    world.clock.advance(10)
    now(idle)


def test_a_job_that_is_finished_during_a_look_is_not_missed_by_it(world: World) -> None:
    job_id = world.submitted()
    results: Deferred[None] = Deferred()
    world.queue.gates = {"fetch": results}
    world.real_queue.finish(job_id)
    world.look()
    answer: Deferred[Any] = Deferred()
    sightings = world.real_queue.sightings
    world.real_queue.sightings = lambda: answer.addCallback(lambda _: sightings())  # type: ignore[method-assign]
    looking = Deferred.fromCoroutine(world.watching.look())
    results.callback(None)
    assert world.finished(job_id)
    answer.callback(None)
    now(looking)
    assert "find" not in world.queue.calls


def test_a_look_at_one_job_waits_for_its_end_but_not_for_ever(world: World) -> None:
    job_id = world.submitted()
    gate: Deferred[None] = Deferred()
    world.queue.gates = {"fetch": gate}
    world.real_queue.finish(job_id)
    patient = Deferred.fromCoroutine(world.watching.look_at(job_id))
    world.clock.advance(PATIENCE - 1)
    assert not patient.called
    world.clock.advance(1)
    now(patient)
    assert world.state(job_id) is IDLE
    gate.callback(None)
    assert world.state(job_id) is COMPLETED


def test_whoever_stops_waiting_for_a_look_does_not_stop_the_finishing(world: World) -> None:
    job_id = world.submitted()
    gate: Deferred[None] = Deferred()
    world.queue.gates = {"fetch": gate}
    world.real_queue.finish(job_id)
    waiting = Deferred.fromCoroutine(world.watching.look_at(job_id))
    waiting.addErrback(lambda failure: failure.trap(CancelledError))
    waiting.cancel()
    gate.callback(None)
    assert world.finished(job_id)


def test_many_that_have_their_results_are_written_and_acknowledged_together(world: World) -> None:
    ids = [world.submitted() for _ in range(20)]
    for job_id in ids:
        world.real_queue.finish(job_id)
    gate: Deferred[None] = Deferred()
    world.queue.gates = {"acknowledge": gate}
    world.store.calls.clear()
    world.hear()
    assert world.queue.calls.count("acknowledge") == 1
    gate.callback(None)
    now(world.watching.idle())
    assert all(world.finished(job_id) for job_id in ids)
    assert world.queue.calls.count("acknowledge") == 2
    assert world.store.calls.count("advance") == 2


def test_one_job_that_cannot_be_written_does_not_hold_up_those_that_are_written_with_it(world: World) -> None:
    ids = [world.submitted() for _ in range(5)]
    for job_id in ids:
        world.real_queue.finish(job_id)
    gate: Deferred[None] = Deferred()
    world.queue.gates = {"acknowledge": gate}
    advance = world.store.part.advance

    def refuse(steps: Any, until: Any = None) -> Any:
        return fail(ValueError("odd")) if any(step.job_id == ids[2] for step in steps) else advance(steps, until)

    world.store.part.advance = refuse
    world.hear()
    gate.callback(None)
    assert [world.state(job_id) for job_id in ids] == [COMPLETED, COMPLETED, IDLE, COMPLETED, COMPLETED]
    world.store.part.advance = advance
    world.hear(AGAIN)
    assert world.finished(ids[2])
