"""All of scaling on a cloud and a pool in memory, and the rules that may never break, checked after every step."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from modabatchd.infrastructure.interfaces import Order
from modabatchd.infrastructure.memory import MemoryCloud
from modabatchd.infrastructure.node import Machine, MachineState, NodeState
from modabatchd.infrastructure.parts import Parts, put_together
from modabatchd.infrastructure.policy import Policy
from modabatchd.store.register import in_store
from modabatchd.store.sql import SQLStore
from tests.deferreds import now
from tests.infrastructure.policies_for_tests import POOL, policy, pool
from tests.infrastructure.simulated_pool import SimulatedPool
from tests.queue.world import Interposed
from tests.run_now import RunNow

OWNER = "http://owner.example.org/told"
BEGIN = 1_700_000_000.0
LEAVING = (MachineState.STOPPING, MachineState.TERMINATED)


class WatchedCloud(MemoryCloud):
    """A cloud that nobody may change while the pool, or itself, cannot be seen."""

    pool: SimulatedPool

    def start(self, order: Order) -> Deferred[Machine]:
        self._check_seen()
        return super().start(order)

    def stop(self, machine_id: str) -> Deferred[None]:
        self._check_seen()
        return super().stop(machine_id)

    def _check_seen(self) -> None:
        throttled = self.troubles.throttled_until > self._clock.seconds()
        if self.pool.away or self.troubles.away or throttled:
            self.pool.blind.append(f"{self.pool.away} {self.troubles.away} {throttled}")


class Scaled:
    """
    @ivar reclaimed: machines that the test let go itself.
    """

    def __init__(self, directory: Path, template: tuple[Path, str], rules: Policy | None = None, **cloud: Any) -> None:
        file, self._instance = template
        self._url = f"sqlite:///{directory}/store.sqlite"
        (directory / "store.sqlite").write_bytes(file.read_bytes())
        self.clock = Clock()
        self.clock.advance(BEGIN)
        self.rules = rules or policy(pool(1, 2, 4, 8), idle=60.0)
        machines, self._numbers = itertools.count(1), itertools.count(1)
        self.clouds = [
            WatchedCloud(self.clock, each.name, new_id=lambda: f"m-{next(machines)}", **{"boot": 30.0, **cloud})
            for each in self.rules.pools
        ]
        self.cloud = self.clouds[0]
        self.foreign = self.cloud.add_foreign("somebody-elses")
        self.pool = SimulatedPool(self.clock, self.clouds)
        for cloud in self.clouds:
            cloud.pool = self.pool
        self.reclaimed: set[str] = set()
        self.broken: dict[str, str] = {}
        self.start()

    def start(self) -> None:
        self.store = SQLStore(self._url, self._instance, RunNow(), RunNow())
        self.store.startService()
        self.register: Any = Interposed(in_store(self.store))
        self.parts: Parts = put_together(
            self.clock,
            self.reached(self.pool),
            {cloud.name: self.reached(cloud) for cloud in self.clouds if cloud.name not in self.broken},
            self.reached(self.register),
            self.rules,
            lambda node, pool, token: f"{node.name} of {pool.name}: {token}",
            self.new_id,
            self.broken,
            owner=OWNER,
        )
        self.parts.scaling.startService()

    def reached(self, part: Any) -> Any:
        """What the daemon has in hand of something outside; the thing itself."""
        return part

    def new_id(self) -> str:
        return f"{next(self._numbers):08x}-0000-4000-8000-000000000000"

    def kill(self) -> None:
        """The daemon ends, in the middle of whatever it does."""
        self.parts.scaling.running = self.parts.scaling.loop.running = False
        for call in list(self.clock.getDelayedCalls()):
            call.cancel()
        now(self.store.stopService())

    def restart(self) -> None:
        self.kill()
        self.start()

    def stop(self) -> None:
        now(self.parts.scaling.stopService())
        now(self.store.stopService())

    def run(self, seconds: float, step: float = 1.0) -> None:
        for _ in range(int(seconds / step)):
            self.clock.advance(step)
            self.pool.step()
            self.check()

    def until(self, reached: Any, within: float = 600.0) -> float:
        """Run until something is so; seconds that it took."""
        begun = self.clock.seconds()
        while not reached():
            assert self.clock.seconds() - begun < within, f"not within {within} s: {self.states()}"
            self.run(1)
        return self.clock.seconds() - begun

    def check(self) -> None:
        """Rules that may never break."""
        assert not [job for job, machine in self.pool.killed if machine not in self.reclaimed], "a job was killed"
        assert not self.pool.blind, "something was done on a look that failed"
        assert any(each.id == self.foreign and each.state not in LEAVING for each in self.cloud.everything())
        limits = self.parts.book.policy.limits
        # What was found by its tag may be too much; it goes.
        entries = [entry for entry in self.parts.book.entries.values() if not entry.retiring]
        assert len(entries) <= limits.max_nodes
        cores = sum(entry.node.capacity.cpus for entry in entries)
        assert limits.max_cores is None or cores <= limits.max_cores
        cost = sum(entry.node.price for entry in entries)
        assert limits.max_hourly_cost is None or cost <= limits.max_hourly_cost + 1e-6

    def all_machines(self) -> list[Machine]:
        return [each for cloud in self.clouds for each in cloud.everything() if each.node_id]

    def machines(self) -> list[Machine]:
        """Those of ours that cost money."""
        return [each for each in self.all_machines() if each.state is not MachineState.TERMINATED]

    def states(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for entry in self.parts.book.entries.values():
            found[entry.node.state.value] = found.get(entry.node.state.value, 0) + 1
        return found

    def count(self, state: NodeState) -> int:
        return self.states().get(state.value, 0)

    def starts(self) -> int:
        return sum(cloud.starts for cloud in self.clouds)

    def done(self) -> bool:
        return all(job.ended is not None for job in self.pool.jobs)

    def nothing_left(self) -> bool:
        return not self.machines() and not self.parts.book.entries

    def names(self) -> list[str]:
        return [entry.node.name for entry in self.parts.book.entries.values()]

    def told(self) -> list[dict[str, Any]]:
        """What the owner is told, by the outbox."""
        due = now(self.store.due(self.clock.seconds(), 100))
        assert {delivery.message.url for delivery in due} <= {OWNER}
        return [msgspec.json.decode(delivery.message.body) for delivery in due]

    def decisions(self) -> list[dict[str, Any]]:
        return [msgspec.json.decode(line.body) for line in now(self.register.part.decisions(1000, 1 << 60))]


Make = Callable[..., Scaled]

__all__ = ["BEGIN", "LEAVING", "POOL", "Make", "Scaled"]
