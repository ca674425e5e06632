"""The operations on nodes, over the whole front in memory."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modabatchd.infrastructure.node import Capacity
from modabatchd.queue.job import JobRequest, JobState, Resources
from tests.deferreds import now
from tests.infrastructure.scaled import POOL
from tests.rest.front_of_nodes import Front
from tests.store.values import a_sighting, add, step


@pytest.fixture
def front(tmp_path: Path) -> Iterator[Front]:
    front = Front(tmp_path)
    yield front
    front.world.stop()


def test_nodes_are_started_once_for_a_key(front: Front) -> None:
    path, headers = f"/infrastructure/pools/{POOL}/start?count=2", {"Idempotency-Key": "k"}
    answers = [front.client.post(path, headers=headers) for _ in range(3)]
    assert {(answer.status, answer.content) for answer in answers} == {(202, answers[0].content)}
    assert len(front.nodes()) == 2
    assert front.client.post(f"/infrastructure/pools/{POOL}/start?count=1", headers=headers).status == 422


def test_all_of_it(front: Front) -> None:
    assert front.ask("GET", "")["nodes"] == []
    front.world.pool.submit(8, seconds=500)
    front.world.until(lambda: front.world.pool.nodes and not front.world.pool.waiting())
    front.world.run(2)
    seen = front.ask("GET", "")
    [node] = seen["nodes"]
    assert (node["state"], node["size"], len(node["jobs"]), node["capacity"]["cpus"]) == ("up", "c8", 8, 8)
    assert node["joined"]
    assert 0 < node["cost"] <= seen["spent"] + 1e-6
    assert (seen["hourly_cost"], seen["currency"], seen["stale"], seen["waiting"]) == (0.16, "EUR", None, 0)
    [shown] = seen["pools"]
    assert (shown["name"], shown["state"], shown["nodes"], shown["labels"]) == (POOL, "open", {"up": 1}, {"team": "x"})


def test_the_plan_is_not_carried_out(front: Front) -> None:
    front.world.run(1)
    front.world.pool.submit(8)
    plan = front.ask("GET", "/plan")
    assert [step["step"] for step in plan["steps"]] == ["start"]
    assert "cheapest" in plan["steps"][0]["reason"]
    assert front.world.starts() == 0
    front.world.pool.away = True
    plan = front.ask("GET", "/plan")
    assert "does not answer" in plan["stale"]
    assert plan["steps"] == []


def test_the_journal_in_pages(front: Front) -> None:
    for _ in range(3):
        front.ask("POST", "/pause")
        front.ask("POST", "/resume")
    first = front.response("GET", "/decisions?limit=4")
    assert [line["decision"]["reason"] for line in first.json()[:2]] == [
        "the owner lets scaling go on",
        "the owner has stopped all scaling",
    ]
    link = first.header("Link")
    assert link is not None
    path = link.partition(">")[0].removeprefix("</infrastructure")
    rest = front.response("GET", path)
    assert rest.header("Link") is None
    assert first.json()[-1]["seq"] == rest.json()[0]["seq"] + 1


def test_pause(front: Front) -> None:
    assert front.ask("POST", "/pause") == {"paused": True}
    assert front.ask("GET", "")["paused"] is True
    assert front.ask("POST", "/resume") == {"paused": False}


def test_nodes_by_hand(front: Front) -> None:
    started = front.ask("POST", f"/pools/{POOL}/start?count=5", 202)["nodes"]
    assert len(started) == 3
    problem = front.ask("POST", f"/pools/{POOL}/start", 409)
    assert problem["type"] == "urn:modabatchd:problem:not-now"
    assert "limit of 3 nodes" in problem["detail"]
    assert front.ask("POST", "/pools/nowhere/start", 404)["type"] == "urn:modabatchd:problem:unknown-pool"
    name = started[0]["name"]
    assert front.ask("POST", f"/nodes/{name}/drain", 409)["state"] in ("requested", "booting")
    assert front.ask("POST", f"/nodes/{name}/pin", 202)["pinned"] is True
    assert front.ask("POST", f"/nodes/{started[0]['id']}/stop", 409)["state"] == "pinned"
    assert front.ask("DELETE", f"/nodes/{name}/pin", 202)["pinned"] is False
    front.world.until(lambda: len(front.world.pool.nodes) == 3)
    front.world.run(2)
    drained = front.ask("POST", f"/nodes/{name}/drain", 202)
    assert (drained["state"], drained["retiring"]) == ("draining", True)
    assert front.ask("DELETE", f"/nodes/{name}/drain", 202)["state"] == "up"
    assert front.ask("POST", f"/nodes/{name}/pin", 202)["pinned"] is True
    assert front.ask("POST", f"/nodes/{name}/unpin", 202)["pinned"] is False
    front.ask("POST", f"/nodes/{name}/stop", 202)
    front.world.until(lambda: name not in front.world.names())
    gone = front.ask("GET", f"/nodes/{name}")
    assert (gone["state"], gone["console"]) == ("gone", "")
    assert gone["stopped"]
    assert front.ask("POST", f"/nodes/{name}/stop", 404)["type"] == "urn:modabatchd:problem:unknown-node"
    front.ask("GET", "/nodes/nobody", 404)
    assert front.ask("POST", f"/pools/{POOL}/open") == {"pool": POOL}
    front.ask("POST", "/pools/nowhere/open", 404)


def test_limits(front: Front) -> None:
    limits = front.ask("PUT", "/limits?max_nodes=7&max_hourly_cost=1.50&max_cores=none")
    assert (limits["max_nodes"], limits["max_hourly_cost"], limits["max_cores"]) == (7, 1.5, None)
    assert front.ask("PUT", "/limits?monthly_budget=100")["max_nodes"] == 7
    seen = front.ask("GET", "")
    assert (seen["own_limits"], seen["limits"]["monthly_budget"]) == (True, 100.0)
    assert front.ask("DELETE", "/limits")["max_nodes"] == 3
    assert front.ask("GET", "")["own_limits"] is False


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("DELETE", "/limits?max_nodes=1"),
        ("PUT", "/limits?max_nodes=none"),
        ("PUT", "/limits?max_nodes=-1"),
        ("PUT", "/limits?starts_per_minute=0"),
        ("PUT", "/limits?max_hourly_cost=nan"),
        ("PUT", "/limits?max_hourly_cost=1&max_hourly_cost=2"),
        ("PUT", "/limits?what=1"),
        ("POST", f"/pools/{POOL}/start?count=0"),
        ("POST", f"/pools/{POOL}/start?count=x"),
        ("GET", "/decisions?limit=0"),
        ("GET", "/decisions?cursor=x"),
        ("GET", "?x=1"),
        ("GET", "/costs?month=November"),
        ("GET", "/costs?label=%00"),
        ("GET", "/costs?team=x"),
    ],
)
def test_what_is_wrong_is_told(front: Front, method: str, path: str) -> None:
    problem = front.ask(method, path, 422)
    assert problem["cure"]
    assert problem["field"]


def test_why_a_job_waits(front: Front) -> None:
    def submit(number: int, cpus: int) -> str:
        job_id = f"00000000-0000-4000-8000-{number:012}"
        asked = Resources(cpus=cpus, memory=100, disk=None, gpus=0)
        now(front.world.store.add([JobRequest(id=job_id, submitted=front.world.clock.seconds(), resources=asked)]))
        front.world.pool.submit(1, cpus=cpus)
        return f"/jobs/{job_id}/analysis"

    def ask(path: str) -> Any:
        response = front.client.get(path)
        assert response.status == 200
        return response.json()

    small, large = submit(1, 1), submit(2, 64)
    assert "not counted" in ask(small)["summary"]
    front.world.run(10)
    seen = ask(small)
    assert seen["summary"].startswith(f"Waits for a node of pool {POOL}, booting since ")
    assert seen["causes"][0]["kind"] == "booting"
    assert ask(large)["summary"] == "No pool can ever run this: 64 cpus asked, the largest size has 8."
    assert front.client.get("/jobs/nothing/analysis").status == 404


def test_a_job_that_can_never_run_is_known_at_once(front: Front) -> None:
    large = Resources(cpus=64)
    assert front.analysis.outlook(large) is None
    front.world.run(10)
    assert front.analysis.outlook(large) == "No pool can ever run this: 64 cpus asked, the largest size has 8."
    assert front.analysis.outlook(Resources(cpus=8)) is None
    front.ask("PUT", "/limits?max_cores=4")
    assert "the limits forbid" in (front.analysis.outlook(Resources(cpus=8)) or "")
    front.world.broken["another"] = "its part of the policy cannot be read"
    front.world.restart()
    front.world.run(10)
    assert front.world.parts.scaling.outlook(Capacity(cpus=64)) is None


def test_costs_add_up(front: Front) -> None:
    front.world.run(2)
    now(front.accounting.charge())
    [job] = add(front.world.store, labels={"team": "blue"}, resources=Resources(cpus=4, memory=128))
    front.world.pool.submit(1, seconds=3600, cpus=8)
    front.world.until(lambda: front.world.pool.running(next(iter(front.world.names()), "")))
    began, name = front.world.clock.seconds(), front.world.names()[0]
    seen = a_sighting(job, run_count=1, current_started=began, host=f"{name}.example.org")
    step(front.world.store, job, JobState.RUNNING, began, sighting=seen)
    front.world.run(920, step=5)
    now(front.accounting.charge())
    told = front.ask("GET", "/costs?label=team")
    # Half a node that costs 0.16 an hour, for a quarter of an hour.
    assert told["values"] == {"blue": pytest.approx(0.02)}
    assert told["unlabelled"] == 0
    assert told["spent"] == pytest.approx(front.ask("GET", "")["spent"])
    assert round(told["jobs"] + told["rest"], 6) == told["spent"]
    assert told["pools"][POOL] == {"spent": told["spent"], "jobs": told["jobs"], "rest": told["rest"]}
    assert (told["month"], told["months"], told["currency"]) == ("2023-11", ["2023-11"], "EUR")
    assert front.ask("GET", "/costs?month=2023-10")["spent"] == 0
    asked = front.client.get(f"/jobs/{job}/cost").json()
    assert (asked["cost"], asked["currency"]) == (pytest.approx(0.02), "EUR")
    assert [(run["node"], run["ended"]) for run in asked["runs"]] == [(name, None)]
    assert asked["until"] == told["until"]
    assert front.client.get("/jobs/nothing/cost").status == 404
    front.world.pool.away = True
    front.world.run(10)
    now(front.accounting.charge())
    assert front.ask("GET", "/costs")["until"] == told["until"]
