"""
Carrying out what was decided: the effects, each after its intent was recorded.

Note [Effects take their time]
==============================
A create may take minutes, and nobody waits for it in the meantime: it goes on beside the next rounds, and what came of it is
recorded when it ends.  Whatever is lost in between, by a crash or an answer that never came, the next rounds find by what the
provider and the pool show.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final

import msgspec
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from modabatchd.errors import ModabatchError
from modabatchd.infrastructure.book import Book
from modabatchd.infrastructure.errors import CloudError, CloudRefused, NoCapacity, QuotaReached, Throttled
from modabatchd.infrastructure.hands import Hands
from modabatchd.infrastructure.interfaces import Order
from modabatchd.infrastructure.judging import changed, gone
from modabatchd.infrastructure.node import Node, NodeState
from modabatchd.infrastructure.planning import Outcome, OutcomeKind
from modabatchd.infrastructure.policy import Pool
from modabatchd.infrastructure.register import Entry

#: What the machine of a node is told.
Tell = Callable[[Node, Pool, str], str]

_KINDS: Final[Mapping[type[CloudError], OutcomeKind]] = {
    NoCapacity: OutcomeKind.NO_CAPACITY,
    QuotaReached: OutcomeKind.QUOTA,
    Throttled: OutcomeKind.THROTTLED,
    CloudRefused: OutcomeKind.REFUSED,
}
#: Seconds until a machine that was told to go, or a node that was told to drain, is told again.
_AGAIN: Final = 15.0
#: Seconds that a token outlives the last day of its node, for jobs that end there.
_GRACE: Final = 86400.0


class _Tried(msgspec.Struct, frozen=True):
    """
    What came of a create.

    @ivar unknown: whether there may be a machine all the same.
    """

    kind: OutcomeKind
    reason: str = ""
    machine_id: str | None = None
    unknown: bool = False
    retry_after: float = 0.0


class Carrier:
    """
    See Note [Effects take their time].

    @param tell: writes what a machine is told, given its token.
    @param wake: something has happened.
    @ivar outcomes: of starts, until the next plan that is kept has learned them.
    @ivar creating: ids of the nodes whose machines are being created.
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime, book: Book, hands: Hands, tell: Tell, wake: Callable[[], None]) -> None:
        self._clock = clock
        self._book = book
        self._hands = hands
        self._tell = tell
        self._wake = wake
        self._under_way: set[Deferred[None]] = set()
        self._told: dict[str, float] = {}
        self._to_revoke: set[str] = set()
        self.outcomes: list[Outcome] = []
        self.creating: set[str] = set()

    def idle(self) -> Deferred[Any]:
        """Fires when what is under way has ended."""
        return DeferredList(list(self._under_way), consumeErrors=True)

    def start(self, entry: Entry, pool: Pool) -> None:
        """Create the machine of a node that was recorded."""
        self.creating.add(entry.node.id)
        self._begin(self._start(entry, pool), f"starting {entry.node.name}")

    def drain(self, entry: Entry) -> None:
        """Let a node take no new jobs, unless it was told so a moment ago."""
        if not self._is_time(entry.node.name):
            return
        self._begin(self._quietly(self._hands.drain(entry.node.name), "draining", entry), f"draining {entry.node.name}")

    def resume(self, entry: Entry) -> None:
        """Let it take jobs again."""
        self._told.pop(entry.node.name, None)
        self._begin(self._quietly(self._hands.resume(entry.node.name), "resuming", entry), f"resuming {entry.node.name}")

    def stop(self, entry: Entry, in_pool: bool) -> None:
        """End a node that is recorded as stopping."""
        self._begin(self._stop(entry, in_pool), f"stopping {entry.node.name}")

    def destroy(self, entry: Entry, machine_id: str) -> None:
        """Destroy one machine of a node, unless it was told so a moment ago."""
        if self._is_time(machine_id):
            stopped = self._hands.stop(entry.node.offering.pool, machine_id)
            self._begin(self._quietly(stopped, "destroying the machine of", entry), f"destroying {machine_id}")

    def forget(self, entry: Entry) -> None:
        """A node is gone: nobody may pass for it any more.  Tried again by L{go_on} until it succeeds."""
        for told in (entry.node.machine_id or "", entry.node.name):
            self._told.pop(told, None)
        self._to_revoke.add(entry.node.name)

    def go_on(self) -> None:
        """Try what has failed before."""
        for name in sorted(self._to_revoke):
            self._to_revoke.discard(name)
            self._begin(self._revoke(name), f"forgetting {name}")

    async def _start(self, entry: Entry, pool: Pool) -> None:
        node = entry.node
        try:
            tried = await self._create(node, pool)
        finally:
            self.creating.discard(node.id)
        if tried.kind is not OutcomeKind.STARTED:
            self._log.warn("node {name} was not started: {reason}", name=node.name, reason=tried.reason)
        self.outcomes.append(
            Outcome(offering=node.offering, kind=tried.kind, at=self._clock.seconds(), retry_after=tried.retry_after)
        )
        await self._book.turn(lambda: self._record(node.id, tried))
        self._wake()

    async def _create(self, node: Node, pool: Pool) -> _Tried:
        asked = False
        try:
            token = await self._hands.token(node.name, _lifetime(pool))
            told = self._tell(node, pool, token)
            asked = True
            options = {**({"image": pool.image} if pool.image else {}), **pool.options}
            machine = await self._hands.start(Order(node=node, user_data=told, options=options))
        except CloudError as problem:
            kind = _kind(problem)
            return _Tried(kind, problem.cause, unknown=kind is OutcomeKind.AWAY, retry_after=_retry_after(problem))
        except ModabatchError as problem:
            return _Tried(OutcomeKind.AWAY, problem.cause, unknown=asked)
        except ValueError as problem:
            return _Tried(OutcomeKind.REFUSED, str(problem))
        return _Tried(OutcomeKind.STARTED, machine_id=machine.id)

    async def _record(self, node_id: str, tried: _Tried) -> None:
        """What came of a create; if that is not known, the provider's list tells."""
        entry = self._book.entries.get(node_id)
        if entry is None or tried.unknown:
            return
        if tried.machine_id is not None:
            state = NodeState.BOOTING if entry.node.state is NodeState.REQUESTED else entry.node.state
            await self._book.write([changed(entry, machine_id=tried.machine_id, state=state)])
        elif not entry.listed:
            await self._book.write([gone(entry, tried.reason, self._clock.seconds())])

    async def _stop(self, entry: Entry, in_pool: bool) -> None:
        node = entry.node
        if in_pool:
            await self._quietly(self._hands.dismiss(node.name), "dismissing", entry)
        elif node.joined is None and node.machine_id is not None:
            await self._keep_console(entry, node.machine_id)
        if node.machine_id is not None:
            self.destroy(entry, node.machine_id)
        self._wake()

    async def _keep_console(self, entry: Entry, machine_id: str) -> None:
        try:
            text = await self._hands.console(entry.node.offering.pool, machine_id)
        except ModabatchError as problem:
            self._log.info("no console of {name}: {problem}", name=entry.node.name, problem=problem.cause)
            return

        async def keep() -> None:
            now = self._book.entries.get(entry.node.id)
            if now is not None and text:
                await self._book.write([msgspec.structs.replace(now, console=text)])

        await self._book.turn(keep)

    def _is_time(self, whom: str) -> bool:
        now = self._clock.seconds()
        if whom in self._told and 0 <= now - self._told[whom] < _AGAIN:
            return False
        self._told[whom] = now
        return True

    async def _revoke(self, name: str) -> None:
        try:
            await self._hands.revoke(name)
        except ModabatchError:
            self._to_revoke.add(name)

    async def _quietly(self, doing: Deferred[None], what: str, entry: Entry) -> None:
        """What fails here is done again by a later round."""
        try:
            await doing
        except ModabatchError as problem:
            self._log.warn("{what} {name} has failed: {problem}", what=what, name=entry.node.name, problem=problem.cause)

    def _begin(self, work: Coroutine[Deferred[Any], Any, None], what: str) -> None:
        done: Deferred[None] = Deferred.fromCoroutine(work)
        self._under_way.add(done)

        def ended(result: Any) -> None:
            self._under_way.discard(done)

        done.addErrback(lambda failure: self._log.failure("{what}", failure, what=what))
        done.addBoth(ended)


def _kind(problem: CloudError) -> OutcomeKind:
    return next((kind for error, kind in _KINDS.items() if isinstance(problem, error)), OutcomeKind.AWAY)


def _retry_after(problem: CloudError) -> float:
    return problem.retry_after if isinstance(problem, Throttled) else 0.0


def _lifetime(pool: Pool) -> float:
    return pool.boot_timeout + pool.max_lifetime + (_GRACE if pool.drain_timeout is None else pool.drain_timeout)
