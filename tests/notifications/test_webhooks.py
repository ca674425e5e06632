"""Endpoints over HTTP: registered, told what they want to hear, and what became of it can be read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from treq.testing import StubTreq
from twisted.internet.defer import maybeDeferred

from modabatchd.config.settings import HTTPSettings
from modabatchd.notifications.delivery import Courier
from modabatchd.notifications.endpoint import Event
from modabatchd.rest.app import Application
from modabatchd.rest.description import describe
from modabatchd.rest.once import Once
from modabatchd.rest.operations import operations
from modabatchd.rest.site import Site
from modabatchd.rest.upload import Upload
from modabatchd.rest.webhooks import Webhooks
from modabatchd.store.webhooks import SQLWebhooks
from tests.notifications.test_delivery import FIRST, Receivers, verified
from tests.queue.world import World, template
from tests.rest.in_memory import Client, Response
from tests.run_now import RunNow

NOBODY = "e0e7e44a-6cda-4e41-96e1-30d10540637f"
DAY = 86400.0


class Front:
    """The front before a world, and receivers."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.receivers = Receivers()
        store = world.store.part
        outcomes = SQLWebhooks(store.write, store.read)
        treq = StubTreq(self.receivers)
        self.courier = Courier(world.clock, store, world.endpoints, treq, timeout=15, random=lambda: 0.0)
        self.resource = Webhooks(world.clock, world.endpoints, store, outcomes, self.courier, DAY, world.new_id)
        once = Once(world.clock, world.keys)
        application = Application([self.resource], [], lambda head: Upload(head, world.spool, RunNow()), once)
        self.client = Client(Site(application.resource(), application.reception, HTTPSettings(), world.clock))
        self.courier.startService()

    def ask(self, method: str, path: str, expected: int = 200, body: object = None, **headers: str) -> Any:
        response = self.response(method, path, body, **headers)
        assert response.status == expected, response.content
        return response.json() if response.content else None

    def response(self, method: str, path: str, body: object = None, **headers: str) -> Response:
        data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        media = {} if body is None else {"Content-Type": "application/json"}
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.request(method, path, data=data, headers=media | named)

    def register(self, url: str = "http://there/", **more: Any) -> str:
        webhook = self.ask("POST", "/webhooks", 201, {"url": url, "secret": FIRST, **more})["webhook"]
        return str(webhook["id"])

    def deliver(self, seconds: int = 6) -> None:
        self.courier.wake()
        self.world.clock.pump([1] * seconds)

    def heard(self) -> list[tuple[str, str]]:
        """What receivers were told: type and job."""
        bodies = [json.loads(request.body) for request in self.receivers.seen]
        return [(body["type"], body.get("job-uuid", "")) for body in bodies]


