"""What the tests of the queue share."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.logger import globalLogPublisher

from tests.queue.world import World, template


@pytest.fixture(scope="session")
def fresh_store(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    return template(tmp_path_factory.mktemp("store"))


@pytest.fixture
def world(fresh_store: tuple[Path, str], tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path, fresh_store)
    yield world
    world.stop()


@pytest.fixture
def events() -> Iterator[list[dict[str, Any]]]:
    seen: list[dict[str, Any]] = []
    globalLogPublisher.addObserver(seen.append)
    yield seen
    globalLogPublisher.removeObserver(seen.append)
