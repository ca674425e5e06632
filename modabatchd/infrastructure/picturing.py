"""
What planning is shown: records and observation put together.  Pure.

Note [Pools that are left alone]
================================
A pool whose provider cannot be used, or that the policy no longer has, must not be planned for, yet its nodes count against all
limits.  So its nodes are shown as pinned, and the pool as closed.

A node that may be in the pool unseen (see Note [What is not believed] in L{modabatchd.infrastructure.observing}) is shown as
pinned as well: it counts, but may not be stopped yet.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from modabatchd.infrastructure.look import Presence
from modabatchd.infrastructure.matching import resolved
from modabatchd.infrastructure.node import Capacity, NodeState
from modabatchd.infrastructure.observing import Observation, doubt, unseen
from modabatchd.infrastructure.planning import Memory, OtherNode, Outcome, SeenNode, Snapshot, seen
from modabatchd.infrastructure.policy import Policy
from modabatchd.infrastructure.presences import PREFIX
from modabatchd.infrastructure.register import Entry, Overrides

#: Seconds after we had a node take jobs again in which its slots may still say that it drains.
_RESUMING: Final = 10.0


def snapshot(
    observation: Observation,
    entries: Iterable[Entry],
    overrides: Overrides,
    policy: Policy,
    outcomes: Iterable[Outcome],
    spent: float,
    now: float,
) -> Snapshot:
    """What a plan is made from."""
    kept = list(entries)
    presences = observation.presences
    return Snapshot(
        groups=resolved(observation.look.demand, policy),
        nodes=tuple(_seen(entry, presences.get(entry.node.name), observation, policy, now) for entry in kept),
        others=tuple(_other(presence) for name, presence in presences.items() if not name.startswith(PREFIX)),
        outcomes=tuple(outcomes),
        spent=spent,
        stale=doubt(observation, kept, now),
        paused=overrides.paused,
    )


def closed(memory: Memory, broken: Mapping[str, str]) -> Memory:
    """A memory in which broken pools are closed.  See Note [Pools that are left alone]."""
    return msgspec.structs.replace(memory, closed={**memory.closed, **broken})


def opened(memory: Memory, before: Memory, broken: Mapping[str, str]) -> Memory:
    """The same without them, but for those that were closed before."""
    kept = {name: why for name, why in memory.closed.items() if name not in broken or name in before.closed}
    return msgspec.structs.replace(memory, closed={name: before.closed.get(name, why) for name, why in kept.items()})


def left_alone(entry: Entry, observation: Observation, policy: Policy) -> bool:
    """See Note [Pools that are left alone]."""
    pool = entry.node.offering.pool
    return pool in observation.broken or policy.pool(pool) is None


def _seen(entry: Entry, presence: Presence | None, observation: Observation, policy: Policy, now: float) -> SeenNode:
    node = entry.node
    if presence is not None and node.state is NodeState.UP and presence.draining and _just_resumed(entry, presence):
        presence = msgspec.structs.replace(presence, draining=False)
    shown = seen(node, presence, entry.retiring)
    if left_alone(entry, observation, policy):
        return msgspec.structs.replace(shown, pinned=True, retiring=False)
    if unseen(entry, observation.look, now):
        return msgspec.structs.replace(shown, pinned=True)
    return shown


def _other(presence: Presence) -> OtherNode:
    return OtherNode(presence.total, Capacity(cpus=0) if presence.draining else presence.free)


def _just_resumed(entry: Entry, presence: Presence) -> bool:
    return entry.resumed is not None and presence.heard < entry.resumed + _RESUMING
