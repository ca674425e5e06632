"""
Files that go out.

Note [Reading ahead]
====================
The reactor never reads a file, because a cold disk would hold up everybody.  A worker reads one block while the one before is
on its way; so memory stays flat, and a fast client gets nearly what the disk can do.  The file is closed by a worker too, and
never while another one reads from it, whatever the client does meanwhile.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from modabatchd.errors import UnknownArtifact
from modabatchd.rest.conditions import Part, Version, choose
from modabatchd.workers import IWorkers

_BLOCK: Final = 1 << 18


class _Opened(msgspec.Struct, frozen=True):
    descriptor: int
    size: int
    version: Version


async def send_file(request: Any, path: Path, content_type: str, filename: str, complete: bool, workers: IWorkers) -> None:
    """
    Answer a GET or HEAD with a file, or the part of it that was asked for, and finish the request.

    @param filename: under which a browser should save it.
    @param complete: whether the file changes no more.  Of one that still grows, what is there at the moment is sent.
    @param workers: open and read the file.
    @return: when all was handed to the connection, or the client has gone.
    @raise UnknownArtifact: there is no such file; nothing was written then.
    @raise modabatchd.rest.problems.HTTPRefusal: the part that was asked for is not there; nothing was written then.
    """
    file = await _opening(workers, path)
    try:
        part = choose(request.requestHeaders, file.size, file.version if complete else None)
    except BaseException:
        workers.run(os.close, file.descriptor)
        raise
    if request.gone:
        workers.run(os.close, file.descriptor)
        return
    request.setResponseCode(part.status)
    for name, value in _headers(part, file, content_type, filename, complete).items():
        request.setHeader(name.encode("ascii"), value.encode("ascii"))
    length = 0 if request.method == b"HEAD" else part.length
    await _Sending(request, workers, file.descriptor, part.start, length).begin()


def _opening(workers: IWorkers, path: Path) -> Deferred[_Opened]:
    """The file, open; one that is there only after nobody waits for it any more is closed again."""
    opened: Deferred[_Opened] = Deferred()

    def arrived(file: _Opened) -> None:
        if opened.called:
            workers.run(os.close, file.descriptor)
        else:
            opened.callback(file)

    workers.run(_open, path).addCallbacks(arrived, lambda failure: None if opened.called else opened.errback(failure))
    return opened


def _open(path: Path) -> _Opened:
    # A job may have put something else in the place of its file: a link, or a FIFO, which must not block us.
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as problem:
        if problem.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            raise
        raise _missing() from None
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise _missing()
    tag = f'"{status.st_ino:x}-{status.st_mtime_ns:x}-{status.st_size:x}"'
    return _Opened(descriptor, status.st_size, Version(tag, int(status.st_mtime)))


def _missing() -> UnknownArtifact:
    return UnknownArtifact("The job has no such file, or not yet.", "Ask again once the job has run.")


def _headers(part: Part, file: _Opened, content_type: str, filename: str, complete: bool) -> Mapping[str, str]:
    headers = {"Accept-Ranges": "bytes"}
    if complete:
        headers |= {"ETag": file.version.tag, "Last-Modified": file.version.date, "Cache-Control": "private, no-cache"}
    if part.status != 304:
        headers |= {
            "Content-Type": content_type,
            "Content-Disposition": _attached(filename),
            "Content-Length": str(part.length),
        }
    if part.status == 206:
        headers["Content-Range"] = f"bytes {part.start}-{part.start + part.length - 1}/{file.size}"
    return headers


def _attached(filename: str) -> str:
    """RFC 6266; the plain name is for clients that do not know the other form, as older versions of curl."""
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", filename)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(filename, safe='')}"


@implementer(IPushProducer)
class _Sending:
    """One file on its way.  See Note [Reading ahead]."""

    _log = Logger()

    def __init__(self, request: Any, workers: IWorkers, descriptor: int, start: int, length: int) -> None:
        self._request = request
        self._workers = workers
        self._descriptor = descriptor
        self._next = start
        self._unread = length
        self._block: bytes | None = None
        self._reading = False
        self._paused = False
        self._stopped = False
        self._busy = False
        self._closed = False
        self._ended: Deferred[None] = Deferred(lambda _: self._break_off())

    def begin(self) -> Deferred[None]:
        """Fires when it has ended, one way or the other."""
        self._request.registerProducer(self, True)
        self._go_on()
        return self._ended

    def pauseProducing(self) -> None:
        """See L{IPushProducer.pauseProducing}."""
        self._paused = True

    def resumeProducing(self) -> None:
        """See L{IPushProducer.resumeProducing}."""
        self._paused = False
        self._go_on()

    def stopProducing(self) -> None:
        """See L{twisted.internet.interfaces.IProducer.stopProducing}."""
        self._stopped = True
        self._block = None
        self._go_on()

    def _go_on(self) -> None:
        """Do all that can be done now; what that makes possible is done by the loop, not by recursion."""
        if self._busy:
            return
        self._busy = True
        while self._step():
            pass
        self._busy = False

    def _step(self) -> bool:
        """@return: whether something was done."""
        if self._block is not None and not self._paused:
            block, self._block = self._block, None
            self._request.write(block)
            return True
        if self._block is not None or self._reading or self._closed:
            return False
        if self._stopped or not self._unread:
            self._end()
        else:
            self._read()
        return True

    def _read(self) -> None:
        self._reading = True
        size = min(self._unread, _BLOCK)
        self._workers.run(os.pread, self._descriptor, size, self._next).addCallbacks(self._have, self._fail)

    def _have(self, block: bytes) -> None:
        self._reading = False
        self._next += len(block)
        self._unread -= len(block)
        if not block:
            self._break_off()
        elif not self._stopped:
            self._block = block
        self._go_on()

    def _fail(self, failure: Failure) -> None:
        self._reading = False
        self._log.failure("a file could not be read", failure)
        self._break_off()

    def _break_off(self) -> None:
        """The promised length cannot be kept, and the client must see that."""
        self._request.break_off()
        self.stopProducing()

    def _end(self) -> None:
        self._closed = True
        self._workers.run(os.close, self._descriptor)
        if not self._stopped:
            self._request.unregisterProducer()
            self._request.finish()
        if not self._ended.called:
            self._ended.callback(None)
