"""
C{GET /jobs?limit=50} with many jobs stored, against Klein's bare hello.

Note [Polled and paged]
=======================
Whoever polls asks for the same page again and again, whoever pages for another one each time, and a server may be quicker at
the first.  The bar is for the first; the second is told as well, at the larger of the two stores.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from statistics import median
from typing import Final

from benchmarks.apart import Apart, apart
from benchmarks.filling import fill
from benchmarks.load import load
from benchmarks.places import place
from benchmarks.programs import daemon, peer
from benchmarks.report import Result, at_least, spread
from benchmarks.rounds import interleaved, ratios

BAR: Final = 0.4
#: One connection alone makes server and client wait for each other, so it tells less of the server than several do.
CONNECTIONS: Final = (1, 8)
_PAGE: Final = 50


def measure(quick: bool) -> Iterator[Result]:
    """Both sizes of the store at once, so that all are compared with the same hellos."""
    counts = (100, 1000) if quick else (10_000, 100_000)
    rounds, seconds = (2, 0.3) if quick else (9, 1.5)
    with place("list") as directory, ExitStack() as stack:
        hello = stack.enter_context(peer("hello", directory))
        ports = {}
        for count in counts:
            fill(directory / str(count), count)
            ports[count] = stack.enter_context(daemon(directory / str(count))).port
        asking = _Asking(stack.enter_context(apart()), seconds)
        pages = [f"/jobs?limit={_PAGE}&cursor={after}" for after in range(0, counts[-1] - _PAGE, _PAGE)]
        for connections in CONNECTIONS:
            greeted, *polled, paged = interleaved(
                rounds,
                asking.rate(hello.port, ["/"], connections),
                *(asking.rate(port, [f"/jobs?limit={_PAGE}"], connections) for port in ports.values()),
                asking.rate(ports[counts[-1]], pages, connections),
            )
            yield from _told(connections, dict(zip(counts, polled, strict=True)), paged, greeted)


def _told(
    connections: int, polled: dict[int, Sequence[float]], paged: Sequence[float], greeted: Sequence[float]
) -> Iterator[Result]:
    """See Note [Polled and paged]."""
    many = "1 connection" if connections == 1 else f"{connections} connections"
    hello = f"Klein's hello {median(greeted):.0f}/s"
    for count, rates in polled.items():
        what = f"GET /jobs?limit={_PAGE}, {count} jobs stored, {many}"
        yield at_least(what, f"{median(rates):.0f}/s", hello, ratios(rates, greeted), BAR)
    what = f"another page each time, {max(polled)} jobs stored, {many}"
    yield Result(what, f"{median(paged):.0f}/s", hello, spread(ratios(paged, greeted)))


class _Asking:
    """The client."""

    def __init__(self, client: Apart, seconds: float) -> None:
        self._client = client
        self._seconds = seconds

    def rate(self, port: int, paths: Sequence[str], connections: int) -> Callable[[], float]:
        """How many answers a second, when asked."""
        requests = [f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode() for path in paths]
        return lambda: self._client.call(load, port, requests, 200, connections, seconds=self._seconds).rate
