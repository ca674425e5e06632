"""
ICloud on what libcloud reaches.

Note [Threads]
==============
libcloud's drivers block, and mix up answers when two threads share one.  So every call is made in a thread that has a driver
of its own (L{modabatchd.infrastructure.lanes}), with a deadline.

Note [Made twice]
=================
A create that failed may have made a machine, or may make it yet.  The node's id is in the machine's tag, and the list is asked
for it before every create and after each one that failed.  Where the provider takes a token for it, the create itself cannot
be done twice.  Elsewhere, a list that is late and an answer that was lost can leave two machines with one tag: both are listed.

Note [The last machine]
=======================
An empty list is believed only the second time in a row while machines were there before: one wrong answer, however well formed,
must not make us forget them all.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Sequence
from typing import Any, Final, Generic, TypeVar

import msgspec
from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure
from zope.interface import implementer

from modabatchd.infrastructure.dialects import Tags, Wanted, complaints
from modabatchd.infrastructure.errors import CloudAway, CloudError, CloudRefused
from modabatchd.infrastructure.interfaces import ICloud, Order
from modabatchd.infrastructure.lanes import Lanes
from modabatchd.infrastructure.libcloud import Held, Speaker, switch_retries_off
from modabatchd.infrastructure.node import Machine, MachineState, Market
from modabatchd.shielding import shielded

T = TypeVar("T")

_POLICY: Final = "Correct the pool in the policy."
_LEAVING: Final = (MachineState.STOPPING, MachineState.TERMINATED)


class Deadlines(msgspec.Struct, frozen=True, kw_only=True):
    """How long a call may take, in seconds, its wait for a thread included."""

    read: float = 30.0
    create: float = 120.0
    destroy: float = 60.0


_DEADLINES: Final = Deadlines()


class Shared(Generic[T]):
    """Asks for many who want the same: each gets the answer to a question that was asked after it came."""

    def __init__(self, ask: Callable[[], Deferred[T]]) -> None:
        self._ask = ask
        self._waiting: list[Deferred[T]] = []
        self._asking = False

    def get(self) -> Deferred[T]:
        """The answer."""
        answer: Deferred[T] = Deferred()
        self._waiting.append(answer)
        if not self._asking:
            self._begin()
        return answer

    def _begin(self) -> None:
        served, self._waiting = self._waiting, []
        self._asking = True
        self._ask().addBoth(self._end, served)

    def _end(self, outcome: T | Failure, served: Sequence[Deferred[T]]) -> None:
        self._asking = False
        if self._waiting:
            self._begin()
        for each in served:
            each.callback(outcome)


@implementer(ICloud)
class RemoteCloud(Service):
    """
    See L{ICloud}, Note [Threads], Note [Made twice] and Note [The last machine].

    @param reactor: provides L{twisted.internet.interfaces.IReactorTime} and
        L{twisted.internet.interfaces.IReactorFromThreads}.
    @param name: the pool's.
    @param installation: our UUID, in its canonical form.
    @param provider: libcloud's name of it; C{local} for our own driver.
    @param make: makes the provider's drivers, for instance L{modabatchd.infrastructure.libcloud.driver_factory}; called in
        threads, and again after a call that failed.
    @param threads: how many calls are made at once.
    @param spare: how many calls may hang beyond their deadlines.
    @raise CloudRefused: the provider is none of those that we can use.
    """

    def __init__(
        self,
        reactor: Any,
        name: str,
        installation: str,
        provider: str,
        make: Callable[[], Any],
        deadlines: Deadlines = _DEADLINES,
        threads: int = 4,
        spare: int = 8,
    ) -> None:
        self.name = name
        self._installation = installation
        self._provider = provider
        self._deadlines = deadlines
        self._speaker = speaker = Speaker(provider, installation)
        self._lanes = Lanes(reactor, f"{provider} for pool {name}", lambda: speaker.connect(make), threads, spare)
        self._list: Shared[Sequence[Held]] = Shared(lambda: Deferred.fromCoroutine(self._listed()))
        self._starting: dict[str, list[Deferred[Machine]]] = {}
        self._believed: set[str] = set()
        self._unlisted: dict[str, Held] = {}
        self._doubted = False

    def startService(self) -> None:
        """Take calls."""
        switch_retries_off()
        super().startService()
        self._lanes.startService()

    def stopService(self) -> Deferred[None]:
        """Fires when the calls under way have ended, or missed their deadlines."""
        super().stopService()
        return self._lanes.stopService() or succeed(None)

    def start(self, order: Order) -> Deferred[Machine]:
        """See L{ICloud.start}.  Who asks for a node that is being started waits for the same machine."""
        answer: Deferred[Machine] = Deferred()
        waiting = self._starting.setdefault(order.node.id, [])
        waiting.append(answer)
        if len(waiting) == 1:
            Deferred.fromCoroutine(self._start(order)).addBoth(self._started, order.node.id)
        return answer

    def machines(self) -> Deferred[Sequence[Machine]]:
        """See L{ICloud.machines}."""
        return self._list.get().addCallback(lambda listed: [held.machine for held in listed])

    def stop(self, machine_id: str) -> Deferred[None]:
        """See L{ICloud.stop}.  A machine that is not listed as ours is not touched, and taken for gone."""
        return shielded(self._stop(machine_id), f"the stop of machine {machine_id}")

    def console(self, machine_id: str) -> Deferred[str]:
        """See L{ICloud.console}."""
        return shielded(self._console(machine_id), f"the console of machine {machine_id}")

    def _started(self, outcome: Machine | Failure, node_id: str) -> None:
        for each in self._starting.pop(node_id):
            each.callback(outcome)

    async def _start(self, order: Order) -> Machine:
        self._check(order)
        return await self._find(order.node.id) or await self._create(order)

    async def _create(self, order: Order) -> Machine:
        """See Note [Made twice]."""
        wanted = self._wanted(order)
        try:
            held = await self._lanes.run(lambda driver: self._speaker.create(driver, wanted), self._deadlines.create)
        except CloudError as problem:
            nevertheless = await self._find_quietly(order.node.id)
            if nevertheless is None:
                raise problem
            return nevertheless
        self._believed.add(held.machine.id)
        self._unlisted[held.machine.id] = held
        return held.machine

    def _check(self, order: Order) -> None:
        offering, dialect = order.node.offering, self._speaker.dialect
        wrong = list(complaints(dialect, order.options, [offering.zone], offering.market is Market.SPOT))
        if len(order.user_data.encode()) > dialect.user_data_limit:
            wrong.append(f"There is more user-data than the {dialect.user_data_limit} bytes that the provider takes.")
        if wrong:
            raise CloudRefused(f"{self._provider}: {' '.join(wrong)}", _POLICY)

    def _wanted(self, order: Order) -> Wanted:
        offering = order.node.offering
        return Wanted(
            name=order.node.name,
            tags=Tags(self._installation, order.node.id),
            size=offering.size,
            zone=offering.zone,
            spot=offering.market is Market.SPOT,
            user_data=order.user_data,
            password=secrets.token_urlsafe(32),
            options=order.options,
        )

    async def _find(self, node_id: str) -> Machine | None:
        found = [machine for machine in await self.machines() if machine.node_id == node_id]
        return min(found, key=lambda machine: machine.state in _LEAVING, default=None)

    async def _find_quietly(self, node_id: str) -> Machine | None:
        try:
            return await self._find(node_id)
        except CloudError:
            return None

    async def _stop(self, machine_id: str) -> None:
        held = await self._ours(machine_id)
        if held is not None:
            await self._lanes.run(lambda driver: self._speaker.destroy(driver, held), self._deadlines.destroy)
            self._believed.discard(machine_id)
            self._unlisted.pop(machine_id, None)

    async def _console(self, machine_id: str) -> str:
        held = await self._ours(machine_id)
        if held is None:
            return ""
        return await self._lanes.run(lambda driver: self._speaker.console(driver, held), self._deadlines.read)

    async def _ours(self, machine_id: str) -> Held | None:
        """A machine that is not gone, and either listed as ours, or made by us a moment ago and not listed yet."""
        listed = {held.machine.id: held for held in await self._list.get()}
        held = listed.get(machine_id) or self._unlisted.get(machine_id)
        return None if held is None or held.machine.state is MachineState.TERMINATED else held

    async def _listed(self) -> Sequence[Held]:
        before = set(self._believed)
        listed = await self._lanes.run(self._speaker.read, self._deadlines.read)
        # What was made or stopped meanwhile may be in the answer or not.
        self._doubt(before & self._believed, listed)
        meanwhile = self._believed - before
        self._believed = meanwhile | {held.machine.id for held in listed if held.machine.state not in _LEAVING}
        for held in listed:
            self._unlisted.pop(held.machine.id, None)
        return listed

    def _doubt(self, believed: Collection[str], listed: Sequence[Held]) -> None:
        """See Note [The last machine]."""
        doubted, self._doubted = self._doubted, bool(believed) and not listed
        if self._doubted and not doubted:
            cause = f"{self._provider} lists no machine, and {len(believed)} were there a moment ago."
            raise CloudAway(cause, "It is asked again.")
