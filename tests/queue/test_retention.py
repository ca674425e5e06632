"""Finished jobs leave when their time is over."""

from __future__ import annotations

import os
from typing import Any

import pytest

from modabatchd.idempotency import Key
from modabatchd.notifications.message import Attempt
from modabatchd.queue import files
from modabatchd.queue.job import JobState
from modabatchd.queue.retention import Retention
from tests.deferreds import now
from tests.queue.world import Broken, World

DAY = 86400.0
WEEK = 7 * DAY
MONTH = 30 * DAY


class Steady:
    """A clock that nobody sets: it goes at the pace of the world's, but for the leaps that the test lets that one make."""

    def __init__(self, world: World) -> None:
        self._clock = world.clock
        self.leaps = 0.0

    def __call__(self) -> float:
        return self._clock.seconds() - self.leaps

    def leap(self, seconds: float) -> None:
        self.leaps += seconds
        self._clock.rightNow += seconds


def retention(world: World, keep: float = MONTH, steady: Steady | None = None, more: list[bool] | None = None) -> Retention:
    """After the first sweep of its life, which deletes nothing."""
    asked = [] if more is None else more
    monotonic = steady or Steady(world)
    sweeping = Retention(world.clock, world.store, world.spool, keep, world.keys, WEEK, monotonic, lambda: asked.append(True))
    now(sweeping.sweep())
    return sweeping


def over(world: World, told: bool = True) -> str:
    """A job that has just finished."""
    job_id = world.submitted()
    world.real_queue.finish(job_id, stdout=b"some output")
    world.look()
    if told:
        tell(world)
    return job_id


def tell(world: World) -> None:
    for message in world.messages():
        now(world.store.part.delivered(message.id, Attempt(at=world.clock.seconds())))


def known(world: World, job_id: str) -> bool:
    """Whether it is still there, with all that belongs to it."""
    stored = now(world.store.part.get(job_id)) is not None
    assert (job_id in world.kept()) == stored
    return stored


def grow_old(world: World, job_id: str, seconds: float) -> None:
    """Let the directory of a job look as if nothing was added to it for so long."""
    then = world.clock.seconds() - seconds
    os.utime(world.real_spool.directory(job_id), (then, then))


def test_what_is_old_goes_and_what_is_younger_stays(world: World) -> None:
    old = over(world)
    world.clock.advance(DAY)
    young = over(world)
    world.clock.advance(MONTH - DAY / 2)
    used = world.real_spool.used
    now(retention(world).sweep())
    assert (known(world, old), known(world, young)) == (False, True)
    assert 0 < world.real_spool.used < used


def test_nothing_goes_before_its_time(world: World) -> None:
    job_id = over(world)
    world.clock.advance(MONTH - 1)
    now(retention(world).sweep())
    assert known(world, job_id)
    world.clock.advance(2)
    now(retention(world).sweep())
    assert not known(world, job_id)


@pytest.mark.parametrize("state", [state for state in JobState if not state.final])
def test_a_job_that_is_not_over_stays_however_old_it_is(world: World, state: JobState) -> None:
    job_id = world.submitted()
    world.real_queue._change((job_id, None), state=state)
    world.look()
    grow_old(world, job_id, 20 * MONTH)
    world.clock.advance(10 * MONTH)
    now(retention(world).sweep())
    assert known(world, job_id)


def test_a_job_that_the_queue_does_not_have_yet_stays(world: World) -> None:
    world.real_queue.away = True
    job_id = world.accept().request.id
    grow_old(world, job_id, 20 * MONTH)
    world.clock.advance(10 * MONTH)
    now(retention(world).sweep())
    assert known(world, job_id)


def test_a_job_whose_owner_was_not_told_yet_stays(world: World) -> None:
    job_id = over(world, told=False)
    grow_old(world, job_id, 20 * MONTH)
    world.clock.advance(10 * MONTH)
    now(retention(world).sweep())
    assert known(world, job_id)
    tell(world)
    now(retention(world).sweep())
    assert not known(world, job_id)


