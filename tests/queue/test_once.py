"""Requests with an Idempotency-Key: carried out once, answered as they were first, whatever breaks in between."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.web.http_headers import Headers

from modabatchd.config.settings import HTTPSettings
from modabatchd.queue.following import Following
from modabatchd.queue.job_events import JobEvents
from modabatchd.rest import keys
from modabatchd.rest.app import Application
from modabatchd.rest.artifacts import Artifacts
from modabatchd.rest.jobs import Jobs
from modabatchd.rest.once import Once
from modabatchd.rest.operations import Answer, operation
from modabatchd.rest.problems import HTTPRefusal
from modabatchd.rest.site import Site
from modabatchd.rest.upload import Upload
from tests.deferreds import now
from tests.queue.test_bundle import RUN, pack
from tests.queue.world import World
from tests.rest.in_memory import Client, Response
from tests.run_now import RunNow

BUNDLE = pack(RUN)
KEY = "8e03978e-40d5-43dd-bc93-6894a57f9324"


class Machine:
    """Something that adds up."""

    def __init__(self) -> None:
        self.done = 0
        self.problem: Exception | None = None
        self.gate: Deferred[None] | None = None

    @operation("POST", "/machine", "Do one more", changes=True, adds_up=True)
    async def more(self, request: Any) -> Answer:
        self.done += 1
        if self.gate is not None:
            await self.gate
        if self.problem is not None:
            raise self.problem
        return Answer({"done": self.done}, 202)


class Front:
    """The front before a world of which any part may fail; both can be restarted."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.machine = Machine()
        self.old: list[Any] = []
        self.start()

    def start(self) -> None:
        world = self.world
        once = Once(world.clock, world.keys)
        following = Following(world.clock, world.queue, world.store, world.spool, JobEvents(world.clock, world.store), RunNow())
        artifacts = Artifacts(world.spool, following, RunNow())
        jobs = Jobs(world.store, world.spool, world.submission, world.control, artifacts, once)
        application = Application([jobs, self.machine], [], lambda head: Upload(head, world.spool, RunNow()), once)
        self.client = Client(Site(application.resource(), application.reception, HTTPSettings(), world.clock))

    def crash(self) -> None:
        """Whatever is under way never gets any further."""
        self.old.append((self.client, self.world.store, self.world.spool, self.world.queue, self.world.keys))
        self.world.restart()
        self.start()

    def begin(self, key: str = KEY, bundle: bytes = BUNDLE, **form: str) -> Deferred[Response]:
        named = {name.replace("_", "-"): value for name, value in form.items()}
        return self.client.begin("POST", "/jobs", form=named, files={"job-bundle": bundle}, headers={"Idempotency-Key": key})

    def post(self, key: str = KEY, bundle: bytes = BUNDLE, **form: str) -> Response:
        return now(self.begin(key, bundle, **form))


@pytest.fixture
def front(world: World) -> Front:
    return Front(world)


@pytest.fixture(autouse=True)
def _nothing_is_left(world: World) -> Iterator[None]:
    yield
    assert world.incoming() == 0


def told(response: Response) -> tuple[int, bytes, str | None]:
    return response.status, response.content, response.header("location")


def replayed(response: Response) -> bool:
    return response.header("idempotent-replayed") == "true"


def refused(response: Response, status: int, kind: str) -> None:
    assert response.status == status, response.content
    assert response.json()["type"] == f"urn:modabatchd:problem:{kind}"


def test_the_same_request_again_is_answered_as_it_was_first(front: Front) -> None:
    first = front.post(job_name="n")
    assert (first.status, replayed(first)) == (201, False)
    job_id = first.json()["job_id"]
    front.world.real_queue.finish(job_id)
    front.world.look()
    for _ in range(2):
        again = front.post(job_name="n")
        assert (told(again), replayed(again)) == (told(first), True)
        front.crash()
    assert list(front.world.real_queue.tickets) == [job_id]
    now(front.world.store.part.forget([job_id]))
    assert told(front.post(job_name="n")) == told(first)


def test_other_keys_and_no_key_are_other_requests(front: Front) -> None:
    answers = [front.post(), front.post("another"), *(front.client.post("/jobs", files={"job-bundle": BUNDLE}) for _ in "ab")]
    assert len({answer.json()["job_id"] for answer in answers}) == 4
    assert not any(replayed(answer) for answer in answers)


