"""The API as its clients see it: the real front, services, store and spool, an in-memory queue, no network."""

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from twisted.internet.defer import fail
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher
from twisted.web.client import ResponseFailed

from modabatchd.config.settings import HTTPSettings
from modabatchd.notifications.endpoints import Endpoints
from modabatchd.queue.bulk import BulkControl
from modabatchd.queue.bundle import BundleLimits
from modabatchd.queue.control import Control
from modabatchd.queue.following import Following
from modabatchd.queue.form import FIELDS
from modabatchd.queue.job import Action, JobRequest, JobState
from modabatchd.queue.job_events import JobEvents
from modabatchd.queue.rounds import Rounds
from modabatchd.queue.spool import FileSpool
from modabatchd.queue.submission import Submission
from modabatchd.queue.watching import Watching
from modabatchd.rest import fields
from modabatchd.rest.app import Application
from modabatchd.rest.artifacts import Artifacts
from modabatchd.rest.documentation import Documentation
from modabatchd.rest.health import Pulse
from modabatchd.rest.jobs import Jobs
from modabatchd.rest.live import Live
from modabatchd.rest.looking import Looking
from modabatchd.rest.many import Many
from modabatchd.rest.once import Once
from modabatchd.rest.operations import operations
from modabatchd.rest.site import Site
from modabatchd.rest.tasks import Tasks
from modabatchd.rest.upload import Upload
from modabatchd.store.bulk import bulk_in
from modabatchd.store.interfaces import Place, Selection
from modabatchd.store.keys import SQLKeys
from modabatchd.store.preparing import prepare
from modabatchd.store.sql import SQLStore
from modabatchd.store.webhooks import SQLWebhooks
from tests.deferreds import now
from tests.queue.memory import MemoryQueue
from tests.rest.in_memory import Client, Response
from tests.run_now import RunNow


class Service:
    """Everything behind the front, and a client."""

    def __init__(self, directory: Path) -> None:
        url = f"sqlite:///{directory}/store.sqlite"
        self.clock = Clock()
        self.clock.advance(1_700_000_000)
        self.queue = MemoryQueue(self.clock.seconds)
        self.store = SQLStore(url, prepare(url), RunNow(), RunNow())
        self.store.startService()
        self.spool = FileSpool(directory / "spool", 1 << 20, RunNow())
        self.spool.prepare()
        endpoints = Endpoints(SQLWebhooks(self.store.write, self.store.read), [])
        self.watching = Watching(self.clock, self.queue, self.store, self.spool, endpoints, lambda: str(uuid4()), lambda: None)
        self.submission = Submission(
            self.clock, self.queue, self.store, self.spool, self.watching, RunNow(), BundleLimits(), lambda: str(uuid4())
        )
        self.rounds = Rounds(self.watching, self.submission)
        self.outlook: str | None = None
        control = Control(self.queue, self.store, self.watching, lambda: None)
        self.bulk = BulkControl(
            self.clock,
            self.queue,
            self.store,
            bulk_in(self.store),
            control.act,
            lambda: str(uuid4()),
            lambda: None,
            lambda: None,
        )
        events = JobEvents(self.clock, self.store)
        self.store.listen(events.wake)
        following = Following(self.clock, self.queue, self.store, self.spool, events, RunNow())
        artifacts = Artifacts(self.spool, following, RunNow())
        once = Once(self.clock, SQLKeys(self.store.write, self.store.read))
        jobs = Jobs(self.store, self.spool, self.submission, control, artifacts, once, lambda asked: self.outlook)
        tasks = Tasks(self.store, artifacts, control)
        resources: list[Any] = [Many(self.bulk), Looking(self.store, events), Live(events), jobs, tasks, Pulse("memory", {})]
        documentation = Documentation(about for resource in resources for about, _ in operations(resource))
        application = Application(
            [*resources, documentation], ["batch.example.org"], lambda head: Upload(head, self.spool, RunNow()), once
        )
        self.settings = HTTPSettings(max_request_size=100_000)
        self.site = Site(application.resource(), application.reception, self.settings, self.clock)
        self.client = Client(self.site)

    def look(self) -> None:
        now(self.rounds.look())

    def submit(self, **form: Any) -> str:
        """Submit a bundle; fields are named with underscores."""
        named = {name.replace("_", "-"): value for name, value in form.items()}
        response = self.client.post("/jobs", form=named, files={"job-bundle": BUNDLE})
        assert response.status == 201, response.content
        return str(response.json()["job_id"])

    def job(self, job_id: str) -> Any:
        response = self.client.get(f"/jobs/{job_id}")
        assert response.status == 200
        return response.json()


