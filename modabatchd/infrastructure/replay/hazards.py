"""
What goes wrong on a simulated cluster.  Pure: the dice are those of a seed.

Note [The same fate]
====================
What becomes of a node depends on the seed and on which one in order it is, and on nothing else.  So a run can be repeated, and
different rules meet with the same luck as long as they order the same.
"""

from __future__ import annotations

from random import Random

import msgspec


class Hazards(msgspec.Struct, frozen=True, kw_only=True):
    """
    How often something goes wrong.

    @ivar boot_failures: the part of nodes that never join, 0 to 1.
    @ivar spot_losses: how often in an hour the provider takes a spot node back, on average.
    """

    boot_failures: float = 0.0
    spot_losses: float = 0.0
    seed: int = 0


class Fate(msgspec.Struct, frozen=True):
    """@ivar joins: whether a node ever does.  @ivar lives: for how many seconds after that, if it is a spot node."""

    joins: bool
    lives: float


def fate(hazards: Hazards, number: int) -> Fate:
    """What becomes of a node; see Note [The same fate].  @param number: which one in order it is."""
    if not (hazards.boot_failures or hazards.spot_losses):
        return Fate(True, float("inf"))
    dice = Random(f"{hazards.seed}/{number}")  # noqa: S311 - it is to be repeated
    joins = dice.random() >= hazards.boot_failures
    lives = dice.expovariate(hazards.spot_losses / 3600.0) if hazards.spot_losses else float("inf")
    return Fate(joins, lives)
