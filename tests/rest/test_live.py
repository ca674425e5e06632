"""What happens to jobs, watched while it happens."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from tests.deferreds import now
from tests.rest.test_api import BUNDLE, NOBODY, Service
from tests.rest.wire import HOST, Transport


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    there = Service(tmp_path)
    yield there
    now(there.store.stopService())


@pytest.fixture
def watch(service: Service) -> Iterator[Watch]:
    watchers: list[Watcher] = []

    def begin(path: str, *headers: str) -> Watcher:
        watchers.append(Watcher(service, path, *headers))
        return watchers[-1]

    yield begin
    for watcher in watchers:
        watcher.leave()
    service.clock.advance(16)


class Watcher:
    """A client whose answer has no end."""

    def __init__(self, service: Service, path: str, *headers: str) -> None:
        self._transport = Transport()
        self._gone = False
        self._channel: Any = service.site.buildProtocol(None)
        self._channel.makeConnection(self._transport)
        lines = [f"GET {path} HTTP/1.1", HOST, *headers]
        self._channel.dataReceived("".join(f"{line}\r\n" for line in [*lines, ""]).encode())

    @property
    def head(self) -> str:
        return self._transport.value().partition(b"\r\n\r\n")[0].decode()

    @property
    def body(self) -> bytes:
        """What has come, without HTTP's framing."""
        rest, body = self._transport.value().partition(b"\r\n\r\n")[2], b""
        while rest:
            length, _, rest = rest.partition(b"\r\n")
            body, rest = body + rest[: int(length, 16)], rest[int(length, 16) + 2 :]
        return body

    @property
    def events(self) -> list[tuple[int, str, dict[str, Any]]]:
        """Number, kind and document of each event."""
        fields = [
            dict(line.split(": ", 1) for line in event.splitlines())
            for event in self.body.decode().split("\n\n")
            if event.startswith("id: ")
        ]
        return [(int(event["id"]), event["event"], json.loads(event["data"])) for event in fields]

    @property
    def ended(self) -> bool:
        return self._transport.value().endswith(b"\r\n0\r\n\r\n")

    def leave(self) -> None:
        if not self._gone:
            self._gone = True
            if self._transport.producer is not None:
                self._transport.producer.stopProducing()
            self._channel.connectionLost(Failure(ConnectionDone()))


Watch = Callable[..., Watcher]


def kinds(watcher: Watcher) -> list[tuple[str, str]]:
    return [(kind, document["id"]) for _, kind, document in watcher.events]


def test_events_come_as_they_happen(service: Service, watch: Watch) -> None:
    earlier = service.submit()
    watcher = watch("/events")
    assert "Content-Type: text/event-stream" in watcher.head
    assert "Cache-Control: no-store" in watcher.head
    later = service.submit(job_name="second", job_label="team=a")
    service.queue.finish(earlier, exit_status=0)
    service.look()
    assert kinds(watcher) == [("job.idle", later), ("job.started", earlier), ("job.completed", earlier)]
    [first, *_] = watcher.events
    assert first[2]["job_name"] == "second"
    assert first[2]["labels"] == {"team": "a"}
    assert not watcher.ended


def test_who_comes_back_misses_nothing(service: Service, watch: Watch) -> None:
    watcher = watch("/events")
    job_id = service.submit()
    [(number, _, _)] = watcher.events
    watcher.leave()
    service.queue.hold(job_id, "enough")
    service.look()
    other = service.submit()
    again = watch("/events?after=0", f"Last-Event-ID: {number}")
    assert kinds(again) == [("job.held", job_id), ("job.idle", other)]
    assert again.events[0][2]["reason"] == "enough"
    assert kinds(watch("/events?after=0")) == [("job.idle", job_id), *kinds(again)]


def test_a_number_of_another_database_waits_for_what_comes(service: Service, watch: Watch) -> None:
    service.submit()
    watcher = watch("/events", "Last-Event-ID: 999999")
    job_id = service.submit()
    assert kinds(watcher) == [("job.idle", job_id)]


def test_many_events_at_once_and_a_reader_that_is_behind(service: Service, watch: Watch) -> None:
    behind = watch("/events?after=0&kind=job.idle")
    jobs = [service.submit() for _ in range(30)]
    assert kinds(behind) == [("job.idle", job_id) for job_id in jobs]
    assert kinds(watch("/events?after=0")) == kinds(behind)


def test_only_what_was_asked_for(service: Service, watch: Watch) -> None:
    ours, theirs = service.submit(job_label="team=a"), service.submit(job_label="team=b")
    by_job = watch(f"/events?job={ours.upper()}")
    by_label, by_key = watch("/events?label=team%3Db"), watch("/events?label=team")
    by_kind = watch("/events?kind=job.completed&kind=job.held")
    service.queue.hold(ours, "wait")
    service.queue.finish(theirs)
    service.look()
    assert kinds(by_job) == [("job.held", ours)]
    assert kinds(by_label) == [("job.started", theirs), ("job.completed", theirs)]
    assert sorted(kinds(by_key)) == sorted([*kinds(by_job), *kinds(by_label)])
    assert sorted(kinds(by_kind)) == sorted([("job.held", ours), ("job.completed", theirs)])


