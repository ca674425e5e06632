"""Plans for the jobs that wait: where they fit, what is started for them, and why not."""

from __future__ import annotations

import pytest

from modabatchd.infrastructure.node import Capacity, Market, NodeState, Offering
from modabatchd.infrastructure.planning import (
    Memory,
    Outcome,
    OutcomeKind,
    Served,
    StartNode,
    StopCause,
    StopNode,
    Wait,
    WaitKind,
    decode_memory,
    encode_memory,
    encode_plan,
    reopened,
)
from modabatchd.infrastructure.planning.recollection import FAILED_JOINS
from modabatchd.infrastructure.policy import Limits, Schedule, Spot
from tests.infrastructure.policies_for_tests import NOW, POOL, World, group, kinds, node, policy, pool, size, sizes


def waits(made: object) -> dict[WaitKind, int]:
    found: dict[WaitKind, int] = {}
    for step in made.steps:  # type: ignore[attr-defined]
        if isinstance(step, Wait):
            found[step.kind] = found.get(step.kind, 0) + step.count
    return found


# Demand


def test_nothing_to_do_is_an_empty_plan() -> None:
    made = World(policy()).plan()
    assert (made.steps, made.unsatisfiable) == ((), ())


@pytest.mark.parametrize(
    ("jobs", "started"),
    [
        (1, ["c1"]),
        (2, ["c2"]),
        (3, ["c4"]),
        (8, ["c8"]),
        (9, ["c8", "c1"]),
        (21, ["c8", "c8", "c8"]),
        (19, ["c8", "c8", "c4"]),
    ],
)
def test_large_nodes_are_filled_and_the_last_one_shrinks_to_what_it_holds(jobs: int, started: list[str]) -> None:
    world = World(policy())
    world.groups = (group(jobs),)
    assert sizes(world.plan()) == started


def test_jobs_go_into_free_room_first_then_into_booting_nodes_and_the_rest_gets_new_ones() -> None:
    world = World(policy(), node("up", jobs=6), node("soon", cpus=4, state=NodeState.BOOTING))
    world.groups = (group(8),)
    made = world.plan()
    assert waits(made) == {WaitKind.PLACING: 2, WaitKind.BOOTING: 4}
    assert sizes(made) == ["c2"]


def test_a_draining_node_is_called_back_before_one_is_started() -> None:
    world = World(policy(), node("back", state=NodeState.DRAINING))
    world.groups = (group(3),)
    made = world.plan()
    assert kinds(made) == ["ResumeNode"]
    assert "jobs wait" in made.actions[0].reason


def test_memory_counts_as_cores_do() -> None:
    world = World(policy())
    world.groups = (group(2, cpus=1, memory=8192),)
    assert sizes(world.plan()) == ["c8"]


def test_different_shapes_share_nodes() -> None:
    world = World(policy())
    world.groups = (group(1, cpus=6, name="wide"), group(2, cpus=1, name="narrow"))
    made = world.plan()
    assert sizes(made) == ["c8"]
    assert isinstance(made.actions[0], StartNode)
    assert made.actions[0].serves == (Served("narrow", 2), Served("wide", 1))


def test_a_large_size_that_is_cheaper_per_core_is_filled_and_a_small_one_taken_for_the_rest() -> None:
    sizes_ = (size(1, price=0.03), size(8, price=0.16))
    world = World(policy(pool(sizes=sizes_)))
    world.groups = (group(9),)
    assert sizes(world.plan()) == ["c8", "c1"]
    world.groups = (group(15),)
    assert sizes(world.plan(60)) == ["c8", "c8"]


def test_the_cheapest_pool_that_the_jobs_match_is_taken() -> None:
    dear = pool(name="dear", sizes=(size(8, price=1.0),))
    world = World(policy(dear, pool(8)))
    world.groups = (group(8, pools=("dear", POOL), name="any"), group(8, pools=("dear",), name="picky"))
    started = [(step.offering.pool, step.serves[0].group) for step in world.plan().actions if isinstance(step, StartNode)]
    assert sorted(started) == [(POOL, "any"), ("dear", "picky")]


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (group(1, cpus=64), "64 cpus asked, the largest size has 8"),
        (group(1, memory=99999), "99999 MiB of memory asked, the largest size has 16384"),
        (group(1, gpus=1), "1 gpus asked, the largest size has 0"),
        (group(1, pools=()), "no pool has nodes that these jobs' requirements accept"),
        (group(1, pools=("gone",)), "no pool has nodes that these jobs' requirements accept"),
    ],
)
def test_jobs_that_no_node_could_ever_run_are_told_why(asked: object, reason: str) -> None:
    world = World(policy())
    world.groups = (asked,)  # type: ignore[assignment]
    made = world.plan()
    assert [(one.count, one.reason) for one in made.unsatisfiable] == [(1, reason)]
    assert made.steps == ()


