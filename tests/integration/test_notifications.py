"""Notifications over real connections, to receivers that misbehave in every way."""

import socket
from collections.abc import AsyncIterator, Callable
from functools import partial
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import TCP4ServerEndpoint, serverFromString
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Protocol, ServerFactory, connectionDone
from twisted.internet.task import deferLater
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure

from modabatchd.notifications.addresses import allowed
from modabatchd.notifications.agent import guarded_client
from modabatchd.notifications.delivery import Courier
from modabatchd.notifications.endpoints import Endpoints
from tests.certificates import SelfSigned
from tests.notifications.outbox import Outbox, Registered

TIMEOUT = 0.5
SECRET = "whsec_" + "a" * 32
LOOPBACK = ("127.0.0.0/8", "::1/128")
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Connection(Protocol):
    """One request, answered as the receiver was told to."""

    def connectionMade(self) -> None:
        self.received = b""
        self.factory.connections.append(self)

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        head, end, body = self.received.partition(b"\r\n\r\n")
        if end and body.endswith(b"}"):
            self.factory.requests.append((head, body))
            self.factory.answer(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.factory.connections.remove(self)
        self.factory.ended += 1


class Receiver(ServerFactory):
    """A server that answers each request by C{answer}."""

    protocol = Connection

    def __init__(self, answer: Callable[[Any], None]) -> None:
        self.answer = answer
        self.requests: list[tuple[bytes, bytes]] = []
        self.connections: list[Connection] = []
        self.ended = 0
        self.port: IListeningPort | None = None

    def url(self, scheme: str = "http", host: str = "127.0.0.1") -> str:
        assert self.port is not None
        return f"{scheme}://{host}:{self.port.getHost().port}/hook"


class Street:
    """Receivers on loopback and a courier that serves them."""

    def __init__(self) -> None:
        self.outbox = Outbox()
        self.receivers: list[Receiver] = []
        self.couriers: list[Courier] = []

    async def receiver(self, answer: Callable[[Any], None], endpoint: str = "tcp:0:interface=127.0.0.1") -> Receiver:
        receiver = Receiver(answer)
        receiver.port = await serverFromString(reactor, endpoint).listen(receiver)
        self.receivers.append(receiver)
        return receiver

    def start(self, *private: str, timeout: float = TIMEOUT) -> Courier:
        check = partial(allowed, private=[ip_network(network) for network in private])
        client = guarded_client(reactor, check, timeout)
        courier = Courier(reactor, self.outbox, Endpoints(Registered(), [SECRET]), client, timeout, lambda: 0.0)
        self.couriers.append(courier)
        courier.startService()
        return courier

    async def logged(self, count: int = 1) -> list[tuple[object, ...]]:
        await until(lambda: len(self.outbox.log) >= count)
        return self.outbox.log

    async def clear(self) -> None:
        for courier in self.couriers:
            await maybeDeferred(courier.stopService)
        for receiver in self.receivers:
            await maybeDeferred(receiver.port.stopListening)
            for connection in list(receiver.connections):
                connection.transport.abortConnection()
            await until(lambda receiver=receiver: not receiver.connections)


@pytest_twisted.async_yield_fixture
async def street() -> AsyncIterator[Street]:
    street = Street()
    yield street
    await street.clear()


def pause(seconds: float) -> Deferred[None]:
    return deferLater(reactor, seconds)


async def until(condition: Callable[[], object], seconds: float = 5.0) -> None:
    deadline = reactor.seconds() + seconds
    while not condition():
        assert reactor.seconds() < deadline, "it did not happen in time"
        await pause(0.01)


def says(answer: bytes) -> Callable[[Any], None]:
    def respond(connection: Any) -> None:
        connection.transport.write(answer)

    return respond


def hangs(_: Any) -> None:
    """Say nothing at all."""


def resets(connection: Any) -> None:
    connection.transport.abortConnection()


@pytest_twisted.ensureDeferred
async def test_a_notification_arrives(street: Street) -> None:
    receiver = await street.receiver(says(OK))
    message = street.outbox.put("m1", receiver.url())
    street.start(*LOOPBACK)
    assert [entry[:2] for entry in await street.logged()] == [("delivered", "m1")]
    [(head, body)] = receiver.requests
    assert head.startswith(b"POST /hook HTTP/1.1\r\n")
    assert b"webhook-id: m1" in head.lower()
    assert body == message.body


@pytest_twisted.ensureDeferred
async def test_a_host_name_and_an_ipv6_literal_are_reached(street: Street) -> None:
    receiver = await street.receiver(says(OK))
    sixth = await street.receiver(says(OK), r"tcp6:0:interface=\:\:1")
    street.outbox.put("name", receiver.url(host="localhost"))
    street.outbox.put("literal", sixth.url(host="[::1]"))
    street.outbox.put("short", receiver.url(host="127.1"))
    street.start(*LOOPBACK)
    assert sorted(entry[:2] for entry in await street.logged(3)) == [
        ("delivered", "literal"),
        ("delivered", "name"),
        ("delivered", "short"),
    ]


@pytest_twisted.ensureDeferred
async def test_loopback_is_not_reached_unless_it_is_listed(street: Street) -> None:
    receiver = await street.receiver(says(OK))
    sixth = await street.receiver(says(OK), r"tcp6:0:interface=\:\:1")
    hosts = ["127.0.0.1", "localhost", "127.1", "2130706433", "0x7f.1", "0", "[::ffff:127.0.0.1]"]
    for host in hosts:
        street.outbox.put(host, receiver.url(host=host))
    street.outbox.put("v6", sixth.url(host="[::1]"))
    street.start("10.0.0.0/8")
    log = await street.logged(len(hosts) + 1)
    assert {entry[0] for entry in log} == {"postpone"}
    assert all("notifications.allowed_private" in str(entry[3]) for entry in log)
    assert not any(one.connections or one.ended for one in (receiver, sixth))


@pytest_twisted.ensureDeferred
async def test_a_receiver_that_says_nothing_is_left_in_time_and_its_connection_closed(street: Street) -> None:
    receiver = await street.receiver(hangs)
    street.outbox.put("m1", receiver.url())
    street.start(*LOOPBACK)
    [entry] = await street.logged()
    assert (entry[0], entry[3]) == ("postpone", "No answer within 0.5 s.")
    await until(lambda: receiver.ended == 1)


@pytest_twisted.ensureDeferred
async def test_a_reset_is_a_failure(street: Street) -> None:
    receiver = await street.receiver(resets)
    street.outbox.put("m1", receiver.url())
    street.start(*LOOPBACK)
    [entry] = await street.logged()
    assert entry[0] == "postpone"
    assert str(entry[3]).startswith("The connection failed: ")


@pytest_twisted.ensureDeferred
async def test_a_port_where_nobody_listens_is_a_failure(street: Street) -> None:
    receiver = await street.receiver(says(OK))
    url = receiver.url()
    await maybeDeferred(receiver.port.stopListening)
    street.outbox.put("m1", url)
    street.start(*LOOPBACK)
    [entry] = await street.logged()
    assert "refused" in str(entry[3])


@pytest_twisted.ensureDeferred
async def test_a_redirect_is_not_followed(street: Street) -> None:
    target = await street.receiver(says(OK))
    location = target.url().encode()
    receiver = await street.receiver(says(b"HTTP/1.1 302 Found\r\nLocation: " + location + b"\r\nContent-Length: 0\r\n\r\n"))
    street.outbox.put("m1", receiver.url())
    street.start(*LOOPBACK)
    [entry] = await street.logged()
    assert (entry[0], entry[3]) == ("postpone", "The receiver answered with status 302.")
    assert target.requests == []


@pytest_twisted.ensureDeferred
async def test_a_body_that_never_ends_changes_nothing_and_is_cut_off(street: Street) -> None:
    receiver = await street.receiver(says(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nx"))
    street.outbox.put("m1", receiver.url())
    street.start(*LOOPBACK)
    assert [entry[:2] for entry in await street.logged()] == [("delivered", "m1")]
    await until(lambda: receiver.ended == 1)


@pytest_twisted.ensureDeferred
async def test_a_huge_body_is_cut_off_early(street: Street) -> None:
    sent: list[int] = []

    def floods(connection: Any) -> None:
        connection.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")

        def more() -> None:
            if connection.connected and len(sent) < 1000:
                sent.append(65536)
                connection.transport.write(b"x" * 65536)
                reactor.callLater(0.001, more)

        more()

    receiver = await street.receiver(floods)
    street.outbox.put("m1", receiver.url())
    street.start(*LOOPBACK)
    assert [entry[:2] for entry in await street.logged()] == [("delivered", "m1")]
    await until(lambda: receiver.ended == 1)
    # Receiver and courier share a reactor, so each piece is read before the next few are sent.
    assert len(sent) < 50


@pytest_twisted.ensureDeferred
async def test_a_hanging_receiver_does_not_hold_up_another(street: Street) -> None:
    slow, quick = await street.receiver(hangs), await street.receiver(says(OK))
    for number in range(60):
        street.outbox.put(f"slow{number}", slow.url())
    street.outbox.put("quick", quick.url(host="localhost"), at=1.0)
    street.start(*LOOPBACK, timeout=60.0)
    await until(lambda: street.outbox.log, seconds=30.0)
    assert [entry[:2] for entry in street.outbox.log] == [("delivered", "quick")]
    assert len(slow.requests) == 2


@pytest_twisted.ensureDeferred
async def test_stop_breaks_off_and_the_next_start_sends_again(street: Street) -> None:
    receiver = await street.receiver(hangs)
    street.outbox.put("m1", receiver.url())
    courier = street.start(*LOOPBACK)
    await until(lambda: receiver.requests)
    await courier.stopService()
    assert street.outbox.log == []
    await until(lambda: receiver.ended == 1)
    receiver.answer = says(OK)
    street.start(*LOOPBACK)
    assert [entry[:2] for entry in await street.logged()] == [("delivered", "m1")]


async def tls_receiver(street: Street, answer: Callable[[Any], None], certificate: SelfSigned) -> Receiver:
    receiver = Receiver(answer)
    factory = TLSMemoryBIOFactory(certificate, False, receiver)
    receiver.port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(factory)
    street.receivers.append(receiver)
    return receiver


@pytest.fixture
def localhost(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> SelfSigned:
    """A certificate that this machine trusts."""
    return trusted("localhost", monkeypatch, tmp_path)


def trusted(host: str, monkeypatch: pytest.MonkeyPatch, directory: Path) -> SelfSigned:
    certificate = SelfSigned(host)
    monkeypatch.setenv("SSL_CERT_FILE", certificate.write(directory / "trusted.pem"))
    return certificate


@pytest_twisted.ensureDeferred
async def test_https_with_a_trusted_certificate_arrives(street: Street, localhost: SelfSigned) -> None:
    receiver = await tls_receiver(street, says(OK), localhost)
    street.outbox.put("m1", receiver.url("https", "localhost"))
    street.start(*LOOPBACK)
    assert [entry[:2] for entry in await street.logged()] == [("delivered", "m1")]


@pytest_twisted.ensureDeferred
async def test_https_with_a_certificate_for_another_name_does_not(
    street: Street, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    receiver = await tls_receiver(street, says(OK), trusted("elsewhere.example", monkeypatch, tmp_path))
    street.outbox.put("m1", receiver.url("https", "localhost"))
    street.start(*LOOPBACK)
    [entry] = await street.logged()
    assert "Mismatch" in str(entry[3])
    assert receiver.requests == []


@pytest_twisted.ensureDeferred
async def test_https_with_an_unknown_certificate_does_not(street: Street) -> None:
    receiver = await tls_receiver(street, says(OK), SelfSigned("localhost"))
    street.outbox.put("m1", receiver.url("https", "localhost"))
    street.start(*LOOPBACK)
    [entry] = await street.logged()
    assert "certificate verify failed" in str(entry[3])
    assert receiver.requests == []


@pytest_twisted.ensureDeferred
async def test_a_receiver_that_ignores_the_end_of_tls_is_left_all_the_same(street: Street, localhost: SelfSigned) -> None:
    def answers_and_turns_deaf(connection: Any) -> None:
        connection.transport.write(OK)
        # From here on nothing that the client sends is read, so its closing alert is never answered.
        connection.transport.transport.pauseProducing()

    receiver = await tls_receiver(street, answers_and_turns_deaf, localhost)
    street.outbox.put("m1", receiver.url("https", "localhost"))
    street.start(*LOOPBACK)
    assert [entry[:2] for entry in await street.logged()] == [("delivered", "m1")]
    [connection] = receiver.connections
    await until(lambda: reset(connection))


def reset(connection: Any) -> bool:
    """Whether the client has aborted a connection that the server does not read."""
    info = connection.transport.transport.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
    return info[0] == 7  # TCP_CLOSE
