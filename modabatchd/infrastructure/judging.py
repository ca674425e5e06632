"""
What has become of a node, by what its provider and the pool show.  Pure.

Note [Lists that are late]
==========================
Providers list a machine some time after they have made it, and may leave one out of a list for a moment.  So a new node is not
missed for two minutes, and one that was listed not for one; and while the pool hears of a node after its provider stopped
listing it, the provider is wrong.  A machine of a node that was taken to be gone by mistake is found by its tag, and adopted.

Note [Two machines of one node]
===============================
A create that was repeated can have made two.  Until one of them has joined, all but one are destroyed.  Later nobody can tell
which of them runs the node's jobs: then the node is to go, and takes all its machines along once it is empty.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from modabatchd.infrastructure.look import Presence
from modabatchd.infrastructure.node import Capacity, Machine, MachineState, Node, NodeState, Offering
from modabatchd.infrastructure.planning import OutcomeKind
from modabatchd.infrastructure.policy import Pool
from modabatchd.infrastructure.register import Entry

#: Seconds; see Note [Lists that are late].
UNLISTED: Final = 120.0
VANISHED: Final = 60.0

_UNJOINED: Final = (NodeState.REQUESTED, NodeState.BOOTING)
_OFF: Final = (MachineState.STOPPED, MachineState.ERROR)


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """
    @ivar outcome: what is to be learned of its offering.
    @ivar destroy: ids of machines that are to go now.
    """

    entry: Entry
    outcome: OutcomeKind | None = None
    destroy: tuple[str, ...] = ()


def changed(entry: Entry, **fields: Any) -> Entry:
    """An entry with other fields of its node."""
    return msgspec.structs.replace(entry, node=msgspec.structs.replace(entry.node, **fields))


def judge(entry: Entry, machines: Sequence[Machine], presence: Presence | None, creating: bool, now: float) -> Verdict:
    """
    What has become of a node that was alive.

    @param machines: of it, in whatever state.
    @param presence: L{None} when the pool does not show it.
    @param creating: whether a create of its machine is under way.
    """
    entry = heard(entry, presence, now)
    alive = [machine for machine in machines if machine.state is not MachineState.TERMINATED]
    if alive:
        return _with(_listed(entry, alive), alive, presence)
    if creating:
        return Verdict(entry=entry)
    return _without(entry, bool(machines), presence, now)


def heard(entry: Entry, presence: Presence | None, now: float) -> Entry:
    """What the pool alone tells of a node: that it has joined."""
    if presence is not None and entry.node.state in _UNJOINED:
        return changed(entry, state=NodeState.UP, joined=now, reason="it has joined the pool")
    return entry


def gone(entry: Entry, reason: str, now: float) -> Entry:
    """It has ended."""
    return changed(entry, state=NodeState.GONE, stopped=now, reason=reason)


def adopted(machine: Machine, known: Entry | None, pool: Pool | None, presence: Presence | None, now: float) -> Entry:
    """
    A machine that carries our tag, and that no living node has: it gets one, which is to go.

    @param known: the node that it was of, which is gone.
    @param pool: that shows it.
    """
    joined = presence is not None
    state = NodeState.UP if joined else NodeState.BOOTING
    reason = "its machine was found by its tag, and no node was known to have it"
    if known is None:
        node_id = machine.node_id or f"machine-{machine.id}"
        known = Entry(node=_unknown(node_id, machine, pool, presence, now))
    entry = changed(
        known,
        state=state,
        stopped=None,
        machine_id=machine.id,
        joined=known.node.joined or (now if joined else None),
        reason=reason,
    )
    return msgspec.structs.replace(entry, retiring=True, listed=True, missing=None)


def owners(entries: Mapping[str, Entry], machines: Sequence[Machine]) -> tuple[dict[str, list[Machine]], list[Machine]]:
    """Machines by the node that they are of, and those of no node that is alive."""
    by_name = {entry.node.name: node_id for node_id, entry in entries.items()}
    by_machine = {entry.node.machine_id: node_id for node_id, entry in entries.items() if entry.node.machine_id}
    found: dict[str, list[Machine]] = {}
    strays = []
    for machine in machines:
        owner = machine.node_id if machine.node_id in entries else None
        if owner is None and not machine.node_id:
            owner = by_machine.get(machine.id) or by_name.get(machine.name)
        if owner is None:
            strays.append(machine)
        else:
            found.setdefault(owner, []).append(machine)
    return found, strays


def _listed(entry: Entry, alive: Sequence[Machine]) -> Entry:
    known = entry.node.machine_id
    best = min(alive, key=lambda machine: (machine.id != known, machine.state in _OFF, machine.id))
    state = NodeState.BOOTING if entry.node.state is NodeState.REQUESTED else entry.node.state
    return msgspec.structs.replace(changed(entry, machine_id=best.id, state=state), listed=True, missing=None)


def _with(entry: Entry, alive: Sequence[Machine], presence: Presence | None) -> Verdict:
    node = entry.node
    if node.state is NodeState.STOPPING:
        return Verdict(entry=entry, destroy=tuple(machine.id for machine in alive))
    [mine] = [machine for machine in alive if machine.id == node.machine_id]
    off = mine.state is MachineState.STOPPED or (mine.state is MachineState.ERROR and (presence is None or not presence.jobs))
    if off or (mine.state is MachineState.STOPPING and node.state in _UNJOINED):
        died = OutcomeKind.DIED if node.state in _UNJOINED else None
        reason = f"its provider shows its machine as {mine.state.value}"
        return Verdict(entry=changed(entry, state=NodeState.STOPPING, reason=reason), outcome=died)
    others = tuple(machine.id for machine in alive if machine is not mine)
    if mine.state is MachineState.STOPPING:
        return Verdict(entry=_to_go(entry, "its provider takes its machine away"))
    if others and node.state not in _UNJOINED:
        return Verdict(entry=_to_go(entry, "it has more than one machine"))
    return Verdict(entry=entry, destroy=others)


def _to_go(entry: Entry, reason: str) -> Entry:
    """Its jobs may end."""
    return msgspec.structs.replace(changed(entry, reason=reason), retiring=True)


def _without(entry: Entry, terminated: bool, presence: Presence | None, now: float) -> Verdict:
    """See Note [Lists that are late]."""
    node = entry.node
    stopping = node.state is NodeState.STOPPING
    died = OutcomeKind.DIED if node.state in _UNJOINED and (terminated or entry.listed) else None
    if terminated or (stopping and entry.listed):
        reason = (node.reason or "") if stopping else "its provider has ended its machine"
        return Verdict(entry=gone(entry, reason, now), outcome=died)
    if not entry.listed:
        late = now >= node.requested + UNLISTED
        reason = "its machine never came into being, as far as its provider shows"
        return Verdict(entry=gone(entry, reason, now) if late and presence is None else entry)
    if entry.missing is None or (presence is not None and presence.heard > entry.missing):
        return Verdict(entry=msgspec.structs.replace(entry, missing=now))
    if now < entry.missing + VANISHED:
        return Verdict(entry=entry)
    return Verdict(entry=gone(entry, "its machine has vanished", now), outcome=died)


def _unknown(node_id: str, machine: Machine, pool: Pool | None, presence: Presence | None, now: float) -> Node:
    """A node of which no record is left; what it costs, nobody knows: at most what the dearest costs."""
    sizes = sorted(pool.sizes if pool else (), key=lambda size: size.price)
    capacity = presence.total if presence else sizes[-1].capacity if sizes else Capacity()
    return Node(
        id=node_id,
        name=machine.name,
        offering=Offering(pool=pool.name if pool else "", size=sizes[-1].id if sizes else ""),
        capacity=capacity,
        price=sizes[-1].price if sizes else 0.0,
        state=NodeState.BOOTING,
        requested=now,
    )
