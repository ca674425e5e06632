"""
Putting jobs into rooms: the free capacity of nodes that are there, and of nodes that could be.

Jobs come in groups and rooms in copies, so the work depends on how many groups, nodes and sizes there are, never on how many
jobs.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from typing import Final

from modabatchd.infrastructure.look import DemandGroup
from modabatchd.infrastructure.node import Capacity

#: Cores, MiB, KiB of disk, GPUs.
Vector = tuple[int, int, int, int]

#: More than anybody asks for.
PLENTY: Final = 1 << 60


def asked(each: Capacity) -> Vector:
    """What a job takes.  Every job has a core."""
    return max(1, each.cpus), each.memory, each.disk, each.gpus


def offered(total: Capacity, free: Capacity) -> Vector:
    """What is free.  Memory and disk that nobody counts, so that there is none in total, are never short."""
    return free.cpus, free.memory if total.memory else PLENTY, free.disk if total.disk else PLENTY, free.gpus


def holds(free: Vector, each: Vector) -> int:
    """How many of these jobs fit."""
    cpus, memory, disk, gpus = each
    count = free[0] // cpus
    if memory and free[1] // memory < count:
        count = free[1] // memory
    if disk and free[2] // disk < count:
        count = free[2] // disk
    if gpus and free[3] // gpus < count:
        count = free[3] // gpus
    return count


class Group:
    """
    A group of jobs while it is packed.

    @ivar left: how many jobs have no room yet.
    """

    __slots__ = ("demand", "each", "left")

    def __init__(self, demand: DemandGroup) -> None:
        self.demand = demand
        self.each = asked(demand.each)
        self.left = demand.count


def largest_first(groups: Iterable[DemandGroup]) -> list[Group]:
    """
    In the order in which they are packed: what is hard to place comes first, and of the same shape what has waited longest.
    """
    packed = [Group(demand) for demand in groups if demand.count > 0]
    packed.sort(
        key=lambda group: (-group.each[3], -group.each[0], -group.each[1], -group.each[2], group.demand.oldest, group.demand.id)
    )
    return packed


class Room:
    """
    Equal places for jobs.

    @ivar pool: that it is in, or would be; empty for a node that is not ours.
    @ivar node: whose it is; empty when there is none yet.
    @ivar copies: how many of it there are.
    @ivar content: how many jobs of each group were put into each copy.
    """

    __slots__ = ("_pools", "_whole", "content", "copies", "free", "node", "pool")

    def __init__(self, pool: str, free: Vector, copies: int = 1, node: str = "") -> None:
        self.pool = pool
        self.node = node
        self.free = self._whole = free
        self.copies = copies
        self.content: dict[str, int] = {}
        self._pools: AbstractSet[str] | None = None

    def put(self, group: Group, count: int) -> None:
        """Put so many jobs of a group into each copy; the caller knows that they fit."""
        cpus, memory, disk, gpus = group.each
        free = self.free
        self.free = (free[0] - count * cpus, free[1] - count * memory, free[2] - count * disk, free[3] - count * gpus)
        self.content[group.demand.id] = self.content.get(group.demand.id, 0) + count
        self._pools = group.demand.pools if self._pools is None else self._pools & group.demand.pools
        group.left -= count * self.copies

    def takes(self, pool: str, room: Vector) -> bool:
        """Whether a node of some pool, with this much on it, would do for what was put in here."""
        whole, free = self._whole, self.free
        return (
            whole[0] - free[0] <= room[0]
            and whole[1] - free[1] <= room[1]
            and whole[2] - free[2] <= room[2]
            and whole[3] - free[3] <= room[3]
            and self._pools is not None
            and pool in self._pools
        )

    def split(self, copies: int) -> Room:
        """Take so many copies out of it, to be filled differently."""
        other = Room(self.pool, self._whole, copies)
        other.free, other.content, other._pools = self.free, dict(self.content), self._pools
        self.copies -= copies
        return other


def fill(rooms: list[Room], group: Group) -> None:
    """Put a group into single rooms, the first ones first; those without a core left are taken off the list."""
    cpus, memory, disk, gpus = group.each
    pools = group.demand.pools
    put = False
    for room in rooms:
        free = room.free
        if free[0] < cpus or free[1] < memory or free[2] < disk or free[3] < gpus or (room.pool and room.pool not in pools):
            continue
        room.put(group, min(holds(free, group.each), group.left))
        put = True
        if not group.left:
            break
    if put:
        rooms[:] = [room for room in rooms if room.free[0]]


def fill_copies(rooms: list[Room], group: Group) -> None:
    """Put a group into rooms that there are several of; those of which some copies get more than others are split."""
    cpus, memory, disk, gpus = group.each
    for room in list(rooms):
        free = room.free
        if free[0] < cpus or free[1] < memory or free[2] < disk or free[3] < gpus or room.pool not in group.demand.pools:
            continue
        # The few that get less are split off, so that the many stay where they are.
        for copies, count in reversed(_shares(group.left, room.copies, holds(free, group.each))):
            part = room if copies == room.copies else room.split(copies)
            if part is not room:
                rooms.append(part)
            part.put(group, count)
        if not group.left:
            return


def _shares(jobs: int, copies: int, fits: int) -> list[tuple[int, int]]:
    """How many copies get how many jobs each."""
    full = min(copies, jobs // fits)
    shares = [(full, fits)] if full else []
    if full < copies and (rest := jobs - full * fits):
        shares.append((1, rest))
    return shares