def packed(mode: int = 0o755, name: str = "run.sh") -> bytes:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        member = tarfile.TarInfo(name)
        member.mode, member.size = mode, 10
        tar.addfile(member, io.BytesIO(b"#!/bin/sh\n"))
    return archive.getvalue()


BUNDLE = packed()
NOBODY = "e0e7e44a-6cda-4e41-96e1-30d10540637f"


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    there = Service(tmp_path)
    yield there
    now(there.store.stopService())


def refused(response: Response, status: int, kind: str) -> Any:
    """The problem document of a response."""
    assert response.status == status, response.content
    assert response.header("content-type") == "application/problem+json"
    problem = response.json()
    assert problem["type"] == f"urn:modabatchd:problem:{kind}"
    assert problem["status"] == status
    assert problem["detail"]
    assert problem["cure"]
    return problem


def test_a_bundle_goes_in_and_its_results_come_out(service: Service) -> None:
    response = service.client.post("/jobs", form={"job-name": "first"}, files={"job-bundle": BUNDLE})
    assert response.status == 201
    accepted = response.json()
    job_id = accepted["job_id"]
    assert str(UUID(job_id)) == job_id
    assert accepted == {"job_id": job_id, "backend_id": 1, "job_status": "idle"}
    assert response.header("location") == f"/jobs/{job_id}"
    service.queue.start(job_id)
    service.look()
    service.queue.finish(job_id, exit_status=3, stdout=b"out", stderr=b"err", output=b"archive")
    service.look()
    job = service.job(job_id)
    assert job["job_status"] == "completed"
    assert job["exit_status"] == 3
    for artifact, content in {"stdout": b"out", "stderr": b"err", "output": b"archive"}.items():
        got = service.client.get(f"/jobs/{job_id}/artifacts/{artifact}")
        assert (got.status, got.content) == (200, content)
        assert "attachment" in (got.header("content-disposition") or "")
        assert got.header("x-content-type-options") == "nosniff"
    assert service.client.get(f"/jobs/{job_id}/artifacts/_userlog").content.startswith(b"000")


def test_a_job_that_can_never_run_is_accepted_with_a_warning(service: Service) -> None:
    service.outlook = "No pool can ever run this: 64 cpus asked, the largest size has 16."
    response = service.client.post("/jobs", form={"request-cpus": "64"}, files={"job-bundle": BUNDLE})
    assert response.status == 201
    accepted = response.json()
    assert (accepted["backend_id"], accepted["job_status"], accepted["warning"]) == (1, "idle", service.outlook)
    assert list(accepted)[:3] == ["job_id", "backend_id", "job_status"]


def test_a_url_encoded_bundle_survives_byte_for_byte(service: Service) -> None:
    response = service.client.post("/jobs", form={"job-bundle": BUNDLE, "job-arguments": "a 'b c'"})
    assert response.status == 201
    ticket = service.queue.tickets[response.json()["job_id"]]
    assert (ticket.directory / "bundle.tar.gz").read_bytes() == BUNDLE
    assert ticket.request.arguments == ("a", "b c")


