"""The courier: what waits in the outbox reaches its receivers."""

import json
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from standardwebhooks import Webhook
from treq.testing import StubTreq
from twisted.internet.defer import Deferred, fail, maybeDeferred, succeed
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from modabatchd.errors import NoSpace
from modabatchd.notifications.delivery import Courier
from modabatchd.notifications.endpoint import Endpoint, Secret
from modabatchd.notifications.endpoints import Endpoints
from modabatchd.notifications.message import Attempt, Delivery
from tests.deferreds import now
from tests.notifications.outbox import Outbox, Registered

OWN, FIRST, SECOND = (f"whsec_{letter * 32}" for letter in "abc")


class Receivers(Resource):
    """All hosts of this little world; the path says how each answers."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Request] = []
        self.hanging: dict[str, Request] = {}

    @property
    def ids(self) -> list[str]:
        return [request.getHeader("webhook-id") for request in self.seen]

    def render_POST(self, request: Request) -> Any:
        self.seen.append(request)
        request.body = request.content.read()
        path = request.path.decode().strip("/")
        if path == "hang":
            self.hanging[request.getHeader("webhook-id")] = request
            return NOT_DONE_YET
        request.setResponseCode(int(path) if path.isdigit() else 200)
        if retry_after := request.args.get(b"retry-after"):
            request.setHeader("retry-after", retry_after[0])
        return b""


class World:
    """A courier with all around it."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.outbox = Outbox()
        self.receivers = Receivers()
        self.client = StubTreq(self.receivers)
        self.registered = Registered()
        self.endpoints = Endpoints(self.registered, [OWN])
        self.courier = Courier(self.clock, self.outbox, self.endpoints, self.client, timeout=15, random=lambda: 0.0)

    def start(self) -> None:
        self.courier.startService()
        self.clock.advance(0)

    def let_go(self, id: str) -> None:
        self.receivers.hanging.pop(id).finish()
        self.client.flush()
        self.clock.advance(0)

    def pass_seconds(self, seconds: int) -> None:
        self.clock.pump([1] * seconds)


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    yield world
    maybeDeferred(world.courier.stopService)


@pytest.fixture
def events() -> Iterator[list[dict]]:
    seen: list[dict] = []
    globalLogPublisher.addObserver(seen.append)
    yield seen
    globalLogPublisher.removeObserver(seen.append)


def test_what_is_due_is_delivered_once(world: World) -> None:
    world.outbox.put("m1", "http://a/")
    world.start()
    world.pass_seconds(100)
    assert world.outbox.log == [("delivered", "m1", 0.0)]
    [request] = world.receivers.seen
    assert request.body == b'{"job-uuid":"x","retcode":0}'
    assert request.getHeader("content-type") == "application/json"
    assert request.getHeader("webhook-timestamp") == "0"


def test_what_is_not_due_waits(world: World) -> None:
    world.outbox.put("m1", "http://a/", at=60)
    world.start()
    world.pass_seconds(59)
    assert world.outbox.log == []
    world.pass_seconds(6)
    assert [entry[:2] for entry in world.outbox.log] == [("delivered", "m1")]


def test_wake_delivers_at_once(world: World) -> None:
    world.start()
    world.outbox.put("m1", "http://a/")
    world.courier.wake()
    world.clock.advance(0)
    assert world.receivers.ids == ["m1"]


def test_a_failure_is_tried_again_by_the_schedule_and_given_up_in_the_end(world: World) -> None:
    world.outbox.put("m1", "http://a/500")
    world.start()
    for _ in range(10 * 24 * 360):
        world.clock.advance(10)
    times = [entry[2] for entry in world.outbox.log]
    assert [entry[0] for entry in world.outbox.log] == ["postpone"] * 9 + ["abandon"]
    assert times[0] == 5.0
    # Each try comes within one look of its time.
    hours = [round(time / 3600) for time in times[3:]]
    assert hours == [3, 8, 18, 32, 52, 76, 76]
    assert set(world.receivers.ids) == {"m1"}
    assert world.outbox.log[-1][3] == "The receiver answered with status 500."


def test_gone_is_given_up_at_once(world: World) -> None:
    world.outbox.put("m1", "http://a/410")
    world.start()
    assert [entry[:2] for entry in world.outbox.log] == [("abandon", "m1")]


def test_a_url_that_is_none_is_given_up_at_once(world: World) -> None:
    world.outbox.put("m1", "http://a:b/")
    world.start()
    assert [entry[:2] for entry in world.outbox.log] == [("abandon", "m1")]
    assert world.receivers.seen == []


