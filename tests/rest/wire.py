"""One connection to a site, byte by byte, without a network."""

from collections.abc import Callable
from typing import Any

import msgspec
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from zope.interface import implementer

from modabatchd.config.settings import HTTPSettings
from modabatchd.rest.front import Head
from modabatchd.rest.interfaces import IBody, IFlow
from modabatchd.rest.problems import HTTPRefusal
from modabatchd.rest.site import Request, Site

HOST = "Host: localhost:5000"
REFUSAL = HTTPRefusal(403, "cross-site", "No.", "Do not.")
Reply = tuple[int, dict[str, str], bytes]


class Transport(StringTransport):
    """Remembers how it was closed."""

    half_closed = False
    aborted = False

    def loseWriteConnection(self) -> None:
        self.half_closed = True

    def abortConnection(self) -> None:
        super().abortConnection()
        self.aborted = True


@implementer(IBody)
class Taker:
    """Takes a body, and remembers what happened."""

    def __init__(self, refuses: Exception | None = None) -> None:
        self._refuses = refuses
        self.flow: IFlow | None = None
        self.taken = b""
        self.ended = False
        self.aborted = False

    def begin(self, flow: IFlow) -> None:
        self.flow = flow

    def write(self, data: bytes) -> None:
        assert not self.ended
        assert not self.aborted
        self.taken += data
        if self._refuses is not None:
            raise self._refuses

    def end(self) -> None:
        self.ended = True

    def abort(self) -> None:
        self.aborted = True


class Echo(Resource):
    """Answers with the method and the path; a path that begins with /later waits for the test."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[Request] = []

    def render(self, request: Any) -> Any:
        self.requests.append(request)
        if request.path.startswith(b"/later"):
            return 1
        if request.path.startswith(b"/broken"):
            raise ZeroDivisionError
        return request.method + b" " + request.path


class Wire:
    """A connection."""

    def __init__(self, receive: Callable[[Head], IBody | None] = lambda head: None, **settings: Any) -> None:
        self.clock = Clock()
        self.heads: list[Head] = []
        self.echo = Echo()
        self._receive = receive
        self.site = Site(self.echo, self._judge, HTTPSettings(**settings), self.clock)
        self.channel: Any = None
        self.transport = Transport()
        self.connect()

    def connect(self) -> None:
        self.transport = Transport()
        self.channel = self.site.buildProtocol(None)
        self.channel.makeConnection(self.transport)

    def send(self, data: bytes) -> bytes:
        """@return: what came back."""
        self.transport.clear()
        self.channel.dataReceived(data)
        return self.transport.value()

    def ask(self, *lines: str, body: bytes = b"") -> bytes:
        return self.send("".join(line + "\r\n" for line in (*lines, "")).encode("latin-1") + body)

    def lose(self) -> None:
        self.channel.connectionLost(Failure(ConnectionDone()))

    def _judge(self, head: Head) -> IBody | None:
        self.heads.append(head)
        return self._receive(head)


def replies(data: bytes) -> list[Reply]:
    """The responses in what came back, each with a Content-Length."""
    found: list[Reply] = []
    while data:
        head, _, data = data.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines)
        length = int(headers.get("content-length", "0"))
        found.append((int(first.split()[1]), headers, data[:length]))
        data = data[length:]
    return found


def problem(data: bytes) -> tuple[int, str]:
    """The status and the code of the only response, which must be a problem that ends the connection."""
    [(status, headers, body)] = replies(data)
    document = msgspec.json.decode(body)
    assert headers["content-type"] == "application/problem+json"
    assert headers["connection"] == "close"
    assert headers["server"] == "modabatchd"
    assert document["status"] == status
    return status, document["type"].rpartition(":")[2]


def refuses(_: object) -> None:
    raise REFUSAL


def taking(taker: Taker, **settings: object) -> Wire:
    return Wire(lambda head: taker, **settings)
