"""
How long a node without work is kept.

Note [What an idle node waits for]
==================================
Keeping a node costs its price for as long as it is idle; letting it go costs the price of booting the next one, and the time
that somebody waits for that.  This is the ski rental problem: with B for the second cost, in seconds of the node's price, the
best fixed time-out t makes E[min(gap, t)] + P(gap > t) B smallest over the gaps between work that were seen.  A t above 4 B
is not worth its risk, and with fewer than twenty gaps t = B, which never costs more than twice what knowing the future would.

The first of several idle nodes to get work waits the shortest, and the ninth a lot longer.  So gaps are kept by rank: the
logarithm of how many nodes of the pool were idle already.  See also Note [The stack of idle nodes].

Note [A fair price for waiting]
===============================
What it is worth to spare somebody the wait for a boot is the owner's to say.  One who just wants a balance is used to what
everybody else has: nodes that stay for ten minutes.  So for a balance, B is the smallest with which about as few nodes have
to be started as with a fixed time-out of ten minutes; with the best time-outs for that B, the same few starts cost less.

Note [Ghosts]
=============
A node that was let go would have had work again at some time, but nobody sees when: the gaps that are seen are those that were
shorter than the time-out, so the time-out would learn to become shorter and shorter.  So a node that is let go leaves a
ghost.  When a node is started in its pool, a ghost would have got that work, and its gap is recorded; a ghost of an age that
no time-out can reach has seen a gap of that length at least, which is all that matters.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

_ENOUGH: Final = 20
_KEPT: Final = 200
_LONGEST: Final = 4.0
_TEN_MINUTES: Final = 600.0
_BEARABLE: Final = 1.07
_STEP: Final = 1.1


def rank(others: int) -> int:
    """Of a node that becomes idle while so many others are."""
    return (others + 1).bit_length() - 1


def longest(cost: float) -> float:
    """What no time-out exceeds.  @param cost: B, in seconds."""
    return _LONGEST * cost


def with_gap(gaps: tuple[float, ...], gap: float) -> tuple[float, ...]:
    """One more gap; the oldest are forgotten."""
    return (*gaps, gap)[-_KEPT:]


# Pure, and asked for the same few histories again and again.
@lru_cache(maxsize=1024)
def time_out(gaps: tuple[float, ...], cost: float) -> float:
    """
    The best time-out in seconds, by Note [What an idle node waits for].

    @param gaps: that were seen.
    @param cost: B, in seconds.
    """
    if len(gaps) < _ENOUGH:
        return cost
    best, best_cost, waited = 0.0, len(gaps) * cost, 0.0
    for index, gap in enumerate(ordered := sorted(gaps)):
        if gap > longest(cost):
            break
        waited += gap
        total = waited + (len(ordered) - 1 - index) * (gap + cost)
        if total < best_cost:
            best, best_cost = gap, total
    return best


def balanced(histories: Sequence[tuple[float, tuple[float, ...]]], least: float, most: float) -> float:
    """
    The B of Note [A fair price for waiting], in seconds.

    @param histories: of each rank, how often its gaps come, and the gaps.
    @param least, most: between which B is.
    """
    bearable = _BEARABLE * sum(often * _above(gaps, _TEN_MINUTES) for often, gaps in histories)
    cost = least
    while cost < most and sum(often * _above(gaps, time_out(gaps, cost)) for often, gaps in histories) > bearable:
        cost *= _STEP
    return min(cost, most)


def _above(gaps: tuple[float, ...], hold: float) -> float:
    """Which part of the gaps a time-out would not have bridged."""
    return sum(gap > hold for gap in gaps) / len(gaps)


def paid_end(born: float, moment: float, quantum: float) -> float:
    """When the quantum that a node has been paid for ends, at or after a moment."""
    return born + max(1, -(-(moment - born) // quantum)) * quantum
