"""What is told of a job."""

import itertools
from typing import Any

import msgspec
import pytest

from modabatchd.notifications.endpoint import EVENTS, Endpoint, Event, Secret
from modabatchd.notifications.message import Message
from modabatchd.notifications.notices import notices
from modabatchd.queue.job import BackendId, Job, JobRequest, JobState, Sighting


def job(state: JobState, url: str | None = "http://r/x", **seen: Any) -> Job:
    request = JobRequest(id="5c0ffee0", submitted=1.0, name="näme", labels={"a": "b"}, notification=url)
    sighting = Sighting(job_id="5c0ffee0", backend_id=BackendId(1), state=state, backend_state="x", global_job_id="g", **seen)
    return Job(seq=1, request=request, state=state, sighting=sighting if seen else None)


def messages(job: Job, *endpoints: Endpoint, reason: str | None = None) -> tuple[Message, ...]:
    numbers = itertools.count(1)
    return notices(job, 5.0, reason, endpoints, lambda: f"m{next(numbers)}")


def told(job: Job) -> dict[str, Any]:
    [message] = messages(job, reason="because")
    return msgspec.json.decode(message.body)


def an_endpoint(id: str = "e", **fields: Any) -> Endpoint:
    return Endpoint(**{"id": id, "url": f"http://{id}/", "secrets": (Secret("s"),), "created": 0.0, **fields})


def test_nobody_asked() -> None:
    assert messages(job(JobState.COMPLETED, url=None, exit_status=0)) == ()


def test_a_completed_job_tells_its_exit_status() -> None:
    [message] = messages(job(JobState.COMPLETED, exit_status=3))
    assert (message.id, message.job_id, message.url, message.created) == ("m1", "5c0ffee0", "http://r/x", 5.0)
    assert msgspec.json.decode(message.body) == {
        "type": "job.completed",
        "timestamp": "1970-01-01T00:00:05Z",
        "job-uuid": "5c0ffee0",
        "job-name": "näme",
        "job_status": "completed",
        "retcode": 3,
        "exit_by_signal": False,
        "exit_signal": None,
        "reason": None,
        "labels": {"a": "b"},
    }


def test_a_signal_is_no_exit_status() -> None:
    body = told(job(JobState.COMPLETED, exit_status=137, exit_signal=9))
    assert (body["retcode"], body["exit_by_signal"], body["exit_signal"]) == (None, True, 9)


def test_a_job_that_never_ran_has_neither() -> None:
    body = told(job(JobState.SUBMISSION_ERROR))
    assert (body["job_status"], body["retcode"], body["exit_by_signal"]) == ("submission_error", None, False)


@pytest.mark.parametrize("state", [JobState.REMOVED, JobState.SUBMISSION_ERROR])
def test_a_job_that_did_not_run_to_its_end_tells_why(state: JobState) -> None:
    assert told(job(state))["reason"] == "because"


@pytest.mark.parametrize(("state", "event"), EVENTS.items())
def test_every_state_is_an_event_for_endpoints(state: JobState, event: Event) -> None:
    endpoints = [
        an_endpoint("all"),
        an_endpoint("this", events=(event, Event.TEST)),
        an_endpoint("other", events=tuple(set(EVENTS.values()) - {event})),
        an_endpoint("off", enabled=False),
    ]
    found = messages(job(state), *endpoints)
    owner = [("m1", "http://r/x", None)] if state.final else []
    rest = found[len(owner) :]
    assert [(message.id, message.url, message.endpoint) for message in found[: len(owner)]] == owner
    assert [(message.url, message.endpoint) for message in rest] == [("http://all/", "all"), ("http://this/", "this")]
    assert {(message.event, message.body) for message in found} == {(event, found[0].body)}
    assert msgspec.json.decode(found[0].body)["type"] == event
    assert len({message.id for message in found}) == len(found)


@pytest.mark.parametrize(
    ("label", "wanted"),
    [(("a", "b"), True), (("a", None), True), (("a", ""), False), (("b", "a"), False), (("b", None), False)],
)
def test_an_endpoint_may_want_one_label_only(label: tuple[str, str | None], wanted: bool) -> None:
    assert bool(messages(job(JobState.RUNNING), an_endpoint(label=label))) == wanted