@pytest.mark.parametrize(
    "changed", [{"job_name": "m"}, {"job_name": "n", "job_priority": "1"}, {"job_name": "n", "bundle": pack(RUN) + b"\0"}, {}]
)
def test_the_same_key_with_other_content_is_refused(front: Front, changed: dict[str, Any]) -> None:
    first = front.post(job_name="n")
    refused(front.post(**changed), 422, "key-reused")
    assert told(front.post(job_name="n")) == told(first)
    assert len(front.world.real_queue.tickets) == 1


def test_content_is_known_however_it_is_encoded(front: Front) -> None:
    first = front.post(job_name="n", job_arguments="a")
    headers = {"Idempotency-Key": f'"{KEY}"'}
    form = {"job-arguments": "a", "job-name": "n", "job-bundle": BUNDLE}
    assert told(front.client.post("/jobs", form=form, headers=headers)) == told(front.post(job_arguments="a", job_name="n"))
    assert told(front.post(job_name="n", job_arguments="a")) == told(first)


def test_an_answer_of_202_stays_one(front: Front) -> None:
    front.world.real_queue.away = True
    first = front.post()
    assert (first.status, first.json()["backend_id"]) == (202, None)
    front.world.real_queue.away = False
    front.world.wait_out(front.world.repair)
    assert told(front.post()) == told(first)
    assert len(front.world.real_queue.tickets) == 1


def test_an_error_before_anything_was_kept_does_not_use_the_key_up(front: Front) -> None:
    refused(front.post(bundle=b"no bundle"), 422, "invalid-bundle")
    refused(front.post(request_cpus="x"), 422, "invalid-field")
    front.world.store.before = {"add"}
    refused(front.post(), 500, "defect")
    front.world.store.before = set()
    assert front.post().status == 201


def test_of_many_equal_requests_at_once_one_is_carried_out(front: Front) -> None:
    gate: Deferred[None] = Deferred()
    front.world.queue.gates = {"submit": gate}
    first = front.begin()
    others = [front.begin() for _ in range(31)]
    for other in map(now, others):
        refused(other, 409, "key-in-use")
        assert other.header("retry-after") == "1"
    refused(front.post(job_name="another"), 422, "key-reused")
    gate.callback(None)
    front.client.flush()
    answers = [now(first), *(front.post() for _ in range(31))]
    assert {told(answer) for answer in answers} == {told(answers[0])}
    assert len(front.world.real_queue.tickets) == front.world.stored() == 1


def test_a_client_that_leaves_and_asks_again_gets_the_job_that_it_made(front: Front) -> None:
    gate: Deferred[None] = Deferred()
    front.world.queue.gates = {"submit": gate}
    left = front.begin()
    left.addErrback(lambda _: None)
    left.cancel()
    refused(front.post(), 409, "key-in-use")
    gate.callback(None)
    assert replayed(front.post())
    assert len(front.world.real_queue.tickets) == 1


CALLS = [
    ("keys", "find"),
    ("spool", "keep"),
    ("store", "add"),
    ("queue", "submit"),
    ("store", "bind"),
    ("keys", "answer"),
]


@pytest.mark.parametrize(("part", "method"), CALLS)
@pytest.mark.parametrize("repaired", [True, False])
def test_after_a_crash_the_same_key_finds_the_job(front: Front, part: str, method: str, repaired: bool) -> None:
    """The call did what it was asked, and the daemon is gone before it hears of it."""
    getattr(front.world, part).gates = {method: Deferred()}
    lost = front.begin()
    assert not lost.called
    front.crash()
    if repaired:
        front.world.wait_out(front.world.repair)
    answers = [front.post() for _ in range(3)]
    assert answers[0].status in (201, 202)
    assert {told(answer) for answer in answers} == {told(answers[0])}
    made_before = method not in ("find", "keep")
    assert [replayed(answer) for answer in answers] == [made_before, True, True]
    front.world.wait_out(front.world.repair)
    [job_id] = front.world.real_queue.tickets
    assert [answer.json()["job_id"] for answer in answers] == [job_id] * 3
    assert front.world.stored() == 1


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(("part", "method"), CALLS)
def test_after_an_error_the_same_key_finds_the_job_or_makes_it(front: Front, part: str, method: str, when: str) -> None:
    getattr(getattr(front.world, part), when).add(method)
    first = front.post()
    for interposed in (front.world.keys, front.world.spool, front.world.store, front.world.queue):
        interposed.before, interposed.after = set(), set()
    again = front.post()
    assert again.status in (201, 202)
    if first.status != 500:
        assert first.json()["job_id"] == again.json()["job_id"]
    front.world.wait_out(front.world.repair)
    assert list(front.world.real_queue.tickets) == [again.json()["job_id"]]
    assert front.world.stored() == 1