def test_many_go_in_small_steps(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modabatchd.queue.retention._STEP", 2)
    for _ in range(5):
        over(world)
    world.clock.advance(MONTH + 1)
    world.spool.calls.clear()
    now(retention(world).sweep())
    assert world.spool.calls.count("remove") == 3
    assert (world.stored(), world.kept()) == (0, set())


def test_a_retention_of_nothing_deletes_what_is_over(world: World) -> None:
    job_id, live = over(world), world.submitted()
    world.clock.advance(1)
    now(retention(world, keep=0).sweep())
    assert (known(world, job_id), known(world, live)) == (False, True)


def test_files_go_first(world: World) -> None:
    job_id = over(world)
    world.clock.advance(MONTH + 1)
    world.store.before = {"forget"}
    sweeping = retention(world)
    with pytest.raises(Broken):
        now(sweeping.sweep())
    assert now(world.store.part.get(job_id)) is not None
    assert world.kept() == set()
    world.store.before = set()
    now(sweeping.sweep())
    assert not known(world, job_id)


def stray(world: World, age: float) -> str:
    """What a crash between the keeping of files and their record leaves behind."""
    job_id = world.new_id()
    now(world.real_spool.keep(world.draft(), job_id, b"a launch"))
    grow_old(world, job_id, age)
    return job_id


def test_files_without_a_record_go_after_the_retention_time(world: World, events: list[dict[str, Any]]) -> None:
    old, young = stray(world, MONTH + 1), stray(world, MONTH - 1)
    job_id = world.submitted()
    now(retention(world).sweep())
    assert world.kept() == {young, job_id}
    assert [event["job_id"] for event in events if "does not know" in event["log_format"]] == [old]


def test_files_without_a_record_are_given_a_day_at_least(world: World) -> None:
    old, young = stray(world, DAY + 1), stray(world, DAY - 1)
    now(retention(world, keep=0).sweep())
    assert world.kept() == {young}
    assert old not in world.kept()


def test_files_without_a_record_are_looked_for_once_a_day(world: World) -> None:
    sweeping = retention(world)
    for _ in range(48):
        now(sweeping.sweep())
        world.clock.advance(3600)
    assert world.spool.calls.count("unchanged") == 2


def test_a_store_that_cannot_answer_deletes_nothing(world: World) -> None:
    job_id = stray(world, MONTH + 1)
    world.store.before = {"get"}
    sweeping = retention(world)
    with pytest.raises(Broken):
        now(sweeping.sweep())
    assert world.kept() == {job_id}
    world.store.before = set()
    now(sweeping.sweep())
    assert world.kept() == set()


def test_what_cannot_be_deleted_holds_nothing_up_and_is_tried_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    stuck, free = over(world), over(world)
    world.clock.advance(MONTH + 1)
    delete = files.delete

    def partly(directory: Any) -> None:
        if directory.name == stuck:
            raise OSError("busy")
        delete(directory)

    sweeping = retention(world)
    with monkeypatch.context() as patch:
        patch.setattr(files, "delete", partly)
        now(sweeping.sweep())
    assert (world.stored(), world.kept()) == (0, {stuck})
    assert free not in world.kept()
    grow_old(world, stuck, MONTH + 1)
    world.clock.advance(DAY)
    now(sweeping.sweep())
    assert world.kept() == set()


def test_the_first_sweep_deletes_nothing(world: World) -> None:
    job_id, old = over(world), stray(world, 20 * MONTH)
    world.clock.advance(10 * MONTH)
    sweeping = Retention(world.clock, world.store, world.spool, MONTH, world.keys, WEEK, Steady(world))
    now(sweeping.sweep())
    assert known(world, job_id)
    assert old in world.kept()
    now(sweeping.sweep())
    assert not known(world, job_id)


@pytest.mark.parametrize("back", [False, True])
def test_a_clock_that_leaps_deletes_nothing_for_a_day(world: World, back: bool, events: list[dict[str, Any]]) -> None:
    job_id, steady = over(world), Steady(world)
    young = stray(world, 0)
    sweeping = retention(world, steady=steady)
    world.clock.advance(600)
    now(sweeping.sweep())
    steady.leap(2 * MONTH)
    for _ in range(23):
        now(sweeping.sweep())
        world.clock.advance(3600)
    assert known(world, job_id)
    assert young in world.kept()
    assert len([event for event in events if "clock was set" in event["log_format"]]) == 1
    if back:
        steady.leap(-2 * MONTH)
    for _ in range(26):
        now(sweeping.sweep())
        world.clock.advance(3600)
    assert known(world, job_id) == back


def test_small_corrections_of_the_clock_are_no_leaps(world: World) -> None:
    job_id, steady = over(world), Steady(world)
    world.clock.advance(MONTH + 1)
    sweeping = retention(world, steady=steady)
    steady.leap(1.5)
    now(sweeping.sweep())
    assert not known(world, job_id)


def test_a_clock_that_is_set_a_little_again_and_again_leaps(world: World) -> None:
    job_id, steady = over(world), Steady(world)
    sweeping = retention(world, keep=600, steady=steady)
    for _ in range(20):
        steady.leap(45)
        now(sweeping.sweep())
    assert known(world, job_id)


def test_one_sweep_does_not_hold_up_the_stop_of_the_service(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modabatchd.queue.retention._STEP", 2)
    monkeypatch.setattr("modabatchd.queue.retention._MOST", 3)
    for _ in range(5):
        over(world)
    strays = {stray(world, MONTH + 1) for _ in range(5)}
    world.clock.advance(MONTH + 1)
    for job_id in strays:
        grow_old(world, job_id, MONTH + 1)
    more: list[bool] = []
    sweeping = retention(world, more=more)
    now(sweeping.sweep())
    assert (world.stored(), len(strays & world.kept()), more) == (2, 2, [True])
    now(sweeping.sweep())
    assert (world.stored(), world.kept(), more) == (0, set(), [True])


def test_keys_are_forgotten_when_their_time_is_over(world: World) -> None:
    asked: list[bool] = []
    sweeping = retention(world, more=asked)
    for number in range(501):
        now(world.keys.begin(a_key(f"{number:03}", world.clock.seconds() + number / 1000)))
    world.clock.advance(WEEK)
    now(sweeping.sweep())
    assert now(world.keys.find("POST /jobs", "000")) is not None
    world.clock.advance(1)
    now(sweeping.sweep())
    assert [now(world.keys.find("POST /jobs", name)) is None for name in ("000", "499", "500")] == [True, True, False]
    assert asked == [True]
    now(sweeping.sweep())
    assert now(world.keys.find("POST /jobs", "500")) is None
    assert asked == [True]


def a_key(name: str, at: float) -> Key:
    return Key(scope="POST /jobs", name=name, digest=bytes(32), at=at)
