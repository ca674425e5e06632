"""One try to deliver one notification."""

from __future__ import annotations

from typing import Any, Final

from hyperlink import EncodedURL
from treq.client import HTTPClient
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import DNSLookupError
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import ResponseFailed
from twisted.web.error import SchemeNotSupported
from twisted.web.http_headers import Headers
from twisted.web.iweb import IResponse

from modabatchd import __version__
from modabatchd.notifications.endpoints import Address
from modabatchd.notifications.message import Message
from modabatchd.notifications.schedule import Reply
from modabatchd.notifications.signing import signature

#: As much of a response's body is read, for the receiver's sake, and thrown away.
_BODY_LIMIT: Final = 65536


async def send(client: HTTPClient, message: Message, address: Address, clock: IReactorTime, seconds: float) -> Reply:
    """
    Post a message once.  Never raises; cancelling it breaks the connection off.

    @param address: where it goes to, and what it is signed with.
    @param seconds: that all of it may take.  What the receiver decided counts even if its response's body does not end in time.
    """
    start = clock.seconds()
    try:
        response = await maybeDeferred(_post, client, message, address, clock).addTimeout(seconds, clock)
    except (ValueError, SchemeNotSupported) as problem:
        return Reply(problem=f"The URL cannot be used: {problem}", hopeless=True)
    except Exception as problem:
        late = clock.seconds() - start >= seconds
        return Reply(problem=f"No answer within {seconds:g} s." if late else _problem(problem))
    await _thrown_away(response).addTimeout(max(0, start + seconds - clock.seconds()), clock)
    retry_after = response.headers.getRawHeaders("retry-after", [None])[0]
    return Reply(status=response.code, retry_after=retry_after)


class _Verbatim(EncodedURL):
    """
    A URL that is sent as it was given.

    treq prepares a URL by C{to_uri}, which takes an IPv6 literal for a host name and raises.
    """

    def to_uri(self) -> _Verbatim:
        """See L{EncodedURL.to_uri}."""
        return self


def _post(client: HTTPClient, message: Message, address: Address, clock: IReactorTime) -> Deferred[Any]:
    now = int(clock.seconds())
    headers = Headers(
        {
            "content-type": ["application/json"],
            "user-agent": [f"modabatchd/{__version__}"],
            "webhook-id": [message.id],
            "webhook-timestamp": [str(now)],
            "webhook-signature": [signature(address.secrets, message.id, now, message.body)],
        }
    )
    url = _Verbatim.from_text(address.url)
    # treq would import the global reactor if it were not given one; it has no use for it without a timeout.
    reactor: Any = clock
    return client.post(url, data=message.body, headers=headers, allow_redirects=False, unbuffered=True, reactor=reactor)


def _problem(problem: BaseException) -> str:
    """One sentence on why there was no response."""
    if isinstance(problem, ResponseFailed) and problem.reasons:
        problem = problem.reasons[-1].value
    if isinstance(problem, DNSLookupError):
        return "The host has no address, or none that notifications may go to (see notifications.allowed_private)."
    return f"The connection failed: {str(problem) or type(problem).__name__}"[:500]


def _thrown_away(response: IResponse) -> Deferred[None]:
    """Fires, always well, when the body has ended, is too long, or when it is cancelled: then the connection is closed."""
    drain = _Drain()
    response.deliverBody(drain)
    return drain.done


class _Drain(Protocol):
    """Reads a body and forgets it."""

    def __init__(self) -> None:
        self._room = _BODY_LIMIT
        self.done: Deferred[None] = Deferred(lambda _: self._close())

    def dataReceived(self, data: bytes) -> None:
        """Count, no more."""
        self._room -= len(data)
        if self._room < 0:
            self._close()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """However the body ended, the receiver has decided by then."""
        if not self.done.called:
            self.done.callback(None)

    def _close(self) -> None:
        # loseConnection would wait for the peer's leave under TLS; this closes what lies below.
        if self.transport is not None and not self.done.called:
            self.done.callback(None)
            self.transport.stopProducing()  # type: ignore[attr-defined]
