"""Tell one story, thing by thing, and the rules that it broke: python -m tests.simulation SEED."""

from __future__ import annotations

import sys

from tests.queue.world import template
from tests.simulation.places import quick_place
from tests.simulation.story import simulate

with quick_place() as database, quick_place() as directory:
    outcome = simulate(directory, template(database), int(sys.argv[1]))
print(*outcome.log, *(f"BROKEN: {rule}" for rule in outcome.broken), sep="\n")
sys.exit(1 if outcome.broken else 0)