@pytest.fixture(scope="module")
def fresh_store(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    return template(tmp_path_factory.mktemp("store"))


@pytest.fixture
def front(fresh_store: tuple[Path, str], tmp_path: Path) -> Iterator[Front]:
    world = World(tmp_path, fresh_store)
    front = Front(world)
    yield front
    maybeDeferred(front.courier.stopService)
    world.stop()


def test_an_endpoint_is_told_of_every_state_with_a_signature(front: Front) -> None:
    webhook = front.register()
    job_id = front.world.accept().request.id
    queue = front.world.real_queue
    for change in (queue.start, lambda job_id: queue.hold(job_id, "because"), queue.finish):
        change(job_id)
        front.world.look()
        front.world.look()
    front.deliver()
    told = [("job.started", job_id), ("job.held", job_id), ("job.completed", job_id)]
    assert sorted(front.heard()) == sorted([*told, told[-1]])
    assert len(set(front.receivers.ids)) == 4
    theirs = [request for request in front.receivers.seen if request.getHeader("host") == "there"]
    assert len(theirs) == 3
    assert all(verified(request, FIRST) for request in theirs)
    assert front.world.told >= 3
    held = json.loads(theirs[1].body)
    assert (held["reason"], held["job_status"], held["retcode"]) == ("because", "held", None)
    shown = front.ask("GET", f"/webhooks/{webhook}/deliveries")
    assert [(one["event"], one["state"], one["next_try"]) for one in shown[::-1]] == [
        (event, "delivered", None) for event, _ in told
    ]
    assert shown[0]["attempts"] == [{"at": shown[0]["attempts"][0]["at"], "status": 200, "problem": None}]
    [*_, owner] = front.ask("GET", f"/jobs/{job_id}/notifications")
    assert len(front.ask("GET", f"/jobs/{job_id.upper()}/notifications")) == 4
    assert FIRST not in json.dumps([shown, owner])


def test_a_run_that_nobody_saw_is_told_of_too(front: Front) -> None:
    front.register(events=["job.started"])
    job_id = front.world.submitted()
    front.world.real_queue.finish(job_id)
    front.world.look()
    front.deliver()
    assert ("job.started", job_id) in front.heard()


def test_labels_and_events_choose(front: Front) -> None:
    front.register(events=["job.held"], label="team=blue")
    red, blue = (front.world.accept(labels={"team": team}).request.id for team in ("red", "blue"))
    for job_id in (red, blue):
        front.world.real_queue.start(job_id)
    front.world.look()
    for job_id in (red, blue):
        front.world.real_queue.hold(job_id, "x")
    front.world.look()
    front.deliver()
    assert front.heard() == [("job.held", blue)]


def test_what_is_registered_can_be_read_and_changed_without_its_secret(front: Front) -> None:
    made = front.response("POST", "/webhooks", {"url": "https://a.example/x", "events": ["job.held"], "label": "a"})
    body = made.json()
    webhook = body["webhook"]
    assert body["secret"].startswith("whsec_")
    assert made.header("location") == f"/webhooks/{webhook['id']}"
    assert webhook == {
        "id": webhook["id"],
        "url": "https://a.example/x",
        "events": ["job.held"],
        "label": "a",
        "enabled": True,
        "problem": None,
        "created": "Tue, 14 Nov 2023 22:13:20 -0000",
        "old_secret_until": None,
    }
    path = f"/webhooks/{webhook['id']}"
    assert front.ask("GET", path) == webhook
    changed = front.ask("PATCH", path, body={"events": [], "label": "a=b=c", "enabled": False})
    assert changed == webhook | {"events": [], "label": "a=b=c", "enabled": False}
    assert front.ask("PATCH", path, body={"label": None, "url": "http://b/"}) == changed | {"label": None, "url": "http://b/"}
    assert front.ask("GET", "/webhooks") == [changed | {"label": None, "url": "http://b/"}]
    assert front.ask("DELETE", path) == {"deleted": webhook["id"]}
    for method, below, sent in (("GET", "", None), ("PATCH", "", {}), ("DELETE", "", None), ("POST", "/test", None)):
        front.ask(method, path + below, 404, sent)
    assert front.ask("GET", "/webhooks") == []


def test_endpoints_outlive_a_restart(front: Front) -> None:
    webhook = front.register()
    front.world.restart()
    front.world.submitted()
    again = Front(front.world)
    assert [one["id"] for one in again.ask("GET", "/webhooks")] == [webhook]
    maybeDeferred(again.courier.stopService)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b'{"url": "\xff"}', 400),
        (b"[]", 422),
        (b"{}", 422),
        (b'{"url": 5}', 422),
        (b'{"url": "ftp://a/"}', 422),
        (b'{"url": "http://u:p@a/"}', 422),
        (b'{"url": "http://a/", "events": ["job.lost"]}', 422),
        (b'{"url": "http://a/", "label": ""}', 422),
        (b'{"url": "http://a/", "label": "=x"}', 422),
        (b'{"url": "http://a/", "secret": "whsec_x"}', 422),
        (b'{"url": "http://a/", "surprise": 1}', 422),
        (b'{"url": "http://a/' + b"x" * 1_100_000 + b'"}', 413),
    ],
)
def test_what_does_not_fit_is_refused(front: Front, body: bytes, status: int) -> None:
    front.ask("POST", "/webhooks", status, body)
    assert front.ask("GET", "/webhooks") == []


def test_only_json_is_a_document(front: Front) -> None:
    assert front.client.post("/webhooks", form={"url": "http://a/"}).status == 415
    front.ask("GET", "/webhooks?x=1", 422)