def test_all_that_can_be_asked_for_reaches_the_queue(service: Service) -> None:
    job_id = service.submit(
        job_name="n\n$(x) 😀",
        job_arguments="--x '$ENV(HOME)'",
        job_environment=["A=1=2", "B="],
        job_label=["team=blue", "empty="],
        job_priority="-5",
        job_notification="http://127.0.0.1:1/x",
        request_cpus="2",
        request_memory="1G",
        request_disk="2M",
        request_gpus="1",
        max_wall_time="15m",
        max_retries="3",
    )
    ticket = service.queue.tickets[job_id]
    request = ticket.request
    assert request.name == "n\n$(x) 😀"
    assert request.arguments == ("--x", "$ENV(HOME)")
    assert request.labels == {"team": "blue", "empty": ""}
    assert (request.priority, request.max_wall_time, request.max_retries) == (-5, 900, 3)
    assert request.notification == "http://127.0.0.1:1/x"
    assert "A='1=2'" in (ticket.directory / "launch.sh").read_text()
    job = service.job(job_id)
    assert job["resources"] == {"cpus": 2, "memory": 1024, "disk": 2048, "gpus": 1}
    assert job["labels"] == request.labels
    assert job["job_name"] == request.name
    assert job["arguments"] == list(request.arguments)


def test_a_job_has_the_keys_of_the_seed_with_its_types(service: Service) -> None:
    job_id = service.submit()
    before = service.job(job_id)
    assert before["exit_status"] is None
    assert before["job_start_date"] is None
    assert before["exit_by_signal"] is False
    service.queue.start(job_id)
    service.look()
    service.clock.advance(60)
    service.queue.finish(job_id)
    service.look()
    job = service.job(job_id)
    kinds = {
        "backend_job_status": str,
        "cluster_id": int,
        "exit_by_signal": bool,
        "exit_status": int,
        "global_job_id": str,
        "id": str,
        "image_size": int,
        "job_current_start_date": str,
        "job_priority": int,
        "job_run_count": int,
        "job_start_date": str,
        "job_status": str,
        "job_universe": str,
        "local_user_cpu": str,
        "previous_job_status": str,
        "proc_id": int,
        "job_completion_date": str,
    }
    assert {name: type(job[name]) for name in kinds} == kinds
    assert job["job_start_date"] == "Tue, 14 Nov 2023 22:13:20 -0000"
    assert job["job_completion_date"] == "Tue, 14 Nov 2023 22:14:20 -0000"
    assert job["previous_job_status"] == "running"
    assert [change["job_status"] for change in job["history"]] == ["idle", "running", "completed"]
    assert job["host"] == "node.example.org"


def test_a_run_that_was_over_at_the_first_look_is_in_the_history(service: Service) -> None:
    job_id = service.submit()
    service.clock.advance(1)
    service.queue.start(job_id)
    service.clock.advance(1)
    service.queue.finish(job_id)
    service.clock.advance(1)
    service.look()
    job = service.job(job_id)
    assert job["previous_job_status"] == "running"
    assert [change["job_status"] for change in job["history"]] == ["idle", "running", "completed"]
    assert job["history"][1]["since"] == job["job_start_date"] == "Tue, 14 Nov 2023 22:13:21 -0000"


def test_a_signal_and_a_hold_reason_show(service: Service) -> None:
    killed, held = service.submit(), service.submit()
    service.queue.finish(killed, exit_signal=9)
    service.queue.hold(held, "by an administrator")
    service.look()
    job = service.job(killed)
    assert (job["exit_status"], job["exit_by_signal"], job["exit_signal"]) == (None, True, 9)
    assert service.job(held)["hold_reason"] == "by an administrator"


def test_the_list_is_an_array_with_the_newest_last(service: Service) -> None:
    assert service.client.get("/jobs").json() == []
    ids = [service.submit() for _ in range(3)]
    response = service.client.get("/jobs")
    assert response.header("content-type") == "application/json"
    assert [entry["id"] for entry in response.json()] == ids
    assert {entry["job_status"] for entry in response.json()} == {"idle"}


def test_a_list_of_thousands_is_streamed_whole(service: Service) -> None:
    service.submit()
    now(service.store.add([JobRequest(id=str(UUID(int=number)), submitted=1.0) for number in range(2500)]))
    listed = service.client.get("/jobs").json()
    assert len(listed) == 2501
    assert len({entry["id"] for entry in listed}) == 2501
    assert listed[-1]["id"] == str(UUID(int=2499))


