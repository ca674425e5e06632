"""A PostgreSQL that freezes: a proxy before the real one, over TCP, that stops passing on what it gets."""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sqlalchemy import make_url


class Proxy:
    """Threads that pass bytes on, one for each direction of a connection."""

    def __init__(self, target: Path) -> None:
        self._target = target
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = []
        #: What the connections wait for before they pass anything on; those that come get the present one.
        self._gate = threading.Event()
        self._gate.set()
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def freeze(self) -> None:
        """Neither those that are connected nor those that will be get another byte, nor hear of an end."""
        self._gate.clear()

    def thaw(self) -> None:
        """All goes on, from where it was."""
        self._gate.set()

    def let_new_ones_through(self) -> None:
        """Those that are connected stay frozen."""
        self._gate = threading.Event()
        self._gate.set()

    def close(self) -> None:
        for each in [self._listening, *self._sockets]:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client = self._listening.accept()[0]
                server = socket.socket(socket.AF_UNIX)
                server.connect(str(self._target))
                self._sockets += [client, server]
                for ends in ((client, server), (server, client)):
                    threading.Thread(target=self._pass, args=(*ends, self._gate), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket, gate: threading.Event) -> None:
        with suppress(OSError):
            while True:
                data = source.recv(65536)
                gate.wait()
                if not data:
                    target.shutdown(socket.SHUT_WR)
                    return
                target.sendall(data)


@contextmanager
def before(url: str) -> Iterator[tuple[Proxy, str]]:
    """A proxy before the database of a URL, and the URL by way of it."""
    real = make_url(os.environ["MODABATCH_TEST_POSTGRESQL"])
    proxy = Proxy(Path(str(real.query["host"])) / ".s.PGSQL.5432")
    there = make_url(url).difference_update_query(["host"]).set(host="127.0.0.1", port=proxy.port)
    try:
        yield proxy, there.render_as_string(hide_password=False)
    finally:
        proxy.close()
