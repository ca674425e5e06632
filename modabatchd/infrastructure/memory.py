"""
A cloud in memory, for demonstrations, for trying out policies and for tests of what stands on ICloud.

Its machines take time to boot and to go, by the clock that it is given.  What goes wrong with clouds goes wrong with this one
on request, and in the way in which it does there: see L{Troubles}.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from typing import Final, TypeVar
from uuid import uuid4

import msgspec
from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from modabatchd.infrastructure.errors import CloudAway, CloudError, CloudRefused, NoCapacity, QuotaReached, Throttled
from modabatchd.infrastructure.interfaces import ICloud, Order
from modabatchd.infrastructure.node import Machine, MachineState, Market

T = TypeVar("T")

_CURE: Final = "This is the cloud in memory: change its attribute troubles."
_CONSOLE: Final = 64 * 1024


class Troubles(msgspec.Struct, kw_only=True):
    """
    What is wrong with a cloud.  May be changed at any time.

    @ivar away: no call does anything, and each fails with L{CloudAway}.
    @ivar throttled_until: until then, in seconds since the epoch, no call does anything, and each fails with L{Throttled}.
    @ivar capacity: how many machines of a size can live at once, by C{(size, market)}; what is not named has no bound.
    @ivar quota: how many machines of ours the account may have; L{None}: any number.
    @ivar lost_answers: so many calls of C{start} to come do what they should, and fail with L{CloudAway}.
    @ivar lost_requests: so many calls of C{start} to come, after those, fail with L{CloudAway} and have done nothing.
    @ivar list_delay: seconds until a new machine is listed.
    @ivar boot_fails: sizes whose machines end in the state C{error} instead of C{running}.
    @ivar refused: images and sizes that do not exist.
    """

    away: bool = False
    throttled_until: float = 0.0
    capacity: dict[tuple[str, Market], int] = {}
    quota: int | None = None
    lost_answers: int = 0
    lost_requests: int = 0
    list_delay: float = 0.0
    boot_fails: set[str] = set()
    refused: set[str] = set()


class _Hosted(msgspec.Struct):
    """A machine.  @ivar order: what it was made from; L{None}: it is not ours.  Times are seconds since the epoch."""

    id: str
    name: str
    order: Order | None
    created: float
    address: str
    stopped: float | None = None
    console: str = ""


@implementer(ICloud)
class MemoryCloud(Service):
    """
    See L{ICloud}.  Calls do what they do at once; without C{latency} every Deferred has fired when it is returned.

    It outlives whoever uses it: given to another daemon, it is the account that the first one has left behind.

    @param boot: seconds from creation to C{running}.
    @param going: seconds from C{stop} to C{terminated}.
    @param remembered: seconds for which a terminated machine is still listed.
    @param latency: seconds until a call is answered.
    @param new_id: makes the machines' ids.
    @ivar troubles: what is wrong with it.
    @ivar starts: how many machines it was asked to create, and did.
    """

    def __init__(
        self,
        clock: IReactorTime,
        name: str = "memory",
        boot: float = 60.0,
        going: float = 10.0,
        remembered: float = 600.0,
        latency: float = 0.0,
        new_id: Callable[[], str] = lambda: f"m-{uuid4().hex[:12]}",
    ) -> None:
        self.name = name
        self.troubles = Troubles()
        self.starts = 0
        self._clock = clock
        self._boot = boot
        self._going = going
        self._remembered = remembered
        self._latency = latency
        self._new_id = new_id
        self._hosted: dict[str, _Hosted] = {}
        self._numbers = count(1)

    def start(self, order: Order) -> Deferred[Machine]:
        """See L{ICloud.start}.  The provider knows its machines by the node's id even while its list does not show them."""
        return self._answer(lambda: self._start(order))

    def machines(self) -> Deferred[Sequence[Machine]]:
        """See L{ICloud.machines}."""
        return self._answer(self._listed)

    def stop(self, machine_id: str) -> Deferred[None]:
        """See L{ICloud.stop}.  @raise CloudRefused: the machine is not ours."""
        return self._answer(lambda: self._stop(machine_id))

    def console(self, machine_id: str) -> Deferred[str]:
        """See L{ICloud.console}."""
        return self._answer(lambda: self._console(machine_id))

    def add_foreign(self, name: str) -> str:
        """Somebody else starts a machine in the same account.  @return: its id."""
        return self._host(name, None).id

    def double(self, node_id: str) -> str:
        """A second machine for the same node, as a create repeated without an idempotency token makes.  @return: its id."""
        order = next(each.order for each in self._hosted.values() if each.order and each.order.node.id == node_id)
        return self._host(order.node.name, order).id

    def vanish(self, machine_id: str) -> None:
        """The machine and every trace of it are gone at once."""
        del self._hosted[machine_id]

    def reclaim(self, machine_id: str) -> None:
        """The provider takes the machine away, as it does with spot machines: it begins to stop, and nobody asked."""
        self._hosted[machine_id].stopped = self._clock.seconds()

    def print_on_console(self, machine_id: str, text: str) -> None:
        """The machine prints something."""
        self._hosted[machine_id].console += text

    def throttle(self, seconds: float) -> None:
        """Be asked too often, from now on for so long."""
        self.troubles.throttled_until = self._clock.seconds() + seconds

    def everything(self) -> Sequence[Machine]:
        """Every machine in the account, also what is not listed yet, and with an empty node id what is not ours."""
        return [self._shown(each) for each in self._hosted.values()]

    def order(self, machine_id: str) -> Order | None:
        """What the machine was made from; L{None} if it is not ours."""
        return self._hosted[machine_id].order

    def _answer(self, work: Callable[[], T]) -> Deferred[T]:
        result = maybeDeferred(self._checked, work)
        if not self._latency:
            return result
        answer: Deferred[T] = Deferred()
        result.addBoth(lambda outcome: self._clock.callLater(self._latency, answer.callback, outcome))
        return answer

    def _checked(self, work: Callable[[], T]) -> T:
        self._forget()
        left = self.troubles.throttled_until - self._clock.seconds()
        if self.troubles.away:
            raise CloudAway("The cloud in memory is away.", _CURE)
        if left > 0:
            raise Throttled("The cloud in memory is asked too often.", _CURE, left)
        return work()

    def _forget(self) -> None:
        now = self._clock.seconds()
        for each in list(self._hosted.values()):
            if each.stopped is not None and now >= each.stopped + self._going + self._remembered:
                del self._hosted[each.id]

    def _start(self, order: Order) -> Machine:
        there = next((each for each in self._hosted.values() if _node_id(each) == order.node.id), None)
        if there is not None:
            return self._shown(there)
        refusal = self._refusal(order)
        if refusal is not None:
            raise refusal
        troubles = self.troubles
        if troubles.lost_requests and not troubles.lost_answers:
            troubles.lost_requests -= 1
            raise CloudAway("The request was lost.", _CURE)
        hosted = self._host(order.node.name, order)
        self.starts += 1
        if troubles.lost_answers:
            troubles.lost_answers -= 1
            raise CloudAway("The answer was lost.", _CURE)
        return self._shown(hosted)

    def _refusal(self, order: Order) -> CloudError | None:
        offering, troubles = order.node.offering, self.troubles
        unknown = troubles.refused.intersection([offering.size, *order.options.values()])
        if unknown:
            return CloudRefused(f"There is no {min(unknown)}.", _CURE)
        alive = [each.order.node.offering for each in self._hosted.values() if each.order and self._alive(each)]
        if troubles.quota is not None and len(alive) >= troubles.quota:
            return QuotaReached(f"The account may have {troubles.quota} machines.", _CURE)
        alike = sum((each.size, each.market) == (offering.size, offering.market) for each in alive)
        if alike >= troubles.capacity.get((offering.size, offering.market), alike + 1):
            return NoCapacity(f"There is no machine of size {offering.size} left.", _CURE)
        return None

    def _host(self, name: str, order: Order | None) -> _Hosted:
        number = next(self._numbers)
        hosted = _Hosted(self._new_id(), name, order, self._clock.seconds(), f"10.0.{number // 256}.{number % 256}")
        self._hosted[hosted.id] = hosted
        return hosted

    def _listed(self) -> Sequence[Machine]:
        latest = self._clock.seconds() - self.troubles.list_delay
        return [self._shown(each) for each in self._hosted.values() if each.order and each.created <= latest]

    def _stop(self, machine_id: str) -> None:
        hosted = self._ours(machine_id)
        if hosted is not None and hosted.stopped is None:
            hosted.stopped = self._clock.seconds()

    def _console(self, machine_id: str) -> str:
        hosted = self._ours(machine_id)
        return "" if hosted is None else hosted.console[-_CONSOLE:]

    def _ours(self, machine_id: str) -> _Hosted | None:
        hosted = self._hosted.get(machine_id)
        if hosted is not None and hosted.order is None:
            raise CloudRefused(f"Machine {machine_id} is not ours.", "Ask about machines that the cloud lists as ours.")
        return hosted

    def _alive(self, hosted: _Hosted) -> bool:
        return self._state(hosted) is not MachineState.TERMINATED

    def _shown(self, each: _Hosted) -> Machine:
        return Machine(id=each.id, name=each.name, node_id=_node_id(each), state=self._state(each), addresses=(each.address,))

    def _state(self, each: _Hosted) -> MachineState:
        now = self._clock.seconds()
        if each.stopped is not None:
            return MachineState.TERMINATED if now >= each.stopped + self._going else MachineState.STOPPING
        if now < each.created + self._boot:
            return MachineState.PENDING
        fails = each.order is not None and each.order.node.offering.size in self.troubles.boot_fails
        return MachineState.ERROR if fails else MachineState.RUNNING


def _node_id(hosted: _Hosted) -> str:
    return hosted.order.node.id if hosted.order else ""