def test_a_job_that_is_gone_is_not_made_again(front: Front) -> None:
    front.world.keys.before = {"answer"}
    job_id = front.post().json()["job_id"]
    front.world.keys.before = set()
    now(front.world.store.part.forget([job_id]))
    refused(front.post(), 404, "unknown-job")


# what is no submission


def test_an_action_is_taken_once(front: Front) -> None:
    job_id = front.world.submitted()
    headers = {"Idempotency-Key": "a"}
    first = front.client.post(f"/jobs/{job_id}/hold", headers=headers)
    assert first.status == 200
    again = front.client.post(f"/jobs/{job_id}/hold", headers=headers)
    assert (told(again), replayed(again)) == (told(first), True)
    assert len(front.world.real_queue.acts) == 1
    refused(front.client.post(f"/jobs/{job_id}/hold?x=1", headers=headers), 422, "key-reused")
    # A key counts for one path, and on POST.
    assert not replayed(front.client.post(f"/jobs/{job_id}/release", headers=headers))
    assert not replayed(front.client.put(f"/jobs/{job_id}/hold", headers=headers))


def test_an_action_that_is_not_allowed_does_not_use_its_key_up(front: Front) -> None:
    job_id = front.world.submitted()
    refused(front.client.post(f"/jobs/{job_id}/release", headers={"Idempotency-Key": "a"}), 409, "illegal-action")
    assert front.client.post(f"/jobs/{job_id}/hold").status == 200
    assert front.client.post(f"/jobs/{job_id}/release", headers={"Idempotency-Key": "a"}).status == 200


def more(front: Front) -> Response:
    return front.client.post("/machine", headers={"Idempotency-Key": KEY})


def test_what_adds_up_is_done_once(front: Front) -> None:
    first = more(front)
    assert first.json() == {"done": 1}
    front.crash()
    assert told(more(front)) == told(first)


def test_what_was_refused_before_it_began_may_be_asked_again(front: Front) -> None:
    front.machine.problem = HTTPRefusal(409, "not-now", "Not now.", "Later.")
    refused(more(front), 409, "not-now")
    front.machine.problem = None
    assert more(front).status == 202


@pytest.mark.parametrize("problem", [None, ValueError("a defect")])
def test_what_adds_up_and_was_interrupted_is_not_done_again(front: Front, problem: Exception | None) -> None:
    front.machine.problem = problem
    front.machine.gate = None if problem else Deferred()
    lost = front.client.begin("POST", "/machine", headers={"Idempotency-Key": KEY})
    front.machine.problem = front.machine.gate = None
    front.crash()
    refused(more(front), 409, "outcome-unknown")
    assert front.machine.done == 1
    assert lost.called == (problem is not None)


# keys


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (b"abc", "abc"),
        (b'"abc"', "abc"),
        (b' "a b, c; d" ', "a b, c; d"),
        (rb'"a\"b\\c"', 'a"b\\c'),
        (b"x" * 255, "x" * 255),
        (b"Zm9v+/=", "Zm9v+/="),
    ],
)
def test_keys_that_can_be_read(header: bytes, expected: str) -> None:
    assert keys.key(Headers({b"Idempotency-Key": [header]})) == expected


@pytest.mark.parametrize(
    "header",
    [b"", b'""', b'"', b'"a', b'a"b', b"a b", b"a,b", b"a;b", b'"a";b=1', b"x" * 256, "ä".encode(), b"a\x01", rb'"\a"'],
)
def test_keys_that_cannot(header: bytes) -> None:
    with pytest.raises(HTTPRefusal):
        keys.key(Headers({b"Idempotency-Key": [header]}))


def test_a_key_that_cannot_be_read_is_refused_before_anything_else(front: Front) -> None:
    refused(front.post("a b"), 400, "bad-key")
    refused(front.client.post("/machine", headers={"Idempotency-Key": "a,b"}), 400, "bad-key")
    assert (front.world.stored(), front.machine.done) == (0, 0)


def test_there_may_be_one_key_only() -> None:
    with pytest.raises(HTTPRefusal):
        keys.key(Headers({b"Idempotency-Key": [b"a", b"a"]}))
