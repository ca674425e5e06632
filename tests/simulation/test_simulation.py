"""
The services of the queue in hundreds of made-up stories, each with troubles of its own.

C{python -m tests.simulation SEED} tells the story of a seed again, thing by thing.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.queue.world import template
from tests.simulation.places import quick_place
from tests.simulation.story import Outcome, simulate

_SEEDS = 100
_PIECES = 10


@pytest.fixture(scope="module")
def database() -> Iterator[tuple[Path, str]]:
    with quick_place() as directory:
        yield template(directory)


def told(database: tuple[Path, str], seed: int) -> Outcome:
    with quick_place() as directory:
        return simulate(directory, database, seed)


@pytest.mark.parametrize("piece", range(_PIECES))
def test_nothing_is_lost_or_done_twice_whatever_breaks(database: tuple[Path, str], piece: int) -> None:
    for seed in range(piece, _SEEDS, _PIECES):
        assert told(database, seed).broken == [], f"seed {seed}"


@pytest.mark.parametrize("seed", range(5))
def test_the_same_seed_tells_the_same_story(database: tuple[Path, str], seed: int) -> None:
    first, again = told(database, seed), told(database, seed)
    assert "\n".join(first.log).encode() == "\n".join(again.log).encode()
    assert first.log != told(database, seed + 1).log
