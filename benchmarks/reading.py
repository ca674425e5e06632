"""
Reads of a store with many jobs: one job and a page of a hundred, against a stand-in for C{htcondor-restd}.

Note [What is remembered]
=========================
Whoever polls one job asks for the same again; to read a store is to read different ones.  So jobs and pages are asked for all
over the store, each time another one, and every figure is of what was read for it.  What a poller gets who has it already is
told beside.
"""

from __future__ import annotations

import random
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks.apart import Apart, apart
from benchmarks.filling import fill, multiply
from benchmarks.load import load
from benchmarks.peers.condor_submit import tool
from benchmarks.places import place
from benchmarks.programs import Program, daemon, peer, pool
from benchmarks.report import Result, at_least, below, spread
from benchmarks.rounds import interleaved, ratios

#: Of the requests a second of the stand-in.
SINGLE: Final = 20.0
PAGE: Final = 100.0
#: Milliseconds from end to end, with one client.
QUICK: Final = 1.5
_PAGE: Final = 100
_MOST_REQUESTS: Final = 2000
_ATTRIBUTES: Final = "ClusterId,ProcId,JobStatus,Owner"
_HELD: Final = "executable = /bin/true\nlog = /dev/null\nhold = true\n"


def measure(quick: bool) -> Iterator[Result]:
    """The stand-in has as many jobs as the store of the middle size."""
    counts = (100, 300, 1000) if quick else (1000, 10_000, 100_000)
    rounds, seconds = (2, 0.3) if quick else (7, 1.5)
    with place("read") as directory, ExitStack() as stack:
        cluster = stack.enter_context(_queued(directory, counts[1]))
        restd = stack.enter_context(peer("restd", directory, *_pool()))
        asking = Asking(stack.enter_context(apart()), seconds)
        filled = [stack.enter_context(stored(directory / str(count), count)) for count in counts]
        one, listed, *ours = interleaved(
            rounds,
            asking.rate(restd, [f"/v1/jobs/{cluster}/{proc}" for proc in range(100)]),
            asking.rate(restd, [f"/v1/jobs?projection={_ATTRIBUTES}"]),
            *(asking.rate(program, paths) for program, ids in filled for paths in (singles(ids), pages(len(ids)))),
        )
        polled = _polled(asking, *filled[-1])
    for count, single, page in zip(counts, ours[::2], ours[1::2], strict=True):
        rate = f"{median(single):.0f}/s"
        yield at_least(f"GET /jobs/ID, another each time, {count} jobs", rate, _told(one), ratios(single, one), SINGLE)
        yield below(f"the same, one client, {count} jobs", 1000 / median(single), QUICK, "ms", rate)
        what = f"a page of {_PAGE}, another each time, {count} jobs"
        yield at_least(what, f"{median(page):.0f}/s", f"list, {_told(listed)}", ratios(page, listed), PAGE)
    yield Result(f"a page that has not changed, If-None-Match, {counts[-1]} jobs", f"{polled:.0f}/s", "", spread([polled]))


class Asking:
    """The client, over one connection."""

    def __init__(self, client: Apart, seconds: float) -> None:
        self._client = client
        self._seconds = seconds

    def rate(self, program: Program, paths: Sequence[str], status: int = 200, *headers: str) -> Callable[[], float]:
        """How many answers a second, when asked."""
        lines = "".join(f"{header}\r\n" for header in ("Host: localhost", *headers))
        requests = [f"GET {path} HTTP/1.1\r\n{lines}\r\n".encode() for path in paths]
        return lambda: self._client.call(load, program.port, requests, status, 1, seconds=self._seconds).rate


@contextmanager
def stored(directory: Path, count: int, times: int = 1) -> Iterator[tuple[Program, list[str]]]:
    """A daemon with so many jobs, and so many times more, and some of their ids."""
    ids = fill(directory, count)
    if times > 1:
        ids = multiply(directory, times)
    with daemon(directory) as program:
        yield program, ids


def singles(ids: Sequence[str]) -> list[str]:
    """Jobs from all over the store."""
    # Which ones does not matter, but that all runs ask for the same.
    some = random.Random(1).sample(ids, min(_MOST_REQUESTS, len(ids)))
    return [f"/jobs/{job_id}" for job_id in some]


def pages(count: int) -> list[str]:
    """Pages from all over the store."""
    last = max(1, count - _PAGE)
    return [f"/jobs?limit={_PAGE}&cursor={after}" for after in range(0, last, max(1, last // _MOST_REQUESTS))]


def _polled(asking: Asking, program: Program, _: Sequence[str]) -> float:
    path = f"/jobs?limit={_PAGE}"
    return asking.rate(program, [path], 304, f"If-None-Match: {_tag(program.port, path)}")()


def _tag(port: int, path: str) -> str:
    with urllib.request.urlopen(f"http://localhost:{port}{path}") as response:
        return str(response.headers["ETag"])


@contextmanager
def _queued(directory: Path, count: int) -> Iterator[int]:
    """So many held jobs in the scheduler's queue.  @return: their cluster."""
    description = directory / "held"
    description.write_text(f"{_HELD}queue {count}\n")
    cluster = int(tool("condor_submit", "-terse", str(description)).split(".")[0])
    try:
        yield cluster
    finally:
        tool("condor_rm", str(cluster))


def _pool() -> list[str]:
    """How the stand-in reaches the pool."""
    settings = pool()
    return [settings[f"QUEUE__HTCONDOR__{key}"] for key in ("COLLECTOR", "SCHEDD", "TOKEN_DIRECTORY", "CONFIG_FILE")]


def _told(rates: Sequence[float]) -> str:
    return f"stand-in for htcondor-restd {median(rates):.3g}/s"
