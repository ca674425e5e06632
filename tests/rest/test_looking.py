"""What looking at jobs costs whoever polls, and what of them is told."""

import gzip
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from modabatchd.queue.job import JobRequest, JobState
from modabatchd.rest.representation import JobView
from modabatchd.store.interfaces import Progress
from tests.deferreds import now
from tests.rest.in_memory import Response
from tests.rest.test_api import NOBODY, Service, refused
from tests.rest.wire import Transport


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    there = Service(tmp_path)
    yield there
    now(there.store.stopService())


def again(service: Service, path: str, response: Response, **headers: str) -> Response:
    """The same, asked for by whoever has a response already."""
    return service.client.get(path, headers={"If-None-Match": response.header("etag") or "", **headers})


def move(service: Service, job_id: str, state: JobState, at: float = 9.0) -> None:
    now(service.store.advance([Progress(job_id=job_id, state=state, at=at)]))


def test_whoever_polls_is_sent_nothing_until_something_changes(service: Service) -> None:
    one, other = service.submit(job_name="one"), service.submit(job_name="other")
    for path in ("/jobs", "/jobs?limit=1", f"/jobs/{one}", f"/jobs/{one}?fields=id", "/jobs/counts"):
        first = service.client.get(path)
        assert first.status == 200
        assert first.header("cache-control") == "private, no-cache"
        unchanged = again(service, path, first)
        assert (unchanged.status, unchanged.content) == (304, b"")
        assert unchanged.header("etag") == first.header("etag")
        assert unchanged.header("cache-control") == first.header("cache-control")
        assert unchanged.header("content-type") is None
        move(service, one, JobState.HELD)
        assert again(service, path, first).status == 200
        move(service, one, JobState.IDLE)
    first = service.client.get(f"/jobs/{one}")
    move(service, other, JobState.HELD)
    assert again(service, f"/jobs/{one}", first).status == 304
    now(service.store.forget([one]))
    refused(again(service, f"/jobs/{one}", first), 404, "unknown-job")


def test_what_is_being_changed_has_no_tag(service: Service) -> None:
    job_id = service.submit()
    versions = service.store._versions
    first = service.client.get(f"/jobs/{job_id}")
    versions.begin([job_id])
    for path in (f"/jobs/{job_id}", "/jobs"):
        while_it_changes = again(service, path, first)
        assert (while_it_changes.status, while_it_changes.header("etag")) == (200, None)
    versions.end([job_id])
    assert service.client.get(f"/jobs/{job_id}").header("etag") not in (None, first.header("etag"))


