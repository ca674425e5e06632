"""
Klein's bare hello, served by a plain Twisted site.

Usage: python -m benchmarks.peers.hello PORT

It writes no access log, as modabatchd does not by default either; the log would cost it a fifth.
"""

from __future__ import annotations

import sys
from typing import Any

from klein import Klein
from twisted.internet import reactor
from twisted.internet.endpoints import serverFromString
from twisted.web.server import Site


class Quiet(Site):
    """A site without an access log."""

    def startFactory(self) -> None:
        """No log, and so no clock for it."""

    def stopFactory(self) -> None:
        """Nothing to stop."""

    def log(self, request: Any) -> None:
        """No log."""


def main() -> None:
    """Do what the module's text says."""
    klein = Klein()

    @klein.route("/")
    def hello(request: Any) -> str:
        return "Hello, world!"

    serverFromString(reactor, f"tcp:{sys.argv[1]}:interface=127.0.0.1").listen(Quiet(klein.resource()))
    reactor.run()


if __name__ == "__main__":
    main()