def test_silence_is_filled_and_who_has_left_is_forgotten(service: Service, watch: Watch) -> None:
    watcher = watch("/events")
    service.clock.advance(16)
    assert watcher.body.endswith(b"\n\n:\n\n")
    watcher.leave()
    service.clock.advance(16)
    # Were they not forgotten, the last ones would be refused.
    for _ in range(250):
        again = watch("/events")
        assert again.head.startswith("HTTP/1.1 200")
        again.leave()
        service.clock.advance(16)


def test_there_is_a_limit(service: Service, watch: Watch) -> None:
    watchers = [watch("/events") for _ in range(201)]
    assert [watcher.head.split()[1] for watcher in watchers].count("200") == 200
    assert "503" in watchers[-1].head


@pytest.mark.parametrize("query", ["job=x", "label=%3Dx", "kind=job.gone", "after=-1", "after=x", "since=0", "after=1&after=2"])
def test_what_cannot_be_watched(service: Service, query: str) -> None:
    response = service.client.get(f"/events?{query}")
    assert response.status == 422
    assert response.json()["field"] == query.partition("=")[0]


def test_waiting_for_the_next_change(service: Service) -> None:
    job_id = service.submit()
    waiting = service.client.begin("GET", f"/jobs/{job_id}?wait=60")
    service.clock.advance(10)
    service.submit()
    assert not waiting.called
    service.queue.start(job_id)
    service.look()
    service.client.flush()
    assert now(waiting).json()["job_status"] == "running"


def test_waiting_ends_in_time_though_others_change(service: Service) -> None:
    job_id = service.submit()
    waiting = service.client.begin("GET", f"/jobs/{job_id}?wait=60")
    for _ in range(7):
        service.clock.advance(10)
        service.submit()
    service.clock.advance(60)
    service.client.flush()
    assert now(waiting).json()["job_status"] == "idle"


def test_nobody_waits_for_a_job_that_is_over(service: Service) -> None:
    job_id = service.submit()
    service.queue.finish(job_id)
    service.look()
    assert service.client.get(f"/jobs/{job_id}?wait=60").json()["job_status"] == "completed"
    assert service.client.get(f"/jobs/{NOBODY}?wait=60").status == 404
    assert service.client.get(f"/jobs/{job_id}?wait=301").status == 422


def test_who_has_an_older_state_does_not_wait(service: Service) -> None:
    job_id = service.submit()
    tag = service.client.get(f"/jobs/{job_id}").header("ETag")
    assert tag is not None
    service.queue.start(job_id)
    service.look()
    answer = service.client.get(f"/jobs/{job_id}?wait=60", headers={"If-None-Match": tag})
    assert answer.json()["job_status"] == "running"
    waiting = service.client.begin("GET", f"/jobs/{job_id}?wait=60", headers={"If-None-Match": answer.header("ETag") or ""})
    service.clock.advance(120)
    service.client.flush()
    assert now(waiting).status == 304


def test_following_what_a_job_prints(service: Service, watch: Watch) -> None:
    job_id = service.submit()
    service.queue.printing[job_id] = [b"one\n", b"two\n"]
    watcher = watch(f"/jobs/{job_id}/artifacts/stdout?follow=1")
    assert watcher.body == b""
    service.queue.start(job_id)
    service.look()
    service.clock.advance(2)
    assert watcher.body == b"one\ntwo\n"
    # The queue begins anew, with a little more.
    service.queue.printing[job_id] = [b"one\ntw", b"o\nthree\n"]
    service.clock.advance(2)
    assert watcher.body == b"one\ntwo\nthree\n"
    service.queue.finish(job_id, stdout=b"one\ntwo\nthree\nfour\n")
    service.look()
    service.clock.advance(2)
    assert watcher.body == b"one\ntwo\nthree\nfour\n"
    assert watcher.ended
    assert service.client.get(f"/jobs/{job_id}/artifacts/stdout?follow=1").content == b"one\ntwo\nthree\nfour\n"


def test_a_run_that_is_repeated_prints_anew(service: Service, watch: Watch) -> None:
    job_id = service.submit()
    service.queue.printing[job_id] = [b"first run\n"]
    service.queue.start(job_id)
    service.look()
    watcher = watch(f"/jobs/{job_id}/artifacts/stdout?follow=1")
    service.queue.hold(job_id, "again")
    service.look()
    now(service.queue.act("release", [service.queue.number(job_id)], ""))
    service.clock.advance(100)
    service.queue.printing[job_id] = [b"second run\n"]
    service.queue.start(job_id)
    service.look()
    service.clock.advance(2)
    service.queue.finish(job_id, stdout=b"second run\n.")
    service.look()
    service.clock.advance(2)
    assert watcher.body == b"first run\nsecond run\n."


def test_following_a_task(service: Service, watch: Watch) -> None:
    files = {"job-bundle": BUNDLE, "job-parameters": b"V\n1\n2\n"}
    job_id = service.client.post("/jobs", files=files).json()["job_id"]
    watcher = watch(f"/jobs/{job_id}/tasks/2/artifacts/stdout?follow=1")
    service.queue.finish(job_id, stdout=b"second\n", task=2)
    service.look()
    service.clock.advance(2)
    assert watcher.body == b"second\n"
    assert watcher.ended


def test_what_cannot_be_followed(service: Service) -> None:
    job_id = service.submit()
    for query in ("output?follow=1", "_userlog?follow=1", "stdout?follow=2", "stdout?tail=1"):
        assert service.client.get(f"/jobs/{job_id}/artifacts/{query}").status == 422
    assert service.client.get(f"/jobs/{NOBODY}/artifacts/stdout?follow=1").status == 404
