"""
The delivery of what waits in the outbox.

Note [At least once]
====================
The store alone knows what waits and how often it was tried, so a restart loses nothing.  A crash between a receiver's answer
and its record repeats the message; receivers tell repetitions by C{webhook-id}, which stays the same.

Note [Slow receivers]
=====================
One host gets at most a few deliveries at once, so a receiver that hangs takes a few places and leaves the others.  What
waits for it would fill the first page of what is due, though: as long as a page holds nothing that can be sent while places
are free, a longer one is asked for.

Note [Ended while looking]
==========================
While the store looks for what is due, a delivery under way can end and be recorded, and the answer may still hold its
message.  So what ended since the question was put is not begun from its answer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import msgspec
from treq.client import HTTPClient
from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, gatherResults, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from modabatchd.looping import Repeating
from modabatchd.notifications.endpoint import Endpoint
from modabatchd.notifications.endpoints import Address, Endpoints, UnknownWebhook
from modabatchd.notifications.message import Attempt, Delivery, Message
from modabatchd.notifications.notices import test
from modabatchd.notifications.schedule import Delivered, Postponed, Reply, judge
from modabatchd.notifications.sending import send
from modabatchd.store.interfaces import IStore

T = TypeVar("T")
_INTERVAL: Final = 5.0
_AT_ONCE: Final = 10
_AT_ONCE_PER_HOST: Final = 2
_PAGE: Final = 50
_LONGEST_PAGE: Final = 50 * 4**4
#: Seconds for which a message whose outcome could not be written down is left alone.
_UNRECORDED: Final = 60.0


class Courier(Service):
    """
    Delivers notifications, several at once, and tries again what failed.

    @ivar outcomes: how many tries were C{delivered}, have C{failed} and will be repeated, or were the last and C{abandoned}.
    @ivar loop: the loop that looks for what is due; for health reports.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        store: IStore,
        endpoints: Endpoints,
        client: HTTPClient,
        timeout: float,
        random: Callable[[], float],
    ) -> None:
        """
        @param endpoints: tell where messages go to.
        @param client: reaches only what may be reached; see L{modabatchd.notifications.agent.GuardedAgent}.
        @param timeout: seconds that one try may take.
        @param random: gives numbers from 0 to 1, for spreading tries.
        """
        self.setName("notifications")
        self._clock = clock
        self._store = store
        self._endpoints = endpoints
        self._client = client
        self._timeout = timeout
        self._random = random
        self._under_way: dict[str, Deferred[None]] = {}
        self._hosts: Counter[str] = Counter()
        self._ended: set[str] = set()
        self._waits: set[Deferred[Any]] = set()
        self.outcomes: Counter[str] = Counter(delivered=0, failed=0, abandoned=0)
        self.loop = Repeating(clock, _INTERVAL, self._look, "notifications", longest=60.0)

    def startService(self) -> None:
        """Look for what is due, from now on."""
        super().startService()
        self.loop.startService()

    def stopService(self) -> Deferred[None]:
        """Break off what is being sent (it is sent again after the next start); fires when nothing is under way."""
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    def wake(self) -> None:
        """There may be something new to deliver."""
        self.loop.wake()

    async def probe(self, endpoint: Endpoint, id: str) -> Reply:
        """
        Send a test to an endpoint, once.

        @param id: of the message.
        """
        now = self._clock.seconds()
        address = Address(endpoint.url, endpoint.keys(now))
        return await send(self._client, test(endpoint, id, now), address, self._clock, self._timeout)

    async def _stop(self) -> None:
        await maybeDeferred(self.loop.stopService)
        for wait in list(self._waits):
            wait.cancel()
        await gatherResults(list(self._under_way.values()))

    async def _look(self) -> None:
        """Begin as many deliveries as there are places.  See Note [Slow receivers]."""
        size = _PAGE
        while len(self._under_way) < _AT_ONCE and size <= _LONGEST_PAGE:
            self._ended.clear()
            due = await self._store.due(self._clock.seconds(), size)
            for delivery in due:
                if self._may_begin(delivery.message):
                    self._begin(delivery)
            if len(due) < size:
                return
            size *= 4

    def _may_begin(self, message: Message) -> bool:
        # See Note [Ended while looking].
        known = message.id in self._under_way or message.id in self._ended
        room = len(self._under_way) < _AT_ONCE and self._hosts[_host(message)] < _AT_ONCE_PER_HOST
        return bool(self.running) and room and not known

    def _begin(self, delivery: Delivery) -> None:
        message = delivery.message
        self._hosts[_host(message)] += 1
        self._under_way[message.id] = Deferred()
        carried = Deferred.fromCoroutine(self._carry(delivery))
        carried.addErrback(lambda failure: self._log.failure("notification {id}", failure, id=message.id))
        carried.addCallback(lambda _: self._end(message))

    def _end(self, message: Message) -> None:
        self._hosts -= Counter([_host(message)])
        self._ended.add(message.id)
        self._under_way.pop(message.id).callback(None)
        self.wake()

    async def _carry(self, delivery: Delivery) -> None:
        """One try, and its record."""
        reply = await self._breakable(Deferred.fromCoroutine(self._try(delivery.message)))
        if reply.status is None and not self.running:
            # Broken off by us, not failed.
            return
        try:
            await self._record(delivery, reply)
        except Exception:
            self._log.failure("notification {id}: its outcome could not be stored", id=delivery.message.id)
            with suppress(CancelledError):
                await self._breakable(deferLater(self._clock, _UNRECORDED))

    async def _try(self, message: Message) -> Reply:
        try:
            address = await self._endpoints.address(message, self._clock.seconds())
        except CancelledError:
            return Reply(problem="It was broken off.")
        if address is None:
            return Reply(problem="The endpoint is deleted or switched off.", hopeless=True)
        return await send(self._client, message, address, self._clock, self._timeout)

    async def _record(self, delivery: Delivery, reply: Reply) -> None:
        message, now = delivery.message, self._clock.seconds()
        verdict = judge(reply, delivery.attempts + 1, now, self._random)
        if isinstance(verdict, Delivered):
            self.outcomes["delivered"] += 1
            await self._store.delivered(message.id, Attempt(at=now, status=reply.status))
            return
        attempt = Attempt(at=now, status=reply.status, problem=verdict.problem)
        if isinstance(verdict, Postponed):
            if not delivery.attempts:
                self._tell("notification {id} to {host} is tried again later: {why}", message, verdict.problem)
            self.outcomes["failed"] += 1
            await self._store.postpone(message.id, attempt, verdict.until)
        else:
            self._tell("notification {id} to {host} is given up: {why}", message, verdict.problem)
            if verdict.gone and message.endpoint is not None:
                await self._switch_off(message.endpoint)
            self.outcomes["abandoned"] += 1
            await self._store.abandon(message.id, attempt)

    async def _switch_off(self, endpoint_id: str) -> None:
        """Its receiver is gone for good, as it says."""
        problem = "The receiver answered with status 410 (Gone)."
        with suppress(UnknownWebhook):
            await self._endpoints.change(
                endpoint_id, lambda endpoint: msgspec.structs.replace(endpoint, enabled=False, problem=problem)
            )

    def _tell(self, what: str, message: Message, why: str) -> None:
        self._log.warn(what, id=message.id, host=_host(message), why=why)

    async def _breakable(self, wait: Deferred[T]) -> T:
        """Wait for something that a stop breaks off."""
        self._waits.add(wait)
        try:
            return await wait
        finally:
            self._waits.discard(wait)


def _host(message: Message) -> str:
    """The host that a message goes to, as one word for all spellings of its case."""
    try:
        return urlsplit(message.url).hostname or ""
    except ValueError:
        return ""