def test_what_the_limits_forbid_even_alone_is_unsatisfiable() -> None:
    world = World(policy(limits=Limits(max_nodes=5, max_cores=4)))
    world.groups = (group(1, cpus=8),)
    (told,) = world.plan().unsatisfiable
    assert told.reason == "the limits forbid even one node of c8, the cheapest size that holds such a job"


def test_a_size_that_turns_out_smaller_is_not_started_again_for_what_does_not_fit() -> None:
    world = World(policy(pool(8)))
    world.groups = (group(1, cpus=8, memory=16384),)
    world.step()
    small = Capacity(cpus=8, memory=16000)
    world.change("new-1", state=NodeState.UP, heard=True, capacity=small, free=small)
    made = world.plan(60)
    assert sizes(made) == []
    assert made.unsatisfiable[0].reason == "16384 MiB of memory asked, the largest size has 16000"


# Limits


@pytest.mark.parametrize(
    ("limits", "started", "reason"),
    [
        (Limits(max_nodes=2), ["c8", "c8"], "the limit of 2 nodes is reached"),
        (Limits(max_nodes=9, max_cores=12), ["c8", "c4"], "the limit of 12 cores is reached"),
        (Limits(max_nodes=9, max_hourly_cost=0.16), ["c8"], "the limit of 0.16 an hour is reached"),
        (Limits(max_nodes=9, max_hourly_cost=0.17), ["c8"], "the limit of 0.17 an hour is reached"),
        (Limits(max_nodes=9, starts_per_minute=1), ["c8"], "1 nodes were started within a minute, which is the limit"),
        (Limits(max_nodes=0), [], ""),
    ],
)
def test_no_limit_is_exceeded_and_what_is_possible_is_started(limits: Limits, started: list[str], reason: str) -> None:
    world = World(policy(limits=limits))
    world.groups = (group(40),)
    made = world.plan()
    assert sizes(made) == started
    told = [step.reason for step in made.steps if isinstance(step, Wait)]
    assert told == ([reason] if reason else [])
    assert (
        sum(served.count for step in made.actions if isinstance(step, StartNode) for served in step.serves)
        + (waits(made).get(WaitKind.LIMIT, 0) + sum(one.count for one in made.unsatisfiable))
        == 40
    )


def test_limits_of_a_pool_leave_the_rest_to_another() -> None:
    world = World(policy(pool(8, max_nodes=1), pool(8, name="other")))
    world.groups = (group(16, pools=(POOL, "other")),)
    assert [step.offering.pool for step in world.plan().actions if isinstance(step, StartNode)] == [POOL, "other"]


def test_nodes_that_are_stopped_count_until_they_are_gone() -> None:
    world = World(policy(limits=Limits(max_nodes=2)), node("going", state=NodeState.STOPPING), node("busy", jobs=8))
    world.groups = (group(1),)
    assert sizes(world.plan()) == []
    world.change("going", state=NodeState.GONE)
    assert sizes(world.plan(5)) == ["c1"]


def test_starts_go_on_a_minute_later() -> None:
    world = World(policy(limits=Limits(max_nodes=9, starts_per_minute=1)))
    world.groups = (group(16),)
    made = world.step()
    assert made.wake_at == NOW + 60
    assert sizes(world.plan(59)) == []
    assert sizes(world.plan(1)) == ["c8"]


def test_the_monthly_budget_stops_starts_and_nothing_else() -> None:
    world = World(
        policy(limits=Limits(max_nodes=9, monthly_budget=10.0), currency="EUR", idle=0.0), node("busy", jobs=1), node("idle")
    )
    world.spent = 10.0
    world.groups = (group(9, cpus=8),)
    made = world.plan()
    assert sizes(made) == []
    (wait,) = [step for step in made.steps if isinstance(step, Wait) and step.kind is WaitKind.BUDGET]
    assert wait.reason == "10.00 EUR were spent this month, and the budget is 10.00 EUR"
    world.groups = ()
    assert kinds(world.plan(1)) == ["DrainNode"]


