"""Commands on nodes, on all of scaling in memory."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from click.testing import Result

from tests.client.asking import InMemory, command
from tests.infrastructure.scaled import POOL
from tests.rest.front_of_nodes import Front


@pytest.fixture
def front(tmp_path: Path) -> Iterator[Front]:
    front = Front(tmp_path)
    yield front
    front.world.stop()


def ask(front: Front, *arguments: object, expected: int = 0) -> str:
    result: Result = command(*arguments, transport=InMemory(front.client))
    assert result.exit_code == expected, result.output
    return result.output


def test_nodes_that_work(front: Front) -> None:
    front.world.pool.submit(8, seconds=500)
    front.world.until(lambda: front.world.pool.nodes and not front.world.pool.waiting())
    front.world.run(2)
    told = ask(front, "nodes")
    [name] = [node["name"] for node in front.nodes()]
    [row] = [line.split() for line in told.splitlines() if line.startswith(name)]
    assert row[1:4] == [POOL, "c8", "up"]
    assert "1 of 3" in told
    assert "0.1600 EUR" in told
    assert msgspec.json.decode(ask(front, "nodes", "--json"))["nodes"][0]["name"] == name
    about = ask(front, "nodes", name)
    assert "c8 (8 cores" in about
    assert "joined" in about
    assert "There is no node 'x'" in ask(front, "nodes", "x", expected=1)


def test_plan_and_decisions(front: Front) -> None:
    front.world.run(1)
    assert ask(front, "plan").startswith("Nothing")
    front.world.pool.submit(8)
    assert f"start   {POOL}/c8 for 8 jobs: " in ask(front, "plan")
    front.world.run(40)
    told = ask(front, "decisions")
    assert f"start   {POOL}/c8 for 8 jobs: " in told
    assert len(msgspec.json.decode(ask(front, "decisions", "--json", "--limit", "1"))) == 1
    front.world.pool.away = True
    assert "does not answer" in ask(front, "plan")


def test_by_hand(front: Front) -> None:
    assert ask(front, "pause") == "Scaling is paused.\n"
    assert "paused" in ask(front, "nodes")
    assert ask(front, "resume") == "Scaling goes on.\n"
    name, state = ask(front, "start", POOL).split()
    assert state in ("requested", "booting")
    front.world.run(40)
    assert ask(front, "pin", name) == f"{name} up, pinned\n"
    assert "pinned" in ask(front, "stop", name, expected=1)
    assert ask(front, "pin", name, "--undo") == f"{name} up\n"
    assert ask(front, "drain", name).startswith(f"{name} draining")
    assert ask(front, "open", POOL) == f"{POOL} is used again.\n"
    assert "unknown" not in ask(front, "open", "nowhere", expected=1)


def test_costs(front: Front) -> None:
    front.world.pool.submit(8, seconds=500)
    front.world.until(lambda: front.world.pool.nodes and not front.world.pool.waiting())
    front.world.run(600)
    told = ask(front, "costs", "--label", "team")
    [every] = [line.split() for line in told.splitlines() if line.startswith("all ")]
    assert 0 < float(every[1]) < 0.1
    assert "(without it)" in told
    assert "month is 'x'" in ask(front, "costs", "--month", "x", expected=1)


def test_limits(front: Front) -> None:
    assert "max_nodes          3" in ask(front, "limits")
    assert "max_hourly_cost    1.5" in ask(front, "limits", "--max-hourly-cost", "1.50")
    assert "changed by hand" in ask(front, "nodes")
    assert "max_nodes is 'x'" in ask(front, "limits", "--max-nodes", "x", expected=1)
    assert "max_hourly_cost    none" in ask(front, "limits", "--reset")
    ask(front, "limits", "--reset", "--max-nodes", "1", expected=2)
