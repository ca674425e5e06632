"""Whatever goes wrong, in whatever order: the rules hold, all jobs run in the end, and nothing is left."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from modabatchd.infrastructure.node import MachineState, Market
from modabatchd.infrastructure.policy import Limits
from tests.deferreds import now
from tests.infrastructure.policies_for_tests import policy, pool
from tests.infrastructure.scaled import LEAVING, POOL, Scaled

RULES = policy(
    pool(1, 4, boot_timeout=300.0),
    idle=40.0,
    limits=Limits(max_nodes=4, max_cores=12, max_hourly_cost=0.25, starts_per_minute=9),
)


def _taken(world: Scaled, take: Callable[[str], None]) -> None:
    there = [machine for machine in world.machines() if machine.state is MachineState.RUNNING]
    if there:
        world.reclaimed.add(there[0].id)
        take(there[0].id)


def _double(world: Scaled) -> None:
    there = [machine for machine in world.machines() if machine.state not in LEAVING]
    if there:
        world.cloud.double(there[-1].node_id)


def _fail_boots(world: Scaled) -> None:
    """Those that run already are broken too."""
    world.reclaimed.update(machine.id for machine in world.machines())
    world.cloud.troubles.boot_fails = {"c1"}


def _collector(world: Scaled) -> None:
    world.pool.restart_collector()


def _crash_in_write(world: Scaled, when: str) -> None:
    getattr(world.register, when).add("write")
    world.run(3)
    world.restart()


def _forget(world: Scaled) -> None:
    now(world.store.write(lambda connection: connection.exec_driver_sql("DELETE FROM nodes").close()))
    world.restart()


TROUBLES: Mapping[str, Callable[[Scaled], object]] = {
    "jobs": lambda world: world.pool.submit(3, seconds=45),
    "large jobs": lambda world: world.pool.submit(2, seconds=120, cpus=3),
    "many jobs": lambda world: world.pool.submit(30, seconds=10),
    "a second": lambda world: world.run(1),
    "a moment": lambda world: world.run(13),
    "a minute": lambda world: world.run(60),
    "killed": lambda world: world.restart(),
    "killed before a write": lambda world: _crash_in_write(world, "before"),
    "killed after a write": lambda world: _crash_in_write(world, "after"),
    "the register is lost": _forget,
    "the cloud is away": lambda world: setattr(world.cloud.troubles, "away", True),
    "the cloud is back": lambda world: setattr(world.cloud.troubles, "away", False),
    "throttled": lambda world: world.cloud.throttle(50.0),
    "answers are lost": lambda world: setattr(world.cloud.troubles, "lost_answers", 2),
    "requests are lost": lambda world: setattr(world.cloud.troubles, "lost_requests", 2),
    "lists are late": lambda world: setattr(world.cloud.troubles, "list_delay", 40.0),
    "lists are in time": lambda world: setattr(world.cloud.troubles, "list_delay", 0.0),
    "no capacity": lambda world: setattr(world.cloud.troubles, "capacity", {("c4", Market.ON_DEMAND): 0}),
    "quota": lambda world: setattr(world.cloud.troubles, "quota", 1),
    "boots fail": _fail_boots,
    "boots succeed": lambda world: setattr(world.cloud.troubles, "boot_fails", set()),
    "a machine is taken": lambda world: _taken(world, world.cloud.reclaim),
    "a machine vanishes": lambda world: _taken(world, world.cloud.vanish),
    "a machine is doubled": _double,
    "the pool is away": lambda world: setattr(world.pool, "away", True),
    "the pool is back": lambda world: setattr(world.pool, "away", False),
    "the collector is new": _collector,
    "nobody joins": lambda world: setattr(world.pool, "joins", False),
    "all join": lambda world: setattr(world.pool, "joins", True),
    "paused": lambda world: now(world.parts.by_hand.pause(True)),
    "resumed": lambda world: now(world.parts.by_hand.pause(False)),
    "a leap": lambda world: setattr(world.clock, "rightNow", world.clock.rightNow + 5000.0),
}


def heal(world: Scaled) -> None:
    world.cloud.troubles = msgspec.structs.replace(
        world.cloud.troubles,
        away=False,
        throttled_until=0.0,
        capacity={},
        quota=None,
        lost_answers=0,
        lost_requests=0,
        list_delay=0.0,
        boot_fails=set(),
    )
    world.pool.away, world.pool.joins = False, True
    now(world.parts.by_hand.pause(False))
    now(world.parts.by_hand.reopen(POOL))


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.sampled_from(list(TROUBLES)), max_size=25))
@example(["jobs", "a minute", "the register is lost", "a second", "the collector is new", "a moment"])
@example(["large jobs", "a second", "killed after a write", "lists are late", "killed", "a machine is doubled", "a minute"])
@example(["jobs", "answers are lost", "lists are late", "a minute", "a minute", "the register is lost", "a minute"])
def test_the_rules_hold(database: tuple[Path, str], troubles: list[str]) -> None:
    directory = Path(tempfile.mkdtemp())
    world = Scaled(directory, database, RULES)
    try:
        for trouble in troubles:
            TROUBLES[trouble](world)
            world.pool.step()
            world.check()
        heal(world)
        world.until(world.done, 3000)
        world.until(world.nothing_left, 900)
    finally:
        world.stop()
        shutil.rmtree(directory)
