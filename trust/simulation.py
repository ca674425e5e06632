"""
The services of the queue in memory, in thousands of made-up stories.

Each story has a seed of its own, and nothing in it comes from anywhere else: C{python -m tests.simulation SEED} tells one
that broke a rule again, thing by thing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final

from twisted.logger import globalLogBeginner

from tests.queue.world import template
from tests.simulation.places import quick_place
from tests.simulation.story import simulate
from trust.findings import Finding, Trial, none

_STORIES: Final = 10_000


def prove(trial: Trial) -> Iterator[Finding]:
    """10,000 stories: whatever breaks, in the end every job is over, its owner is told, and nothing else is left."""
    # What the services complain of is what the stories do to them.
    globalLogBeginner.beginLoggingTo([], redirectStandardIO=False, discardBuffer=True)
    seeds = trial.chance("stories")
    happened: Counter[str] = Counter()
    broken: list[str] = []
    with quick_place() as database:
        made = template(database)
        for _ in range(trial.times(_STORIES)):
            seed = seeds.getrandbits(32)
            with quick_place() as directory:
                outcome = simulate(directory, made, seed)
            happened.update({"stories": 1, "lives of the daemon": outcome.lives, "submissions that were told of": outcome.jobs})
            broken.extend(f"seed {seed}: {rule}" for rule in outcome.broken)
    for what, count in happened.items():
        yield Finding(what, f"{count:,}")
    yield none("rules that were broken", broken)
