"""The agent connects to allowed addresses only, however a URL spells them."""

import socket
from collections.abc import Callable
from functools import partial
from ipaddress import ip_network
from typing import Any

import pytest
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHostnameResolver, IHostResolution, IResolutionReceiver
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.web.client import Agent
from twisted.web.iweb import IAgent
from zope.interface import implementer
from zope.interface.verify import verifyObject

from modabatchd.notifications.addresses import allowed
from modabatchd.notifications.agent import GuardedAgent, guarded_client
from modabatchd.notifications.endpoint import Event
from modabatchd.notifications.endpoints import Address
from modabatchd.notifications.message import Message
from modabatchd.notifications.schedule import Reply
from modabatchd.notifications.sending import send
from tests.deferreds import now

NAMES = {
    "public.example": ["93.184.216.34"],
    "private.example": ["10.0.0.1"],
    "mixed.example": ["192.168.0.1", "93.184.216.34", "::1", "2606:4700::1111"],
    "metadata.example": ["169.254.169.254", "fd00:ec2::254"],
    "localhost": ["127.0.0.1", "::1"],
}

SECRET = "whsec_" + "a" * 32


@implementer(IHostResolution)
class Resolution:
    def __init__(self, name: str) -> None:
        self.name = name

    def cancel(self) -> None:
        """It is over already."""


@implementer(IHostnameResolver)
class Resolver:
    """Names by a table, literals as the C library reads them."""

    def resolveHostName(
        self, resolutionReceiver: IResolutionReceiver, hostName: str, portNumber: int = 0, *_: Any
    ) -> IHostResolution:
        resolution = Resolution(hostName)
        resolutionReceiver.resolutionBegan(resolution)
        for host in NAMES.get(hostName) or literal(hostName):
            kind = IPv6Address if ":" in host else IPv4Address
            resolutionReceiver.addressResolved(kind("TCP", host, portNumber))
        resolutionReceiver.resolutionComplete()
        return resolution


def literal(name: str) -> list[str]:
    try:
        found = socket.getaddrinfo(name, 0, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        return []
    return [address[0] for *_, address in found]


@pytest.fixture
def reactor() -> MemoryReactorClock:
    reactor = MemoryReactorClock()
    reactor.installNameResolver(Resolver())
    return reactor


def started(reactor: MemoryReactorClock, url: str, *private: str) -> Deferred[Reply]:
    check: Callable[[str], bool] = partial(allowed, private=[ip_network(network) for network in private])
    client = guarded_client(reactor, check, 15)
    message = Message(id="m1", job_id="j1", url=url, body=b"{}", created=0, event=Event.COMPLETED)
    return Deferred.fromCoroutine(send(client, message, Address(message.url, [SECRET]), reactor, 15))


def connected(reactor: MemoryReactorClock) -> list[tuple[str, int]]:
    reactor.pump([1, 1, 1])
    return [(host, port) for host, port, *_ in reactor.tcpClients]


def test_the_interfaces_are_provided(reactor: MemoryReactorClock) -> None:
    agent = GuardedAgent(reactor, lambda _: True, 1)
    assert verifyObject(IAgent, agent)
    assert isinstance(agent._agent, Agent)
    assert verifyObject(IHostnameResolver, agent._agent._endpointFactory._reactor.nameResolver)


PRIVATE_URLS = [
    "http://private.example/",
    "https://private.example/",
    "http://metadata.example/latest/meta-data/",
    "http://localhost:5000/jobs",
    "http://LOCALHOST/",
    "http://127.0.0.1/",
    "https://127.0.0.1/",
    "http://127.1/",
    "http://127.0.1/",
    "http://2130706433/",
    "http://0x7f.1/",
    "http://0x7f000001/",
    "http://0177.0.0.1/",
    "http://0/",
    "http://0.0.0.0/",
    "http://169.254.169.254/",
    "http://[::1]/",
    "https://[::1]:8443/",
    "http://[::]/",
    "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:7f00:1]/",
    "http://[::127.0.0.1]/",
    "http://[64:ff9b::7f00:1]/",
    "http://[2002:7f00:1::]/",
    "http://[fe80::1]/",
    "http://[fd00:ec2::254]/",
]


@pytest.mark.parametrize("url", PRIVATE_URLS)
def test_nothing_private_is_connected(reactor: MemoryReactorClock, url: str) -> None:
    reply = now(started(reactor, url))
    assert "notifications.allowed_private" in reply.problem
    assert not reply.hopeless
    assert connected(reactor) == []


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:81@private.example/",
        "http://public.example@127.0.0.1/",
        "http://public.example:80@127.0.0.1/",
        "http://127.0.0.1#@public.example/",
        "http://private.example\\@public.example/",
        "http://private.example%2f@public.example/",
        "http:///x",
        "http://",
        "http://[::1",
        "http://::1/",
        "http://h:port/",
        "http://127.0.0.1.\u3002example/",
        "http://①②⑦.⓪.⓪.①/",
        "http://a..b/",
        "http://" + "a" * 70 + ".example/",
        "ftp://public.example/",
        "file:///etc/passwd",
        "unix:///run/docker.sock",
        "gopher://127.0.0.1:25/x",
        "",
        "\x00",
    ],
)
def test_odd_urls_connect_to_nothing_private(reactor: MemoryReactorClock, url: str) -> None:
    started(reactor, url)
    assert set(connected(reactor)) <= {("93.184.216.34", 80)}


