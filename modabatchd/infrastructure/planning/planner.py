"""
The decision: what is to be done about the nodes, now.

Note [What is never done]
=========================
On a reading that is not to be believed nothing is started or stopped.  A node is drained first, and stopped when a later look
shows it empty; only a policy with a drain time-out has a node stopped that may have jobs.  What boots or is being stopped
counts against all limits.

Note [Nodes that are not ours]
==============================
A pool may have nodes of its own beside those that we start.  What is free there is given away first, for it costs nothing more.
But which jobs such a node takes is between its owner and the negotiator, and not known here; so jobs that have waited for a few
rounds of matchmaking while there was room for them get nodes of ours.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Final

import msgspec

from modabatchd.infrastructure.node import Capacity
from modabatchd.infrastructure.planning import back_offs
from modabatchd.infrastructure.planning.choices import choices, size_key
from modabatchd.infrastructure.planning.fleet import Fleet
from modabatchd.infrastructure.planning.headroom import Headroom, Obstacle
from modabatchd.infrastructure.planning.keeping import Keeping
from modabatchd.infrastructure.planning.memory import Memory
from modabatchd.infrastructure.planning.packing import Group, Room, fill, largest_first, offered
from modabatchd.infrastructure.planning.plan import Plan, ResumeNode, Step, StopCause, StopNode, Wait, WaitKind
from modabatchd.infrastructure.planning.recollection import Recollection, count_failure, leap, moved
from modabatchd.infrastructure.planning.snapshot import OutcomeKind, SeenNode, Snapshot
from modabatchd.infrastructure.planning.starting import Starting
from modabatchd.infrastructure.policy import Policy, Pool
from modabatchd.infrastructure.schedules import window

#: Seconds after which one looks again in any case.
_LOOK: Final = 300.0
#: For so many seconds jobs may wait for a node that is not ours and has room for them.
_MATCHMAKING: Final = 60.0
#: After a reading that was not to be believed.
_SOON: Final = 5.0


def plan(snapshot: Snapshot, policy: Policy, memory: Memory, now: float) -> Plan:
    """
    What is to be done now.

    @param memory: of the last plan that was carried out; a fresh one for the first.
    @param now: seconds since the epoch.
    """
    if snapshot.stale:
        reason = f"nothing is started or stopped, because {snapshot.stale}"
        return Plan(memory=_learned(snapshot, policy, memory, now), wake_at=now + _SOON, reason=reason)
    leapt = leap(memory, now)
    memory = moved(memory, leapt)
    if leapt and snapshot.nodes:
        reason = f"nothing is started or stopped, because the clock shows {leapt:.0f} s since the last look, which cannot be"
        learned = _learned(snapshot, policy, msgspec.structs.replace(memory, at=now), now)
        return Plan(memory=learned, wake_at=now + _SOON, reason=reason)
    return _Planning(snapshot, policy, memory, now).result()


def _learned(snapshot: Snapshot, policy: Policy, memory: Memory, now: float) -> Memory:
    """Outcomes are facts even when the rest is not."""
    found = {off.offering: off for off in memory.back_offs}
    back_offs.learn(found, snapshot.outcomes, policy, now)
    ordered = tuple(sorted(found.values(), key=lambda off: back_offs.order(off.offering)))
    failed, closed = dict(memory.failed_joins), dict(memory.closed)
    for pool in _died(snapshot):
        count_failure(failed, closed, pool)
    return msgspec.structs.replace(memory, back_offs=ordered, failed_joins=failed, closed=closed)


def _died(snapshot: Snapshot) -> list[str]:
    """The pools of machines that came into being and ended before they joined, one for each."""
    return [outcome.offering.pool for outcome in snapshot.outcomes if outcome.kind is OutcomeKind.DIED]


class _Planning:
    """One plan in the making."""

    def __init__(self, snapshot: Snapshot, policy: Policy, memory: Memory, now: float) -> None:
        self._snapshot = snapshot
        self._policy = policy
        self._now = now
        self._recollection = Recollection(memory, now)
        back_offs.learn(self._recollection.back_offs, snapshot.outcomes, policy, now)
        for pool in _died(snapshot):
            self._recollection.never_joined(pool)
        self._fleet = Fleet(snapshot.nodes, policy, self._recollection, now)
        self._waits: list[Wait] = []
        self._resumes: list[ResumeNode] = []
        self._reserved: set[str] = set()
        self._wakes = [now + _LOOK, *self._fleet.wakes]
        self._keepers = Counter(node.offering.pool for node in (*self._fleet.up, *self._fleet.booting))
        self._resumed: Counter[str] = Counter()
        self._minima: dict[str, int] = {}

    def result(self) -> Plan:
        """Decide."""
        groups = largest_first(self._snapshot.groups)
        self._place(groups)
        starting = self._start(groups)
        called = Counter([start.offering.pool for start in starting.starts if start.serves]) + self._resumed
        keeping = Keeping(self._policy, self._fleet, self._reserved, called, self._recollection, self._now)
        steps: list[Step] = []
        if not self._snapshot.paused:
            keeping.let_go(self._spare)
            stops = [*self._fleet.stops, *self._empty()]
            steps = [*stops, *self._fleet.drains, *keeping.drains, *self._resumes, *starting.starts]
        waits = [*self._waits, *starting.waits]
        self._wakes += [*keeping.wakes, *(wait.until for wait in waits if wait.until is not None)]
        return Plan(
            steps=(*steps, *waits),
            unsatisfiable=tuple(starting.unsatisfiable),
            memory=self._recollection.frozen(),
            wake_at=max(min(self._wakes), self._now),
            reason="the owner has stopped all scaling" if self._snapshot.paused else "",
        )

    def _place(self, groups: Sequence[Group]) -> None:
        """
        Put jobs into the room that there is, or will be, and note what they wait for.  See Note [Nodes that are not ours].
        """
        up, back, booting = (
            [_room(node, node.free) for node in self._fleet.up],
            [] if self._snapshot.paused else [_room(node, node.free) for node in self._fleet.resumable],
            [_room(node, self._expected(node)) for node in self._fleet.booting],
        )
        others = [Room("", offered(node.total, node.free)) for node in self._snapshot.others]
        ours, elsewhere = [list(up), list(back), list(booting)], list(others)
        for group in groups:
            doubtful = group.demand.oldest + _MATCHMAKING
            if others and self._now < doubtful:
                fill(elsewhere, group)
                self._wakes.append(doubtful)
            for rooms in ours:
                if group.left:
                    fill(rooms, group)
        self._waits += _waits([*up, *others, *back], WaitKind.PLACING, "there is room for them, so it is the negotiator's turn")
        self._waits += _waits(booting, WaitKind.BOOTING, "nodes with room for them are booting")
        self._reserved = {room.node for room in (*up, *booting) if room.content}
        for room in back:
            if room.content:
                self._resume(room.pool, room.node, "jobs wait that fit on it")

    def _expected(self, node: SeenNode) -> Capacity:
        return self._recollection.turned_out.get(size_key(node.offering.pool, node.offering.size), node.capacity)

    def _resume(self, pool: str, node: str, reason: str) -> None:
        self._resumes.append(ResumeNode(node=node, reason=reason))
        self._keepers[pool] += 1
        self._resumed[pool] += 1

    def _start(self, groups: Sequence[Group]) -> Starting:
        """Order what is missing: for the jobs that are left, then for the minima."""
        options = choices(self._policy, self._recollection.turned_out) if self._policy.pools else []
        learned = self._recollection
        headroom = Headroom(
            self._policy, self._fleet.alive, learned.back_offs, learned.closed, self._blocked(), learned.starts, self._now
        )
        others = [offered(node.total, node.total) for node in self._snapshot.others]
        starting = Starting(self._policy, options, headroom, others)
        starting.serve(groups)
        for pool, count in Counter(start.offering.pool for start in starting.starts).items():
            self._keepers[pool] += count
        self._keep_minima(starting)
        learned.starts = (*learned.starts, *([self._now] * len(starting.starts)))
        for offering in sorted(headroom.probes, key=back_offs.order):
            back_offs.probe(learned.back_offs, offering, self._now)
        return starting

    def _blocked(self) -> Obstacle | None:
        """Why nothing at all is to be started."""
        if self._snapshot.paused:
            return WaitKind.PAUSED, "the owner has stopped all scaling", None
        budget = self._policy.limits.monthly_budget
        if budget is not None and self._snapshot.spent >= budget:
            currency = f" {self._policy.currency}".rstrip()
            reason = f"{self._snapshot.spent:.2f}{currency} were spent this month, and the budget is {budget:.2f}{currency}"
            return WaitKind.BUDGET, reason, None
        return None

    def _keep_minima(self, starting: Starting) -> None:
        for pool in self._policy.pools:
            least, reason = self._minimum(pool)
            self._minima[pool.name] = least
            missing = least - self._keepers[pool.name]
            for node in self._fleet.resumable if missing > 0 and not self._snapshot.paused else ():
                resumed = {step.node for step in self._resumes}
                if missing > 0 and node.offering.pool == pool.name and node.id not in resumed:
                    self._resume(pool.name, node.id, reason)
                    missing -= 1
            before = len(starting.starts)
            starting.keep(pool.name, missing, reason)
            self._keepers[pool.name] += len(starting.starts) - before

    def _minimum(self, pool: Pool) -> tuple[int, str]:
        """How many nodes a pool keeps at this time, and why."""
        least, reason = pool.min_nodes, f"pool {pool.name} keeps {pool.min_nodes} nodes at least"
        for schedule in self._policy.schedules:
            if schedule.pool != pool.name:
                continue
            now = window(schedule, self._now)
            if now.changes is not None:
                self._wakes.append(now.changes)
            if now.holds and schedule.min_nodes > least:
                least = schedule.min_nodes
                reason = f"pool {pool.name} keeps {least} nodes at least until {schedule.until}, by schedule {schedule.cron!r}"
        return least, reason

    def _spare(self, pool: str) -> int:
        """How many nodes a pool has above its minimum."""
        return self._keepers[pool] - self._minima.get(pool, 0)

    def _empty(self) -> list[StopNode]:
        resumed = {step.node for step in self._resumes}
        reason = "it has been drained and is empty"
        return [
            StopNode(node=node.id, cause=StopCause.EMPTY, reason=reason)
            for node in self._fleet.drained
            if node.id not in resumed and not node.pinned
        ]


def _room(node: SeenNode, free: Capacity) -> Room:
    return Room(node.offering.pool, offered(node.capacity, free), node=node.id)


def _waits(rooms: Sequence[Room], kind: WaitKind, reason: str) -> list[Wait]:
    """One for each group that has room there."""
    counts: Counter[str] = Counter()
    nodes: defaultdict[str, list[str]] = defaultdict(list)
    for room in rooms:
        for group, count in room.content.items():
            counts[group] += count
            nodes[group].append(room.node)
    return [
        Wait(group=group, count=count, kind=kind, reason=reason, nodes=tuple(filter(None, nodes[group])))
        for group, count in counts.items()
    ]
