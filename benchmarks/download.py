"""An artifact of 500 MB, whole and resumed, against a Twisted server that sends the same file."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks import resources
from benchmarks.apart import Apart, apart
from benchmarks.filling import fill
from benchmarks.places import place
from benchmarks.programs import Program, daemon, peer
from benchmarks.report import Result, at_least, below
from benchmarks.rounds import interleaved, ratios
from benchmarks.transfer import Received, receive
from benchmarks.upload import MEMORY, SPEED, stalled

_ETAG: Final = re.compile(rb"\r\netag: *(\S+)\r\n", re.IGNORECASE)
_BLOCK: Final = 1 << 20


def measure(quick: bool) -> Iterator[Result]:
    """The file is in the page cache for both, so that it is the servers that are compared, not the disk."""
    size, rounds = (20_000_000, 2) if quick else (500_000_000, 9)
    with place("download") as directory, ExitStack() as stack:
        [job_id] = fill(directory / "daemon", 1, with_files=True)
        output = directory / "daemon/spool/jobs" / job_id[:2] / job_id / "output.tar.gz"
        _write_noise(output, size)
        source = stack.enter_context(peer("source", directory, str(output), watched=True))
        ours = stack.enter_context(daemon(directory / "daemon", watched=True))
        client = stack.enter_context(apart())
        downloads = _Downloads(client, ours, f"/jobs/{job_id}/artifacts/output", size)
        downloads.resume(output)
        resources.forget_peak(ours.pid)
        before = resources.resident(ours.pid)
        since = downloads.once().start
        whole, rest, sent = interleaved(rounds, downloads.once, downloads.rest, lambda: client.call(receive, source.port, b"?"))
        for what, received in (("whole", whole), ("rest after a break, Range", rest)):
            yield _compared(f"download of {size / 1e6:.0f} MB, {what}", received, sent)
        growth = resources.peak(ours.pid) - before
        yield below("download: growth of the daemon's memory", growth, MEMORY, "MiB", f"{before:.0f} MiB before")
        yield stalled("download", ours, source, since)
        yield Result("download: broken off and resumed", "", "", "the same bytes", "the same bytes", True)


def _compared(what: str, ours: Sequence[Received], peers: Sequence[Received]) -> Result:
    one, other = ([received.size / received.seconds / 1e6 for received in each] for each in (ours, peers))
    return at_least(what, f"{median(one):.0f} MB/s", f"FileSender {median(other):.0f} MB/s", ratios(one, other), SPEED)


class _Downloads:
    """The daemon's answers."""

    def __init__(self, client: Apart, program: Program, path: str, size: int) -> None:
        self._client = client
        self._program = program
        self._get = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n".encode()
        self._size = size
        self._tag = b""

    def resume(self, file: Path) -> None:
        """
        Break off in the middle, and go on.

        @raise RuntimeError: what came is not the file.
        """
        half = self._size // 2
        begun = self._client.call(receive, self._program.port, self._get + b"\r\n", half, hashed=True)
        found = _ETAG.search(begun.head)
        self._tag = found[1] if found else b""
        rest = self._client.call(receive, self._program.port, self._range(half), hashed=True)
        content = memoryview(file.read_bytes())
        wanted = [hashlib.sha256(part).hexdigest() for part in (content[:half], content[half:])]
        if [begun.digest, rest.digest] != wanted:
            raise RuntimeError("what came is not the file")

    def once(self) -> Received:
        return self._client.call(receive, self._program.port, self._get + b"\r\n")

    def rest(self) -> Received:
        received = self._client.call(receive, self._program.port, self._range(self._size // 2))
        if b" 206 " not in received.head[:20]:
            raise RuntimeError(f"the range was not answered with 206: {received.head!r}")
        return received

    def _range(self, start: int) -> bytes:
        return self._get + b"Range: bytes=%d-\r\nIf-Range: %s\r\n\r\n" % (start, self._tag)


def _write_noise(path: Path, size: int) -> None:
    with path.open("wb") as file:
        for start in range(0, size, _BLOCK):
            file.write(os.urandom(min(_BLOCK, size - start)))