@pytest.mark.parametrize("url", ["ftp://public.example/", "file:///etc/passwd", "http://h:port/", "http://[::1"])
def test_what_is_no_http_url_is_hopeless(reactor: MemoryReactorClock, url: str) -> None:
    assert now(started(reactor, url)).hopeless


def test_a_public_host_is_connected_at_the_address_that_was_checked(reactor: MemoryReactorClock) -> None:
    started(reactor, "http://public.example:8080/hook")
    assert connected(reactor) == [("93.184.216.34", 8080)]


def test_https_goes_to_its_own_port(reactor: MemoryReactorClock) -> None:
    started(reactor, "https://public.example/hook")
    assert connected(reactor) == [("93.184.216.34", 443)]


def test_only_the_allowed_addresses_of_a_host_are_tried(reactor: MemoryReactorClock) -> None:
    started(reactor, "http://mixed.example/")
    assert connected(reactor) == [("93.184.216.34", 80), ("2606:4700::1111", 80)]


@pytest.mark.parametrize("url", ["http://[::1]:80/", "http://localhost/", "http://127.0.0.1/", "http://127.1/"])
def test_what_is_listed_is_connected(reactor: MemoryReactorClock, url: str) -> None:
    started(reactor, url, "127.0.0.0/8", "::1/128")
    assert set(connected(reactor)) & {("127.0.0.1", 80), ("::1", 80)}


def test_the_request_is_what_a_receiver_expects(reactor: MemoryReactorClock) -> None:
    transport, _ = open_connection(reactor, "http://public.example/a%20b?x=1&y=%c3%a4")
    head, _, body = transport.value().partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"POST /a%20b?x=1&y=%c3%a4 HTTP/1.1"
    headers = {name.lower(): value for name, _, value in (line.partition(b": ") for line in lines[1:])}
    assert headers[b"host"] == b"public.example"
    assert headers[b"content-type"] == b"application/json"
    assert headers[b"content-length"] == b"2"
    assert headers[b"webhook-id"] == b"m1"
    assert headers[b"webhook-timestamp"] == b"0"
    assert headers[b"user-agent"].startswith(b"modabatchd/")
    assert headers[b"connection"] == b"close"
    assert body == b"{}"


