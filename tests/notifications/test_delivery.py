"""The courier: what waits in the outbox reaches its receivers."""

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from treq.testing import StubTreq
from twisted.internet.defer import Deferred, fail, maybeDeferred, succeed
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from modabatchd.errors import NoSpace
from modabatchd.notifications.delivery import Courier
from modabatchd.notifications.message import Delivery
from tests.deferreds import now
from tests.notifications.outbox import Outbox


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
        request.setResponseCode(int(path or 200))
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
        self.courier = Courier(self.clock, self.outbox, self.client, timeout=15, random=lambda: 0.0)

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