def test_a_repeated_registration_is_one(front: Front) -> None:
    body = {"url": "http://a/"}
    first, again = (front.response("POST", "/webhooks", body, Idempotency_Key="k") for _ in "ab")
    assert (first.content, again.header("idempotent-replayed")) == (again.content, "true")
    front.ask("POST", "/webhooks", 422, {"url": "http://b/"}, Idempotency_Key="k")
    assert len(front.ask("GET", "/webhooks")) == 1


def test_a_new_secret_signs_beside_the_old_one_for_a_day(front: Front) -> None:
    webhook = front.register()
    made = front.ask("POST", f"/webhooks/{webhook}/rotate")
    assert made["webhook"]["old_secret_until"] == "Wed, 15 Nov 2023 22:13:20 -0000"
    front.ask("POST", f"/webhooks/{webhook}/test")
    assert [verified(front.receivers.seen[0], secret) for secret in (FIRST, made["secret"])] == [True, True]
    front.world.clock.advance(DAY)
    front.ask("POST", f"/webhooks/{webhook}/test")
    assert [verified(front.receivers.seen[1], secret) for secret in (FIRST, made["secret"])] == [False, True]


@pytest.mark.parametrize(("status", "delivered"), [(200, True), (404, False)])
def test_a_test_is_sent_at_once(front: Front, status: int, delivered: bool) -> None:
    webhook = front.register(f"http://a/{status}", enabled=False)
    probed = front.ask("POST", f"/webhooks/{webhook}/test")
    assert (probed["delivered"], probed["status"], probed["problem"] is None) == (delivered, status, delivered)
    assert front.heard() == [("test", "")]


def test_dead_letters_are_listed_and_sent_again_by_hand(front: Front) -> None:
    webhook = front.register("http://a/410", events=["job.completed"])
    for _ in range(3):
        front.world.real_queue.finish(front.world.submitted())
    front.world.look()
    front.deliver()
    assert front.ask("GET", f"/webhooks/{webhook}")["enabled"] is False
    response = front.response("GET", "/webhooks/dead-letters?limit=2")
    dead = response.json()
    assert [(one["state"], one["webhook_id"]) for one in dead] == [("dead", webhook)] * 2
    link = response.header("link") or ""
    assert len(front.ask("GET", link.partition(">")[0].removeprefix("<"))) == 1
    front.ask("PATCH", f"/webhooks/{webhook}", body={"url": "http://a/204", "enabled": True})
    front.ask("POST", f"/webhooks/dead-letters/{dead[0]['id']}/resend", 202)
    front.deliver()
    assert front.receivers.ids[-1] == dead[0]["id"]
    assert len(front.ask("GET", "/webhooks/dead-letters")) == 2
    front.ask("POST", f"/webhooks/dead-letters/{dead[0]['id']}/resend", 404)
    [told] = [one for one in front.ask("GET", f"/jobs/{dead[0]['job_id']}/notifications") if one["webhook_id"]]
    # It was given up because one before it had switched the endpoint off.
    assert [attempt["status"] for attempt in told["attempts"]] == [None, 204]


def test_what_waits_tells_when_it_is_tried_again(front: Front) -> None:
    front.register("http://a/500", events=["job.completed"])
    job_id = front.world.submitted()
    front.world.real_queue.finish(job_id)
    front.world.look()
    front.deliver(1)
    [told] = [one for one in front.ask("GET", f"/jobs/{job_id}/notifications") if one["webhook_id"]]
    assert (told["state"], bool(told["next_try"])) == ("waiting", True)
    assert told["attempts"][0]["problem"] == "The receiver answered with status 500."


@pytest.mark.parametrize("job_id", [NOBODY, "x"])
def test_nothing_was_told_of_an_unknown_job(front: Front, job_id: str) -> None:
    front.ask("GET", f"/jobs/{job_id}/notifications", 404)


def test_the_description_tells_every_event_and_document(front: Front) -> None:
    described = describe(about for about, _ in operations(front.resource))
    text = json.dumps(described)
    assert all(f'"{event}"' in text for event in Event)
    body = described["paths"]["/webhooks"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert body == {"$ref": "#/components/schemas/NewWebhook"}
    assert "WebhookChange" in described["components"]["schemas"]