def open_connection(reactor: MemoryReactorClock, url: str) -> tuple[StringTransport, Deferred[Reply]]:
    waiting = started(reactor, url)
    [(_, _, factory, *_)] = reactor.tcpClients
    protocol = factory.buildProtocol(None)
    transport = StringTransport()
    transport.protocol = protocol
    protocol.makeConnection(transport)
    return transport, waiting


def receive(transport: StringTransport, data: bytes) -> None:
    transport.protocol.dataReceived(data)


def test_a_redirect_is_not_followed(reactor: MemoryReactorClock) -> None:
    transport, waiting = open_connection(reactor, "http://public.example/")
    receive(transport, b"HTTP/1.1 307 Away\r\nLocation: http://127.0.0.1/\r\nContent-Length: 0\r\n\r\n")
    assert now(waiting) == Reply(status=307)
    assert len(connected(reactor)) == 1


def test_retry_after_is_handed_on(reactor: MemoryReactorClock) -> None:
    transport, waiting = open_connection(reactor, "http://public.example/")
    receive(transport, b"HTTP/1.1 503 No\r\nRetry-After: 77\r\nContent-Length: 0\r\n\r\n")
    assert now(waiting) == Reply(status=503, retry_after="77")


def test_no_answer_ends_in_time(reactor: MemoryReactorClock) -> None:
    transport, waiting = open_connection(reactor, "http://public.example/")
    reactor.advance(15)
    assert now(waiting) == Reply(problem="No answer within 15 s.")
    assert transport.disconnected


def test_a_connection_that_does_not_come_about_ends_in_time(reactor: MemoryReactorClock) -> None:
    waiting = started(reactor, "http://public.example/")
    reactor.advance(15)
    assert now(waiting) == Reply(problem="No answer within 15 s.")


def test_a_body_that_does_not_end_does_not_change_the_outcome(reactor: MemoryReactorClock) -> None:
    transport, waiting = open_connection(reactor, "http://public.example/")
    receive(transport, b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nabc")
    reactor.advance(14)
    assert not waiting.called
    reactor.advance(1)
    assert now(waiting) == Reply(status=200)
    assert transport.producerState == "stopped"


def test_a_body_that_is_too_long_is_cut_off(reactor: MemoryReactorClock) -> None:
    transport, waiting = open_connection(reactor, "http://public.example/")
    receive(transport, b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
    receive(transport, b"x" * 65536)
    assert not waiting.called
    receive(transport, b"x")
    assert now(waiting) == Reply(status=200)
    assert transport.producerState == "stopped"


def test_nothing_is_unpacked_and_no_cookie_is_kept(reactor: MemoryReactorClock) -> None:
    client = guarded_client(reactor, lambda _: True, 15)
    message = Message(id="m1", job_id="j1", url="http://public.example/", body=b"{}", created=0, event=Event.COMPLETED)
    waiting = Deferred.fromCoroutine(send(client, message, Address(message.url, [SECRET]), reactor, 15))
    protocol = reactor.tcpClients[0][2].buildProtocol(None)
    protocol.makeConnection(StringTransport())
    protocol.dataReceived(
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nSet-Cookie: a=b; Max-Age=9999999\r\nContent-Length: 3\r\n\r\nabc"
    )
    assert now(waiting) == Reply(status=200)
    assert list(client._cookiejar) == []


def test_what_is_no_http_answer_is_a_problem(reactor: MemoryReactorClock) -> None:
    transport, waiting = open_connection(reactor, "http://public.example/")
    receive(transport, b"SSH-2.0-OpenSSH_9.2\r\n")
    assert now(waiting).problem.startswith("The connection failed: ")


def test_no_connection_outlives_its_time_even_if_its_end_is_ignored(reactor: MemoryReactorClock) -> None:
    transport, waiting = open_connection(reactor, "http://public.example/")
    receive(transport, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    assert now(waiting) == Reply(status=200)
    assert not transport.disconnected
    reactor.advance(15)
    assert transport.disconnected
