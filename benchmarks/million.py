"""A million stored jobs against ten thousand: one job, a page, and what each job takes up on the disk."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from statistics import median
from typing import Final

from benchmarks.apart import apart
from benchmarks.places import place
from benchmarks.reading import Asking, pages, singles, stored
from benchmarks.report import Result, below, spread
from benchmarks.rounds import interleaved, ratios

#: The time that it may take, in that of the smaller store.
LONGER: Final = 1.2
#: Bytes.
SIZE: Final = 1000.0
_FEW: Final = 10_000
_TIMES: Final = 100


def measure(quick: bool) -> Iterator[Result]:
    """Both stores at once, asked in turns."""
    few, times = (200, 5) if quick else (_FEW, _TIMES)
    rounds, seconds = (2, 0.3) if quick else (9, 1.5)
    with place("million") as directory, ExitStack() as stack:
        small, some = stack.enter_context(stored(directory / "small", few))
        large, others = stack.enter_context(stored(directory / "large", few, times))
        size = (directory / "large" / "modabatchd.sqlite").stat().st_size / len(others)
        asking = Asking(stack.enter_context(apart()), seconds)
        states = ["/jobs?limit=100&status=completed&order=newest", "/jobs?limit=100&ended_since=1&name_prefix=job"]
        for what, there, here in (
            ("GET /jobs/ID", singles(some), singles(others)),
            ("a page of 100", pages(len(some)), pages(len(others))),
            ("a page by state, and one by end and name", states, states),
        ):
            before, after = interleaved(rounds, asking.rate(small, there), asking.rate(large, here))
            longer = ratios(before, after)
            ours, peer = f"{median(after):.0f}/s, {spread(longer)}", f"{few} jobs {median(before):.0f}/s"
            yield below(f"{what}, {len(others)} jobs: time", median(longer), LONGER, "of that", ours, peer)
    yield below(f"the database, {len(others)} jobs", size, SIZE, "bytes a job", "")
