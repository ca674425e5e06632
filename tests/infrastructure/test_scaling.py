"""Scaling as a whole, in memory: nodes come and go, and what can go wrong goes wrong."""

import msgspec
import pytest
from twisted.internet.task import deferLater
from zope.interface.verify import verifyObject

from modabatchd.infrastructure.hands import Hands
from modabatchd.infrastructure.interfaces import IPoolStatus
from modabatchd.infrastructure.node import MachineState, NodeState
from modabatchd.infrastructure.policy import Limits
from modabatchd.infrastructure.refusals import DryRun, NotNow, UnknownNode, UnknownPool
from tests.deferreds import now
from tests.infrastructure.policies_for_tests import policy, pool
from tests.infrastructure.scaled import LEAVING, POOL, Make


def test_interface(make: Make) -> None:
    assert verifyObject(IPoolStatus, make().pool)


def test_nothing_to_do(make: Make) -> None:
    world = make()
    world.run(600, 5)
    assert world.starts() == 0
    assert [line["reason"] for line in world.decisions()] in ([], [""])


def test_nodes_come_when_jobs_wait_and_go_when_they_do_not(make: Make) -> None:
    world = make()
    world.pool.submit(12, seconds=50)
    assert world.until(world.starts, 20) <= 6
    world.until(world.done)
    assert world.starts() == 2
    assert world.until(world.nothing_left, 120) <= 60 + 30
    assert sorted(world.pool.revoked) == sorted(entry.node.name for entry in now(world.register.gone(10)))
    spent = world.parts.book.spent()
    assert 0 < spent[POOL] < 0.24
    steps = [step["step"] for line in world.decisions() for step in line["steps"]]
    assert {"start", "drain", "stop", "wait"} == set(steps)


def test_waking_is_quicker_than_the_interval(make: Make) -> None:
    world = make()
    world.run(7)
    world.pool.submit(1)
    for _ in range(9):
        world.parts.scaling.wake()
    world.clock.advance(0.5)
    assert world.starts() == 1


def test_a_daemon_that_is_killed_goes_on(make: Make) -> None:
    world = make()
    world.pool.submit(16, seconds=40)
    for _ in range(30):
        world.run(7)
        world.restart()
    world.until(world.done)
    assert world.starts() == 2
    world.until(world.nothing_left)


def test_a_crash_between_create_and_record(make: Make) -> None:
    """The machine is found by its tag."""
    world = make()
    world.pool.submit(1)
    world.until(lambda: world.parts.book.entries)
    entry = next(iter(world.parts.book.entries.values()))
    lost = msgspec.structs.replace(entry, node=msgspec.structs.replace(entry.node, machine_id=None, state=NodeState.REQUESTED))
    now(world.parts.book.write([lost]))
    world.restart()
    world.until(world.done)
    assert world.starts() == 1
    world.until(world.nothing_left)


@pytest.mark.parametrize("trouble", ["lost_answers", "lost_requests"])
def test_a_create_of_unknown_outcome(make: Make, trouble: str) -> None:
    world = make()
    setattr(world.cloud.troubles, trouble, 1)
    world.pool.submit(1)
    world.until(world.done)
    world.until(world.nothing_left, 900)


def test_a_machine_of_ours_that_nobody_knows_goes_within_minutes(make: Make) -> None:
    world = make()
    world.pool.submit(1, seconds=10)
    world.until(world.machines)
    now(world.store.write(lambda connection: connection.exec_driver_sql("DELETE FROM nodes").close()))
    world.restart()
    world.pool.jobs.clear()
    assert world.until(world.nothing_left, 300) < 300
    assert world.starts() == 1


def test_a_machine_that_runs_a_job_and_nobody_knows_is_drained_first(make: Make) -> None:
    world = make()
    world.pool.submit(1, seconds=200)
    world.until(lambda: world.pool.nodes and not world.pool.waiting())
    now(world.store.write(lambda connection: connection.exec_driver_sql("DELETE FROM nodes").close()))
    world.restart()
    world.until(world.done)
    world.until(world.nothing_left)


def test_a_machine_that_is_believed_gone_comes_back(make: Make) -> None:
    world = make()
    world.cloud.troubles.list_delay = 400.0
    world.cloud.troubles.lost_answers = 1
    world.pool.joins = False
    world.pool.submit(1, seconds=10)
    world.until(world.machines)
    world.pool.jobs.clear()
    world.until(lambda: not world.parts.book.entries, 200)
    assert world.machines()
    world.until(world.nothing_left, 700)


