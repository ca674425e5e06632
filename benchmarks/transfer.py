"""
One large body, there or back.

A file goes out by C{sendfile}, and what comes in is dropped or hashed, so that the client takes little of the cores that it
shares with the server.
"""

from __future__ import annotations

import hashlib
import re
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

_PATIENCE: Final = 120.0
_BUFFER: Final = 1 << 20
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)


class Sent(msgspec.Struct, frozen=True):
    """
    A body went there.

    @ivar start: when it began (CLOCK_MONOTONIC); the others are seconds from then on.
    @ivar written: until the server had written all of it.
    @ivar answered: until the answer was there.
    @ivar answer: its beginning.
    """

    start: float
    written: float
    answered: float
    answer: bytes


class Received(msgspec.Struct, frozen=True):
    """
    A body came back.

    @ivar start: when it was asked for (CLOCK_MONOTONIC).
    @ivar seconds: from then until all was there.
    @ivar size: bytes of the body.
    @ivar head: the answer's head.
    """

    start: float
    seconds: float
    size: int
    head: bytes
    digest: str


def send(port: int, head: bytes, path: Path, tail: bytes, incoming: Path | None = None) -> Sent:
    """
    Send a file.

    @param incoming: the file is written when one below this directory has its size.  Without it, when the answer comes.
    """
    size = path.stat().st_size
    with path.open("rb") as file, socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE) as connection:
        start = time.monotonic()
        connection.sendall(head)
        connection.sendfile(file)
        connection.sendall(tail)
        written = None if incoming is None else _until_written(incoming, size) - start
        answer = connection.recv(_BUFFER)
        answered = time.monotonic() - start
    return Sent(start, answered if written is None else written, answered, answer)


def receive(port: int, request: bytes, at_most: int | None = None, hashed: bool = False) -> Received:
    """
    Ask for something, and drop what comes.

    @param at_most: break off after this many bytes of the body.
    @param hashed: whether to compute the SHA-256 of the body, which takes time.
    """
    digest = hashlib.sha256()
    update: Callable[[memoryview], None] = digest.update if hashed else _drop
    buffer = memoryview(bytearray(_BUFFER))
    with socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE) as connection:
        start = time.monotonic()
        connection.sendall(request)
        head, begun = _head(connection)
        length = _LENGTH.search(head)
        wanted = min(int(length[1]) if length else 0, at_most or 1 << 62)
        begun = begun[:wanted]
        update(memoryview(begun))
        size = len(begun)
        while size < wanted and (count := connection.recv_into(buffer, min(_BUFFER, wanted - size))):
            update(buffer[:count])
            size += count
        seconds = time.monotonic() - start
    return Received(start, seconds, size, head, digest.hexdigest())


def _drop(piece: memoryview) -> None:
    pass


def _head(connection: socket.socket) -> tuple[bytes, bytes]:
    received = b""
    while b"\r\n\r\n" not in received:
        piece = connection.recv(_BUFFER)
        if not piece:
            raise RuntimeError(f"the answer ends in its head: {received!r}")
        received += piece
    head, _, begun = received.partition(b"\r\n\r\n")
    return head + b"\r\n", begun


def _until_written(directory: Path, size: int) -> float:
    until = time.monotonic() + _PATIENCE
    while not any(_size(path) >= size for path in directory.glob("*/*")):
        if time.monotonic() > until:
            raise RuntimeError(f"nothing below {directory} has grown to {size} bytes")
        time.sleep(0.002)
    return time.monotonic()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