def test_retry_after_is_honoured(world: World) -> None:
    world.outbox.put("m1", "http://a/503?retry-after=100")
    world.start()
    assert world.outbox.log[0][:3] == ("postpone", "m1", 100.0)


def test_a_receiver_that_hangs_is_left_in_time(world: World) -> None:
    world.outbox.put("m1", "http://a/hang")
    world.start()
    world.pass_seconds(15)
    assert world.outbox.log == [("postpone", "m1", 20.0, "No answer within 15 s.")]


def test_a_host_gets_two_at_once_whatever_the_spelling(world: World) -> None:
    for number, url in enumerate(["http://a/hang", "http://A/hang", "http://a:80/hang", "https://a/hang"]):
        world.outbox.put(f"m{number}", url)
    world.start()
    assert world.receivers.ids == ["m0", "m1"]
    world.let_go("m0")
    assert world.receivers.ids == ["m0", "m1", "m2"]


def test_ten_are_under_way_at_once_and_no_more(world: World) -> None:
    for number in range(15):
        world.outbox.put(f"m{number}", f"http://host{number}/hang")
    world.start()
    assert len(world.receivers.hanging) == 10
    world.let_go("m3")
    assert len(world.receivers.hanging) == 10
    assert len(set(world.receivers.ids)) == len(world.receivers.ids) == 11


def test_a_slow_receiver_with_a_long_queue_does_not_hold_up_others(world: World) -> None:
    for number in range(500):
        world.outbox.put(f"slow{number}", "http://slow/hang")
    world.outbox.put("m1", "http://quick/", at=0.5)
    world.start()
    world.pass_seconds(6)
    assert world.outbox.log == [("delivered", "m1", 5.0)]


def test_the_store_is_asked_for_one_page_when_that_is_enough(world: World) -> None:
    for number in range(40):
        world.outbox.put(f"m{number}", f"http://host{number}/hang")
    world.start()
    assert len(world.outbox.sizes) == 1


def test_stop_breaks_off_what_is_being_sent_and_counts_nothing(world: World) -> None:
    world.outbox.put("m1", "http://a/hang")
    world.start()
    now(world.courier.stopService())
    assert world.outbox.log == []
    assert world.outbox.waiting["m1"][1].attempts == 0
    assert world.clock.getDelayedCalls() == []
    world.start()
    assert world.receivers.ids == ["m1", "m1"]


def test_stop_waits_until_an_outcome_is_stored(world: World) -> None:
    gate: Deferred[None] = Deferred()
    world.outbox.delivered = lambda *_: gate
    world.outbox.put("m1", "http://a/")
    world.start()
    stopped = world.courier.stopService()
    assert not stopped.called
    gate.callback(None)
    assert now(stopped) is None


def test_stop_while_looking_begins_nothing(world: World) -> None:
    gate: Deferred[Sequence[Delivery]] = Deferred()
    world.outbox.answer = lambda found: gate.addCallback(lambda _: found)
    world.outbox.put("m1", "http://a/")
    world.start()
    stopped = world.courier.stopService()
    assert not stopped.called
    gate.callback([])
    assert now(stopped) is None
    assert world.receivers.seen == []


def test_what_ends_while_the_store_looks_is_not_sent_twice(world: World) -> None:
    world.outbox.put("m1", "http://a/hang")
    world.start()
    gate: Deferred[None] = Deferred()
    world.outbox.answer = lambda found: gate.addCallback(lambda _: found)
    world.courier.wake()
    world.clock.advance(0)
    world.let_go("m1")
    world.outbox.answer = succeed
    gate.callback(None)
    world.pass_seconds(10)
    assert world.receivers.ids == ["m1"]


def test_a_store_that_fails_to_look_is_asked_again(world: World) -> None:
    world.outbox.answer = lambda _: fail(NoSpace("The disk is full.", "Make room."))
    world.outbox.put("m1", "http://a/")
    world.start()
    world.outbox.answer = succeed
    world.pass_seconds(10)
    assert world.receivers.ids == ["m1"]


def test_an_outcome_that_cannot_be_stored_does_not_flood_the_receiver(world: World, events: list[dict]) -> None:
    store = world.outbox.delivered
    world.outbox.delivered = lambda *_: fail(RuntimeError("disk full"))
    world.outbox.put("m1", "http://a/")
    world.start()
    world.pass_seconds(59)
    assert world.receivers.ids == ["m1"]
    assert [event["log_format"] for event in events if "log_failure" in event] == [
        "notification {id}: its outcome could not be stored"
    ]
    world.outbox.delivered = store
    world.pass_seconds(10)
    assert world.receivers.ids == ["m1", "m1"]
    assert [entry[:2] for entry in world.outbox.log] == [("delivered", "m1")]


