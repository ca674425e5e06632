"""Nodes without work: how long they are kept, and how they go."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modabatchd.infrastructure.node import NodeState
from modabatchd.infrastructure.planning import DrainNode, Memory, StopCause, StopNode
from modabatchd.infrastructure.planning.idling import balanced, longest, paid_end, rank, time_out, with_gap
from modabatchd.infrastructure.policy import Objective
from tests.infrastructure.policies_for_tests import NOW, POOL, World, group, kinds, node, policy, pool

# The time-out


def cost(gaps: list[float], hold: float, price: float) -> float:
    """What a time-out would have cost over some gaps."""
    return sum(gap if gap <= hold else hold + price for gap in gaps)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 5000), min_size=20, max_size=60), st.floats(1, 4000))
def test_no_other_time_out_would_have_cost_less(gaps: list[float], price: float) -> None:
    best = cost(gaps, time_out(tuple(gaps), price), price)
    for other in (gap for gap in gaps if gap <= longest(price)):
        assert best <= cost(gaps, other, price) + 1e-6


def test_with_few_gaps_it_is_the_cost_of_booting() -> None:
    assert time_out((1.0,) * 19, 300.0) == 300.0
    assert time_out((1.0,) * 20, 300.0) == 1.0


def test_what_comes_back_late_or_never_is_let_go_at_once() -> None:
    assert time_out((5000.0,) * 30, 120.0) == 0.0


def starts(histories: list[tuple[float, tuple[float, ...]]], hold: Callable[[tuple[float, ...]], float]) -> float:
    return sum(often * sum(gap > hold(gaps) for gap in gaps) / len(gaps) for often, gaps in histories)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(0.1, 100), st.lists(st.floats(0, 5000), min_size=20, max_size=40).map(tuple)),
        min_size=1,
        max_size=4,
    )
)
def test_a_balance_starts_about_as_few_nodes_as_ten_minutes_for_all_and_costs_no_more(histories: Any) -> None:
    cost_ = balanced(histories, 120.0, 1e9)
    assert starts(histories, lambda gaps: time_out(gaps, cost_)) <= 1.07 * starts(histories, lambda gaps: 600.0) + 1e-9
    ours, theirs = (
        sum(o * cost(list(g), hold(g), cost_) / len(g) for o, g in histories)
        for hold in (lambda g: time_out(g, cost_), lambda g: 600.0)
    )
    assert ours <= theirs + 1e-6


def test_without_any_history_there_is_nothing_to_balance() -> None:
    assert balanced([], 120.0, 3720.0) == 120.0


def test_old_gaps_are_forgotten() -> None:
    gaps: tuple[float, ...] = ()
    for number in range(1000):
        gaps = with_gap(gaps, float(number))
    assert (len(gaps), gaps[-1]) == (200, 999.0)


def test_ranks() -> None:
    assert [rank(others) for others in (0, 1, 2, 3, 6, 7, 100)] == [0, 1, 1, 2, 2, 3, 6]


@pytest.mark.parametrize(("moment", "end"), [(0, 3600), (3599, 3600), (3600, 3600), (3601, 7200), (7200.5, 10800)])
def test_the_end_of_what_is_paid(moment: float, end: float) -> None:
    assert paid_end(NOW, NOW + moment, 3600.0) == NOW + end


# In plans


def test_an_idle_node_is_drained_when_its_time_is_over_and_stopped_when_it_is_empty() -> None:
    world = World(policy(idle=60.0), node("a"))
    made = world.step()
    assert (kinds(made), made.wake_at) == ([], NOW + 60)
    assert kinds(world.step(59)) == []
    made = world.step(1)
    assert isinstance(made.actions[0], DrainNode)
    assert made.actions[0].reason == "there has been a node without work too many for 60 s, and more than 60 s do not pay"
    made = world.step(1)
    assert isinstance(made.actions[0], StopNode)
    assert (made.actions[0].cause, made.actions[0].jobs) == (StopCause.EMPTY, 0)
    world.change("a", state=NodeState.GONE)
    assert world.step(1).steps == ()


def test_work_in_between_begins_it_anew() -> None:
    world = World(policy(idle=60.0), node("a"))
    world.step()
    world.change("a", jobs=1)
    world.step(30)
    world.change("a", jobs=0)
    world.step(1)
    assert kinds(world.step(59)) == []
    assert kinds(world.step(1)) == ["DrainNode"]


def test_a_node_that_jobs_are_about_to_run_on_is_not_idle() -> None:
    world = World(policy(idle=0.0), node("a"))
    world.groups = (group(1),)
    assert kinds(world.step(0)) == []
    assert kinds(world.step(500)) == []


def test_the_youngest_goes_whichever_was_idle_first_and_a_minimum_stays() -> None:
    world = World(policy(pool(min_nodes=1), idle=60.0), node("old"), node("young", jobs=1, born=NOW - 300))
    world.step()
    world.change("young", jobs=0)
    assert kinds(world.step(30)) == []
    made = world.step(30)
    assert [(step.node) for step in made.actions if isinstance(step, DrainNode)] == ["young"]
    assert kinds(world.step(300)) == ["StopNode"]
    assert kinds(world.step(300)) == []


def test_work_takes_the_top_of_the_stack_whichever_node_it_comes_to() -> None:
    world = World(policy(idle=60.0), node("a"), node("b", jobs=1))
    world.step()
    world.change("b", jobs=0)
    world.step(50)
    world.change("a", jobs=1)
    made = world.step(5)
    assert world.memory.gaps == {f"{POOL}/1": (5.0,)}
    assert kinds(made) == []
    assert kinds(world.step(5)) == ["DrainNode"], "there has been one too many for 60 s"


def test_a_node_that_boots_and_that_nobody_waits_for_any_more_is_idle_already() -> None:
    world = World(policy(pool(8), idle=60.0))
    world.groups = (group(1),)
    world.step()
    world.step(10)
    world.groups = ()
    world.step(10)
    assert kinds(world.step(100)) == []
    world.join("new-1")
    assert kinds(world.step(10)) == ["DrainNode"]


def test_a_pinned_node_is_never_drained_nor_stopped() -> None:
    world = World(
        policy(pool(boot_timeout=10.0, max_lifetime=60.0), idle=0.0),
        node("a", pinned=True),
        node("b", pinned=True, state=NodeState.BOOTING),
    )
    for _ in range(10):
        assert kinds(world.step(300)) == []


def test_a_node_that_its_owner_wants_to_go_goes_even_with_a_minimum_and_is_never_called_back() -> None:
    world = World(policy(pool(8, min_nodes=1)), node("a", jobs=1, retiring=True))
    assert sorted(kinds(world.step())) == ["DrainNode", "StartNode"]
    world.groups = (group(1),)
    assert kinds(world.step(5)) == []
    world.change("a", jobs=0)
    assert kinds(world.step(5)) == ["StopNode"]


def test_nodes_of_a_pool_that_was_removed_work_on_and_go_once_they_are_idle() -> None:
    world = World(policy(pool(name="other")), node("a", jobs=1))
    assert kinds(world.step()) == []
    world.change("a", jobs=0)
    assert kinds(world.step(5)) == ["DrainNode"]


def test_an_old_node_takes_no_more_jobs() -> None:
    world = World(policy(pool(8, max_lifetime=3600.0)), node("a", jobs=1, born=NOW - 3000))
    made = world.step()
    world.groups = (group(2),)
    assert kinds(world.step(500)) == []
    made = world.step(100)
    assert sorted(kinds(made)) == ["DrainNode", "StartNode"]
    assert sorted(kinds(world.step(100))) == []


def test_paid_hours_are_used_up() -> None:
    world = World(policy(pool(8, billing_quantum=3600.0), idle=60.0), node("a", born=NOW - 600))
    world.step()
    due = 3000 - 60
    for moment in (*range(300, due, 300), due - 1):
        assert kinds(world.step(NOW + moment - world.now)) == []
    assert kinds(world.step(1)) == ["DrainNode"]


# Draining


def test_a_draining_node_waits_for_its_jobs_however_long() -> None:
    world = World(policy(), node("a", jobs=1, state=NodeState.DRAINING))
    for _ in range(1000):
        assert kinds(world.step(800)) == []


def test_unless_the_policy_has_a_deadline() -> None:
    world = World(policy(pool(8, drain_timeout=600.0)), node("a", jobs=2, state=NodeState.DRAINING))
    made = world.step()
    assert (kinds(made), made.wake_at) == ([], NOW + 300)
    assert kinds(world.step(599)) == []
    made = world.step(1)
    assert isinstance(made.actions[0], StopNode)
    assert (made.actions[0].cause, made.actions[0].jobs) == (StopCause.DRAIN_TIMEOUT, 2)


def test_a_draining_node_that_disappears_before_it_was_seen_empty_is_given_its_lease() -> None:
    world = World(policy(pool(8, lease=600.0)), node("a", jobs=1, state=NodeState.DRAINING))
    world.step()
    world.change("a", jobs=0, heard=False)
    assert kinds(world.step(1)) == []
    assert kinds(world.step(600)) == []
    assert kinds(world.step(119)) == []
    assert kinds(world.step(1)) == ["StopNode"]


def test_one_that_was_seen_empty_before_it_disappeared_is_stopped() -> None:
    world = World(policy(), node("a", state=NodeState.DRAINING))
    assert kinds(world.plan()) == ["StopNode"]
    world.change("a", heard=False)
    assert kinds(world.plan(1)) == ["StopNode"]


# Lost nodes


def test_a_node_that_lost_the_pool_is_stopped_after_its_lease_and_gets_no_jobs_until_then() -> None:
    world = World(policy(pool(8, lease=600.0)), node("a", heard=False))
    world.groups = (group(1),)
    assert kinds(world.step()) == ["StartNode"]
    world.join("new-1")
    world.groups = ()
    assert kinds(world.step(719)) == []
    made = world.step(1)
    assert [step.cause for step in made.actions if isinstance(step, StopNode)] == [StopCause.LOST]


def test_one_that_is_heard_again_is_as_good_as_before() -> None:
    world = World(policy(pool(8, lease=600.0)), node("a", heard=False))
    world.step()
    world.change("a", heard=True)
    world.step(700)
    world.change("a", heard=False)
    world.step(10)
    assert kinds(world.step(700)) == []


# Learning


def spells_of(world: World, gaps: list[float], busy: float = 50.0) -> None:
    """A node that has work in between."""
    for gap in gaps:
        world.change("a", jobs=0)
        world.step(busy)
        world.change("a", jobs=1)
        world.step(gap)


def test_gaps_are_learned_and_decide_how_long_a_node_is_kept() -> None:
    world = World(policy(objective=Objective.COST), node("a", jobs=1))
    world.step()
    spells_of(world, [20.0] * 30)
    assert set(world.memory.gaps[f"{POOL}/0"]) == {20.0}
    world.change("a", jobs=0)
    world.step(50)
    assert kinds(world.step(19)) == []
    assert kinds(world.step(1)) == ["DrainNode"]


def test_the_gap_of_a_node_that_went_is_learned_when_the_next_one_is_started() -> None:
    world = World(policy(idle=60.0), node("a"))
    for after in (0, 60, 1):
        world.step(after)
    world.nodes.clear()
    world.groups = (group(1),)
    world.step(100)
    assert world.memory.gaps == {f"{POOL}/0": (161.0,)}
    assert world.memory.idle == {}


def test_and_when_no_time_out_could_have_reached_it() -> None:
    world = World(policy(objective=Objective.COST, idle=60.0), node("a"))
    for after in (0, 60, 1, 300, 300):
        world.step(after)
    assert world.memory.idle == {}
    ((gap,),) = world.memory.gaps.values()
    assert gap > longest(120.0)


def test_a_drain_that_is_not_carried_out_leaves_one_ghost() -> None:
    world = World(policy(idle=60.0), node("a"))
    world.plan()
    for _ in range(5):
        assert kinds(world.plan(60)) == ["DrainNode"]
    assert [one.ghost for one in world.memory.idle[POOL]] == [True]


def test_the_boot_time_is_measured() -> None:
    world = World(policy(pool(8)))
    world.groups = (group(8),)
    world.step()
    world.step(5)
    world.join("new-1")
    world.step(42)
    assert world.memory.boots == {POOL: (47.0,)}


def test_patience_keeps_nodes_for_longer() -> None:
    holds = []
    for objective in (Objective.COST, Objective.BALANCED, Objective.LATENCY):
        world = World(policy(objective=objective), node("a"), memory=Memory(boots={POOL: (100.0,)}))
        world.plan()
        waited = 0.0
        while not kinds(world.plan(10)):
            waited += 10
        holds.append(waited)
    assert all(one < two for one, two in pairwise(holds))
