"""
Nodes, as their slots show them.  Pure: ads in, values out.

A node of ours has one partitionable slot, from which a dynamic slot is cut for each job.  Other nodes of the pool may have any
slots; they are shown as well, for they too have room for jobs.

Note [Busy]
===========
A node from which a slot is claimed is about to run a job, even if the slot does not name one yet; to take it for idle would
stop it in just that moment.  So such a slot counts as a job, under the slot's name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from modabatchd.infrastructure.look import Presence
from modabatchd.infrastructure.node import Capacity

#: How the names of our nodes begin.
PREFIX: Final = "modabatch-"
_IDLE: Final = frozenset({"Unclaimed", "Owner", "Drained", "Backfill"})

Ad = Mapping[str, Any]


def presences(ads: Iterable[Ad]) -> tuple[Presence, ...]:
    """All nodes, sorted by name; slots of machines that are switched off do not count."""
    nodes: dict[str, list[Ad]] = {}
    for ad in ads:
        if ad.get("MyType") == "Machine" and ad.get("Offline") is not True:
            nodes.setdefault(node_of(str(ad.get("Name", ""))), []).append(ad)
    return tuple(_presence(name, slots) for name, slots in sorted(nodes.items()))


def node_of(slot: str) -> str:
    """The node of a slot: of C{slot1_2@modabatch-0123456789abcdef.example.org} what is between; others keep their domain."""
    host = slot.partition("@")[2] or slot
    name = host.partition("@")[0].partition(".")[0]
    return name if name.startswith(PREFIX) else host


def _presence(name: str, slots: Sequence[Ad]) -> Presence:
    # A dynamic slot has its share from a partitionable one, which counts it in its total.
    whole = [slot for slot in slots if slot.get("SlotType") != "Dynamic"]
    free = [slot for slot in whole if slot.get("SlotType") == "Partitionable" or slot.get("State") in _IDLE]
    return Presence(
        name=name,
        total=_sum(_capacity(slot, "TotalSlot") for slot in whole),
        free=_sum(_capacity(slot, "") for slot in free),
        jobs=tuple(sorted(str(slot.get("GlobalJobId") or slot["Name"]) for slot in slots if _busy(slot))),
        draining=any(slot.get("Draining") is True or slot.get("State") == "Drained" for slot in slots),
        heard=max(float(slot.get("LastHeardFrom", 0)) for slot in slots),
    )


def _busy(slot: Ad) -> bool:
    """See Note [Busy]."""
    partitionable = slot.get("SlotType") == "Partitionable"
    return "GlobalJobId" in slot or (not partitionable and slot.get("State") not in _IDLE)


def _capacity(slot: Ad, prefix: str) -> Capacity:
    def amount(what: str) -> int:
        return int(slot.get(prefix + what, slot.get(what, 0)))

    return Capacity(cpus=amount("Cpus"), memory=amount("Memory"), disk=amount("Disk"), gpus=amount("GPUs"))


def _sum(parts: Iterable[Capacity]) -> Capacity:
    total = Capacity(cpus=0)
    for part in parts:
        total = Capacity(
            cpus=total.cpus + part.cpus,
            memory=total.memory + part.memory,
            disk=total.disk + part.disk,
            gpus=total.gpus + part.gpus,
        )
    return total
