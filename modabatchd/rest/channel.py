"""
One connection.

Note [Answers before the end]
=============================
A client that is refused while it sends mostly reads the answer only when it has sent all, and an answer that is followed by a
reset is lost on the way.  So after an early answer our direction alone is closed, and what still comes is read and thrown
away, up to a bound and for a while.

Note [Deadlines]
================
Twisted's time-out begins anew with every byte, so one byte every few seconds holds a connection for ever.  Here a request's
headers have one deadline from their first byte on, and a body must grow by a certain amount in each span.  A span in which we
did not read, because the disk was slow, is not counted against the client.  And a client that reads nothing of its response
for a while has gone, whatever TCP says: it would keep a file and a connection.

Note [Twisted's own refusals]
=============================
HTTPChannel answers what it cannot parse through C{_respondToBadRequestAndDisconnect}, with no body and a full close.  The
method is private but it is the one place; the tests pin it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec
from twisted.internet.interfaces import IDelayedCall, IReactorTime, ISSLTransport
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel

from modabatchd.rest.framing import malformed
from modabatchd.rest.problems import HTTPRefusal

#: Bytes by which a body must grow in each span.
_GROWTH: Final = 1 << 16
#: Bytes and seconds for which a refused body is read on.
_DISCARDED: Final = 1 << 30
_LINGER: Final = 30.0
#: Seconds in which a client must read what was written to it before more is written.
_STALLED: Final = 300.0


class Deadlines(msgspec.Struct, frozen=True):
    """
    How long a client may take, in seconds.

    @ivar headers: from the first byte of a request (of the first one: from the connection) to the end of its headers.
    @ivar body: a span in which a body must bring 64 KiB, or its end.
    @ivar idle: from a response to the next request.
    """

    headers: float
    body: float
    idle: float


class _Deadline:
    """What is to happen if it is not called off in time."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._call: IDelayedCall | None = None

    def set(self, seconds: float, otherwise: Callable[[], object]) -> None:
        """Call something when so many seconds have passed, instead of what was set before."""
        self.clear()
        self._call = self._clock.callLater(seconds, self._pass, otherwise)

    def clear(self) -> None:
        """Call nothing."""
        call, self._call = self._call, None
        if call is not None:
            call.cancel()

    def _pass(self, otherwise: Callable[[], object]) -> None:
        self._call = None
        otherwise()


class Channel(HTTPChannel):
    """See L{HTTPChannel}, and the notes above."""

    transport: Any
    _networkProducer: Any

    def __init__(self, clock: IReactorTime, deadlines: Deadlines) -> None:
        super().__init__()
        self._deadlines = deadlines
        self._deadline = _Deadline(clock)
        self._stalled = _Deadline(clock)
        self._idle = False
        self._begun = False
        self._lingering = False
        self._discarded = 0
        self._holding = False
        self._held = False
        self._mark = 0

    def connectionMade(self) -> None:
        """The deadline of the first headers begins."""
        super().connectionMade()
        self._deadline.set(self._deadlines.headers, self._late)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """Nothing is due any more."""
        self._deadline.clear()
        self._stalled.clear()
        super().connectionLost(reason)

    def dataReceived(self, data: bytes) -> None:
        """Parse it, or throw it away."""
        if self._lingering:
            self._discard(len(data))
            return
        self._begun = True
        if self._idle:
            self._idle = False
            self._deadline.set(self._deadlines.headers, self._late)
        super().dataReceived(data)

    def lineReceived(self, line: bytes) -> None:
        """A line of a head."""
        if not self._lingering:
            super().lineReceived(line)

    def rawDataReceived(self, data: bytes) -> None:
        """A piece of a body, or what comes while a request is handled."""
        if not self._lingering:
            super().rawDataReceived(data)

    def lineLengthExceeded(self, line: bytes) -> None:
        """A line of a head is too long."""
        self._refuse(HTTPRefusal(431, "headers-too-large", "A line of the request's head is too long.", "Send shorter ones."))

    def headerReceived(self, line: bytes) -> bool:
        """A whole header.  @return: whether to go on."""
        try:
            return bool(super().headerReceived(line)) and not self._lingering
        except ValueError:
            # A Content-Length of more digits than int() takes.
            self._respondToBadRequestAndDisconnect()
            return False

    def allHeadersReceived(self) -> None:
        """A head is complete."""
        if self.length == 0:
            self._deadline.clear()
        else:
            self._watch()
        super().allHeadersReceived()

    def allContentReceived(self) -> None:
        """A request is complete."""
        if not self._lingering:
            self._deadline.clear()
            super().allContentReceived()

    def requestDone(self, request: Any) -> None:
        """A response is complete."""
        if self.persistent:
            self._idle = True
            self._begun = False
            self._deadline.set(self._deadlines.idle, self._late)
        super().requestDone(request)

    def pauseProducing(self) -> None:
        """The client does not read as fast as we write."""
        self._stalled.set(_STALLED, self.transport.abortConnection)
        super().pauseProducing()

    def resumeProducing(self) -> None:
        """The client has read what was written."""
        self._stalled.clear()
        super().resumeProducing()

    def loseConnection(self) -> None:
        """See Note [Answers before the end]."""
        if not self._lingering:
            super().loseConnection()
            return
        self._networkProducer.unregisterProducer()
        # TLS has no half-closed connections; there the client closes when it has the answer.
        if not ISSLTransport.providedBy(self.transport):
            self.transport.loseWriteConnection()

    def linger(self) -> None:
        """The next response is the last one, and goes out before its request has come in."""
        self._lingering = True
        self.persistent = 0
        self.hold(False)
        self._deadline.set(_LINGER, self.transport.abortConnection)

    def hold(self, held: bool) -> None:
        """Stop reading from the client, or read on."""
        self._holding = held
        if held:
            self._held = True
            self.transport.pauseProducing()
        else:
            self.transport.resumeProducing()

    def _late(self) -> None:
        if self._begun:
            self._refuse(_timeout("The request's headers did not come in time."))
        else:
            self.loseConnection()

    def _watch(self) -> None:
        """Begin a span.  See Note [Deadlines]."""
        self._mark = self.requests[-1].received
        self._held = self._holding
        self._deadline.set(self._deadlines.body, self._check)

    def _check(self) -> None:
        if self._held or self.requests[-1].received - self._mark >= _GROWTH:
            self._watch()
        else:
            self._refuse(_timeout("The request's body comes too slowly."))

    def _refuse(self, error: HTTPRefusal) -> None:
        if not self._lingering:
            if not self.requests:
                self.requests.append(self.requestFactory(self, 0))
            self.requests[-1].refuse(error)

    def _respondToBadRequestAndDisconnect(self) -> None:
        """See Note [Twisted's own refusals]."""
        self._refuse(malformed("The request is malformed or ambiguous, or its head is too large.", "Send plain HTTP/1.1."))

    def _discard(self, size: int) -> None:
        self._discarded += size
        if self._discarded > _DISCARDED:
            self.transport.abortConnection()


def _timeout(cause: str) -> HTTPRefusal:
    return HTTPRefusal(408, "request-timeout", cause, "Ask again over a better connection.")
