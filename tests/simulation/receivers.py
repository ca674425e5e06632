"""Receivers of notifications that fail in every way, as an agent in memory."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionRefusedError, DNSLookupError
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone, ResponseFailed
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent
from zope.interface import implementer

_STATUSES: Final = (200, 202, 301, 404, 429, 500, 503)


@implementer(IAgent)
class Receivers:
    """
    @ivar failing: how likely a try fails.
    @ivar posted: called with the id and the URL of each message that arrives.
    @ivar taken: by URL, the ids of the messages that a receiver got; the daemon may never hear of its answer.
    """

    def __init__(self, chance: random.Random, posted: Callable[[str, str], None], log: Callable[[str], None]) -> None:
        self._chance = chance
        self._log = log
        self.failing = 0.0
        self.posted = posted
        self.taken: dict[str, list[str]] = {}

    def request(self, method: bytes, uri: bytes, headers: Headers | None = None, bodyProducer: Any = None) -> Deferred[Any]:
        """See L{IAgent.request}."""
        assert headers is not None
        [message_id] = headers.getRawHeaders("webhook-id")
        way = self._chance.choice(list(WAYS)) if self._chance.random() < self.failing else "well"
        self._log(f"POST {uri.decode()} {message_id}: {way}")
        self.posted(message_id, uri.decode())
        if way not in ("refused", "unresolved"):
            self.taken.setdefault(uri.decode(), []).append(message_id)
        return succeed(Response(200)) if way == "well" else WAYS[way](self._chance)


class Response:
    """As much of L{twisted.web.iweb.IResponse} as the sender looks at.  @param hangs: whether its body never ends."""

    def __init__(self, code: int, hangs: bool = False, headers: dict[str, list[str]] | None = None) -> None:
        self.code = code
        self.headers = Headers(headers or {})
        self._hangs = hangs

    def deliverBody(self, protocol: Protocol) -> None:
        protocol.makeConnection(self)
        if not self._hangs:
            protocol.connectionLost(Failure(ResponseDone()))

    def stopProducing(self) -> None:
        """Nothing is produced."""


def _answers(chance: random.Random) -> Deferred[Any]:
    wish = {"retry-after": [str(chance.choice([0, 7, 3600, "nonsense"]))]}
    return succeed(Response(chance.choice(_STATUSES), chance.random() < 0.2, wish if chance.random() < 0.3 else None))


WAYS: Final[dict[str, Callable[[random.Random], Deferred[Any]]]] = {
    "answers": _answers,
    "hangs": lambda chance: Deferred(),
    "refused": lambda chance: fail(ConnectionRefusedError()),
    "reset": lambda chance: fail(ResponseFailed([Failure(ConnectionResetError())])),
    "unresolved": lambda chance: fail(DNSLookupError()),
}
