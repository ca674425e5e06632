"""What was measured, as text.  Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median

import msgspec


class Result(msgspec.Struct, frozen=True):
    """
    One figure.

    @ivar what: what was measured, and where it matters, how.
    @ivar ours: what the daemon reaches.
    @ivar peer: what the peer reaches in the same run, or what there is to compare with.
    @ivar value: the figure itself.
    @ivar bar: what it must be; empty when it is told for information.
    @ivar reached: whether it is.
    """

    what: str
    ours: str
    peer: str
    value: str
    bar: str = ""
    reached: bool | None = None


def at_least(what: str, ours: str, peer: str, ratios: Sequence[float], bar: float) -> Result:
    """A ratio to a peer that must not be smaller."""
    return Result(what, ours, peer, spread(ratios), f">= {bar:g}", median(ratios) >= bar)


def below(what: str, value: float, bar: float, unit: str, ours: str, peer: str = "") -> Result:
    """A figure that must be smaller."""
    return Result(what, ours, peer, f"{value:.3g} {unit}", f"< {bar:g} {unit}", value < bar)


def spread(values: Sequence[float]) -> str:
    """The median, and between which the values lie."""
    return f"{median(values):.3g} ({min(values):.3g} to {max(values):.3g})"


def line(result: Result) -> str:
    """For whoever watches."""
    verdict = {True: "  reached", False: "  MISSED", None: ""}[result.reached]
    compared = ", peer ".join(part for part in (result.ours, result.peer) if part)
    bar = f"  bar {result.bar}" if result.bar else ""
    return f"{result.what}: {result.value}{f'  [{compared}]' if compared else ''}{bar}{verdict}"


def table(results: Iterable[Result]) -> str:
    """In Markdown."""
    head = ["| what | modabatchd | peer | figure | bar | |", "|---|---|---|---|---|---|"]
    verdicts = {True: "reached", False: "**missed**", None: ""}
    rows = [f"| {r.what} | {r.ours} | {r.peer} | {r.value} | {r.bar} | {verdicts[r.reached]} |" for r in results]
    return "\n".join([*head, *rows])
