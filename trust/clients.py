"""Clients that submit, each submission under a key of its own, and ask again until they are told that it was accepted."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from http.client import HTTPConnection, HTTPException
from typing import Final
from uuid import uuid4

import msgspec

from benchmarks.bundles import form

_PATIENCE: Final = 30.0
_PAUSE: Final = 0.2
#: Not now, or nobody knows: the same once more.
_AGAIN: Final = frozenset({409, 429, 500, 502, 503, 507})
_ACCEPTED: Final = frozenset({201, 202})


class Refused(Exception):
    """The daemon answered what no client of a sane daemon is ever told."""


class _Accepted(msgspec.Struct):
    job_id: str


class Clients:
    """
    Threads that submit as fast as they are answered.

    @ivar told: by key, the ids of the jobs that the clients were told of.
    @ivar tries: how often they asked.
    @ivar problems: answers that no client should ever see; whoever saw one has stopped.
    """

    def __init__(self, port: int, bundle: bytes, fields: Callable[[str], Mapping[str, str]]) -> None:
        """@param fields: of the submission with that key."""
        self.told: defaultdict[str, set[str]] = defaultdict(set)
        self.tries = 0
        self.problems: list[str] = []
        self._port = port
        self._bundle = bundle
        self._fields = fields
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self, count: int) -> None:
        """Let so many of them begin."""
        self._threads = [threading.Thread(target=self._submit_on, daemon=True) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Let each of them get what it waits for, but begin nothing new."""
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _submit_on(self) -> None:
        try:
            while not self._over.is_set():
                self._submit(str(uuid4()))
        except Refused as problem:
            self.problems.append(str(problem))

    def _submit(self, key: str) -> None:
        begin, end = form(self._fields(key), len(self._bundle))
        body = begin[begin.index(b"\r\n\r\n") + 4 :] + self._bundle + end
        media = begin[begin.index(b"multipart/") : begin.index(b"\r\n", begin.index(b"multipart/"))]
        headers = {"Content-Type": media.decode(), "Idempotency-Key": f'"{key}"'}
        while not self._is_accepted(key, body, headers):
            time.sleep(_PAUSE)

    def _is_accepted(self, key: str, body: bytes, headers: Mapping[str, str]) -> bool:
        self.tries += 1
        connection = HTTPConnection("127.0.0.1", self._port, timeout=_PATIENCE)
        try:
            connection.request("POST", "/jobs", body, headers)
            response = connection.getresponse()
            status, answer = response.status, response.read()
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()
        if status in _AGAIN:
            return False
        if status not in _ACCEPTED:
            raise Refused(f"{status}: {answer[:300]!r}")
        self.told[key].add(msgspec.json.decode(answer, type=_Accepted).job_id)
        return True
