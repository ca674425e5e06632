"""
The service that has nodes come when jobs wait and go when they don't.

Note [A round]
==============
Look at everything; judge what has become of the nodes that are recorded; plan; record what is intended, together with what
was learned, in one transaction; carry it out.  A crash anywhere leaves a record of more than has happened, never of less, and
the next round goes on from what the providers and the pool show.  Rounds do not overlap.  A look that is not to be believed
is still planned with, for the reason goes to the journal, but neither is anything judged by it nor does the plan contain a
step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import msgspec
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from modabatchd.errors import QueueAway
from modabatchd.infrastructure import journal
from modabatchd.infrastructure.book import Book
from modabatchd.infrastructure.carrying import Carrier
from modabatchd.infrastructure.hands import Hands
from modabatchd.infrastructure.intending import Intents, intents, may_stop
from modabatchd.infrastructure.node import Capacity, NodeState
from modabatchd.infrastructure.notices import budget_key, messages, notices
from modabatchd.infrastructure.observing import Observation, Observer, unseen
from modabatchd.infrastructure.outlook import warning
from modabatchd.infrastructure.picturing import closed, opened, snapshot
from modabatchd.infrastructure.planning import Memory, Outcome, Plan, Snapshot, StopCause, StopNode, WaitKind, plan
from modabatchd.infrastructure.reconciling import Reconciled, Reconciling
from modabatchd.looping import Repeating

#: Seconds that news wait for more news.
_DEBOUNCE: Final = 0.3
#: Seconds until the next look while nodes are on their way, or jobs are about to start.
_SOON: Final = 1.0


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """What a round has seen and decided.  @ivar at: when."""

    at: float
    observation: Observation
    snapshot: Snapshot
    plan: Plan


class Scaling(Service):
    """
    See Note [A round].

    @param new_id: makes UUIDs.
    @param interval: seconds between two looks when nothing calls for one.
    @param owner: the URL to which it is posted what only the owner can mend; empty for none.
    @ivar last: the last round; L{None} before the first.
    @ivar loop: what drives it.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        observer: Observer,
        book: Book,
        hands: Hands,
        carrier: Carrier,
        new_id: Callable[[], str],
        interval: float = 5.0,
        owner: str = "",
    ) -> None:
        self.setName("scaling")
        self._clock = clock
        self._observer = observer
        self._book = book
        self._hands = hands
        self._carrier = carrier
        self._new_id = new_id
        self._owner = owner
        self._reconciling = Reconciling(book, carrier)
        self._alarm: IDelayedCall | None = None
        self._due = 0.0
        self._gist = b""
        self.last: Round | None = None
        self.loop = Repeating(clock, interval, self.look, "scaling")

    def startService(self) -> None:
        """Look at once, and from then on."""
        super().startService()
        self.loop.startService()

    def stopService(self) -> Deferred[None]:
        """Nodes stay as they are.  @return: fires when what is under way has ended."""
        super().stopService()
        self._set_alarm(None)
        return Deferred.fromCoroutine(self._stop())

    def wake(self) -> None:
        """Something has happened: look soon.  Idempotent."""
        if self.running:
            self._set_alarm(_DEBOUNCE)

    def look(self) -> Deferred[None]:
        """One round.  Fails with L{modabatchd.errors.StoreAway} when it cannot be recorded; then nothing is done."""
        return Deferred.fromCoroutine(self._look())

    def preview(self) -> Deferred[Round]:
        """What a round would decide now; nothing is recorded or done."""
        return Deferred.fromCoroutine(self._preview())

    def outlook(self, asked: Capacity) -> str | None:
        """Why a job that asks for this can never run, by what is known; L{None} if it may."""
        policy, last = self._book.policy, self.last
        if last is None or any(policy.pool(name) is None for name in last.observation.broken):
            # Nobody knows what a pool has whose part of the policy cannot be read.
            return None
        return warning(asked, policy, self._book.memory.turned_out, last.observation.look.presences)

    async def _stop(self) -> None:
        looking = self.loop.stopService()
        if looking is not None:
            await looking
        await self._carrier.idle()

    async def _look(self) -> None:
        observation = await self._observer.observe()
        await self._book.turn(lambda: self._round(observation))

    async def _preview(self) -> Round:
        observation = await self._observer.observe()

        async def decided() -> Round:
            made, shown, _ = self._decide(observation, self._carrier.outcomes)
            return Round(at=observation.at, observation=observation, snapshot=shown, plan=made)

        return await self._book.turn(decided)

    async def _round(self, observation: Observation) -> None:
        reconciled = await self._reconciling.reconcile(observation, self._clock.seconds())
        made, shown, memory = self._decide(observation, self._carrier.outcomes)
        intended = Intents()
        if self._hands.tied:
            memory = msgspec.structs.replace(memory, starts=self._book.memory.starts, back_offs=self._book.memory.back_offs)
        else:
            stops = await self._allowed(
                [*self._asked_for(shown), *(step for step in made.steps if isinstance(step, StopNode))], shown
            )
            intended = intents(made, stops, self._book.entries, self._new_id, self._clock.seconds())
        await self._record(made, shown, memory, intended)
        self.last = Round(at=observation.at, observation=observation, snapshot=shown, plan=made)
        if not self._hands.tied:
            self._carry_out(intended, reconciled, observation)
        self._set_alarm(self._pause(made))

    def _decide(self, observation: Observation, outcomes: Iterable[Outcome]) -> tuple[Plan, Snapshot, Memory]:
        book, now = self._book, self._clock.seconds()
        spent = sum(book.spent().values())
        shown = snapshot(observation, book.entries.values(), book.overrides, book.policy, outcomes, spent, now)
        made = plan(shown, book.policy, closed(book.memory, observation.broken), now)
        return made, shown, opened(made.memory, book.memory, observation.broken)

    def _asked_for(self, shown: Snapshot) -> list[StopNode]:
        """While scaling is paused, nodes go only if their owner has said so."""
        entries = self._book.entries
        if not shown.paused or shown.stale:
            return []
        return [
            StopNode(node=node.id, cause=StopCause.EMPTY, reason="it is to go, and it is empty")
            for node in shown.nodes
            if entries[node.id].retiring and node.state is NodeState.DRAINING and not node.jobs and not node.pinned
        ]

    async def _allowed(self, stops: Sequence[StopNode], shown: Snapshot) -> list[StopNode]:
        """Those that a fresh look allows.  See Note [The last look] in L{modabatchd.infrastructure.intending}."""
        if not stops:
            return []
        try:
            look = await self._observer.look_again()
        except QueueAway as problem:
            self._log.info("no node is stopped now: {problem}", problem=problem.cause)
            return []
        entries = self._book.entries
        presences, now = look.by_name, self._clock.seconds()
        seen = [step for step in stops if not unseen(entries[step.node], look, now)]
        return [step for step in seen if may_stop(step, presences.get(entries[step.node].node.name))]

    async def _record(self, made: Plan, shown: Snapshot, memory: Memory, intended: Intents) -> None:
        gist, book = journal.gist(made), self._book
        told = notices(book.memory, memory, self._failed(made), book.policy, shown.spent, book.told, self._clock.seconds())
        worth = bool(made.actions or told) or gist != self._gist
        decision = journal.encode(journal.written(shown, made, [notice.reason for notice in told])) if worth else None
        learned = len(shown.outcomes)
        keep = memory if book.remember(memory) or intended.entries else None
        outbox = messages(told, self._owner, self._new_id)
        await book.write(intended.entries, keep, decision=decision, told=budget_key(told), messages=outbox)
        for notice in told:
            self._log.error("{reason}", reason=notice.reason)
        self._gist = gist
        del self._carrier.outcomes[:learned]

    def _failed(self, made: Plan) -> Mapping[str, str]:
        """By pool, the name of a node that never joined and is stopped for that."""
        steps = [step for step in made.steps if isinstance(step, StopNode) and step.cause is StopCause.NEVER_JOINED]
        nodes = [self._book.entries[step.node].node for step in steps]
        return {node.offering.pool: node.name for node in nodes}

    def _carry_out(self, intended: Intents, reconciled: Reconciled, observation: Observation) -> None:
        carrier, presences = self._carrier, observation.presences
        carrier.go_on()
        for entry, machine_id in reconciled.destroy:
            carrier.destroy(entry, machine_id)
        for entry in reconciled.drain:
            carrier.drain(entry)
        for entry in (*reconciled.ended, *intended.stopped):
            carrier.stop(entry, entry.node.name in presences)
        for entry in intended.drained:
            carrier.drain(entry)
        for entry in intended.resumed:
            carrier.resume(entry)
        for entry in intended.started:
            pool = self._book.policy.pool(entry.node.offering.pool)
            if pool is not None:
                carrier.start(entry, pool)

    def _pause(self, made: Plan) -> float:
        """Seconds until the next look."""
        moving = any(entry.node.state is not NodeState.UP for entry in self._book.entries.values())
        placing = any(getattr(step, "kind", None) is WaitKind.PLACING for step in made.steps)
        until = max(_SOON, made.wake_at - self._clock.seconds())
        return min(_SOON, until) if moving or placing else until

    def _set_alarm(self, delay: float | None) -> None:
        """The earlier one counts."""
        due = self._clock.seconds() + (delay or 0.0)
        if self._alarm is not None and self._alarm.active():
            if delay is not None and self._due <= due:
                return
            self._alarm.cancel()
        self._due = due
        self._alarm = None if delay is None or not self.running else self._clock.callLater(delay, self.loop.wake)