def test_a_list_that_fails_in_the_middle_does_not_look_complete(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    now(service.store.add([JobRequest(id=str(UUID(int=number)), submitted=1.0) for number in range(2500)]))
    whole = service.store.page

    def page(selection: Selection, limit: int, after: Place | None = None) -> Any:
        return whole(selection, limit, after) if after is None or after.seq < 2000 else fail(ZeroDivisionError())

    monkeypatch.setattr(service.store, "page", page)
    with pytest.raises(ResponseFailed):
        service.client.get("/jobs")


def test_pages_follow_each_other(service: Service) -> None:
    ids = [service.submit(job_name="x" if number % 2 else "y") for number in range(7)]
    path, seen = "/jobs?limit=2&name=x", []
    while path:
        response = service.client.get(path)
        seen += [entry["id"] for entry in response.json()]
        assert len(response.json()) <= 2
        link = response.header("link")
        path = link.partition(">")[0].lstrip("<") if link else ""
        assert link is None or link.endswith('rel="next"')
    assert seen == ids[1::2]


def test_filters(service: Service) -> None:
    one = service.submit(job_name="x", job_label=["team=blue", "k=v"])
    two = service.submit(job_name="y", job_label=["team=red"])
    service.queue.start(two)
    service.look()

    def listed(query: str) -> list[str]:
        return [entry["id"] for entry in service.client.get(f"/jobs?{query}").json()]

    assert listed("status=running") == [two]
    assert listed("status=running&status=idle") == [one, two]
    assert listed("name=x") == [one]
    assert listed("label=team") == [one, two]
    assert listed("label=team%3Dblue") == [one]
    assert listed("label=team=red&status=idle") == []
    assert listed("limit=1") == [one]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=x", "limit"),
        ("limit=1001", "limit"),
        ("limit=1&limit=2", "limit"),
        ("cursor=-1", "cursor"),
        ("cursor=99999999999999999999", "cursor"),
        ("status=done", "status"),
        ("label==x", "label"),
        ("colour=red", "colour"),
        ("name=a%00b", "name"),
    ],
)
def test_a_bad_query_names_the_parameter(service: Service, query: str, field: str) -> None:
    assert refused(service.client.get(f"/jobs?{query}"), 422, "invalid-field")["field"] == field


@pytest.mark.parametrize("method", ["GET", "POST", "PUT"])
@pytest.mark.parametrize(
    ("before", "action", "after"),
    [
        ([], "hold", "held"),
        (["hold"], "release", "idle"),
        (["start"], "suspend", "suspended"),
        (["start", "suspend"], "continue", "running"),
        ([], "remove", "removed"),
    ],
)
def test_actions(service: Service, method: str, before: list[str], action: str, after: str) -> None:
    job_id = service.submit()
    for step in before:
        if step == "start":
            service.queue.start(job_id)
            service.look()
        else:
            assert service.client.get(f"/jobs/{job_id}/{step}").status == 200
    response = service.client.request(method, f"/jobs/{job_id}/{action}")
    assert (response.status, response.json()) == (200, {"result": [job_id, action]})
    assert service.job(job_id)["job_status"] == after


def test_delete_removes(service: Service) -> None:
    job_id = service.submit()
    response = service.client.delete(f"/jobs/{job_id}")
    assert (response.status, response.json()) == (200, {"result": [job_id, "remove"]})
    assert service.job(job_id)["job_status"] == "removed"
    assert refused(service.client.delete(f"/jobs/{job_id}"), 409, "illegal-action")["state"] == "removed"


@pytest.mark.parametrize("action", list(Action))
def test_what_the_state_does_not_allow(service: Service, action: Action) -> None:
    job_id = service.submit()
    service.queue.finish(job_id)
    service.look()
    problem = refused(service.client.post(f"/jobs/{job_id}/{action}"), 409, "illegal-action")
    assert problem["state"] == JobState.COMPLETED


