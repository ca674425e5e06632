"""
C{cat > file} as a Twisted server: what comes over a connection is written to a file, there and then.

Usage: python -m benchmarks.peers.sink PORT FILE

A connection begins with the number of bytes that will come, as a line; when they are written it is answered with "ok".
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.endpoints import serverFromString
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure


class Sink(Protocol):
    """One connection."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = -1
        self._missing = 0

    def dataReceived(self, data: bytes) -> None:
        """Write it."""
        if self._file < 0:
            size, _, data = data.partition(b"\n")
            self._missing = int(size)
            self._path.unlink(missing_ok=True)
            self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._file, rest) :]
        self._missing -= len(data)
        if not self._missing:
            self.transport.write(b"ok")  # type: ignore[union-attr]

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """The client has gone."""
        if self._file >= 0:
            os.close(self._file)


def main() -> None:
    """Do what the module's text says."""
    factory = Factory.forProtocol(lambda: Sink(Path(sys.argv[2])))
    serverFromString(reactor, f"tcp:{sys.argv[1]}:interface=127.0.0.1").listen(factory)
    reactor.run()


if __name__ == "__main__":
    main()
