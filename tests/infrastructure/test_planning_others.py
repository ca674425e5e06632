"""Nodes of the pool that are not ours."""

from typing import Any

import msgspec

from modabatchd.infrastructure.node import Capacity
from modabatchd.infrastructure.planning import Memory, OtherNode, Plan, Snapshot, StartNode, Wait, WaitKind, plan
from tests.infrastructure.policies_for_tests import NOW, group, kinds, node, policy, pool

EIGHT = Capacity(cpus=8, memory=16_384)


def made(count: int, waited: float = 30.0, cpus: int = 1, free: int = 8, nodes: Any = ()) -> Plan:
    jobs = msgspec.structs.replace(group(count, cpus=cpus), oldest=NOW - waited)
    other = OtherNode(EIGHT, Capacity(cpus=free, memory=2048 * free))
    return plan(Snapshot(groups=(jobs,), others=(other,), nodes=nodes), policy(pool(1, 4)), Memory(), NOW)


def waits(plan: Plan) -> dict[WaitKind, int]:
    return {step.kind: step.count for step in plan.steps if isinstance(step, Wait)}


def test_what_is_free_there_is_given_away_first() -> None:
    decided = made(8)
    assert kinds(decided) == []
    assert waits(decided) == {WaitKind.PLACING: 8}
    assert decided.wake_at == NOW + 30
    assert sum(served.count for step in made(10).steps if isinstance(step, StartNode) for served in step.serves) == 2
    assert kinds(made(1, free=0)) == ["StartNode"]


def test_jobs_that_such_a_node_does_not_take_get_one_of_ours() -> None:
    assert kinds(made(1, waited=60.0)) == ["StartNode"]


def test_they_come_before_ours_as_the_negotiator_has_it() -> None:
    waiting = [made(count, nodes=(node("n", cpus=1),)).steps[0] for count in (8, 9)]
    assert [step.nodes for step in waiting if isinstance(step, Wait)] == [(), ("n",)]


def test_a_job_that_only_such_a_node_can_run_waits_for_it() -> None:
    decided = made(1, cpus=8, free=0)
    assert decided.unsatisfiable == ()
    [wait] = decided.steps
    assert isinstance(wait, Wait)
    assert wait.kind is WaitKind.OCCUPIED
    assert "8 cpus asked, the largest size has 4" in wait.reason
    assert len(made(1, cpus=16).unsatisfiable) == 1