def test_head_never_acts(service: Service) -> None:
    job_id = service.submit()
    response = service.client.request("HEAD", f"/jobs/{job_id}/remove")
    assert response.status == 405
    assert service.job(job_id)["job_status"] == "idle"
    assert service.client.request("HEAD", f"/jobs/{job_id}").content == b""


@pytest.mark.parametrize("job_id", [NOBODY, "7", "e0e7e44a", "%00", "..", "x" * 300])
def test_unknown_jobs(service: Service, job_id: str) -> None:
    for path in (f"/jobs/{job_id}", f"/jobs/{job_id}/artifacts/stdout", f"/jobs/{job_id}/hold"):
        assert service.client.get(path).status == 404
    refused(service.client.get(f"/jobs/{NOBODY}"), 404, "unknown-job")


def test_an_id_is_known_in_any_spelling(service: Service) -> None:
    job_id = service.submit()
    assert service.job(job_id.upper())["id"] == job_id


def test_unknown_actions_and_artifacts(service: Service) -> None:
    job_id = service.submit()
    refused(service.client.get(f"/jobs/{job_id}/explode"), 400, "unknown-action")
    refused(service.client.get(f"/jobs/{job_id}/artifacts/core"), 404, "unknown-artifact")
    refused(service.client.get(f"/jobs/{job_id}/artifacts/stdout"), 404, "unknown-artifact")
    refused(service.client.get(f"/jobs/{job_id}/artifacts/..%2Flaunch.sh"), 404, "unknown-resource")


def test_wrong_paths_and_methods(service: Service) -> None:
    refused(service.client.get("/nothing"), 404, "unknown-resource")
    response = service.client.request("PATCH", "/jobs")
    refused(response, 405, "method-not-allowed")
    assert set((response.header("allow") or "").split(", ")) == {"GET", "HEAD", "POST"}
    assert service.client.request("OPTIONS", "/jobs", headers={"Origin": "http://evil.example"}).status == 405


@pytest.mark.parametrize(
    ("bundle", "rule"),
    [
        (b"", "missing"),
        (b"text", "not-gzip"),
        (BUNDLE[:40], "truncated"),
        (packed(mode=0o644), "run-sh-not-executable"),
        (packed(name="other.sh"), "no-run-sh"),
        (packed(name="/run.sh"), "unsafe-name"),
        (packed(name="../run.sh"), "unsafe-name"),
    ],
)
def test_a_bad_bundle_names_the_rule_and_leaves_nothing(service: Service, bundle: bytes, rule: str) -> None:
    files = {"job-bundle": bundle} if bundle else {}
    problem = refused(service.client.post("/jobs", form={"job-name": "x"}, files=files), 422, "invalid-bundle")
    assert problem["rule"] == rule
    nothing_is_kept(service)


@pytest.mark.parametrize(
    ("form", "field"),
    [
        ({"colour": "red"}, "colour"),
        ({"job-arguments": "a 'b"}, "job-arguments"),
        ({"request-cpus": "many"}, "request-cpus"),
        ({"request-cpus": "0"}, "request-cpus"),
        ({"job-label": "x"}, "job-label"),
        ({"job-notification": "ftp://x"}, "job-notification"),
        ({"job-name": ["a", "b"]}, "job-name"),
        ({"job-environment": "1=2"}, "job-environment"),
    ],
)
def test_a_bad_field_is_named_and_nothing_is_kept(service: Service, form: dict[str, Any], field: str) -> None:
    for files in ({"job-bundle": BUNDLE}, None):
        fields = form if files else {**form, "job-bundle": BUNDLE}
        problem = refused(service.client.post("/jobs", form=fields, files=files), 422, "invalid-field")
        assert problem["field"] == field
    nothing_is_kept(service)


def test_other_bad_bodies(service: Service) -> None:
    refused(
        service.client.post("/jobs", data=b"{}", headers={"Content-Type": "application/json"}), 415, "unsupported-media-type"
    )
    refused(service.client.post("/jobs", files={"job-bundle": bytes(200_000)}), 413, "too-large")
    assert service.client.post("/jobs").status in (411, 415, 422)
    nothing_is_kept(service)