def test_two_machines_of_one_node(make: Make) -> None:
    world = make()
    world.pool.submit(1, seconds=30)
    world.until(world.machines)
    world.cloud.double(world.machines()[0].node_id)
    world.run(10)
    assert len([machine for machine in world.machines() if machine.state not in LEAVING]) == 1
    world.until(world.done)
    world.until(world.nothing_left)


def test_two_machines_of_a_node_that_works(make: Make) -> None:
    world = make()
    world.pool.submit(1, seconds=300)
    world.until(lambda: world.pool.nodes)
    [node] = world.pool.nodes.values()
    # Nobody can know that it is the second one that has joined.
    node.machine = world.cloud.double(world.machines()[0].node_id)
    world.clock.advance(0.5)
    world.until(world.done)
    world.until(world.nothing_left)


def test_nothing_is_destroyed_while_the_pool_cannot_be_seen(make: Make) -> None:
    world = make()
    world.pool.submit(1, seconds=30)
    world.until(world.machines)
    world.pool.away = True
    world.cloud.double(world.machines()[0].node_id)
    world.run(20)
    assert {machine.state for machine in world.machines()} == {MachineState.PENDING}
    world.pool.away = False
    world.until(world.done)
    world.until(world.nothing_left)


def test_a_create_that_takes_its_time(make: Make) -> None:
    world = make()
    start, world.cloud.start = world.cloud.start, lambda order: deferLater(world.clock, 250, start, order)
    world.pool.submit(1, seconds=30)
    world.until(world.done)
    assert world.starts() == 1
    world.until(world.nothing_left)


def test_a_machine_that_vanishes(make: Make) -> None:
    world = make()
    world.pool.submit(1, seconds=300)
    world.until(lambda: world.pool.nodes)
    world.run(5)
    machine = world.machines()[0]
    world.reclaimed.add(machine.id)
    world.cloud.vanish(machine.id)
    world.until(world.done, 900)
    assert world.starts() == 2
    world.until(world.nothing_left)


def test_a_machine_that_its_provider_takes_away(make: Make) -> None:
    world = make()
    world.pool.submit(1, seconds=100)
    world.until(lambda: world.pool.nodes)
    machine = world.machines()[0]
    world.reclaimed.add(machine.id)
    world.cloud.reclaim(machine.id)
    world.until(world.done)
    world.until(world.nothing_left)


def test_machines_that_fail_to_boot(make: Make) -> None:
    world = make(policy(pool(1), idle=60.0))
    world.cloud.troubles.boot_fails = {"c1"}
    world.pool.submit(1)
    world.run(100)
    assert world.starts() <= 2
    world.cloud.troubles.boot_fails = set()
    world.until(world.done)
    world.until(world.nothing_left)


def test_nodes_that_never_join_leave_their_console(make: Make) -> None:
    world = make(policy(pool(1, boot_timeout=100.0), idle=60.0))
    world.pool.joins = False
    world.pool.submit(1)
    world.until(world.machines)
    world.cloud.print_on_console(world.machines()[0].id, "kernel panic\n")
    name = world.names()[0]
    world.until(lambda: now(world.register.one(name)).node.state is NodeState.GONE)
    kept = now(world.register.one(name))
    assert kept.console == "kernel panic\n"
    assert "has not joined" in kept.node.reason
    world.run(2500, 2)
    assert world.parts.scaling.last is not None
    assert POOL in world.parts.book.memory.closed
    assert world.starts() == 10
    [told] = world.told()
    assert (told["event"], told["pool"]) == ("pool-closed", POOL)
    assert told["reason"] == f"Pool {POOL} is closed: {world.parts.book.memory.closed[POOL]}."
    assert "has not joined" in now(world.register.one(told["node"])).node.reason
    assert [line["notices"] for line in world.decisions() if line["notices"]] == [[told["reason"]]]
    world.restart()
    world.run(30)
    assert len(world.told()) == 1
    world.pool.joins = True
    now(world.parts.by_hand.reopen(POOL))
    world.until(world.done)


@pytest.mark.parametrize("what", ["pool", "cloud", "throttled", "collector"])
def test_nothing_is_done_on_a_look_that_is_not_to_be_believed(make: Make, what: str) -> None:
    world = make()
    world.pool.submit(8, seconds=60)
    world.until(lambda: world.pool.nodes and not world.pool.waiting())
    world.run(3)
    before = {machine.id for machine in world.machines()}
    if what == "pool":
        world.pool.away = True
    elif what == "cloud":
        world.cloud.troubles.away = True
    elif what == "throttled":
        world.cloud.throttle(250.0)
    else:
        world.pool.since = world.clock.seconds()
        kept, world.pool._look = world.pool._look, lambda: msgspec.structs.replace(kept(), presences=(), demand=())
    world.pool.submit(8, seconds=60)
    world.run(200)
    assert world.states() == {"up": 1}
    assert {machine.id for machine in world.machines() if machine.state not in LEAVING} == before
    assert world.parts.scaling.last is not None
    assert world.parts.scaling.last.snapshot.stale
    world.pool.away = world.cloud.troubles.away = False
    if what == "collector":
        world.pool._look = kept
    world.run(60)
    world.until(world.done)
    world.until(world.nothing_left)


