"""
Files of a draft, taken while their bytes arrive.

Note [Small forms]
==================
Most forms are small, and a directory made and a file written for each of them would cost more than all else.  So nothing is
written before a block is full, and what is complete before that goes into the draft as it is.

Note [Slow disks]
=================
The reactor never writes: bytes are gathered to blocks, and one block after the other is written by a worker.  While more is
waiting than a few blocks the client is made to wait, so that memory stays flat however slow the disk is.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from modabatchd.errors import NoSpace
from modabatchd.queue.interfaces import IDraft
from modabatchd.workers import IWorkers

#: Bytes that are written at once.
_BLOCK: Final = 1 << 20
#: Bytes of a form that needs no directory.  See Note [Small forms].
_SMALL: Final = 1 << 18
#: Bytes waiting, from which on the client waits, and below which it may send again.
_HIGH: Final = 3 << 20
_LOW: Final = 1 << 20


class Gathering:
    """
    Puts files into a draft, or writes them into its directory; see Note [Slow disks] and Note [Small forms].

    @ivar full: whether more is waiting than should be.
    """

    def __init__(
        self, workers: IWorkers, changed: Callable[[bool], None], failed: Callable[[Failure], None], digesting: bool = False
    ) -> None:
        """
        @param changed: is told when L{full} becomes C{True}, or C{False} again.
        @param failed: is told, once, that a block could not be written; nothing more is written then.
        @param digesting: whether L{digests} will be asked for.
        """
        self._workers = workers
        self._changed = changed
        self._failed = failed
        self._draft: IDraft | None = None
        self._hashes: dict[str, Any] | None = {} if digesting else None
        self._directory: Path | None = None
        self._blocks: deque[tuple[str, bytearray]] = deque()
        self._files: dict[str, int] = {}
        self._waiting = 0
        self._opened = False
        self._writing = False
        self._closing: Deferred[None] | None = None
        self._broken = False
        self.full = False

    def begin(self, draft: IDraft) -> None:
        """What comes goes there.  To be called before anything comes."""
        self._draft = draft

    def add(self, name: str, data: bytes) -> None:
        """Append to a file; adding nothing makes an empty one."""
        if not self._blocks or self._blocks[-1][0] != name or len(self._blocks[-1][1]) >= _BLOCK:
            self._blocks.append((name, bytearray()))
        self._blocks[-1][1].extend(data)
        self._waiting += len(data)
        self._tell()
        self._go_on()

    def close(self) -> Deferred[None]:
        """Write what waits; fires when all is written and the files are closed, unless L{drop} is called before."""
        closing: Deferred[None] = Deferred()
        self._closing = closing
        if not self._opened and self._waiting <= _SMALL:
            self._put()
        self._go_on()
        return closing

    def digests(self) -> Mapping[str, bytes]:
        """SHA-256 of what was written to each file, by its name; none unless it was asked for at the beginning."""
        return {name: hashed.digest() for name, hashed in (self._hashes or {}).items()}

    def drop(self) -> Deferred[None]:
        """Write nothing more; fires when the files are closed."""
        self._broken = True
        self._blocks.clear()
        return self.close()

    def _go_on(self) -> None:
        if self._writing:
            return
        if self._due():
            self._write_next()
        elif self._closing is not None and not self._blocks:
            self._finish(self._closing)

    def _due(self) -> bool:
        """Whether there is a block that nothing will be added to, or that is large enough."""
        many = len(self._blocks) > 1 or self._closing is not None
        return bool(self._blocks) and (many or len(self._blocks[0][1]) >= _BLOCK)

    def _put(self) -> None:
        while self._blocks and self._draft is not None:
            name, block = self._blocks.popleft()
            self._digest(name, block)
            self._draft.put(name, bytes(block))

    def _write_next(self) -> None:
        """Write a block, or make the directory for it first."""
        if self._directory is not None:
            name, block = self._blocks.popleft()
            self._write(self._directory / name, block)
        elif self._draft is not None:
            self._opened = self._writing = True
            self._draft.open().addCallbacks(self._have, self._fail)

    def _have(self, directory: Path) -> None:
        self._writing = False
        self._directory = directory
        self._go_on()

    def _write(self, path: Path, block: bytearray) -> None:
        self._writing = True
        written = self._workers.run(self._append, path, block)
        written.addCallbacks(lambda _: self._wrote(len(block)), self._fail)

    def _wrote(self, size: int) -> None:
        self._writing = False
        self._waiting -= size
        self._tell()
        self._go_on()

    def _fail(self, failure: Failure) -> None:
        self._writing = False
        self._blocks.clear()
        if not self._broken:
            self._broken = True
            self._failed(failure)
        self._go_on()

    def _finish(self, closing: Deferred[None]) -> None:
        self._closing = None
        if not self._opened:
            closing.callback(None)
            return
        self._writing = True
        self._workers.run(self._close).addBoth(lambda _: self._closed(closing))

    def _closed(self, closing: Deferred[None]) -> None:
        self._writing = False
        closing.callback(None)
        self._go_on()

    def _tell(self) -> None:
        full = self._waiting > (_LOW if self.full else _HIGH)
        if full or self.full:
            self.full = full
            self._changed(full)

    def _append(self, path: Path, block: bytearray) -> None:
        """In a worker, and there is one at a time."""
        try:
            if path.name not in self._files:
                self._files[path.name] = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            rest = memoryview(block)
            while rest:
                rest = rest[os.write(self._files[path.name], rest) :]
            self._digest(path.name, block)
        except OSError as problem:
            if problem.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            cause = f"The spool's disk is full ({problem.strerror})."
            raise NoSpace(cause, "Have the operator make room on it; nothing was accepted.") from problem

    def _digest(self, name: str, block: bytearray) -> None:
        if self._hashes is not None:
            self._hashes.setdefault(name, hashlib.sha256()).update(block)

    def _close(self) -> None:
        """In a worker, after the last block."""
        while self._files:
            os.close(self._files.popitem()[1])