def nothing_is_kept(service: Service) -> None:
    assert service.client.get("/jobs").json() == []
    assert service.queue.tickets == {}
    assert service.spool.used == 0


def test_while_the_scheduler_is_away_jobs_are_taken_and_known(service: Service) -> None:
    before = service.submit()
    service.queue.finish(before, stdout=b"kept")
    service.look()
    service.queue.away = True
    response = service.client.post("/jobs", files={"job-bundle": BUNDLE})
    assert response.status == 202
    accepted = response.json()
    assert accepted["backend_id"] is None
    assert service.job(accepted["job_id"])["job_status"] == "idle"
    assert service.client.get(f"/jobs/{before}/artifacts/stdout").content == b"kept"
    refused(service.client.get(f"/jobs/{accepted['job_id']}/hold"), 503, "queue-away")
    service.queue.away = False
    for _ in range(5):
        now(service.submission.repair())
        service.clock.advance(20)
    assert list(service.queue.tickets) == [before, accepted["job_id"]]
    assert service.job(accepted["job_id"])["cluster_id"] == 2


def test_a_job_that_the_scheduler_refuses(service: Service) -> None:
    service.queue.refuse = lambda ticket: "too many of them"
    response = service.client.post("/jobs", files={"job-bundle": BUNDLE})
    assert response.status == 201
    accepted = response.json()
    assert (accepted["backend_id"], accepted["job_status"]) == (None, "submission_error")
    job = service.job(accepted["job_id"])
    assert (job["job_status"], job["reason"]) == ("submission_error", "too many of them")


def test_a_defect_tells_an_incident_that_is_in_the_log(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    logged: list[Any] = []
    monkeypatch.setattr(service.store, "get", lambda job_id: 1 / 0)
    globalLogPublisher.addObserver(logged.append)
    try:
        problem = refused(service.client.get(f"/jobs/{NOBODY}"), 500, "defect")
    finally:
        globalLogPublisher.removeObserver(logged.append)
    assert "division" not in str(problem)
    assert [event["incident"] for event in logged if "incident" in event] == [problem["incident"]]


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:5001"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"},
    ],
)
def test_pages_of_other_sites_change_nothing(service: Service, headers: dict[str, str]) -> None:
    job_id = service.submit()
    for method, path in [("GET", "remove"), ("POST", "hold"), ("PUT", "remove")]:
        refused(service.client.request(method, f"/jobs/{job_id}/{path}", headers=headers), 403, "cross-site")
    refused(service.client.delete(f"/jobs/{job_id}", headers=headers), 403, "cross-site")
    refused(service.client.post("/jobs", files={"job-bundle": BUNDLE}, headers=headers), 403, "cross-site")
    assert [entry["job_status"] for entry in service.client.get("/jobs").json()] == ["idle"]


def test_our_own_page_may_ask(service: Service) -> None:
    own = {"Origin": "http://localhost:5000", "Sec-Fetch-Site": "same-origin"}
    assert service.client.post("/jobs", files={"job-bundle": BUNDLE}, headers=own).status == 201


def test_other_hosts_are_not_ours(service: Service) -> None:
    refused(service.client.get("/jobs", headers={"Host": "evil.example"}), 421, "unknown-host")
    refused(service.client.post("/jobs", files={"job-bundle": BUNDLE}, headers={"Host": "evil.example"}), 421, "unknown-host")
    for host in ("127.0.0.1:5000", "[::1]:5000", "LOCALHOST", "batch.example.org"):
        assert service.client.get("/jobs", headers={"Host": host}).status == 200


