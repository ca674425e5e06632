"""
The site and its requests.

Note [Before the body]
======================
A request is judged when its headers are complete, before C{100 Continue} and before the body is read.  Twisted calls
C{gotLength} then, and method and path are still in private attributes of the channel; the tests pin them.
"""

from __future__ import annotations

from functools import partial
from io import BytesIO
from typing import Any, Final

from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web import server
from twisted.web.http import datetimeToString
from twisted.web.resource import IResource
from zope.interface import implementer

from modabatchd.config.settings import HTTPSettings
from modabatchd.rest.channel import Channel, Deadlines
from modabatchd.rest.framing import UNWANTED, check_framing, check_length, origin_form
from modabatchd.rest.front import RESPONSE_HEADERS, Head
from modabatchd.rest.interfaces import IBody, IFlow, Reception
from modabatchd.rest.respond import respond_problem

#: Seconds for which a connection may be kept without a request.
_IDLE: Final = 60.0


@implementer(IFlow)
class Request(server.Request):
    """
    A request whose body goes to whoever was chosen for it, never into memory.

    @ivar head: what it was judged by.
    @ivar body: who takes its body; L{None} when no body was wanted.
    @ivar received: bytes of its body so far.
    """

    channel: Any
    defaultContentType = None

    def __init__(self, channel: Channel, *args: Any, **kwargs: Any) -> None:
        super().__init__(channel, *args, **kwargs)
        self.clientproto = b"HTTP/1.1"
        self.head: Head | None = None
        self.body: IBody | None = None
        self.received = 0
        self._limit = UNWANTED
        self._arriving = True
        for name, value in RESPONSE_HEADERS.items():
            self.responseHeaders.setRawHeaders(name, [value])

    @property
    def gone(self) -> bool:
        """Whether there is nobody any more to answer to."""
        return bool(self._disconnected)

    def gotLength(self, length: int | None) -> None:
        """Judge the request.  See Note [Before the body]."""
        self.content = BytesIO()
        channel = self.channel
        channel._path, authority = origin_form(channel._path)
        if authority is not None:
            self.requestHeaders.setRawHeaders(b"Host", [authority])
        self.method, self.uri, self.clientproto = channel._command, channel._path, channel._version
        self.path = self.uri.partition(b"?")[0]
        try:
            self._receive(Head(self.method, self.path, self.requestHeaders, length), channel.site)
        except Exception as error:
            self.refuse(error)

    def handleContentChunk(self, data: bytes) -> None:
        """Pass a piece of the body on."""
        if not self._arriving:
            return
        self.received += len(data)
        try:
            check_length(self.received, self._limit)
            if self.body is not None:
                self.body.write(data)
        except Exception as error:
            self.refuse(error)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """The request is complete: serve it."""
        self.resume()
        self._arriving = False
        if self.body is not None:
            self.body.end()
        super().requestReceived(command, path, version)

    def pause(self) -> None:
        """See L{IFlow.pause}."""
        if self._arriving:
            self.channel.hold(True)

    def resume(self) -> None:
        """See L{IFlow.resume}."""
        if self._arriving:
            self.channel.hold(False)

    def refuse(self, error: BaseException) -> None:
        """See L{IFlow.refuse} and Note [Answers before the end] of L{modabatchd.rest.channel}."""
        if not self._arriving:
            return
        self._arriving = False
        # Otherwise the channel would send 100 Continue after the refusal.
        self.requestHeaders.removeHeader(b"Expect")
        self.channel.linger()
        self.setHeader(b"Connection", b"close")
        self.setHeader(b"Date", datetimeToString())
        respond_problem(self, error)

    def break_off(self) -> None:
        """Cut the connection, so that a response of which a part is missing does not look complete."""
        if not self.gone:
            self.channel.transport.abortConnection()

    def finish(self) -> None:
        """The response is complete."""
        super().finish()
        self._release()

    def connectionLost(self, reason: Failure) -> None:
        """The client has gone."""
        self._arriving = False
        super().connectionLost(reason)
        self._release()

    def processingFailed(self, reason: Failure) -> Failure:
        """A last resort, for errors that passed all handlers."""
        if self.startedWriting and not self.finished:
            self.break_off()
        respond_problem(self, reason.value or CancelledError())
        return reason

    def _receive(self, head: Head, site: Site) -> None:
        self.head = head
        check_framing(head, self.clientproto)
        check_length(head.length, site.max_request_size)
        self.body = site.receive(head)
        if self.body is None:
            check_length(head.length, UNWANTED)
        else:
            self._limit = site.max_request_size
            self.body.begin(self)

    def _release(self) -> None:
        if self.body is not None:
            self.body.abort()


class Site(server.Site):
    """
    Serves a resource to those who may ask.

    @ivar receive: judges each request before its body is read.
    @ivar max_request_size: bytes of a body.
    """

    _log = Logger()
    noisy = False

    def __init__(self, resource: IResource, receive: Reception, settings: HTTPSettings, reactor: IReactorTime) -> None:
        super().__init__(resource, Request, parsePOSTFormSubmission=False, timeout=None, reactor=reactor)
        self.receive = receive
        self.max_request_size = settings.max_request_size
        self._access_log = settings.access_log
        deadlines = Deadlines(settings.header_timeout, settings.body_timeout, _IDLE)
        self.protocol = partial(Channel, reactor, deadlines)  # type: ignore[method-assign, assignment]

    def startFactory(self) -> None:
        """Nothing has to be made ready: the log is the daemon's own."""

    def stopFactory(self) -> None:
        """Nothing has to be put away."""

    def getResourceFor(self, request: Request) -> Any:
        """See L{server.Site.getResourceFor}; Twisted has just put its own name and version into the response."""
        request.setHeader(b"Server", RESPONSE_HEADERS[b"Server"])
        return super().getResourceFor(request)

    def acceptableProtocols(self) -> list[bytes]:
        """HTTP/1.1 alone."""
        return [b"http/1.1"]

    def log(self, request: Request) -> None:  # type: ignore[override]
        """One line for each request, without the query and the headers, which may hold secrets."""
        if self._access_log:
            self._log.info(
                "{peer} {method} {path} {status} {sent}",
                peer=getattr(request.client, "host", "-"),
                method=repr(request.method)[2:-1],
                path=repr(request.path or b"-")[2:-1],
                status=request.code,
                sent=request.sentLength,
            )
