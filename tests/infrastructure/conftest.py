from collections.abc import Iterator
from pathlib import Path

import pytest

from modabatchd.infrastructure.policy import Policy
from tests.infrastructure.scaled import Make, Scaled
from tests.queue.world import template


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """An empty one, and the installation that it is of."""
    return template(tmp_path_factory.mktemp("template"))


@pytest.fixture
def make(tmp_path: Path, database: tuple[Path, str]) -> Iterator[Make]:
    made: list[Scaled] = []

    def make(rules: Policy | None = None, **cloud: object) -> Scaled:
        made.append(Scaled(tmp_path, database, rules, **cloud))
        return made[-1]

    yield make
    for world in made:
        world.stop()
        assert not world.clock.getDelayedCalls()