def test_the_description_holds_every_route_and_field(service: Service) -> None:
    description = service.client.get("/api/spec.json").json()
    assert description["openapi"] == "3.1.0"
    assert set(description["paths"]) == {
        "/jobs",
        "/jobs/counts",
        "/jobs/actions",
        "/operations/{operation_id}",
        "/jobs/{job_id}",
        "/jobs/{job_id}/{action}",
        "/jobs/{job_id}/artifacts/{artifact}",
        "/jobs/{job_id}/tasks",
        "/jobs/{job_id}/tasks/{task}",
        "/jobs/{job_id}/tasks/{task}/{action}",
        "/jobs/{job_id}/tasks/{task}/artifacts/{artifact}",
        "/events",
        "/health",
    }
    assert set(description["paths"]["/jobs/{job_id}/{action}"]) == {"get", "post", "put"}
    assert set(fields.FIELDS) == set(FIELDS)
    names = [operation["operationId"] for path in description["paths"].values() for operation in path.values()]
    assert len(names) == len(set(names))
    assert "contentMediaType" in str(description)


def test_the_page_loads_its_own_parts_alone(service: Service) -> None:
    page = service.client.get("/api/spec.html")
    assert page.status == 200
    assert b"http" not in page.content.replace(b"http-equiv", b"")
    assert "'unsafe-eval'" not in (page.header("content-security-policy") or "")
    for part in ("swagger-ui.css", "swagger-ui-bundle.js", "spec.js", "favicon-32x32.png"):
        assert f"/api/static/{part}".encode() in page.content
        assert service.client.get(f"/api/static/{part}").status == 200
    assert service.client.get("/api/static/SHA256SUMS").status == 404
    assert service.client.get("/").header("location") == "/api/spec.html"


def test_health(service: Service) -> None:
    health = service.client.get("/health").json()
    assert (health["status"], health["backend"]) == ("ok", "memory")


def test_parameters_that_are_sent_empty_count_as_not_sent(service: Service) -> None:
    answer = service.client.post("/jobs", files={"job-bundle": BUNDLE, "job-parameters": b""})
    assert answer.status == 201
    assert service.job(answer.json()["job_id"])["tasks"] is None


def test_job_arrays(service: Service) -> None:
    csv = b'VALUE\none\n"it\'s 2"\nthree\n'
    files = {"job-bundle": BUNDLE, "job-parameters": csv}
    answer = service.client.post("/jobs", form={"job-name": "many"}, files=files)
    assert answer.status == 201
    job_id = answer.json()["job_id"]
    entry = {"id": job_id, "job_status": "idle", "job_name": "many", "tasks": {"idle": 3}, "tasks_failed": 0}
    assert entry in service.client.get("/jobs").json()
    service.queue.finish(job_id, exit_status=3, stdout=b"0123456789", task=2)
    now(service.watching.sweep())
    tasks = {"count": 3, "first": 1, "last": 3, "by_state": {"idle": 2, "completed": 1}, "failed": 1}
    assert service.client.get(f"/jobs/{job_id}").json()["tasks"] == tasks
    page = service.client.get(f"/jobs/{job_id}/tasks?limit=1&status=idle")
    assert [task["task"] for task in page.json()] == [1]
    assert page.header("Link") == f'</jobs/{job_id}/tasks?limit=1&status=idle&cursor=1>; rel="next"'
    assert [task["task"] for task in service.client.get(f"/jobs/{job_id}/tasks?status=idle&cursor=1").json()] == [3]
    task = service.client.get(f"/jobs/{job_id}/tasks/2").json()
    assert (task["job_status"], task["exit_status"], task["proc_id"]) == ("completed", 3, 1)
    part = service.client.get(f"/jobs/{job_id}/tasks/2/artifacts/stdout", headers={"Range": "bytes=3-5"})
    assert (part.status, part.content) == (206, b"345")
    held = service.client.get(f"/jobs/{job_id}/hold?tasks=1-2")
    assert held.json() == {"result": [job_id, "hold"], "tasks": 1}
    assert service.client.get(f"/jobs/{job_id}/tasks/1/release").json()["tasks"] == 1
    for path, status in {
        "hold?tasks=9": 404,
        "hold?tasks=x": 422,
        "tasks/9": 404,
        "tasks/x": 404,
        "tasks/1/artifacts/stdout": 404,
        "tasks/1/dance": 400,
        "tasks/2/hold": 409,
        "tasks?status=x": 422,
        "tasks?limit=0": 422,
    }.items():
        assert service.client.get(f"/jobs/{job_id}/{path}").status == status, path
