"""The daemon dies before and after all that it does: nothing is leaked, nothing of others is touched, no job is killed."""

import random
from pathlib import Path

import pytest

from tests.infrastructure.crashing import POINTS, STEPS, Point, story

EFFECTS = ("token", "start", "drain", "resume", "console", "dismiss", "stop", "revoke")


@pytest.mark.parametrize("point", [point for point in POINTS if STEPS[point.step][0] in EFFECTS], ids=str)
def test_a_daemon_that_dies(tmp_path: Path, database: tuple[Path, str], point: Point) -> None:
    """At all of its effects; trust/nodes.py tells more such stories."""
    assert any(story(tmp_path, database, point, random.Random(seed)) for seed in range(20))