# What cannot be had


def failed(world: World, kind: OutcomeKind, retry_after: float = 0.0) -> Outcome:
    last = list(world.nodes.values())[-1]
    world.change(last.id, state=NodeState.GONE)
    return Outcome(offering=last.offering, kind=kind, at=world.now, retry_after=retry_after)


def test_without_capacity_the_next_offering_is_taken_and_the_first_is_tried_again_by_one() -> None:
    world = World(policy(pool(4, 8)))
    world.groups = (group(16),)
    assert sizes(world.step()) == ["c8", "c8"]
    outcome = failed(world, OutcomeKind.NO_CAPACITY)
    world.nodes.clear()
    assert sizes(world.plan(1, outcomes=(outcome,))) == ["c4"] * 4
    assert sizes(world.plan(58)) == ["c4"] * 4
    assert sizes(world.plan(2)) == ["c8", "c4", "c4"]
    assert sizes(world.plan(2)) == ["c4"] * 4, "while it is not known what came of the probe"
    good = Outcome(offering=outcome.offering, kind=OutcomeKind.STARTED, at=world.now)
    assert sizes(world.plan(1, outcomes=(good,))) == ["c8", "c8"]


def test_each_failure_of_a_probe_doubles_the_wait_and_failures_at_once_are_one() -> None:
    world = World(policy(pool(8)))
    world.groups = (group(16),)
    world.step()
    bad = failed(world, OutcomeKind.NO_CAPACITY)
    world.nodes.clear()
    made = world.plan(0, outcomes=(bad, bad, bad))
    assert [step.until for step in made.steps if isinstance(step, Wait)] == [NOW + 60]
    assert sizes(world.plan(60)) == ["c8"]
    made = world.plan(0, outcomes=(bad,))
    assert [step.until for step in made.steps if isinstance(step, Wait)] == [NOW + 60 + 120]
    assert made.wake_at == NOW + 180


def test_a_probe_of_which_nothing_is_ever_heard_is_repeated() -> None:
    world = World(policy(pool(8)))
    world.groups = (group(8),)
    world.step()
    world.plan(0, outcomes=(failed(world, OutcomeKind.NO_CAPACITY),))
    assert sizes(world.plan(60)) == ["c8"]
    assert sizes(world.plan(599)) == []
    assert sizes(world.plan(1)) == ["c8"]


def test_throttling_concerns_the_whole_pool_and_lasts_as_long_as_the_provider_says() -> None:
    world = World(policy(pool(4, 8)))
    world.groups = (group(8),)
    world.step()
    outcome = failed(world, OutcomeKind.THROTTLED, retry_after=90)
    assert waits(world.plan(0, outcomes=(outcome,))) == {WaitKind.BACK_OFF: 8}
    assert sizes(world.plan(89)) == []
    assert sizes(world.plan(1)) == ["c8"]


def test_spot_nodes_are_taken_while_there_are_any() -> None:
    cheap = size(8, spot_price=0.05)
    rules = policy(pool(sizes=(cheap,), spot=Spot.PREFERRED))
    world = World(rules)
    world.groups = (group(8),)
    (start,) = world.step().actions
    assert isinstance(start, StartNode)
    assert (start.offering.market, start.price) == (Market.SPOT, 0.05)
    (start,) = world.plan(1, outcomes=(failed(world, OutcomeKind.NO_CAPACITY),)).actions
    assert isinstance(start, StartNode)
    assert (start.offering.market, start.price) == (Market.ON_DEMAND, 0.16)


def test_only_spot_nodes_if_the_owner_says_so() -> None:
    rules = policy(pool(sizes=(size(8, spot_price=0.05), size(4)), spot=Spot.ONLY))
    world = World(rules)
    world.groups = (group(3),)
    (start,) = world.step().actions
    assert isinstance(start, StartNode)
    assert (start.offering.market, start.offering.size) == (Market.SPOT, "c8")