def test_an_empty_list_that_is_wrong_for_a_moment(make: Make) -> None:
    world = make()
    world.pool.submit(1, seconds=300)
    world.until(lambda: world.pool.nodes)
    world.run(5)
    world.cloud.troubles.list_delay = 1e9
    world.run(200)
    world.cloud.troubles.list_delay = 0.0
    world.until(world.done)
    assert world.starts() == 1
    world.until(world.nothing_left)


def test_one_provider_that_refuses_us_leaves_the_others_alone(make: Make) -> None:
    world = make(policy(pool(1, name="good"), pool(1, name="bad"), idle=60.0))
    world.clouds[1].machines = lambda: world.clouds[1]._answer(_refuse)
    world.pool.submit(3, seconds=30)
    world.until(world.done)
    assert (world.clouds[0].starts, world.clouds[1].starts) == (3, 0)
    last = world.parts.scaling.last
    assert last is not None
    assert "wrong password" in last.observation.broken["bad"]
    world.until(world.nothing_left)


def _refuse() -> None:
    from modabatchd.infrastructure.errors import CloudRefused

    raise CloudRefused("The key is a wrong password.", "Correct it.")


def test_a_pool_that_cannot_be_used_any_more_keeps_what_it_has(make: Make) -> None:
    world = make()
    world.pool.submit(1, seconds=30)
    world.until(lambda: world.pool.nodes)
    world.kill()
    world.broken = {POOL: "no such driver"}
    world.start()
    world.pool.submit(3)
    world.run(500, 2)
    assert world.starts() == 1
    assert world.states() == {"up": 1}


def test_a_drain_that_is_not_heard_is_said_again_and_nothing_is_stopped_meanwhile(make: Make) -> None:
    world = make()
    world.pool.submit(1, seconds=30)
    world.until(lambda: world.pool.nodes)
    [name] = world.pool.nodes
    world.pool.deaf.add(name)
    world.until(lambda: world.count(NodeState.DRAINING))
    world.run(50)
    assert world.pool.nodes[name].told >= 3
    assert world.states() == {"draining": 1}
    world.pool.deaf.clear()
    world.until(world.nothing_left)


def test_a_node_that_drains_is_called_back(make: Make) -> None:
    world = make(policy(pool(2), idle=20.0))
    world.pool.submit(1, seconds=300)
    world.until(lambda: world.count(NodeState.UP))
    [name] = world.names()
    now(world.parts.by_hand.drain(name))
    world.run(5)
    now(world.parts.by_hand.undrain(name))
    world.pool.submit(1, seconds=300)
    world.run(30)
    assert world.starts() == 1
    assert len(world.pool.running(name)) == 2
    assert world.states() == {"up": 1}


def test_the_store_fails(make: Make) -> None:
    world = make()
    world.pool.submit(1, seconds=30)
    world.register.before.add("write")
    world.run(30)
    assert world.starts() == 0
    world.register.before.clear()
    world.register.after.add("write")
    world.run(30)
    assert world.starts() == 0
    world.register.after.clear()
    world.until(world.done, 900)
    world.until(world.nothing_left)
    assert now(world.register.load("2023-11")).entries == ()


def test_a_dry_run_does_nothing_and_tells_all(make: Make) -> None:
    world = make(policy(pool(1, 8), idle=60.0, dry_run=True))
    world.pool.submit(8)
    world.run(300, 5)
    assert world.starts() == 0
    assert not world.parts.book.entries
    steps = [step["step"] for line in world.decisions() for step in line["steps"]]
    assert "start" in steps
    with pytest.raises(DryRun):
        now(world.parts.by_hand.start(POOL, 1))


def test_tied_hands(make: Make) -> None:
    world = make()
    world.pool.submit(1, seconds=1000)
    world.until(lambda: world.pool.nodes)
    tied = Hands(world.pool, {POOL: world.cloud}, tied=True)
    [machine], [name] = world.machines(), world.pool.nodes
    order = world.cloud.order(machine.id)
    calls = [lambda: tied.start(order), lambda: tied.stop(POOL, machine.id), lambda: tied.token(name, 1)]
    calls += [lambda call=call: call(name) for call in (tied.drain, tied.resume, tied.dismiss, tied.revoke)]
    for call in calls:
        with pytest.raises(DryRun):
            now(call())
    assert world.machines() == [machine]
    assert world.pool.nodes[name].told == 0
    assert world.pool.revoked == []


