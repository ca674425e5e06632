"""What the queue reports, brought into the store."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from twisted.internet.defer import Deferred, fail

from modabatchd.errors import QueueAway
from modabatchd.queue.interfaces import Ticket
from modabatchd.queue.job import JobRequest, JobState
from tests.deferreds import now
from tests.queue.world import GRACE, Broken, World

IDLE = JobState.IDLE
RUNNING = JobState.RUNNING
HELD = JobState.HELD
REMOVED = JobState.REMOVED
COMPLETED = JobState.COMPLETED


def test_every_state_is_recorded_with_its_time(world: World) -> None:
    job_id = world.submitted()
    world.look()
    world.real_queue.start(job_id)
    world.look(10)
    world.real_queue.finish(job_id, exit_status=3)
    world.look(10)
    job = world.job(job_id)
    assert world.states(job_id) == [IDLE, RUNNING, COMPLETED]
    assert [change.at for change in job.history][1:] == [1_700_000_010, 1_700_000_020]
    assert (job.state, job.previous_state) == (COMPLETED, RUNNING)
    assert job.sighting is not None
    assert (job.sighting.exit_status, job.settled) == (3, 1_700_000_020)
    assert world.finished(job_id)


def test_a_look_without_news_writes_nothing(world: World) -> None:
    job_id = world.submitted()
    world.look()
    world.store.calls.clear()
    world.look()
    assert world.store.calls == []
    world.real_queue.finish(job_id)
    world.look()
    world.store.calls.clear()
    world.queue.calls.clear()
    world.look()
    assert (world.store.calls, world.queue.calls) == ([], ["sightings", "news"])


def test_why_a_job_is_held_is_in_its_history(world: World) -> None:
    job_id = world.submitted()
    world.real_queue.hold(job_id, "the disk of node7 is full")
    world.look()
    assert world.job(job_id).history[-1].reason == "the disk of node7 is full"
    world.real_queue._change((job_id, None), state=IDLE)
    world.look()
    assert world.states(job_id) == [IDLE, HELD, IDLE]
    assert world.job(job_id).history[-1].reason is None


def test_a_job_that_is_rerun_goes_back_and_forth(world: World) -> None:
    job_id = world.submitted()
    for _ in range(2):
        world.real_queue.start(job_id)
        world.look(1)
        world.real_queue._change((job_id, None), state=IDLE)
        world.look(1)
    assert world.states(job_id) == [IDLE, RUNNING, IDLE, RUNNING, IDLE]
    job = world.job(job_id)
    assert job.sighting is not None
    assert job.sighting.run_count == 2


def test_a_job_that_an_administrator_removes_is_told_as_removed(world: World) -> None:
    job_id = world.submitted()
    world.real_queue.remove(job_id, "via condor_rm (by user admin)")
    world.look()
    assert (world.state(job_id), world.job(job_id).history[-1].reason) == (REMOVED, "via condor_rm (by user admin)")
    assert json.loads(world.messages()[0].body)["reason"] == "via condor_rm (by user admin)"
    assert world.finished(job_id)


def test_a_job_that_ends_while_the_daemon_is_down_is_not_missed(world: World) -> None:
    job_id = world.submitted()
    world.look()
    world.real_queue.finish(job_id)
    world.restart()
    world.look()
    assert world.state(job_id) is COMPLETED
    assert world.finished(job_id)


@pytest.mark.parametrize("method", ["sightings", "find", "fetch", "acknowledge"])
def test_a_queue_that_is_away_loses_nothing(world: World, method: str, events: list[dict[str, Any]]) -> None:
    job_id, lost = world.submitted(), world.submitted()
    world.look()
    world.real_queue.vanish(lost)
    world.real_queue.finish(job_id)
    working = getattr(world.real_queue, method)
    setattr(world.real_queue, method, lambda *args: fail(QueueAway("It is away.", "Wait.")))
    for _ in range(3):
        try:
            world.look(GRACE)
        except QueueAway:
            assert method in ("sightings", "find")
    assert world.state(lost) is (IDLE if method in ("sightings", "find") else REMOVED)
    assert not [event for event in events if "log_failure" in event]
    setattr(world.real_queue, method, working)
    world.wait_out(world.look)
    assert (world.state(job_id), world.state(lost)) == (COMPLETED, REMOVED)
    assert world.finished(job_id)


def test_a_vanished_job_is_removed_after_the_grace_time(world: World, events: list[dict[str, Any]]) -> None:
    job_id, other = world.submitted(), world.submitted()
    world.look()
    world.real_queue.vanish(job_id)
    for seconds in (0.0, GRACE / 3, GRACE / 3, GRACE / 3 - 1):
        world.look(seconds)
    assert world.state(job_id) is IDLE
    world.look(1)
    assert (world.state(job_id), world.state(other)) == (REMOVED, IDLE)
    assert "does not know this job" in (world.job(job_id).history[-1].reason or "")
    assert len(world.messages()) == 1
    assert len(world.trouble(events)) == 1
    world.queue.calls.clear()
    world.wait_out(world.look)
    assert set(world.queue.calls) == {"sightings", "news"}


def test_a_job_that_comes_back_starts_its_grace_time_anew(world: World) -> None:
    job_id = world.submitted()
    world.look()
    for _ in range(4):
        hidden = world.real_queue._jobs.pop((job_id, None))
        for _ in range(4):
            world.look(GRACE / 5)
        world.real_queue._jobs[job_id, None] = hidden
        world.look()
    assert world.state(job_id) is IDLE


@pytest.mark.parametrize("leap", [1e6, -1e6])
def test_a_clock_that_leaps_removes_nothing(world: World, leap: float) -> None:
    job_id = world.submitted()
    world.look()
    hidden = world.real_queue._jobs.pop((job_id, None))
    world.look()
    world.clock.rightNow += leap
    world.look()
    assert world.state(job_id) is IDLE
    world.real_queue._jobs[job_id, None] = hidden
    world.look()
    world.real_queue.finish(job_id)
    world.look()
    assert world.state(job_id) is COMPLETED


def test_a_job_that_has_gone_to_the_history_is_found_there(world: World) -> None:
    job_id = world.submitted()
    world.look()
    world.real_queue.finish(job_id, exit_status=5)
    number = world.job(job_id).backend_id
    assert number is not None
    now(world.real_queue.acknowledge([number]))
    world.look()
    job = world.job(job_id)
    assert job.sighting is not None
    assert (job.state, job.sighting.exit_status) == (COMPLETED, 5)


def test_a_job_that_was_given_up_and_comes_back_leaves_the_queue_without_a_second_message(world: World) -> None:
    job_id = world.submitted()
    world.look()
    hidden = world.real_queue._jobs.pop((job_id, None))
    world.wait_out(world.look)
    assert world.state(job_id) is REMOVED
    world.real_queue._jobs[job_id, None] = hidden
    world.look()
    world.real_queue.finish(job_id)
    world.look()
    assert world.state(job_id) is REMOVED
    assert world.finished(job_id)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_store_that_fails_for_a_while_gets_the_news_later(world: World, when: str) -> None:
    running, ended = world.submitted(), world.submitted()
    world.real_queue.start(running)
    world.real_queue.finish(ended)
    setattr(world.store, when, {"advance"})
    for _ in range(2):
        with pytest.raises(Broken):
            world.look(1)
    setattr(world.store, when, set())
    world.look(1)
    assert (world.state(running), world.state(ended)) == (RUNNING, COMPLETED)
    assert world.states(running) == [IDLE, RUNNING]
    assert world.finished(ended)


def test_jobs_that_the_store_does_not_know_are_left_alone_and_told_once(world: World, events: list[dict[str, Any]]) -> None:
    for final in (False, True):
        stranger = world.new_id()
        directory = world.spool.directory(stranger)
        directory.mkdir(parents=True)
        now(world.real_queue.submit([Ticket(JobRequest(id=stranger, submitted=0.0), directory)]))
        if final:
            world.real_queue.finish(stranger)
    job_id = world.submitted()
    world.real_queue.finish(job_id)
    world.wait_out(world.look)
    assert len(world.trouble(events)) == 2
    assert not world.real_queue.acknowledged(stranger)
    assert world.finished(job_id)
    assert world.stored() == 1


def test_looks_take_turns(world: World) -> None:
    job_id = world.submitted()
    gate: Deferred[None] = Deferred()
    world.queue.gates = {"news": gate}
    first = Deferred.fromCoroutine(world.watching.look())
    world.real_queue.hold(job_id, "later")
    second = Deferred.fromCoroutine(world.watching.look_at(job_id))
    assert world.queue.calls[-1] == "news"
    gate.callback(None)
    now(first)
    now(second)
    assert world.state(job_id) is HELD


def test_a_sweep_holds_up_nobody_and_overwrites_nothing_newer(world: World) -> None:
    job_id, other = world.submitted(), world.submitted()
    gate: Deferred[None] = Deferred()
    world.queue.gates = {"sightings": gate}
    sweep = Deferred.fromCoroutine(world.watching.sweep())
    world.real_queue.hold(job_id, "meanwhile")
    now(world.watching.look_at(job_id))
    world.real_queue.start(other)
    world.hear()
    gate.callback(None)
    now(sweep)
    assert (world.state(job_id), world.state(other)) == (HELD, RUNNING)
    assert world.states(job_id) == [IDLE, HELD]


def test_news_are_enough(world: World) -> None:
    ids = [world.submitted() for _ in range(3)]
    world.hear()
    world.real_queue.start(ids[0])
    world.real_queue.hold(ids[1], "by hand")
    world.hear(1)
    world.real_queue.finish(ids[0])
    world.real_queue.remove(ids[1], "no more")
    world.queue.calls.clear()
    world.hear(1)
    assert "sightings" not in world.queue.calls
    assert [world.states(job_id) for job_id in ids] == [[IDLE, RUNNING, COMPLETED], [IDLE, HELD, REMOVED], [IDLE]]
    assert all(world.finished(job_id) for job_id in ids[:2])


def test_how_far_the_news_were_read_is_stored_with_what_they_changed(world: World) -> None:
    job_id = world.submitted()
    world.hear()
    stored = now(world.store.part.news_until())
    assert stored
    world.real_queue.start(job_id)
    world.store.before = {"advance"}
    with pytest.raises(Broken):
        world.hear()
    assert now(world.store.part.news_until()) == stored
    world.store.before = set()
    world.hear()
    assert now(world.store.part.news_until()) != stored
    assert world.state(job_id) is RUNNING
    world.restart()
    asked: list[str] = []
    news = world.real_queue.news
    world.real_queue.news = lambda since: asked.append(since) or news(since)  # type: ignore[method-assign,func-returns-value]
    world.hear()
    assert asked == [now(world.store.part.news_until())]


def test_a_sweep_repairs_what_the_news_missed_and_counts_it(world: World) -> None:
    silent, told, ended = world.submitted(), world.submitted(), world.submitted()
    world.look()
    world.hear()
    world.real_queue.start(told)
    world.real_queue.silent = True
    world.real_queue.hold(silent, "by hand")
    world.real_queue.finish(ended)
    world.hear()
    assert (world.state(silent), world.state(ended), world.watching.repaired) == (IDLE, IDLE, 0)
    world.look()
    assert (world.state(silent), world.state(ended), world.watching.repaired) == (HELD, COMPLETED, 2)
    world.look()
    assert (world.watching.repaired, world.watching.sweeps) == (2, 3)


def test_what_happened_while_the_daemon_was_down_was_not_missed(world: World) -> None:
    job_id = world.submitted()
    world.look()
    world.real_queue.start(job_id)
    world.restart()
    world.look()
    assert (world.state(job_id), world.watching.repaired) == (RUNNING, 0)


def test_a_missing_job_is_searched_for_without_another_sweep(world: World) -> None:
    job_id = world.submitted()
    world.look()
    world.real_queue.vanish(job_id)
    world.look()
    world.wait_out(world.hear)
    assert world.state(job_id) is REMOVED


def test_a_large_sweep_lets_others_have_their_turn(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modabatchd.queue.watching._PIECE", 2)
    ids = [world.submitted() for _ in range(5)]
    for job_id in ids:
        world.real_queue.start(job_id)
    sweep = Deferred.fromCoroutine(world.watching.sweep())
    assert sorted(world.state(job_id) for job_id in ids) == [IDLE] * 3 + [RUNNING] * 2
    world.clock.pump([0, 0, 0])
    now(sweep)
    assert {world.state(job_id) for job_id in ids} == {RUNNING}


def test_a_look_that_fails_lets_the_next_one_look(world: World) -> None:
    job_id = world.submitted()
    world.real_queue.away = True
    for look in (world.watching.look(), world.watching.look_at(job_id)):
        with pytest.raises(QueueAway):
            now(look)
    world.real_queue.away = False
    world.real_queue.finish(job_id)
    now(world.watching.look_at(job_id))
    assert world.state(job_id) is COMPLETED


def test_load_tells_what_the_queue_may_not_have(world: World) -> None:
    world.submitted()
    world.real_queue.away = True
    unbound = world.accept()
    world.real_queue.away = False
    assert [job.request.id for job in now(world.watching.load())] == [unbound.request.id]


def test_all_pages_of_live_jobs_are_loaded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modabatchd.queue.watching._PAGE", 2)
    ids = [world.submitted() for _ in range(5)]
    world.restart()
    for job_id in ids:
        world.real_queue.vanish(job_id)
    world.wait_out(world.look)
    assert {world.state(job_id) for job_id in ids} == {REMOVED}


def test_a_sighting_brings_the_number_of_a_job_that_had_none(world: World) -> None:
    world.store.before = {"bind"}
    job_id = world.accept().request.id
    world.store.before = set()
    assert world.job(job_id).backend_id is None
    world.look()
    job = world.job(job_id)
    assert job.backend_id == msgspec.structs.asdict(world.real_queue._jobs[job_id, None])["backend_id"]


def test_a_job_that_cannot_be_read_is_neither_gone_nor_in_the_way_of_others(world: World) -> None:
    odd, gone, fine = world.submitted(), world.submitted(), world.submitted()
    world.look()
    world.real_queue.odd = {odd}
    world.real_queue.vanish(gone)
    world.real_queue.finish(fine)
    world.wait_out(world.look)
    assert (world.state(odd), world.state(gone), world.state(fine)) == (IDLE, REMOVED, COMPLETED)
    world.real_queue.odd = set()
    world.real_queue.finish(odd)
    world.look()
    assert world.state(odd) is COMPLETED


def test_strangers_that_are_gone_are_forgotten(world: World, events: list[dict[str, Any]]) -> None:
    stranger = world.new_id()
    directory = world.spool.directory(stranger)
    directory.mkdir(parents=True)
    now(world.real_queue.submit([Ticket(JobRequest(id=stranger, submitted=0.0), directory)]))
    world.look()
    hidden = world.real_queue._jobs.pop((stranger, None))
    world.look()
    world.real_queue._jobs[stranger, None] = hidden
    world.look()
    assert len(world.trouble(events)) == 2
