"""The rules that may never break, whatever the policy, the cluster and the past are."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modabatchd.infrastructure.node import NodeState
from modabatchd.infrastructure.planning import (
    DrainNode,
    Memory,
    Plan,
    ResumeNode,
    SeenNode,
    Snapshot,
    StartNode,
    StopCause,
    StopNode,
    Wait,
    decode_memory,
    encode_memory,
    encode_plan,
    plan,
)
from modabatchd.infrastructure.planning.recollection import LEAP
from modabatchd.infrastructure.policy import Policy
from tests.infrastructure.policies_for_tests import NOW, World, group, kinds, node, policy, pool
from tests.infrastructure.worlds import policies, snapshots

SOME = settings(max_examples=40, deadline=None)


@st.composite
def histories(draw: st.DrawFn) -> tuple[Policy, list[Snapshot], list[float]]:
    """A policy, and what is seen under it at some times."""
    rules = draw(policies())
    seen = draw(st.lists(snapshots(rules), min_size=1, max_size=4))
    spans = [draw(st.sampled_from((0.0, 1.0, 60.0, 500.0, 899.0))) for _ in seen]
    return rules, seen, spans


def plans(history: tuple[Policy, list[Snapshot], list[float]]) -> list[tuple[Snapshot, Plan, float]]:
    rules, seen, spans = history
    memory, now, made = Memory(), NOW, []
    for snapshot, span in zip(seen, spans, strict=True):
        now += span
        one = plan(snapshot, rules, memory, now)
        made.append((snapshot, one, now))
        memory = one.memory
    return made


def by_id(snapshot: Snapshot) -> dict[str, SeenNode]:
    return {node.id: node for node in snapshot.nodes}


@SOME
@given(histories())
def test_never_above_a_limit_with_nodes_that_boot_or_are_being_stopped_counted(history: Any) -> None:
    rules = history[0]
    for snapshot, made, _ in plans(history):
        starts = [step for step in made.steps if isinstance(step, StartNode)]
        living = [node for node in snapshot.nodes if node.state.alive]
        if not starts:
            continue
        within(rules, living, starts)
        assert snapshot.spent < (rules.limits.monthly_budget or float("inf"))


def within(rules: Policy, living: Sequence[SeenNode], starts: Sequence[StartNode]) -> None:
    limits, everything = rules.limits, [*living, *starts]
    assert len(everything) <= limits.max_nodes
    assert len(starts) <= limits.starts_per_minute
    assert limits.max_cores is None or sum(one.capacity.cpus for one in everything) <= limits.max_cores
    paid = any(start.price for start in starts)
    assert not paid or limits.max_hourly_cost is None or sum(one.price for one in everything) <= limits.max_hourly_cost + 1e-5
    for rule in rules.pools:
        if any(start.offering.pool == rule.name for start in starts):
            mine = [one for one in everything if one.offering.pool == rule.name]
            assert rule.max_nodes is None or len(mine) <= rule.max_nodes
            assert rule.max_cores is None or sum(one.capacity.cpus for one in mine) <= rule.max_cores


@SOME
@given(histories())
def test_starts_in_any_minute_stay_below_their_limit(history: Any) -> None:
    started: list[float] = []
    for _, made, now in plans(history):
        started += [now] * len([step for step in made.steps if isinstance(step, StartNode)])
        assert len([moment for moment in started if moment > now - 60]) <= history[0].limits.starts_per_minute


@SOME
@given(histories())
def test_a_node_that_runs_a_job_is_never_stopped_but_by_a_deadline_of_the_policy(history: Any) -> None:
    for snapshot, made, _ in plans(history):
        for step in made.steps:
            if isinstance(step, StopNode):
                stopped = by_id(snapshot)[step.node]
                assert not stopped.jobs or step.cause is StopCause.DRAIN_TIMEOUT
                assert step.jobs == stopped.jobs
                if step.cause is StopCause.DRAIN_TIMEOUT:
                    pool = history[0].pool(stopped.offering.pool)
                    assert pool is not None
                    assert pool.drain_timeout is not None


@SOME
@given(histories())
def test_a_node_in_the_pool_is_drained_before_it_is_stopped(history: Any) -> None:
    for snapshot, made, _ in plans(history):
        for step in made.steps:
            if isinstance(step, StopNode):
                stopped = by_id(snapshot)[step.node]
                assert stopped.state is not NodeState.UP or not stopped.heard


@SOME
@given(histories())
def test_a_pinned_node_is_never_stopped(history: Any) -> None:
    for snapshot, made, _ in plans(history):
        assert not any(by_id(snapshot)[step.node].pinned for step in made.steps if isinstance(step, StopNode))


@SOME
@given(histories(), st.sampled_from(("the pool does not answer", "the list of machines is empty")))
def test_nothing_is_done_on_a_reading_that_is_not_to_be_believed(history: Any, why: str) -> None:
    rules, seen, _ = history
    memory = plans(history)[-1][1].memory
    for snapshot in seen:
        made = plan(msgspec.structs.replace(snapshot, stale=why), rules, memory, NOW + 5000)
        assert made.steps == ()
        assert why in made.reason
        assert (made.memory.at, made.memory.spells, made.memory.idle) == (memory.at, memory.spells, memory.idle)


@SOME
@given(histories(), st.one_of(st.floats(-1e9, -1e-3), st.floats(LEAP + 1, 1e9)))
def test_time_that_goes_backwards_or_leaps_stops_nothing_and_nothing_has_aged_by_it(history: Any, leap: float) -> None:
    rules = history[0]
    snapshot, last, now = plans(history)[-1]
    snapshot = msgspec.structs.replace(snapshot, outcomes=())
    made = plan(snapshot, rules, last.memory, now + leap)
    assert not any(isinstance(step, (StopNode, DrainNode)) for step in made.steps)
    if snapshot.nodes:
        assert made.actions == ()
        assert made.memory.at == pytest.approx(now + leap)
        for name, spell in made.memory.spells.items():
            assert now + leap - spell.since == pytest.approx(now - last.memory.spells[name].since, abs=1e-3)
        for pool, stack in made.memory.idle.items():
            aged = [now + leap - one.since for one in stack]
            assert aged == pytest.approx([now - one.since for one in last.memory.idle[pool]], abs=1e-3)


@SOME
@given(histories())
def test_a_paused_one_waits(history: Any) -> None:
    for snapshot, made, _ in plans(history):
        assert not snapshot.paused or made.actions == ()


@SOME
@given(histories(), st.randoms(use_true_random=False))
def test_the_same_snapshot_in_any_order_yields_the_same_bytes(history: Any, chance: random.Random) -> None:
    rules, seen, spans = history
    mixed = []
    for snapshot in seen:
        here, there = list(snapshot.nodes), list(snapshot.groups)
        chance.shuffle(here)
        chance.shuffle(there)
        mixed.append(msgspec.structs.replace(snapshot, nodes=tuple(here), groups=tuple(there)))
    one = [encode_plan(made) for _, made, _ in plans(history)]
    assert one == [encode_plan(made) for _, made, _ in plans((rules, mixed, spans))]


@SOME
@given(histories())
def test_a_memory_that_was_written_and_read_decides_the_same(history: Any) -> None:
    snapshot, last, now = plans(history)[-1]
    again = decode_memory(encode_memory(last.memory))
    assert again == last.memory
    assert encode_plan(plan(snapshot, history[0], again, now + 1)) == encode_plan(
        plan(snapshot, history[0], last.memory, now + 1)
    )


@SOME
@given(histories())
def test_every_job_is_accounted_for(history: Any) -> None:
    for snapshot, made, _ in plans(history):
        told = {group.id: 0 for group in snapshot.groups}
        for step in made.steps:
            if isinstance(step, Wait):
                told[step.group] += step.count
            elif isinstance(step, StartNode):
                for served in step.serves:
                    told[served.group] += served.count
        for one in made.unsatisfiable:
            told[one.group] += one.count
        assert told == {group.id: group.count for group in snapshot.groups}


@SOME
@given(histories())
def test_steps_are_of_nodes_that_are_there_one_each_and_have_a_reason(history: Any) -> None:
    for snapshot, made, now in plans(history):
        touched = [step.node for step in made.steps if isinstance(step, (StopNode, DrainNode, ResumeNode))]
        assert len(touched) == len(set(touched))
        assert set(touched) <= {node.id for node in snapshot.nodes if node.state.alive}
        assert all(step.reason for step in made.steps)
        assert now <= made.wake_at <= now + 300


@settings(SOME, max_examples=20)
@given(histories())
def test_what_was_carried_out_settles_and_then_there_is_nothing_to_do(history: Any) -> None:
    rules, seen, _ = history
    world = World(rules, *[node for node in seen[0].nodes if node.heard and not node.jobs])
    world.groups = seen[0].groups
    for _ in range(20):
        settle(world, world.step(61))
    made = world.plan(0)
    assert made.actions == (), "the same look a second time"
    world.groups = ()
    for _ in range(90):
        settle(world, world.step(299))
    assert world.plan(0).steps == ()


def settle(world: World, made: Plan) -> None:
    """Nodes join and go at once; no job ever runs, so those that fit keep their nodes."""
    for name, one in list(world.nodes.items()):
        if one.state is NodeState.REQUESTED:
            world.join(name)
        elif one.state is NodeState.STOPPING:
            del world.nodes[name]


def test_the_work_does_not_depend_on_the_number_of_jobs() -> None:
    def steps(count: int) -> int:
        calls = 0

        def trace(frame: Any, event: str, argument: Any) -> Any:
            nonlocal calls
            calls += 1

        world = World(policy(), node("a", jobs=3), node("b", jobs=8))
        world.groups = (group(count),)
        sys.setprofile(trace)
        try:
            world.plan()
        finally:
            sys.setprofile(None)
        return calls

    few, many = steps(500), steps(100_000)
    assert many <= few * 1.1


def test_the_bytes_do_not_depend_on_the_seed_of_hashes() -> None:
    program = (
        "from tests.infrastructure.policies_for_tests import *\n"
        "world = World(policy(pool(), pool(name='other')), node('a', jobs=3), node('b'))\n"
        "world.groups = tuple(group(5, cpus=n, name=str(n), pools=('other', 'burst', 'third')) for n in range(1, 9))\n"
        "from modabatchd.infrastructure.planning import encode_plan\n"
        "print(encode_plan(world.step()).decode())\n"
    )
    outputs = {
        subprocess.run([sys.executable, "-c", program], env={"PYTHONHASHSEED": seed}, check=True, capture_output=True).stdout
        for seed in ("1", "2", "3")
    }
    assert len(outputs) == 1


def test_a_pool_in_the_policy_alone_is_used_and_foreign_machines_do_not_exist_for_it() -> None:
    """What is not ours never enters a snapshot; so a plan names only nodes that it was shown."""
    world = World(policy(pool(name="other"), idle=0.0), node("ours"))
    assert {step.node for step in world.step().actions if isinstance(step, DrainNode)} == {"ours"}
    assert kinds(world.step(1)) == ["StopNode"]
