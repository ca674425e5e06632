"""
A file sent by a Twisted server with Twisted's own C{FileSender}, in blocks as large as modabatchd's.

Usage: python -m benchmarks.peers.source PORT FILE

Whatever comes over a connection is answered with the length of the file, as a header, and the file.
"""

from __future__ import annotations

import sys
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.endpoints import serverFromString
from twisted.internet.protocol import Factory, Protocol
from twisted.protocols.basic import FileSender


class Source(Protocol):
    """One connection."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def dataReceived(self, data: bytes) -> None:
        """Send the file, then close."""
        file = self._path.open("rb", buffering=0)
        sender = FileSender()
        sender.CHUNK_SIZE = 1 << 18
        transport = self.transport
        assert transport is not None
        transport.write(b"ok\r\nContent-Length: %d\r\n\r\n" % self._path.stat().st_size)

        def sent(_: object) -> None:
            file.close()
            transport.loseConnection()

        sender.beginFileTransfer(file, transport).addBoth(sent)


def main() -> None:
    """Do what the module's text says."""
    factory = Factory.forProtocol(lambda: Source(Path(sys.argv[2])))
    serverFromString(reactor, f"tcp:{sys.argv[1]}:interface=127.0.0.1").listen(factory)
    reactor.run()


if __name__ == "__main__":
    main()
