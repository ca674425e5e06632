"""
The register as the daemon has it at hand.

Note [One page open]
====================
One daemon alone writes to the register, so what it has read and written is what the register holds, and nothing has to be
read again.  After a write that failed nobody knows whether it happened: then everything is read anew before anything else is
done.  Whoever reads and writes has the turn (L{Book.turn}) from the first to the last; nothing that may take long is waited
for meanwhile but the register itself and a fresh look at the pool.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any, Final, TypeVar

import msgspec
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from modabatchd.infrastructure import money
from modabatchd.infrastructure.node import NodeState
from modabatchd.infrastructure.planning import Memory, decode_memory, encode_memory
from modabatchd.infrastructure.policy import Policy
from modabatchd.infrastructure.register import Change, Entry, IRegister, Overrides, Spent
from modabatchd.notifications.message import Message

T = TypeVar("T")

#: Seconds for which it need not be written that time passes.
_UNWRITTEN: Final = 60.0
#: Seconds for which nodes that are gone are remembered.
_REMEMBERED: Final = 90 * 86400.0


class Book:
    """
    See Note [One page open].

    @param written: what the owner has written down.
    @ivar entries: of all nodes that cost money, or may, by id.
    @ivar told: see L{modabatchd.infrastructure.register.Kept}.
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime, register: IRegister, written: Policy) -> None:
        self._clock = clock
        self._register = register
        self._written = written
        self._month = ""
        self._spent: dict[str, float] = {}
        self._written_memory: Memory | None = None
        self._turn = DeferredLock()
        self.entries: dict[str, Entry] = {}
        self.memory = Memory()
        self.overrides = Overrides()
        self.told = ""

    @property
    def policy(self) -> Policy:
        """What the owner has written down, and said since."""
        limits = self.overrides.limits
        return self._written if limits is None else msgspec.structs.replace(self._written, limits=limits)

    def turn(self, work: Callable[[], Coroutine[Deferred[Any], Any, T]]) -> Deferred[T]:
        """Do something with the book open and to oneself."""

        async def opened() -> T:
            await self._open()
            return await work()

        return self._turn.run(lambda: Deferred.fromCoroutine(opened()))

    def spent(self) -> Mapping[str, float]:
        """What was spent this month, by pool."""
        total = dict(self._spent)
        for entry in self.entries.values():
            pool = entry.node.offering.pool
            total[pool] = total.get(pool, 0.0) + money.unbooked([entry], self._clock.seconds())
        return total

    def named(self, name: str) -> Entry | None:
        """The node of this name or id; L{None} if there is none that is alive."""
        return self.entries.get(name) or next((entry for entry in self.entries.values() if entry.node.name == name), None)

    def recall(self, name: str) -> Deferred[Entry | None]:
        """A node by its name or id, also one that is gone."""
        return self._register.one(name)

    def remember(self, memory: Memory) -> bool:
        """
        Have what was learned at hand.

        @return: whether it is worth writing: it is not if nothing but the time has changed since a moment ago.
        """
        at, written = memory.at or 0.0, self._written_memory
        self.memory = memory
        if written is not None and 0 <= at - (written.at or 0.0) < _UNWRITTEN:
            return msgspec.structs.replace(written, at=memory.at) != memory
        return True

    async def write(
        self,
        entries: Iterable[Entry] = (),
        memory: Memory | None = None,
        overrides: Overrides | None = None,
        decision: bytes | None = None,
        told: str | None = None,
        messages: Iterable[Message] = (),
    ) -> None:
        """Write, and have it at hand; in one's turn only.  What nodes that end have cost is booked with it."""
        now = self._clock.seconds()
        booked, spent = self._book(entries)
        ended = any(entry.node.state is NodeState.GONE for entry in booked)
        change = Change(
            entries=tuple(booked),
            memory=None if memory is None else encode_memory(memory),
            overrides=overrides,
            decision=None if decision is None else (now, decision),
            spent=tuple(spent),
            forget=now - _REMEMBERED if ended else None,
            told=told,
            messages=tuple(messages),
        )
        if change == Change():
            return
        try:
            await self._register.write(change)
        except BaseException:
            self._month, self._written_memory = "", None
            raise
        self._apply(change, memory)

    def _book(self, entries: Iterable[Entry]) -> tuple[list[Entry], list[Spent]]:
        booked, spent = [], []
        for entry in entries:
            stopped = entry.node.stopped
            if entry.node.state is NodeState.GONE and stopped is not None:
                pool = self._written.pool(entry.node.offering.pool)
                due = list(money.due(entry, stopped, pool.billing_quantum if pool else 0.0))
                spent += [each for each in due if each.amount]
                entry = msgspec.structs.replace(entry, booked=max(stopped, entry.booked or 0.0))
            booked.append(entry)
        return booked, spent

    def _apply(self, change: Change, memory: Memory | None) -> None:
        for entry in change.entries:
            self.entries[entry.node.id] = entry
            if not entry.node.state.alive:
                del self.entries[entry.node.id]
        if memory is not None:
            self.memory = self._written_memory = memory
        self.overrides = change.overrides or self.overrides
        self.told = self.told if change.told is None else change.told
        for spent in change.spent:
            if spent.month == self._month:
                self._spent[spent.pool] = self._spent.get(spent.pool, 0.0) + spent.amount

    async def _open(self) -> None:
        month = money.month(self._clock.seconds())
        if month == self._month:
            return
        kept = await self._register.load(month)
        self.entries = {entry.node.id: entry for entry in kept.entries}
        self.memory = self._memory(kept.memory)
        self.overrides, self.told = kept.overrides, kept.told
        self._spent = dict(kept.spent)
        self._month = month

    def _memory(self, text: bytes | None) -> Memory:
        """What another release wrote may not be readable; then learning begins anew."""
        try:
            return Memory() if text is None else decode_memory(text)
        except msgspec.ValidationError as problem:
            self._log.warn("what was learned about nodes cannot be read, and is forgotten: {problem}", problem=problem)
            return Memory()