def raw(service: Service, path: str, coding: str, tag: str = "") -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body as they are sent; treq would ask for gzip, and undo it."""
    transport, channel = Transport(), service.site.buildProtocol(None)
    channel.makeConnection(transport)
    head = f"GET {path} HTTP/1.0\r\nHost: localhost:5000\r\nAccept-Encoding: {coding}\r\nIf-None-Match: {tag}\r\n\r\n"
    channel.dataReceived(head.encode())
    first, _, body = transport.value().partition(b"\r\n\r\n")
    status, *lines = first.decode().split("\r\n")
    return int(status.split()[1]), {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}, body


def test_gzip_where_it_is_wanted_and_worth_it(service: Service) -> None:
    few = service.submit(job_name="n")
    now(service.store.add([JobRequest(id=f"{number:032}", submitted=1.0) for number in range(2500)]))
    for path in ("/jobs?limit=100", "/jobs"):
        _, plain, text = raw(service, path, "identity")
        _, packed, body = raw(service, path, "br;q=1.0, gzip;q=0.5")
        assert packed["content-encoding"] == "gzip"
        assert packed["vary"] == plain["vary"] == "Accept-Encoding"
        assert len(body) < len(text) / 2
        assert gzip.decompress(body) == text
        if path != "/jobs":
            assert packed["etag"] != plain["etag"]
            for coding, tag in (("gzip", packed["etag"]), ("identity", plain["etag"]), ("identity", f"W/{plain['etag']}")):
                assert raw(service, path, coding, tag)[0] == 304
    for unwanted in ("identity", "gzip;q=0", "*;q=0", "deflate", "gzip;q=x"):
        assert "content-encoding" not in raw(service, "/jobs?limit=100", unwanted)[1]
    assert "content-encoding" not in raw(service, f"/jobs/{few}?fields=id", "gzip")[1]


def test_some_fields_of_a_job(service: Service) -> None:
    job_id = service.submit(job_name="n", job_label="team=blue")
    assert service.client.get(f"/jobs/{job_id}?fields=job_name,id").json() == {"job_name": "n", "id": job_id}
    everything = service.job(job_id)
    for name in JobView.__struct_fields__:
        only = {name: everything[name]}
        assert service.client.get(f"/jobs/{job_id}?fields={name}").json() == only
        assert service.client.get(f"/jobs?fields={name}").json() == [only]
    assert service.client.get("/jobs?fields=labels,reason&status=held").json() == []
    move(service, job_id, JobState.HELD)
    [line] = service.client.get("/jobs?fields=labels,history&status=held").json()
    assert line["labels"] == {"team": "blue"}
    assert [entry["job_status"] for entry in line["history"]] == ["idle", "held"]


@pytest.mark.parametrize("path", ["/jobs?fields=", "/jobs?fields=id,", "/jobs?fields=nothing", f"/jobs/{NOBODY}?fields=x"])
def test_fields_that_there_are_not(service: Service, path: str) -> None:
    assert refused(service.client.get(path), 422, "invalid-field")["field"] == "fields"


def test_counts(service: Service) -> None:
    everything = [service.submit() for _ in range(3)]
    move(service, everything[0], JobState.RUNNING)
    expected = dict.fromkeys(JobState, 0) | {JobState.IDLE: 2, JobState.RUNNING: 1, "total": 3}
    assert service.client.get("/jobs/counts").json() == msgspec.to_builtins(expected)
    refused(service.client.get("/jobs/counts?x=y"), 422, "invalid-field")


def test_lists_by_time_and_name(service: Service) -> None:
    everything = []
    for number in range(4):
        everything.append(service.submit(job_name=f"sim-{number % 2}", job_label=[f"n={number}", "all=1"]))
        service.clock.advance(100)
    for job_id in (everything[3], everything[0]):
        move(service, job_id, JobState.RUNNING)
        move(service, job_id, JobState.COMPLETED, service.clock.seconds())
        service.clock.advance(100)

    def listed(query: str) -> list[int]:
        path, seen = f"/jobs?{query}", []
        while path:
            response = service.client.get(path)
            assert response.status == 200, response.content
            seen += [everything.index(entry["id"]) for entry in response.json()]
            path = (response.header("link") or "<").split(">")[0][1:]
        return seen

    assert listed("name_prefix=sim-") == [0, 1, 2, 3]
    assert listed("name_prefix=sim-1&order=newest") == [3, 1]
    assert listed("label=n=2&label=all") == [2]
    assert listed("submitted_since=1700000100&submitted_until=1700000300.5&limit=1") == [1, 2, 3]
    assert listed("submitted_until=2023-11-14T22:13:20Z") == []
    assert listed("submitted_until=2023-11-14T23:13:21%2B01:00") == [0]
    assert listed("ended_since=0&limit=1") == [3, 0]
    assert listed("ended_since=0&limit=1&order=newest") == [0, 3]
    assert listed("ended_until=1700000500&status=completed") == [3]
    for query, field in (("submitted_since=yesterday", "submitted_since"), ("ended_until=2023-11-14", "ended_until")):
        assert refused(service.client.get(f"/jobs?{query}"), 422, "invalid-field")["field"] == field
    for query, field in (("order=up", "order"), ("cursor=1-2", "cursor"), ("label=a&label==b", "label")):
        assert refused(service.client.get(f"/jobs?{query}"), 422, "invalid-field")["field"] == field