def test_stop_does_not_wait_for_an_outcome_that_cannot_be_stored(world: World) -> None:
    world.outbox.delivered = lambda *_: fail(RuntimeError("disk full"))
    world.outbox.put("m1", "http://a/")
    world.start()
    assert now(world.courier.stopService()) is None


def test_what_is_given_up_is_logged(world: World, events: list[dict]) -> None:
    world.outbox.put("m1", "http://a/410?secret=1")
    world.start()
    [event] = [event for event in events if "given up" in event["log_format"]]
    assert (event["id"], event["host"]) == ("m1", "a")


# endpoints


def an_endpoint(**fields: Any) -> Endpoint:
    return Endpoint(**{"id": "e", "url": "http://there/", "secrets": (Secret(FIRST),), "created": 0.0, **fields})


def verified(request: Request, secret: str) -> bool:
    """By somebody else's code."""
    headers = {name: request.getHeader(name) for name in ("webhook-id", "webhook-timestamp", "webhook-signature")}
    headers["webhook-timestamp"] = str(int(time.time()))
    at = datetime.fromtimestamp(int(request.getHeader("webhook-timestamp")), UTC)
    signed = Webhook(secret).sign(headers["webhook-id"], at, request.body.decode())
    return signed in request.getHeader("webhook-signature").split(" ")


def test_what_goes_to_no_endpoint_is_signed_by_the_installation(world: World) -> None:
    world.outbox.put("m1", "http://a/")
    world.start()
    [request] = world.receivers.seen
    assert verified(request, OWN)
    assert not verified(request, FIRST)


def test_what_goes_to_an_endpoint_is_signed_by_its_secrets(world: World) -> None:
    world.clock.advance(50)
    world.registered.write(an_endpoint(secrets=(Secret(SECOND), Secret(FIRST, 100.0), Secret(OWN, 50.0))))
    world.outbox.put("m1", "http://before/500", endpoint="e")
    world.start()
    [request] = world.receivers.seen
    assert request.getHeader("host") == "there"
    assert [verified(request, secret) for secret in (OWN, FIRST, SECOND)] == [False, True, True]
    world.outbox.put("m2", "http://before/500", at=100.0, endpoint="e")
    world.pass_seconds(60)
    assert [verified(world.receivers.seen[-1], secret) for secret in (FIRST, SECOND)] == [False, True]


@pytest.mark.parametrize("fields", [None, {"enabled": False}])
def test_an_endpoint_that_is_gone_or_off_gets_nothing(world: World, fields: dict[str, Any] | None) -> None:
    if fields is not None:
        world.registered.write(an_endpoint(**fields))
    world.outbox.put("m1", "http://a/", endpoint="e")
    world.start()
    assert [entry[:2] for entry in world.outbox.log] == [("abandon", "m1")]
    assert world.receivers.seen == []


def test_a_receiver_that_is_gone_switches_its_endpoint_off(world: World) -> None:
    world.registered.write(an_endpoint(url="http://a/410"))
    for id in ("m1", "m2"):
        world.outbox.put(id, "http://a/410", endpoint="e")
    world.start()
    assert [entry[:2] for entry in world.outbox.log] == [("abandon", "m1"), ("abandon", "m2")]
    assert (world.registered.known["e"].enabled, "410" in str(world.registered.known["e"].problem)) == (False, True)
    world.outbox.put("m3", "http://a/410", endpoint="e")
    world.pass_seconds(10)
    assert "m3" not in world.receivers.ids


def test_each_try_is_told(world: World) -> None:
    world.outbox.put("m1", "http://a/503")
    world.outbox.put("m2", "http://b/")
    world.outbox.put("m3", "http://c:d/")
    world.start()
    tries = dict(world.outbox.attempts)
    assert tries["m1"] == Attempt(at=0.0, status=503, problem="The receiver answered with status 503.")
    assert tries["m2"] == Attempt(at=0.0, status=200)
    assert tries["m3"].status is None
    assert tries["m3"].problem


def test_a_probe_is_sent_and_told_at_once(world: World) -> None:
    reply = Deferred.fromCoroutine(world.courier.probe(an_endpoint(url="http://a/418"), "p1"))
    world.client.flush()
    assert now(reply).status == 418
    [request] = world.receivers.seen
    assert verified(request, FIRST)
    assert json.loads(request.body)["type"] == "test"
