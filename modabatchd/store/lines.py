"""
Connections that can be cut from another thread.

Note [Cutting a line]
=====================
A thread that waits for a frozen PostgreSQL waits for ever, and nothing in its driver ends that.  Shutting down the socket
does: the thread finds the connection closed.  But the number of a socket that the driver closes meanwhile may already belong
to somebody else.  So we keep a duplicate of it, which has a number that only we close, under a lock.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from threading import Lock
from typing import Any

from sqlalchemy import Engine, event

from modabatchd.store.failures import away


class Lines:
    """The connections of one engine to PostgreSQL; those to SQLite have nothing that could be cut."""

    def __init__(self, engine: Engine) -> None:
        self._lock = Lock()
        self._sockets: dict[int, socket.socket] = {}
        self._over = False
        if engine.dialect.name != "sqlite":
            # Before whatever else is done with a new connection, which may already be the moment when it freezes.
            event.listen(engine, "connect", self._opened, insert=True)
            event.listen(engine, "close", self._closed)
            event.listen(engine, "do_connect", self._opening)

    def cut(self, for_good: bool = False) -> None:
        """
        End all of them.  Whoever waits for one of them gets an error soon.  See Note [Cutting a line].

        @param for_good: whether no new ones are made from now on either.
        """
        self._over |= for_good
        with self._lock:
            for line in self._sockets.values():
                with suppress(OSError):
                    line.shutdown(socket.SHUT_RDWR)

    def _opening(self, *_: Any) -> None:
        if self._over:
            raise away()

    def _opened(self, connection: Any, _: Any) -> None:
        line = socket.socket(fileno=os.dup(connection.fileno()))
        with self._lock:
            self._sockets[id(connection)] = line

    def _closed(self, connection: Any, _: Any) -> None:
        with self._lock:
            line = self._sockets.pop(id(connection), None)
            if line is not None:
                line.close()
