"""
A submission of 500 MB, against a Twisted server that does C{cat > file}.

Note [Written and answered]
===========================
modabatchd answers once the bundle is checked from end to end and synced to the disk, which C{cat} does neither.  So the speed
that is compared is that of the way into the file; the time until the answer is told as well.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks import resources
from benchmarks.apart import Apart, apart
from benchmarks.bundles import form, write_bundle
from benchmarks.load import load
from benchmarks.places import place
from benchmarks.probe import Stall, worst
from benchmarks.programs import Program, daemon, peer
from benchmarks.report import Result, at_least, below, spread
from benchmarks.rounds import interleaved, ratios
from benchmarks.transfer import Sent, send

SPEED: Final = 0.5
MEMORY: Final = 32.0
STALL: Final = 100.0


def measure(quick: bool) -> Iterator[Result]:
    """See Note [Written and answered]."""
    size, rounds = (20_000_000, 2) if quick else (500_000_000, 7)
    with place("upload") as directory, ExitStack() as stack:
        bundle = directory / "job.tar.gz"
        write_bundle(bundle, size)
        sink = stack.enter_context(peer("sink", directory, str(directory / "file"), watched=True))
        ours = stack.enter_context(daemon(directory / "daemon", {"QUEUE__EMBEDDED__SLOTS": "1"}, watched=True))
        client = stack.enter_context(apart())
        uploads = _Uploads(client, ours, directory / "daemon/spool", bundle)
        cats = _Cats(client, sink, bundle)
        uploads.occupy()
        before = resources.resident(ours.pid)
        sent, written = interleaved(rounds, uploads.once, cats.once)
        yield from _told(bundle.stat().st_size, sent, written)
        growth = uploads.peak - before
        yield below("upload: growth of the daemon's memory", growth, MEMORY, "MiB", f"{before:.0f} MiB before")
        yield stalled("upload", ours, sink)


def _told(size: int, ours: Sequence[Sent], peers: Sequence[Sent]) -> Iterator[Result]:
    written, answered = [sent.written for sent in ours], [sent.answered for sent in ours]
    cat = [sent.answered for sent in peers]
    speed, other = size / median(written) / 1e6, size / median(cat) / 1e6
    name = f"upload of {size / 1e6:.0f} MB"
    yield at_least(f"{name}, until written", f"{speed:.0f} MB/s", f"cat > file {other:.0f} MB/s", ratios(cat, written), SPEED)
    speed = size / median(answered) / 1e6
    ratio = spread(ratios(cat, answered))
    yield Result(f"{name}, until answered (checked, synced)", f"{speed:.0f} MB/s", f"cat > file {other:.0f} MB/s", ratio)


def stalled(what: str, ours: Program, other: Program | None = None, since: float = 0.0) -> Result:
    """The longest time for which the reactor did nothing for anybody, although there was a core for it."""
    longest = worst(ours.probe, since)
    value = f"{longest.own * 1000:.0f} ms" if longest.own else "< 10 ms"
    words, peers = _words(longest), "" if other is None else _words(worst(other.probe, since))
    return Result(f"{what}: longest stall of the reactor", words, peers, value, f"< {STALL:g} ms", longest.own * 1000 < STALL)


def _words(stall: Stall) -> str:
    return f"{stall.own * 1000:.0f} ms, and {stall.without_core * 1000:.0f} without a core" if stall.late else "< 10 ms"


class _Cats:
    """The peer."""

    def __init__(self, client: Apart, program: Program, bundle: Path) -> None:
        self._client = client
        self._program = program
        self._bundle = bundle

    def once(self) -> Sent:
        head = b"%d\n" % self._bundle.stat().st_size
        return self._client.call(send, self._program.port, head, self._bundle, b"")


class _Uploads:
    """
    The daemon.

    @ivar peak: the most memory that it had during uploads, in MiB.
    """

    def __init__(self, client: Apart, program: Program, spool: Path, bundle: Path) -> None:
        self._client = client
        self._program = program
        self._spool = spool
        self._bundle = bundle
        self.peak = 0.0

    def occupy(self) -> None:
        """Take the one slot with a small job, so that the large ones wait; and have all that a first submission loads."""
        small = self._bundle.with_name("small.tar.gz")
        write_bundle(small, 1000)
        head, tail = form({}, small.stat().st_size)
        self._client.call(load, self._program.port, [head + small.read_bytes() + tail], 201, 1, count=1)

    def once(self) -> Sent:
        resources.forget_peak(self._program.pid)
        head, tail = form({"job-name": "large"}, self._bundle.stat().st_size)
        sent = self._client.call(send, self._program.port, head, self._bundle, tail, self._spool / "incoming")
        self.peak = max(self.peak, resources.peak(self._program.pid))
        self._clear(sent.answer)
        return sent

    def _clear(self, answer: bytes) -> None:
        if not answer.startswith(b"HTTP/1.1 201 "):
            raise RuntimeError(f"the upload was not accepted: {answer!r}")
        job_id = json.loads(answer.partition(b"\r\n\r\n")[2])["job_id"]
        request = b"DELETE /jobs/%s HTTP/1.1\r\nHost: localhost\r\n\r\n" % job_id.encode()
        self._client.call(load, self._program.port, [request], 200, 1, count=1)
        shutil.rmtree(self._spool / "jobs" / job_id[:2] / job_id)
