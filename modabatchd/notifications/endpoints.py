"""
The registered receivers, at hand.

Note [At hand]
==============
Whoever writes down a change of a job asks which receivers want to hear of it, so they are kept in memory.  One daemon alone
writes them, so what it has read and written is what the store holds.  After a write that failed nobody knows that, and they are
read anew.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import msgspec
from twisted.internet.defer import Deferred, DeferredLock

from modabatchd.errors import ModabatchError
from modabatchd.notifications.endpoint import Endpoint, Event
from modabatchd.notifications.interfaces import IWebhooks
from modabatchd.notifications.message import Message


class UnknownWebhook(ModabatchError):
    """No endpoint has this id."""

    code = "unknown-webhook"


class Address(msgspec.Struct, frozen=True):
    """Where a message goes to, and what it is signed with."""

    url: str
    secrets: Sequence[str]


class Endpoints:
    """
    See Note [At hand].

    @param own: the installation's own secrets, for messages that go to no endpoint.
    """

    def __init__(self, store: IWebhooks, own: Sequence[str]) -> None:
        self._store = store
        self._own = own
        self._known: dict[str, Endpoint] | None = None
        self._turn = DeferredLock()

    async def all(self) -> Collection[Endpoint]:
        """All of them, in the order of their making."""
        return (await self._read()).values()

    async def get(self, endpoint_id: str) -> Endpoint:
        """@raise UnknownWebhook: there is none."""
        return _one(await self._read(), endpoint_id)

    async def hearing(self, event: Event) -> Sequence[Endpoint]:
        """Those that may want to hear of an event."""
        return [endpoint for endpoint in await self.all() if endpoint.hears(event)]

    async def address(self, message: Message, now: float) -> Address | None:
        """
        Where a message goes to now.

        @return: L{None} when its endpoint is gone or switched off.
        """
        if message.endpoint is None:
            return Address(message.url, self._own)
        endpoint = (await self._read()).get(message.endpoint)
        return Address(endpoint.url, endpoint.keys(now)) if endpoint is not None and endpoint.enabled else None

    async def add(self, endpoint: Endpoint) -> None:
        """Register one."""
        await self._change(lambda _: endpoint)

    async def change(self, endpoint_id: str, change: Callable[[Endpoint], Endpoint]) -> Endpoint:
        """
        Change one.

        @raise UnknownWebhook: there is none.
        """
        return await self._change(lambda known: change(_one(known, endpoint_id)))

    async def delete(self, endpoint_id: str) -> None:
        """
        Forget one, with all messages to it.

        @raise UnknownWebhook: there is none.
        """

        async def delete() -> None:
            known = await self._read()
            _one(known, endpoint_id)
            self._known = None
            await self._store.delete(endpoint_id)
            del known[endpoint_id]
            self._known = known

        await self._turn.run(lambda: Deferred.fromCoroutine(delete()))

    async def _change(self, change: Callable[[Mapping[str, Endpoint]], Endpoint]) -> Endpoint:
        async def write() -> Endpoint:
            known = await self._read()
            endpoint = change(known)
            self._known = None
            await self._store.write(endpoint)
            self._known = known | {endpoint.id: endpoint}
            return endpoint

        changed: Endpoint = await self._turn.run(lambda: Deferred.fromCoroutine(write()))
        return changed

    async def _read(self) -> dict[str, Endpoint]:
        if self._known is None:
            found = {endpoint.id: endpoint for endpoint in await self._store.endpoints()}
            if self._known is None:
                self._known = found
        return self._known


def _one(known: Mapping[str, Endpoint], endpoint_id: str) -> Endpoint:
    if endpoint_id not in known:
        raise UnknownWebhook(f"There is no endpoint {endpoint_id[:100]!r}.", "List them with GET /webhooks.")
    return known[endpoint_id]
