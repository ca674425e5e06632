"""Machines that nobody has seen yet: they may run jobs, and they count."""

import pytest

from modabatchd.errors import QueueAway
from modabatchd.infrastructure.policy import Limits
from tests.deferreds import now
from tests.infrastructure.policies_for_tests import policy, pool
from tests.infrastructure.scaled import Make


def test_a_node_that_joined_while_nobody_looked_is_not_taken_for_one_that_never_did(make: Make) -> None:
    """The collector was started anew, and does not know it yet; it runs a job."""
    world = make(policy(pool(1, boot_timeout=60.0), idle=60.0), boot=10.0)
    world.pool.submit(1, seconds=900)
    world.until(world.machines)
    world.kill()
    world.run(40)
    assert not world.pool.waiting()
    world.pool.restart_collector()
    world.start()
    world.until(world.done, 1200)
    world.until(world.nothing_left, 600)
    assert world.starts() == 1


def test_its_owner_cannot_stop_it_either(make: Make) -> None:
    world = make(policy(pool(1, boot_timeout=300.0), idle=60.0), boot=10.0)
    world.pool.submit(1, seconds=100)
    world.until(world.machines)
    world.kill()
    world.run(40)
    world.pool.restart_collector()
    world.start()
    world.run(5)
    with pytest.raises(QueueAway, match="a moment ago"):
        now(world.parts.by_hand.stop(world.names()[0]))
    world.until(world.done, 600)


def test_a_machine_that_nobody_knows_counts_from_the_first_look_on(make: Make) -> None:
    """Also while the collector cannot tell yet whether it runs jobs."""
    world = make(policy(pool(1), idle=60.0, limits=Limits(max_nodes=1)), boot=10.0)
    world.pool.submit(2, seconds=200)
    world.until(lambda: len(world.pool.waiting()) == 1)
    now(world.store.write(lambda connection: connection.exec_driver_sql("DELETE FROM nodes").close()))
    world.kill()
    world.pool.restart_collector()
    world.start()
    world.run(150)
    assert len(world.machines()) == 1
    world.until(world.done, 1200)
    world.until(world.nothing_left, 600)


def test_machines_that_come_late_may_be_too_many_and_it_is_told(make: Make) -> None:
    world = make(policy(pool(1), idle=60.0, limits=Limits(max_nodes=1)), boot=10.0, remembered=0.0)
    world.cloud.troubles.lost_answers = 1
    world.cloud.troubles.list_delay = 200.0
    world.pool.joins = False
    world.pool.submit(2, seconds=300)
    world.until(lambda: len(world.parts.book.entries) == 2)
    world.pool.joins = True
    [found] = [entry for entry in world.parts.book.entries.values() if entry.retiring]
    told = next(line["reason"] for line in world.decisions() if "by their tags" in line["reason"])
    assert found.node.name in told
    assert "there are 2 nodes, and the limit is 1" in told
    waits = [step["reason"] for line in world.decisions() for step in line["steps"] if step["step"] == "wait"]
    assert "there are 2 nodes, and the limit is 1" in waits
    world.until(world.done, 1200)
    world.until(world.nothing_left, 600)
    reasons = [step["reason"] for line in world.decisions() for step in line["steps"] if step["step"] in ("drain", "stop")]
    assert any("found by its tag" in reason for reason in reasons)