def test_zones_are_tried_in_their_order() -> None:
    world = World(policy(pool(8, zones=("a", "b"))))
    world.groups = (group(8),)
    (start,) = world.step().actions
    assert isinstance(start, StartNode)
    assert start.offering.zone == "a"
    (start,) = world.plan(1, outcomes=(failed(world, OutcomeKind.NO_CAPACITY),)).actions
    assert isinstance(start, StartNode)
    assert start.offering.zone == "b"


# Nodes that never join


def test_a_node_that_does_not_join_is_replaced() -> None:
    world = World(policy(pool(8, boot_timeout=300.0)))
    world.groups = (group(8),)
    world.step()
    assert kinds(world.plan(299)) == []
    made = world.step(1)
    assert kinds(made) == ["StopNode", "StartNode"]
    assert isinstance(made.actions[0], StopNode)
    assert made.actions[0].cause is StopCause.NEVER_JOINED
    assert made.actions[0].reason == "it has not joined the pool within 300 s"


def test_ten_in_a_row_close_the_pool_until_it_is_opened_by_hand() -> None:
    world = World(policy(pool(8, boot_timeout=300.0)))
    world.groups = (group(8),)
    world.step()
    for _ in range(FAILED_JOINS - 1):
        assert kinds(world.step(300)) == ["StopNode", "StartNode"]
    made = world.step(300)
    assert kinds(made) == ["StopNode"]
    assert waits(made) == {WaitKind.CLOSED: 8}
    assert waits(world.plan(400)) == {WaitKind.CLOSED: 8}
    world.memory = reopened(decode_memory(encode_memory(world.memory)), POOL)
    assert kinds(world.plan(1)) == ["StartNode"]


def test_one_that_joins_in_between_is_forgiven_all() -> None:
    world = World(policy(pool(8, boot_timeout=300.0)))
    world.groups = (group(8),)
    world.step()
    for _ in range(FAILED_JOINS - 1):
        world.step(300)
    world.join(list(world.nodes)[-1])
    world.plan(10)
    assert world.memory.failed_joins == {}


def test_a_stop_that_was_not_carried_out_is_not_counted_twice() -> None:
    world = World(policy(pool(8, boot_timeout=300.0)))
    world.groups = (group(8),)
    world.step()
    for _ in range(5):
        assert kinds(world.plan(300))[0] == "StopNode"
    assert world.memory.failed_joins == {POOL: 1}


@pytest.mark.parametrize("stale", ["", "the pool does not answer"])
def test_machines_that_end_before_they_join_count_as_well_even_if_the_rest_is_not_to_be_believed(stale: str) -> None:
    world = World(policy(pool(8)))
    died = Outcome(offering=Offering(pool=POOL, size="c8"), kind=OutcomeKind.DIED, at=NOW)
    for _ in range(FAILED_JOINS):
        assert not world.memory.closed
        world.plan(30, outcomes=(died,), stale=stale)
    assert set(world.memory.closed) == {POOL}


# Minima and schedules


def test_a_minimum_is_kept_with_the_cheapest_size() -> None:
    world = World(policy(pool(min_nodes=2), idle=0.0))
    assert sizes(world.step()) == ["c1", "c1"]
    for name in list(world.nodes):
        world.join(name)
    assert kinds(world.plan(600)) == []


def test_a_schedule_keeps_nodes_while_it_holds() -> None:
    # NOW is a Tuesday, 22:13 in UTC.
    schedule = Schedule(cron="20 22 * * *", until="22:30", min_nodes=1, pool=POOL)
    world = World(policy(schedules=(schedule,), idle=0.0))
    made = world.step()
    assert (kinds(made), made.wake_at) == ([], NOW + 300)
    made = world.step(made.wake_at - world.now)
    made = world.step(made.wake_at - world.now)
    assert sizes(made) == ["c1"]
    assert "until 22:30" in made.actions[0].reason
    world.join("new-1")
    assert kinds(world.step(300)) == []
    assert kinds(world.step(400)) == ["DrainNode"]


# The values


def test_a_plan_and_what_it_remembers_are_json() -> None:
    world = World(policy(), node("a"), node("b", jobs=3))
    world.groups = (group(30), group(2, cpus=64, name="huge"))
    made = world.step()
    assert decode_memory(encode_memory(made.memory)) == made.memory
    assert b'"step":"start"' in encode_plan(made)


def test_a_fresh_memory_is_where_an_installation_begins() -> None:
    assert decode_memory(b"{}") == Memory()
