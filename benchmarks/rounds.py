"""Who is measured when."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


def interleaved(rounds: int, *measures: Callable[[], T]) -> list[Sequence[T]]:
    """
    Measure in turns: each round all of them, every other round in the opposite order, so that a machine that gets slower or
    faster, or what one leaves behind for the next, favours nobody.

    @return: the results of each measure, in the order of the rounds.
    """
    results: list[list[T]] = [[] for _ in measures]
    for number in range(rounds):
        order = range(len(measures))
        for index in order if number % 2 == 0 else reversed(order):
            # What others have written must not be waited for by the next one.
            os.sync()
            results[index].append(measures[index]())
    return list(results)


def ratios(above: Sequence[float], below: Sequence[float]) -> list[float]:
    """One by the other, round by round."""
    return [one / other for one, other in zip(above, below, strict=True)]