def test_a_preview_changes_nothing(make: Make) -> None:
    world = make()
    now(world.parts.by_hand.pause(True))
    world.run(10)
    before = world.parts.book.memory
    world.pool.submit(4)
    first = now(world.parts.scaling.preview())
    assert first.plan.steps[0].reason == "the owner has stopped all scaling"
    assert (world.starts(), world.parts.book.memory) == (0, before)


def test_pause_and_resume_outlive_the_daemon(make: Make) -> None:
    world = make()
    now(world.parts.by_hand.pause(True))
    world.restart()
    world.pool.submit(4)
    world.run(60)
    assert world.starts() == 0
    now(world.parts.by_hand.pause(False))
    world.until(world.done)
    world.until(world.nothing_left)


def test_limits_at_run_time(make: Make) -> None:
    world = make(policy(pool(1), idle=60.0))
    limits = now(world.parts.by_hand.limit(lambda limits: msgspec.structs.replace(limits, max_nodes=2)))
    assert limits.max_nodes == 2
    world.restart()
    world.pool.submit(5, seconds=20)
    world.until(world.done)
    assert now(world.parts.by_hand.limit(None)) == world.rules.limits


def test_limits_count_all_money(make: Make) -> None:
    world = make(policy(pool(1), idle=60.0, limits=Limits(max_nodes=50, max_hourly_cost=0.05, monthly_budget=0.001)))
    world.pool.submit(9, seconds=20)
    world.run(400)
    spent = sum(world.parts.book.spent().values())
    assert spent >= 0.001
    assert spent < 0.02
    begun = world.starts()
    world.run(100)
    world.restart()
    world.run(100)
    assert world.starts() == begun
    [told] = world.told()
    assert (told["event"], told["month"], told["budget"]) == ("budget-reached", "2023-11", 0.001)
    now(world.parts.by_hand.limit(lambda limits: msgspec.structs.replace(limits, monthly_budget=0.0005)))
    world.run(10)
    assert [each["budget"] for each in world.told()] == [0.001, 0.0005]


def test_by_hand(make: Make) -> None:
    world = make(policy(pool(1, 8), idle=60.0, limits=Limits(max_nodes=3)))
    hand = world.parts.by_hand
    entries = now(hand.start(POOL, 2))
    assert [entry.node.offering.size for entry in entries] == ["c1", "c1"]
    with pytest.raises(UnknownPool):
        now(hand.start("nowhere", 1))
    assert len(now(hand.start(POOL, 5))) == 1
    with pytest.raises(NotNow, match="limit"):
        now(hand.start(POOL, 1))
    first, second, third = (entry.node.name for entry in world.parts.book.entries.values())
    with pytest.raises(NotNow, match=r"requested|booting"):
        now(hand.drain(first))
    now(hand.stop(third))
    assert now(hand.pin(first, True)).node.pinned
    world.pool.submit(1, seconds=200)
    world.until(lambda: len(world.pool.nodes) == 2)
    world.run(3)
    [busy] = [name for name in (first, second) if world.pool.running(name)]
    with pytest.raises(NotNow, match=r"pinned|runs 1 jobs"):
        now(hand.stop(busy))
    with pytest.raises(NotNow, match="pinned"):
        now(hand.stop(first))
    with pytest.raises(UnknownNode):
        now(hand.stop("nobody"))
    world.until(world.done)
    world.run(300)
    assert world.names() == [first]
    now(hand.pin(first, False))
    now(hand.pause(True))
    now(hand.stop(first))
    world.until(world.nothing_left, 60)


def test_stopped_by_hand_at_once(make: Make) -> None:
    world = make()
    [entry] = now(world.parts.by_hand.start(POOL, 1))
    world.until(lambda: world.pool.nodes)
    world.run(2)
    now(world.parts.by_hand.stop(entry.node.name))
    assert world.until(world.nothing_left, 60) < 20


def test_the_clock_leaps(make: Make) -> None:
    world = make()
    world.pool.submit(4, seconds=90_000)
    world.until(lambda: world.pool.nodes and not world.pool.waiting())
    world.run(3)
    world.clock.rightNow += 86_400
    world.pool.step()
    world.run(30)
    world.clock.rightNow -= 86_400
    world.pool.step()
    world.run(30)
    assert world.states() == {"up": 1}
    assert {machine.state for machine in world.machines()} == {MachineState.RUNNING}
