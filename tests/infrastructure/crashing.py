"""
All of scaling in memory, with a daemon that dies at a place with a name: just before an effect, or just after it.

A daemon that is dead does nothing any more, whatever its coroutines would still do; the cloud, the pool and the register are
what it has left behind.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
from twisted.internet.defer import Deferred

from modabatchd.infrastructure.node import NodeState, node_name
from modabatchd.infrastructure.policy import Limits
from modabatchd.infrastructure.register import Change, Entry
from tests.infrastructure.policies_for_tests import POOL, policy, pool
from tests.infrastructure.scaled import LEAVING, Scaled

#: Seconds within which everything must have come into order after a crash.
PATIENCE: Final = 300.0
RULES: Final = policy(pool(1, 4, boot_timeout=150.0), idle=30.0, limits=Limits(max_nodes=6, max_cores=16, starts_per_minute=20))


class Point(msgspec.Struct, frozen=True):
    """
    Where a daemon dies.

    @ivar step: one of L{STEPS}.
    @ivar after: whether the effect has happened.
    """

    step: str
    after: bool

    def __str__(self) -> str:
        return f"{'after' if self.after else 'before'} {self.step}"


def _records(wanted: Callable[[Entry], bool]) -> Callable[..., bool]:
    def records(change: Change) -> bool:
        return any(wanted(entry) for entry in change.entries)

    return records


def _in(state: NodeState) -> Callable[..., bool]:
    return _records(lambda entry: entry.node.state is state)


def _always(*args: Any) -> bool:
    return True


#: By what is being done: the method, and whether a call of it is the one.
STEPS: Final[Mapping[str, tuple[str, Callable[..., bool]]]] = {
    "looking at the pool": ("look", _always),
    "listing the machines": ("machines", _always),
    "recording a start": ("write", _in(NodeState.REQUESTED)),
    "making the token": ("token", _always),
    "creating the machine": ("start", _always),
    "recording the machine": ("write", _in(NodeState.BOOTING)),
    "recording the join": ("write", _records(lambda entry: entry.node.state is NodeState.UP and entry.resumed is None)),
    "recording a drain": ("write", _in(NodeState.DRAINING)),
    "draining": ("drain", _always),
    "recording a resume": ("write", _records(lambda entry: entry.resumed is not None and entry.node.state is NodeState.UP)),
    "resuming": ("resume", _always),
    "recording a stop": ("write", _in(NodeState.STOPPING)),
    "keeping the console": ("console", _always),
    "dismissing": ("dismiss", _always),
    "destroying the machine": ("stop", _always),
    "recording the end": ("write", _in(NodeState.GONE)),
    "revoking the token": ("revoke", _always),
}
POINTS: Final = tuple(Point(step, after) for step in STEPS for after in (False, True))


class Life:
    """
    One life of the daemon.

    @ivar over: whether it has died.
    """

    def __init__(self, point: Point, countdown: int) -> None:
        self._after = point.after
        self._method, self._wanted = STEPS[point.step]
        self._countdown = countdown
        self.over = False

    def strikes(self, method: str, args: tuple[Any, ...]) -> bool:
        """Whether the daemon dies at this call."""
        if method != self._method or not self._wanted(*args):
            return False
        self._countdown -= 1
        return self._countdown == 0

    def call(self, method: str, effect: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        """A call of the daemon to the world outside."""
        struck = not self.over and self.strikes(method, args)
        if self.over or (struck and not self._after):
            self.over = True
            return Deferred()
        result = effect(*args)
        if struck:
            self.over = True
            result.addBoth(lambda outcome: None)
            return Deferred()
        return result


class Reached:
    """Something outside, as a life of the daemon reaches it."""

    def __init__(self, part: Any, life: Life) -> None:
        self._part = part
        self._life = life

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._part, name)
        return (lambda *args: self._life.call(name, attribute, args)) if callable(attribute) else attribute


class Crashing(Scaled):
    """
    A daemon that dies at a point up to three times, and an account with machines of others in it, some named like nodes.

    @ivar crashes: how often it died.
    """

    def __init__(self, directory: Path, template: tuple[Path, str], point: Point, chance: random.Random) -> None:
        self._point = point
        self._chance = chance
        self._deaths = chance.randint(1, 3)
        self.crashes = 0
        boot, going, latency = chance.uniform(5, 60), chance.uniform(0, 30), chance.choice([0.0, 0.0, 2.5])
        super().__init__(directory, template, RULES, boot=boot, going=going, latency=latency)
        self.foreigners = {self.cloud.add_foreign(name) for name in ("modabatch-", "modabatchd", *self._names(40))}
        self.cloud.troubles.list_delay = chance.choice([0.0, 0.0, 20.0, 150.0])
        self.cloud.troubles.lost_answers = chance.choice([0, 0, 1])
        self.cloud.troubles.lost_requests = chance.choice([0, 0, 1])
        self.pool.joins = point.step != "keeping the console"

    def reached(self, part: Any) -> Any:
        return Reached(part, self.life)

    def start(self) -> None:
        countdown = self._chance.choice([1, 1, 2, 3]) if self.crashes < self._deaths else 0
        self.life = Life(self._point, countdown)
        super().start()

    def run(self, seconds: float, step: float = 1.0) -> None:
        """As ever; a daemon that has died is started again, at once or some time later."""
        for _ in range(int(seconds / step)):
            super().run(step, step)
            if self.life.over:
                self._crash()

    def work(self) -> None:
        """Jobs come, nodes come, they go, and jobs come again while they do."""
        for _ in range(3):
            chance = self._chance
            self.pool.submit(chance.randint(1, 7), seconds=chance.uniform(5, 90), cpus=chance.choice([1, 1, 3]))
            self.run(chance.uniform(1, 120))
            self._until_some_drain()
            self._until_all_join()

    def settle(self) -> None:
        """@raise AssertionError: after five minutes there is a machine that nobody knows, or after more something is left."""
        self.pool.joins = True
        self.parts.by_hand.reopen(POOL)
        self.run(PATIENCE, 2.0)
        known = {entry.node.machine_id for entry in self.parts.book.entries.values()}
        leaked = [machine for machine in self.machines() if machine.id not in known and machine.state not in LEAVING]
        assert not leaked, f"leaked: {leaked}"
        self.until(self.done, 1500)
        self.until(self.nothing_left, 600)

    def check(self) -> None:
        super().check()
        touched = [machine for machine in self.cloud.everything() if machine.id in self.foreigners and machine.state in LEAVING]
        assert not touched, "a machine of somebody else was touched"

    def _crash(self) -> None:
        self.crashes += 1
        self.kill()
        if self._chance.random() < 0.2:
            self.pool.restart_collector()
        for _ in range(self._chance.choice([0, 0, 5, 100])):
            self.clock.advance(1)
            self.pool.step()
            self.check()
        self.start()

    def _until_some_drain(self) -> None:
        """Jobs that come just then have nodes resumed."""
        if self._chance.random() < 0.7:
            for _ in range(200):
                if self.count(NodeState.DRAINING):
                    return
                self.run(1)

    def _until_all_join(self) -> None:
        self.pool.joins = self.pool.joins or self._chance.random() < 0.5

    def _names(self, count: int) -> Iterator[str]:
        """Of the next nodes."""
        return (node_name(f"{number:08x}-0000-4000-8000-000000000000") for number in range(1, count))


def story(directory: Path, template: tuple[Path, str], point: Point, chance: random.Random) -> int:
    """
    One story with crashes at a point.

    @return: how many crashes there were; none if the point was not reached.
    @raise AssertionError: a rule was broken, or something is left.
    """
    world = Crashing(directory, template, point, chance)
    try:
        world.work()
        world.settle()
    finally:
        world.kill()
    return world.crashes
