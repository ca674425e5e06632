"""
Many requests over a few connections that are kept, from one thread.

The requests are bytes that were made before, and of the responses no more is read than is needed to see that they are whole, so
that the client takes a small part of a server's time.
"""

from __future__ import annotations

import re
import selectors
import socket
import time
from collections.abc import Sequence
from typing import Final

import msgspec

_PATIENCE: Final = 60.0
_PIECE: Final = 1 << 18
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
_UNCHANGED: Final = b"HTTP/1.1 304 "
_LAST_CHUNK: Final = b"\r\n0\r\n\r\n"


class Load(msgspec.Struct, frozen=True):
    """
    What came of it.

    @ivar rate: responses a second.
    @ivar size: bytes of the last response, headers included.
    """

    rate: float
    size: int


def load(
    port: int, requests: Sequence[bytes], status: int, connections: int, count: int | None = None, seconds: float = _PATIENCE
) -> Load:
    """
    Send the requests in turn.

    @param status: what each must be answered with.
    @param count: how many; as many as go into C{seconds} when there is none.
    """
    with selectors.DefaultSelector() as selector:
        clients = [_Client(port, b"HTTP/1.1 %d " % status) for _ in range(connections)]
        for client in clients:
            selector.register(client.socket, selectors.EVENT_READ, client)
        try:
            return _send(selector, clients, requests, count, seconds)
        finally:
            for client in clients:
                client.socket.close()


def _send(
    selector: selectors.BaseSelector, clients: Sequence[_Client], requests: Sequence[bytes], count: int | None, seconds: float
) -> Load:
    start = time.monotonic()
    sent = answered = 0
    most = count or 1 << 62
    for client in clients[:most]:
        client.ask(requests[sent % len(requests)])
        sent += 1
    while answered < sent:
        for key, _ in selector.select(_PATIENCE) or _silence():
            if key.data.hear():
                answered += 1
                if sent < most and time.monotonic() - start < seconds:
                    key.data.ask(requests[sent % len(requests)])
                    sent += 1
    if count is not None and answered < count:
        raise RuntimeError(f"{answered} of {count} requests were answered within {seconds:g} s")
    return Load(answered / (time.monotonic() - start), clients[0].size)


def _silence() -> list[tuple[selectors.SelectorKey, int]]:
    raise RuntimeError("the server is silent")


class _Client:
    """One connection, with one request at a time."""

    def __init__(self, port: int, expected: bytes) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.size = 0
        self._expected = expected
        self._received = b""

    def ask(self, request: bytes) -> None:
        self.socket.sendall(request)

    def hear(self) -> bool:
        """Read what has come.  @return: whether a response is complete now."""
        piece = self.socket.recv(_PIECE)
        self._received = self._received + piece if self._received else piece
        if not piece or not self._received.startswith(self._expected):
            raise RuntimeError(f"not {self._expected!r}: {self._received[:1000]!r}")
        if not _is_whole(self._received):
            return False
        self.size, self._received = len(self._received), b""
        return True


def _is_whole(response: bytes) -> bool:
    end = response.find(b"\r\n\r\n")
    if end < 0:
        return False
    if response.startswith(_UNCHANGED):
        return True
    length = _LENGTH.search(response, 0, end + 2)
    return response.endswith(_LAST_CHUNK) if length is None else len(response) >= end + 4 + int(length[1])
