"""Actions on many jobs over HTTP."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.deferreds import now
from tests.rest.in_memory import Response
from tests.rest.test_api import NOBODY, Service, refused


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    there = Service(tmp_path)
    yield there
    now(there.store.stopService())


def asked(service: Service, **fields: Any) -> Response:
    content = {"Content-Type": "application/json; charset=utf-8"}
    return service.client.post("/jobs/actions", data=msgspec.json.encode(fields), headers=content)


def test_first_counted_then_done(service: Service) -> None:
    blue = [service.submit(job_label="team=blue") for _ in range(3)]
    red = service.submit(job_label="team=red")
    dry = asked(service, action="remove", label=["team=blue"], dry_run=True)
    assert dry.status == 200
    assert dry.json() == {"action": "remove", "count": 3, "by_status": {"idle": 3}, "jobs": blue, "unfit": 0}
    response = service.client.post("/jobs/actions", form={"action": "remove", "label": "team=blue", "dry_run": "false"})
    assert response.status == 202
    path = response.header("location") or ""
    assert service.client.get(path).json() == response.json()
    assert (response.json()["state"], response.json()["count"], response.json()["acted_on"]) == ("running", 3, 0)
    now(service.bulk.carry_out())
    over = service.client.get(path).json()
    assert (over["state"], over["acted_on"], over["results"], over["exceptions"]) == ("done", 3, {"done": 3}, [])
    service.look()
    assert [service.job(job_id)["job_status"] for job_id in (*blue, red)] == ["removed"] * 3 + ["idle"]


def test_named_jobs_and_what_became_of_them(service: Service) -> None:
    job_id = service.submit()
    response = service.client.post("/jobs/actions", form={"action": "hold", "ids": [job_id.upper(), NOBODY]}, files={})
    assert response.status == 202, response.content
    now(service.bulk.carry_out())
    over = service.client.get(response.header("location") or "").json()
    assert over["results"] == {"unknown": 1, "done": 1}
    assert over["exceptions"] == [{"id": NOBODY, "result": "unknown"}]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"status": ["idle"]}, "body"),
        ({"action": "explode", "status": ["idle"]}, "action"),
        ({"action": "hold"}, "ids"),
        ({"action": "hold", "dry_run": True}, "ids"),
        ({"action": "hold", "ids": [NOBODY], "name": "x"}, "ids"),
        ({"action": "hold", "ids": ["x"]}, "ids"),
        ({"action": "hold", "status": ["odd"]}, "status"),
        ({"action": "hold", "name": "a\0b"}, "name"),
        ({"action": "hold", "submitted_since": "never"}, "submitted_since"),
        ({"action": "hold", "name": 5}, "name"),
        ({"action": "hold", "everything": True}, "body"),
    ],
)
def test_what_cannot_be_asked(service: Service, fields: dict[str, Any], field: str) -> None:
    assert refused(asked(service, **fields), 422, "invalid-field")["field"] == field


def test_too_many_ids(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modabatchd.rest.many._MOST_IDS", 2)
    assert asked(service, action="hold", ids=[NOBODY] * 2).status == 202
    assert refused(asked(service, action="hold", ids=[NOBODY] * 3), 422, "invalid-field")["field"] == "ids"


def test_bodies_that_cannot_be_read(service: Service) -> None:
    for data, kind, status in (
        (b"{", "application/json", 422),
        (b'"\xff"', "application/json", 422),
        (b"x", "text/plain", 415),
        (b" " * (1 << 20) + b" ", "application/json", 413),
        (b"action=hold&name=%ff", "application/x-www-form-urlencoded", 422),
        (b"action=hold&ended_since=1", "application/x-www-form-urlencoded", 422),
    ):
        response = service.client.post("/jobs/actions", data=data, headers={"Content-Type": kind})
        assert response.status == status, response.content
    assert service.client.post("/jobs/actions").status == 422
    refused(service.client.get(f"/operations/{NOBODY}"), 404, "unknown-operation")
