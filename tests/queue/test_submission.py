"""Jobs on their way in."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from twisted.internet.defer import CancelledError, Deferred, fail

from modabatchd.errors import BundleError, NoSpace, QueueAway
from modabatchd.queue.form import SubmissionForm
from modabatchd.queue.interfaces import Ticket
from modabatchd.queue.job import JobState, Resources
from tests.deferreds import now
from tests.queue.memory import SETTLING
from tests.queue.test_bundle import member, pack
from tests.queue.world import GRACE, PATIENCE, URL, Broken, World


def test_a_job_goes_to_the_queue_as_it_was_asked_for(world: World) -> None:
    form = SubmissionForm(
        name="night run",
        arguments=("a b", "$(id)"),
        environment={"SECRET": "s3cret"},
        labels={"team": "blue"},
        notification=URL,
        resources=Resources(cpus=2),
        priority=3,
        max_retries=1,
        max_wall_time=90,
    )
    job = now(world.submission.accept(world.draft(input=b"an input"), form))
    assert (job.state, job.request.submitted) == (JobState.IDLE, world.clock.seconds())
    [ticket] = world.real_queue.tickets.values()
    assert (ticket.request, ticket.directory) == (job.request, world.spool.directory(job.request.id))
    for name in ("name", "arguments", "labels", "notification", "resources", "priority", "max_retries", "max_wall_time"):
        assert getattr(job.request, name) == getattr(form, name)
    assert job.request.has_input
    assert {path.name for path in ticket.directory.iterdir()} == {"bundle.tar.gz", "input", "launch.sh"}
    launch = (ticket.directory / "launch.sh").read_text()
    assert "export SECRET='s3cret'" in launch
    assert f"export MODACLOUDS_BATCH_JOB_ID='{job.request.id}'" in launch
    assert world.job(job.request.id).backend_id == job.backend_id is not None


def test_the_intent_is_stored_before_the_queue_hears_of_it(world: World) -> None:
    world.store.before = {"add"}
    with pytest.raises(Broken):
        world.accept()
    assert "submit" not in world.queue.calls
    world.store.before = set()
    world.accept()
    assert world.spool.calls.index("keep") < len(world.spool.calls)
    assert [call for call in world.store.calls if call in ("add", "bind")] == ["add", "add", "bind"]


def test_without_input_there_is_none(world: World) -> None:
    assert not world.accept().request.has_input


@pytest.mark.parametrize("bundle", [b"no archive", pack(member("run.sh", b"", mode=0o644))])
def test_of_a_bad_bundle_nothing_is_kept(world: World, bundle: bytes) -> None:
    with pytest.raises(BundleError):
        now(world.submission.accept(world.draft(bundle), SubmissionForm()))
    assert (world.stored(), world.kept(), world.incoming(), world.queue.calls) == (0, set(), 0, [])


def test_no_bundle_is_a_rule_that_is_broken(world: World) -> None:
    with pytest.raises(BundleError) as caught:
        now(world.submission.accept(world.spool.draft(), SubmissionForm()))
    assert caught.value.rule == "missing"
    assert world.incoming() == 0


@pytest.mark.parametrize("method", ["keep"])
def test_of_what_the_spool_cannot_keep_nothing_is_left(world: World, method: str) -> None:
    world.spool.before = {method}
    with pytest.raises(Broken):
        world.accept()
    assert (world.stored(), world.kept(), world.incoming()) == (0, set(), 0)


def test_a_full_spool_takes_no_draft(world: World) -> None:
    world.real_spool._quota = 0
    with pytest.raises(NoSpace):
        world.draft()


def test_of_what_the_store_does_not_take_nothing_is_left(world: World) -> None:
    world.store.before = {"add"}
    with pytest.raises(Broken):
        world.accept()
    assert (world.stored(), world.kept(), world.incoming()) == (0, set(), 0)
    world.wait_out(world.repair)
    assert world.real_queue.tickets == {}


def test_a_store_that_fails_after_it_has_taken_the_job_has_taken_it(world: World) -> None:
    world.store.after = {"add"}
    job = world.accept()
    assert job.backend_id is not None
    assert world.kept() == set(world.real_queue.tickets) == {job.request.id}


@pytest.mark.parametrize("taken", [True, False])
def test_when_nobody_knows_whether_the_store_took_it_that_is_settled_later(world: World, taken: bool) -> None:
    world.store.before = {"get", *([] if taken else ["add"])}
    world.store.after = {"add"}
    with pytest.raises(Broken):
        world.accept()
    [job_id] = world.kept()
    with pytest.raises(Broken):
        world.repair()
    world.store.before = set()
    world.wait_out(world.repair)
    assert set(world.real_queue.tickets) == world.kept() == ({job_id} if taken else set())
    assert world.stored() == taken


def test_while_the_queue_is_away_jobs_are_taken_and_submitted_once_later(world: World) -> None:
    world.real_queue.away = True
    jobs = [world.accept() for _ in range(3)]
    assert {job.backend_id for job in jobs} == {None}
    assert {job.state for job in jobs} == {JobState.IDLE}
    world.real_queue.away = False
    world.queue.calls.clear()
    world.wait_out(world.repair)
    assert world.queue.calls.count("submit") == 1
    assert set(world.real_queue.tickets) == {job.request.id for job in jobs}
    assert all(world.job(job.request.id).backend_id for job in jobs)
    world.wait_out(world.repair)
    assert world.queue.calls.count("submit") == 1


def test_what_certainly_never_reached_the_queue_is_submitted_as_soon_as_it_is_back(world: World) -> None:
    world.real_queue.away = world.real_queue.untouched = True
    job = world.accept()
    with pytest.raises(QueueAway):
        world.repair()
    world.real_queue.away = False
    world.repair()
    assert set(world.real_queue.tickets) == {job.request.id}
    world.wait_out(world.repair)
    assert world.queue.calls.count("submit") == 2


def test_but_not_after_a_try_whose_outcome_is_unknown(world: World) -> None:
    world.real_queue.away = world.real_queue.untouched = True
    world.accept()
    world.real_queue.away = False
    world.queue.before = {"submit"}
    with pytest.raises(Broken):
        world.repair()
    world.queue.before = set()
    world.repair(SETTLING / 2)
    assert world.real_queue.tickets == {}
    world.wait_out(world.repair)
    assert len(world.real_queue.tickets) == 1


def test_repair_has_nothing_to_ask_when_all_is_well(world: World) -> None:
    world.accept()
    world.queue.calls.clear()
    world.repair()
    assert world.queue.calls == []


def test_a_submission_that_arrived_without_an_answer_is_adopted(world: World) -> None:
    world.queue.after = {"submit"}
    job = world.accept()
    assert job.backend_id is None
    world.queue.after = set()
    world.repair()
    assert world.job(job.request.id).backend_id is not None
    world.wait_out(world.repair)
    assert world.queue.calls.count("submit") == 1


def test_nothing_is_submitted_again_before_the_settling_time(world: World) -> None:
    world.real_queue.away = True
    world.accept()
    world.real_queue.away = False
    world.queue.calls.clear()
    for seconds in (0.0, SETTLING / 3, SETTLING / 3, SETTLING / 3 - 1):
        world.repair(seconds)
    assert "submit" not in world.queue.calls
    world.repair(1.0)
    assert world.queue.calls.count("submit") == 1


@pytest.mark.parametrize("leap", [1e6, -1e6])
def test_a_clock_that_leaps_submits_nothing_early(world: World, leap: float) -> None:
    world.real_queue.away = True
    world.accept()
    world.real_queue.away = False
    world.repair()
    world.clock.rightNow += leap
    world.repair()
    assert world.real_queue.tickets == {}
    world.wait_out(world.repair)
    assert len(world.real_queue.tickets) == 1


def test_every_failed_try_starts_the_settling_time_anew(world: World) -> None:
    world.real_queue.away = True
    job = world.accept()
    world.real_queue.away = False
    world.queue.before = {"submit"}
    for _ in range(12):
        with suppress(Broken):
            world.repair(SETTLING / 4)
    assert world.queue.calls.count("submit") == 1 + 2
    world.queue.before = set()
    world.wait_out(world.repair)
    assert set(world.real_queue.tickets) == {job.request.id}


def test_a_look_does_not_count_for_a_job_that_it_was_not_asked_about(world: World) -> None:
    world.real_queue.away = True
    world.accept()
    world.real_queue.away = False
    gate: Deferred[None] = Deferred()
    world.queue.gates = {"find": gate}
    repairing = Deferred.fromCoroutine(world.submission.repair())
    world.queue.before = {"submit"}
    late = world.accept().request.id
    gate.callback(None)
    now(repairing)
    world.queue.gates, world.queue.before = {}, set()
    for submitted in (False, False, True):
        world.repair(SETTLING / 2)
        assert (late in world.real_queue.tickets) == submitted


def test_while_a_submission_is_under_way_nobody_submits_the_job_again(world: World) -> None:
    gate: Deferred[None] = Deferred()
    world.queue.gates = {"submit": gate}
    accepting = Deferred.fromCoroutine(world.submission.accept(world.draft(), SubmissionForm()))
    world.wait_out(world.repair)
    assert world.queue.calls == ["submit"]
    gate.callback(None)
    assert world.job(now(accepting).request.id).backend_id is not None


def test_nobody_waits_long_for_a_queue_that_is_slow(world: World) -> None:
    gate: Deferred[None] = Deferred()
    world.queue.gates = {"submit": gate}
    accepting = Deferred.fromCoroutine(world.submission.accept(world.draft(), SubmissionForm()))
    world.clock.advance(PATIENCE - 1)
    assert not accepting.called
    world.clock.advance(1)
    job = now(accepting)
    assert (job.backend_id, job.state) == (None, JobState.IDLE)
    world.wait_out(world.repair)
    gate.callback(None)
    assert world.job(job.request.id).backend_id is not None
    world.wait_out(world.repair)
    assert world.queue.calls == ["submit"]


def test_a_submission_that_fails_after_all_is_repaired(world: World, events: list[dict[str, Any]]) -> None:
    gate: Deferred[None] = Deferred()
    submit = world.real_queue.submit
    world.real_queue.submit = lambda tickets: gate.addCallback(lambda _: submit(tickets))  # type: ignore[method-assign]
    accepting = Deferred.fromCoroutine(world.submission.accept(world.draft(), SubmissionForm()))
    world.clock.advance(PATIENCE)
    job = now(accepting)
    world.real_queue.away = True
    gate.callback(None)
    world.real_queue.away, world.real_queue.submit = False, submit  # type: ignore[method-assign]
    world.wait_out(world.repair)
    assert set(world.real_queue.tickets) == {job.request.id}
    assert not [event for event in events if "log_failure" in event]


def test_the_loop_that_repairs_does_not_wait_long_either(world: World) -> None:
    world.real_queue.away = world.real_queue.untouched = True
    world.accept()
    world.real_queue.away = False
    gate: Deferred[None] = Deferred()
    world.queue.gates = {"submit": gate}
    repairing = Deferred.fromCoroutine(world.submission.repair())
    assert not repairing.called
    world.clock.advance(PATIENCE)
    now(repairing)
    world.wait_out(world.repair)
    gate.callback(None)
    assert len(world.real_queue.tickets) == 1


def test_a_queue_that_takes_nothing_makes_each_repair_fail(world: World, events: list[dict[str, Any]]) -> None:
    """So that the loop tells it once, backs off, and the service shows that it is not well."""
    deny(world)
    job = world.accept()
    assert job.backend_id is None
    told = len(world.trouble(events))
    for _ in range(5):
        with pytest.raises(QueueAway, match="not let in"):
            world.repair()
    assert len(world.trouble(events)) == told
    del world.real_queue.submit  # type: ignore[method-assign]
    world.repair()
    assert world.job(job.request.id).backend_id is not None


def deny(world: World) -> None:
    """Let the queue be asked, but take nothing."""

    def submit(tickets: Any) -> Any:
        return fail(QueueAway("You are not let in.", "Get a token.", untouched=True))

    world.real_queue.submit = submit  # type: ignore[method-assign]


def test_a_job_that_cannot_be_read_is_not_submitted_again(world: World) -> None:
    world.queue.after = {"submit"}
    odd = world.accept().request.id
    world.queue.after, world.queue.before = set(), {"submit"}
    lost = world.accept().request.id
    world.queue.before = set()
    world.real_queue.odd = {odd}
    world.wait_out(world.repair)
    assert set(world.real_queue.tickets) == {odd, lost}
    assert (world.job(odd).backend_id, world.job(lost).backend_id is None) == (None, False)
    world.real_queue.odd = set()
    world.repair()
    assert world.job(odd).backend_id is not None


@pytest.mark.parametrize("when", ["before", "after"])
def test_after_a_restart_half_made_submissions_are_seen_to(world: World, when: str) -> None:
    getattr(world.queue, when).add("submit")
    job = world.accept()
    world.restart()
    world.wait_out(world.repair)
    world.look()
    assert world.job(job.request.id).backend_id is not None
    assert set(world.real_queue.tickets) == {job.request.id}
    world.real_queue.finish(job.request.id)
    world.look()
    assert world.state(job.request.id) is JobState.COMPLETED


def test_what_was_settled_before_it_was_taken_up_is_not_submitted_again(world: World) -> None:
    world.real_queue.refuse = lambda ticket: "no"
    refused = world.accept()
    world.real_queue.refuse = lambda ticket: None
    stale = msgspec.structs.replace(refused, state=JobState.IDLE)
    forgotten = msgspec.structs.replace(stale, request=msgspec.structs.replace(stale.request, id=world.new_id()))
    world.submission.resume([stale, forgotten])
    world.wait_out(world.repair)
    assert world.real_queue.tickets == {}
    world.queue.calls.clear()
    world.repair()
    assert world.queue.calls == []


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_number_that_cannot_be_recorded_is_found_again(world: World, when: str) -> None:
    getattr(world.store, when).add("bind")
    job = world.accept()
    assert job.backend_id is not None
    world.store.before, world.store.after = set(), set()
    world.wait_out(world.repair)
    assert world.job(job.request.id).backend_id == job.backend_id
    assert world.queue.calls.count("submit") == 1


def test_a_job_that_a_look_has_finished_before_its_number_was_recorded_stays_finished(world: World) -> None:
    world.store.before = {"bind"}
    job_id = world.accept().request.id
    world.store.before = set()
    world.real_queue.finish(job_id)
    world.look()
    assert world.state(job_id) is JobState.COMPLETED
    for _ in range(9):
        world.repair(GRACE / 4)
        world.look()
    assert world.state(job_id) is JobState.COMPLETED
    assert len(world.messages()) == 1


def test_a_refusal_is_final_and_told(world: World) -> None:
    world.real_queue.refuse = lambda ticket: "more cpus than any node has"
    job = world.accept()
    assert job.state is JobState.SUBMISSION_ERROR
    stored = world.job(job.request.id)
    assert stored.state is JobState.SUBMISSION_ERROR
    assert stored.settled == world.clock.seconds()
    assert stored.history[-1].reason == "more cpus than any node has"
    [message] = world.messages()
    body = json.loads(message.body)
    assert (body["job-uuid"], body["job_status"], body["retcode"]) == (job.request.id, "submission_error", None)
    assert world.told == 1
    world.wait_out(world.repair)
    assert world.queue.calls.count("submit") == 1


def test_a_refusal_that_cannot_be_stored_is_not_forgotten(world: World) -> None:
    world.real_queue.refuse = lambda ticket: "no"
    world.store.before = {"advance"}
    job = world.accept()
    assert job.state is JobState.SUBMISSION_ERROR
    world.store.before = set()
    world.wait_out(world.repair)
    assert world.state(job.request.id) is JobState.SUBMISSION_ERROR
    assert len(world.messages()) == 1


def test_one_refusal_among_many_leaves_the_others(world: World) -> None:
    world.real_queue.away = True
    ids = [world.accept().request.id for _ in range(3)]
    world.real_queue.away = False

    def refuse(ticket: Ticket) -> str | None:
        return "no" if ticket.request.id == ids[1] else None

    world.real_queue.refuse = refuse
    world.wait_out(world.repair)
    assert [world.state(job_id) for job_id in ids] == [JobState.IDLE, JobState.SUBMISSION_ERROR, JobState.IDLE]


def test_a_defect_of_the_queue_does_not_lose_the_job(world: World, events: list[dict[str, Any]]) -> None:
    world.queue.before = {"submit"}
    job = world.accept()
    assert job.backend_id is None
    assert [event for event in events if "log_failure" in event]
    world.queue.before = set()
    world.wait_out(world.repair)
    assert set(world.real_queue.tickets) == {job.request.id}


STEPS = [("spool", "keep"), ("store", "add"), ("queue", "submit"), ("store", "bind")]


@pytest.mark.parametrize(("part", "method"), STEPS)
def test_a_client_that_disconnects_does_not_stop_what_was_begun(world: World, part: str, method: str) -> None:
    gate: Deferred[None] = Deferred()
    getattr(world, part).gates = {method: gate}
    draft = world.draft()
    accepting = Deferred.fromCoroutine(world.submission.accept(draft, SubmissionForm()))
    outcomes: list[Any] = []
    accepting.addBoth(outcomes.append)
    accepting.cancel()
    assert outcomes[0].check(CancelledError)
    now(world.spool.discard(draft))
    gate.callback(None)
    [job_id] = world.kept()
    assert world.job(job_id).backend_id is not None
    assert set(world.real_queue.tickets) == {job_id}


def test_a_client_that_disconnects_before_anything_was_kept_leaves_nothing(world: World) -> None:
    draft = world.draft()
    now(world.spool.discard(draft))
    with pytest.raises(BundleError):
        now(world.submission.accept(draft, SubmissionForm()))
    assert (world.stored(), world.kept(), world.incoming()) == (0, set(), 0)


def test_what_fails_when_nobody_waits_any_more_is_logged(world: World, events: list[dict[str, Any]]) -> None:
    gate: Deferred[None] = Deferred()
    world.spool.gates = {"discard": gate}
    accepting = Deferred.fromCoroutine(world.submission.accept(world.draft(b"no archive"), SubmissionForm()))
    accepting.addErrback(lambda failure: failure.trap(CancelledError))
    accepting.cancel()
    gate.callback(None)
    assert ["not compressed" in event["problem"] for event in events if "nobody waits" in event["log_format"]] == [True]
