"""
Which nodes to start for the jobs that fit nowhere.

Note [Right sizes]
==================
Jobs are packed into machines of the size that is cheapest per job when full, of equal ones the largest: few machines, all of
them full but for the last.  Then every machine shrinks to the cheapest size that holds what was put into it.  Machines that
nobody fills are the largest part of what a cluster costs above the work that it does; the shrinking takes most of that away.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from modabatchd.infrastructure.planning.choices import Choice
from modabatchd.infrastructure.planning.fitting import why_never, within
from modabatchd.infrastructure.planning.headroom import Headroom, Obstacle
from modabatchd.infrastructure.planning.packing import Group, Room, Vector, fill_copies, holds
from modabatchd.infrastructure.planning.plan import Served, StartNode, Unsatisfiable, Wait, WaitKind
from modabatchd.infrastructure.policy import Policy


class Starting:
    """
    Orders nodes, and notes which jobs get none, and why.

    @param options: all that the policy has, the cheapest first.
    @param others: what nodes that are not ours have, were they empty.
    """

    def __init__(self, policy: Policy, options: Sequence[Choice], headroom: Headroom, others: Sequence[Vector] = ()) -> None:
        self._policy = policy
        self._options = options
        self._headroom = headroom
        self._others = others
        self.starts: list[StartNode] = []
        self.waits: list[Wait] = []
        self.unsatisfiable: list[Unsatisfiable] = []

    def serve(self, groups: Sequence[Group]) -> None:
        """Order what these need, as far as that is possible.  Groups of which no job is left are passed over."""
        pending = [group for group in groups if group.left and self._possible(group)]
        while pending:
            open_now = [choice for choice in self._options if self._headroom.obstacle(choice) is None]
            rooms, served = _pack(pending, open_now)
            refused = [room for room in rooms if not self._order(room, open_now)]
            for room in refused:
                _give_back(room, served)
            for group in pending:
                if group.left and group.demand.id not in served:
                    self._wait(group)
            pending = [group for group in pending if group.left and group.demand.id in served]

    def keep(self, pool: str, missing: int, reason: str) -> None:
        """Order the cheapest nodes of a pool, so many that are to be there even without work."""
        for choice in self._options:
            if missing > 0 and choice.offering.pool == pool:
                granted = self._headroom.grant(choice, missing)
                self._start(choice, granted, {}, reason)
                missing -= granted

    def _possible(self, group: Group) -> bool:
        """Whether a node could ever be started for such a job; if none, that is noted."""
        mine = [choice for choice in self._options if choice.offering.pool in group.demand.pools]
        reason = why_never(group.each, mine, self._policy)
        if reason and any(holds(room, group.each) for room in self._others):
            reason = f"a node that is there may run them, but none can be started: {reason}"
            self.waits.append(Wait(group=group.demand.id, count=group.left, kind=WaitKind.OCCUPIED, reason=reason))
        elif reason:
            self.unsatisfiable.append(Unsatisfiable(group.demand.id, group.left, reason))
        return not reason

    def _order(self, room: Room, options: Sequence[Choice]) -> bool:
        """Order nodes for the copies of a room; whether all of them were granted, else the room keeps the rest."""
        for choice in options:
            if room.takes(choice.offering.pool, choice.room):
                granted = self._headroom.grant(choice, room.copies)
                self._start(choice, granted, room.content, _reason(choice, room))
                room.copies -= granted
                if not room.copies:
                    return True
        return False

    def _start(self, choice: Choice, copies: int, content: dict[str, int], reason: str) -> None:
        if copies > 0:
            serves = tuple(Served(group, count) for group, count in sorted(content.items()))
            step = StartNode(
                offering=choice.offering, capacity=choice.capacity, price=choice.price, serves=serves, reason=reason
            )
            self.starts.extend([step] * copies)

    def _wait(self, group: Group) -> None:
        obstacle = self._first_obstacle(group)
        if obstacle is not None:
            kind, reason, until = obstacle
            self.waits.append(Wait(group=group.demand.id, count=group.left, kind=kind, reason=reason, until=until))

    def _first_obstacle(self, group: Group) -> Obstacle | None:
        """What stands against the cheapest that would do."""
        for choice in self._options:
            if choice.offering.pool in group.demand.pools and holds(choice.room, group.each) and within(choice, self._policy):
                return self._headroom.obstacle(choice)
        return None


def _pack(groups: Sequence[Group], options: Sequence[Choice]) -> tuple[list[Room], dict[str, Group]]:
    """Rooms for all jobs of the groups that any of the options can run, and those groups.  See Note [Right sizes]."""
    rooms: list[Room] = []
    served: dict[str, Group] = {}
    for group in groups:
        choice = _best(group, options)
        if choice is None:
            continue
        served[group.demand.id] = group
        fill_copies(rooms, group)
        if group.left:
            copies = -(-group.left // holds(choice.room, group.each))
            fresh = [Room(choice.offering.pool, choice.room, copies)]
            fill_copies(fresh, group)
            rooms.extend(fresh)
    return rooms, served


def _best(group: Group, options: Sequence[Choice]) -> Choice | None:
    """The option that is cheapest per job, and of equal ones the largest."""
    best, best_score = None, (0.0, 0)
    for choice in options:
        if choice.offering.pool in group.demand.pools and (fits := holds(choice.room, group.each)):
            # Prices are not exact: 0.16 for eight must not differ from 0.02 for one.
            score = (round(choice.price / fits, 9), -fits)
            if best is None or score < best_score:
                best, best_score = choice, score
    return best


def _give_back(room: Room, served: Mapping[str, Group]) -> None:
    for name, count in room.content.items():
        served[name].left += count * room.copies


def _reason(choice: Choice, room: Room) -> str:
    jobs = sum(room.content.values())
    whom, them = ("a job waits that fits", "it") if jobs == 1 else (f"{jobs} jobs wait that fit", "them")
    return f"{whom} on no node there is, and {choice.offering.size} is the cheapest size to be had that holds {them}"
