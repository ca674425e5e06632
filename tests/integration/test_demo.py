"""The demonstration: nodes of the local provider come and go on a real pool that has none, through the daemon as it ships."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.pool

DEMONSTRATION = Path(__file__).parents[2] / "tools" / "demonstration"
#: What happens, in this order.
STORY = (
    r"without any node",
    r"jobs: 6 idle",
    r"start \d nodes? '\w+': .* cheapest size",
    r"jobs: .*idle   nodes: .*(booting|up)",
    r"jobs: .*running   nodes: .*up",
    r"jobs: 6 completed   nodes: .*draining",
    r"stop \d nodes?: it has been drained and is empty",
    r"jobs: 6 completed   nodes: none",
    r"all jobs are done, and no node is left; spent: 0\.00\d+",
)


def test_the_demonstration() -> None:
    programs = Path(os.environ["MODABATCH_TEST_CONDOR_MASTER"]).parents[2]
    command = [sys.executable, str(DEMONSTRATION), "--programs", str(programs), "--jobs", "6", "--idle", "2"]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert shown.returncode == 0, shown.stdout + shown.stderr
    told, at = shown.stdout, 0
    for line in STORY:
        found = re.compile(line).search(told, at)
        assert found, f"{line} is missing after {told[:at]!r} in\n{told}"
        at = found.start()
    assert not [process for process in Path("/proc").glob("[0-9]*") if _is_of_a_node_there(process)]


def _is_of_a_node_there(process: Path) -> bool:
    try:
        return b"/jobs/daemon/nodes/here/" in (process / "environ").read_bytes()
    except OSError:
        return False
