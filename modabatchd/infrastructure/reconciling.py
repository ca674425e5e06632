"""What is recorded, brought up to what is so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
from twisted.logger import Logger

from modabatchd.infrastructure import journal
from modabatchd.infrastructure.book import Book
from modabatchd.infrastructure.carrying import Carrier
from modabatchd.infrastructure.judging import Verdict, adopted, heard, judge, owners
from modabatchd.infrastructure.look import Presence
from modabatchd.infrastructure.node import Machine, MachineState, NodeState
from modabatchd.infrastructure.observing import Observation, doubt, unseen
from modabatchd.infrastructure.planning import Outcome
from modabatchd.infrastructure.register import Entry

_LEAVING = (MachineState.STOPPING, MachineState.TERMINATED)


class Reconciled(msgspec.Struct, frozen=True, kw_only=True):
    """
    What is to be done for it.

    @ivar destroy: machines that are to go.
    @ivar drain: nodes that were told to drain, and do not.
    @ivar ended: nodes whose machines have ended by themselves.
    """

    destroy: tuple[tuple[Entry, str], ...] = ()
    drain: tuple[Entry, ...] = ()
    ended: tuple[Entry, ...] = ()


class Reconciling:
    """Judges nodes by an observation, and records what has become of them."""

    _log = Logger()

    def __init__(self, book: Book, carrier: Carrier) -> None:
        self._book = book
        self._carrier = carrier

    async def reconcile(self, observation: Observation, now: float) -> Reconciled:
        """In one's turn only.  Of an observation that is not to be believed nothing follows."""
        if doubt(observation, self._book.entries.values(), now):
            return Reconciled()
        presences = observation.presences
        verdicts: list[Verdict] = []
        found: list[Entry] = []
        for pool, machines in observation.machines.items():
            mine = {key: entry for key, entry in self._book.entries.items() if entry.node.offering.pool == pool}
            owned, strays = owners(mine, machines)
            verdicts += [self._judge(entry, owned.get(key, ()), observation, now) for key, entry in mine.items()]
            found += await self._adopt(pool, strays, presences, now)
        seen = observation.machines
        others = [entry for entry in self._book.entries.values() if entry.node.offering.pool not in seen]
        verdicts += [Verdict(entry=heard(entry, presences.get(entry.node.name), now)) for entry in others]
        return await self._record(verdicts, found, presences, now)

    def _judge(self, entry: Entry, machines: Sequence[Machine], observation: Observation, now: float) -> Verdict:
        creating = entry.node.id in self._carrier.creating
        verdict = judge(entry, machines, observation.presences.get(entry.node.name), creating, now)
        if unseen(entry, observation.look, now) and verdict.entry.node.state is not NodeState.STOPPING:
            # One of its machines may run jobs.
            return msgspec.structs.replace(verdict, destroy=())
        return verdict

    async def _adopt(self, pool: str, strays: Sequence[Machine], presences: Mapping[str, Presence], now: float) -> list[Entry]:
        """Machines of ours that no living node has become nodes that are to go."""
        found: dict[str, Entry] = {}
        for machine in strays:
            if machine.state in _LEAVING:
                continue
            known = await self._book.recall(machine.node_id or machine.name)
            written = self._book.policy.pool(pool)
            entry = adopted(machine, known, written, presences.get(machine.name), now)
            if entry.node.id not in self._book.entries:
                self._log.warn("machine {id} of pool {pool} is ours and was not known", id=machine.id, pool=pool)
                found.setdefault(entry.node.id, entry)
        return list(found.values())

    async def _record(
        self, verdicts: Sequence[Verdict], found: Sequence[Entry], presences: Mapping[str, Presence], now: float
    ) -> Reconciled:
        before = dict(self._book.entries)
        changed = [verdict.entry for verdict in verdicts if verdict.entry != before[verdict.entry.node.id]]
        await self._book.write([*changed, *found], decision=self._said(found) if found else None)
        for verdict in verdicts:
            if verdict.outcome is not None:
                offering = verdict.entry.node.offering
                self._carrier.outcomes.append(Outcome(offering=offering, kind=verdict.outcome, at=now))
        for entry in changed:
            if entry.node.state is NodeState.GONE:
                self._log.info("node {name} is gone: {reason}", name=entry.node.name, reason=entry.node.reason)
                self._carrier.forget(entry)
        return Reconciled(
            destroy=tuple((verdict.entry, machine) for verdict in verdicts for machine in verdict.destroy),
            drain=tuple(verdict.entry for verdict in verdicts if _heedless(verdict.entry, presences)),
            ended=tuple(entry for entry in changed if entry.node.state is NodeState.STOPPING),
        )

    def _said(self, found: Sequence[Entry]) -> bytes:
        """Nobody could keep them from being too many."""
        names = ", ".join(entry.node.name for entry in found)
        alive, most = len(self._book.entries) + len(found), self._book.policy.limits.max_nodes
        beyond = f"; until then there are {alive} nodes, and the limit is {most}" if alive > most else ""
        reason = f"machines of ours that no node was known to have were found by their tags, and are to go: {names}{beyond}"
        return journal.encode(journal.Written(reason=reason))


def _heedless(entry: Entry, presences: Mapping[str, Presence]) -> bool:
    presence = presences.get(entry.node.name)
    return entry.node.state is NodeState.DRAINING and presence is not None and not presence.draining
