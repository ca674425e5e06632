"""
Taking over by hand: what an owner does beside, or against, what is planned.

All of it is recorded, and so outlives the daemon; what changes nodes goes the same way as the steps of a plan.  Every method
may fail with L{modabatchd.errors.StoreAway}.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from modabatchd.errors import QueueAway
from modabatchd.infrastructure import journal
from modabatchd.infrastructure.book import Book
from modabatchd.infrastructure.carrying import Carrier
from modabatchd.infrastructure.hands import Hands
from modabatchd.infrastructure.intending import drained, ordered, resumed, stopped
from modabatchd.infrastructure.judging import changed
from modabatchd.infrastructure.look import PoolLook
from modabatchd.infrastructure.node import NodeState
from modabatchd.infrastructure.observing import SETTLE, Observer, unseen
from modabatchd.infrastructure.planning import Memory, reopened, seen
from modabatchd.infrastructure.planning.choices import Choice, choices
from modabatchd.infrastructure.planning.headroom import Headroom
from modabatchd.infrastructure.policy import Limits
from modabatchd.infrastructure.refusals import DryRun, NotNow, UnknownNode, UnknownPool
from modabatchd.infrastructure.register import Entry

_REASON = "its owner has said so"
_YOUNG = (NodeState.REQUESTED, NodeState.BOOTING)


class ByHand:
    """
    See the module.

    @param new_id: makes UUIDs.
    @param wake: something was changed.
    """

    def __init__(
        self,
        clock: IReactorTime,
        observer: Observer,
        book: Book,
        hands: Hands,
        carrier: Carrier,
        new_id: Callable[[], str],
        wake: Callable[[], None],
    ) -> None:
        self._clock = clock
        self._observer = observer
        self._book = book
        self._hands = hands
        self._carrier = carrier
        self._new_id = new_id
        self._wake = wake

    def pause(self, paused: bool) -> Deferred[None]:
        """Stop all scaling, or go on with it.  Nodes that are told to go by hand still go."""

        async def work() -> None:
            overrides = msgspec.structs.replace(self._book.overrides, paused=paused)
            said = "the owner has stopped all scaling" if paused else "the owner lets scaling go on"
            await self._book.write(overrides=overrides, decision=_said(said))

        return self._turn(work)

    def limit(self, change: Callable[[Limits], Limits] | None) -> Deferred[Limits]:
        """
        Change limits until further notice.

        @param change: of those that count now; L{None}: back to the policy's.
        @return: those that count from now on.
        """

        async def work() -> Limits:
            limits = None if change is None else change(self._book.policy.limits)
            overrides = msgspec.structs.replace(self._book.overrides, limits=limits)
            said = "the policy's limits count again" if limits is None else f"the owner has changed the limits: {limits}"
            await self._book.write(overrides=overrides, decision=_said(said))
            return self._book.policy.limits

        return self._turn(work)

    def reopen(self, pool: str) -> Deferred[None]:
        """Use a pool again that was closed.  @raise UnknownPool: the policy has none of that name."""

        async def work() -> None:
            self._check_pool(pool)
            said = _said(f"the owner has opened pool {pool} again")
            await self._book.write(memory=reopened(self._book.memory, pool), decision=said)

        return self._turn(work)

    def start(self, pool: str, count: int) -> Deferred[list[Entry]]:
        """
        Start the cheapest nodes of a pool, up to so many.

        @raise UnknownPool: the policy has none of that name.
        @raise NotNow: not one may be started.
        """
        return self._turn(lambda: self._start(pool, count))

    def pin(self, name: str, pinned: bool) -> Deferred[Entry]:
        """A pinned node is never stopped.  @raise UnknownNode: there is none of that name."""

        async def work() -> Entry:
            return await self._change(changed(self._node(name), pinned=pinned), "pinned" if pinned else "unpinned")

        return self._turn(work)

    def drain(self, name: str) -> Deferred[Entry]:
        """
        Let a node take no new jobs, and go once it is empty.

        @raise UnknownNode: there is none of that name.
        @raise NotNow: it is being stopped already, or not in the pool yet.
        """
        return self._turn(lambda: self._drain(self._node(name)))

    def undrain(self, name: str) -> Deferred[Entry]:
        """
        Let a node take jobs again.

        @raise UnknownNode: there is none of that name.
        @raise NotNow: it does not drain.
        """
        return self._turn(lambda: self._undrain(self._node(name)))

    def stop(self, name: str) -> Deferred[Entry]:
        """
        End a node that runs no job: drain it, and have it stopped as soon as that has shown.

        @raise UnknownNode: there is none of that name.
        @raise NotNow: it runs jobs, or is pinned.
        @raise QueueAway: whether it runs jobs cannot be found out.
        """
        return self._turn(lambda: self._stop(self._node(name)))

    async def _start(self, pool: str, count: int) -> list[Entry]:
        self._check_pool(pool)
        self._check_free()
        now, memory = self._clock.seconds(), self._book.memory
        picked = self._pick(pool, count, now)
        started = [ordered(self._new_id(), choice.offering, choice.capacity, choice.price, _REASON, now) for choice in picked]
        learned = msgspec.structs.replace(memory, starts=(*memory.starts, *[now] * len(started)))
        await self._book.write(started, learned, decision=_said(f"the owner starts {len(started)} nodes of pool {pool}"))
        for entry in started:
            written = self._book.policy.pool(pool)
            if written is not None:
                self._carrier.start(entry, written)
        return started

    def _pick(self, pool: str, count: int, now: float) -> list[Choice]:
        memory, policy = self._book.memory, self._book.policy
        options = [choice for choice in choices(policy, memory.turned_out) if choice.offering.pool == pool]
        headroom = self._headroom(memory, now)
        obstacle = headroom.obstacle(options[0]) if options else None
        picked: list[Choice] = []
        for choice in options:
            picked += [choice] * headroom.grant(choice, count - len(picked))
        if not picked:
            kind, reason, _ = obstacle or ("none", f"pool {pool} has no size", None)
            raise NotNow(str(kind), f"No node is started: {reason}.", "Change that, or wait until it changes.")
        return picked

    def _headroom(self, memory: Memory, now: float) -> Headroom:
        nodes = [seen(entry.node, None) for entry in self._book.entries.values()]
        starts = tuple(start for start in memory.starts if start > now - 60.0)
        offs = {off.offering: off for off in memory.back_offs}
        return Headroom(self._book.policy, nodes, offs, memory.closed, None, starts, now)

    async def _drain(self, entry: Entry) -> Entry:
        self._check_free()
        if entry.node.state in (*_YOUNG, NodeState.STOPPING):
            state = entry.node.state.value
            raise NotNow(state, f"The node is {state}: there is nothing to drain.", "Stop it, or wait until it is up.")
        retiring = msgspec.structs.replace(drained(entry, _REASON), retiring=True)
        done = await self._change(retiring, "told to drain and go")
        self._carrier.drain(done)
        return done

    async def _undrain(self, entry: Entry) -> Entry:
        self._check_free()
        if entry.node.state is not NodeState.DRAINING:
            state = entry.node.state.value
            raise NotNow(state, f"The node is {state}: it does not drain.", "Look at it with GET /infrastructure.")
        done = await self._change(resumed(entry, _REASON, self._clock.seconds()), "told to take jobs again")
        self._carrier.resume(done)
        return done

    async def _stop(self, entry: Entry) -> Entry:
        self._check_free()
        node = entry.node
        if node.state is NodeState.STOPPING:
            return entry
        if node.pinned:
            raise NotNow("pinned", "The node is pinned, and so is never stopped.", "Unpin it first.")
        look = await self._observer.look_again()
        presence = look.by_name.get(node.name)
        if presence is not None and presence.jobs:
            cause = f"The node runs {len(presence.jobs)} jobs."
            raise NotNow(node.state.value, cause, "Drain it: it goes when they are done.")
        if presence is None and node.state in _YOUNG:
            self._check_seen(entry, look)
            done = await self._change(stopped(entry, _REASON), "stopped")
            self._carrier.stop(done, in_pool=False)
            return done
        return await self._drain(changed(entry, state=NodeState.UP))

    async def _change(self, entry: Entry, what: str) -> Entry:
        await self._book.write([entry], decision=_said(f"the owner has {what}: {entry.node.name}"))
        return entry

    def _turn(self, work: Callable[[], Coroutine[Deferred[Any], Any, Any]]) -> Deferred[Any]:
        def woken(result: Any) -> Any:
            self._wake()
            return result

        return self._book.turn(work).addCallback(woken)

    def _node(self, name: str) -> Entry:
        entry = self._book.named(name)
        if entry is None:
            raise UnknownNode(f"There is no node {name[:100]!r}.", "List the nodes with GET /infrastructure.")
        return entry

    def _check_pool(self, name: str) -> None:
        if self._book.policy.pool(name) is None:
            known = ", ".join(pool.name for pool in self._book.policy.pools)
            raise UnknownPool(f"There is no pool {name[:100]!r}.", f"The pools are {known}.")

    def _check_seen(self, entry: Entry, look: PoolLook) -> None:
        if unseen(entry, look, self._clock.seconds()):
            cause = "The pool's collector was started a moment ago, and may not know the node yet."
            raise QueueAway(cause, f"Wait until it has run for {SETTLE:.0f} s.", untouched=True)

    def _check_free(self) -> None:
        if self._hands.tied:
            raise DryRun()


def _said(what: str) -> bytes:
    return journal.encode(journal.Written(reason=what, by_hand=True))
