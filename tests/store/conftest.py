"""Fixtures that give a test each database in turn."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.store import databases


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield databases.sqlite(tmp_path)
    else:
        with databases.postgresql() as url:
            yield url
