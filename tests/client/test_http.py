"""What comes of the answers and silences of a server."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from modabatchd.client.command import AWAY, REFUSED, status_of
from modabatchd.client.errors import ServerAway, ServerRefused, Unusable
from modabatchd.client.http import Server
from modabatchd.client.jobs import Jobs, Submission, exit_status
from modabatchd.errors import ModabatchError
from tests.client.asking import Answering

PROBLEM = {"type": "urn:modabatchd:problem:unknown-job", "status": 404, "detail": "There is no job.", "cure": "List them."}


def server(answer: Any) -> Server:
    """Answers everything with a response, or raises an error."""

    def handle(request: httpx.Request) -> httpx.Response:
        if isinstance(answer, Exception):
            raise answer
        assert isinstance(answer, httpx.Response)
        return answer

    return Server("http://localhost", Answering(handle))


def refused(answer: Any) -> ModabatchError:
    with pytest.raises(ModabatchError) as caught:
        server(answer).ask("GET", "/jobs")
    return caught.value


def test_a_problem_document_is_told_as_it_is() -> None:
    problem = refused(httpx.Response(404, json=PROBLEM))
    assert isinstance(problem, ServerRefused)
    assert (problem.status, problem.type, problem.cause, problem.cure) == (404, "unknown-job", "There is no job.", "List them.")
    assert status_of(problem) == REFUSED
    assert "(incident abc)" in refused(httpx.Response(500, json=PROBLEM | {"incident": "abc"})).cause


@pytest.mark.parametrize("status", [429, 503, 504])
def test_what_may_go_well_later_has_a_status_of_its_own(status: int) -> None:
    assert status_of(refused(httpx.Response(status, json=PROBLEM))) == AWAY


@pytest.mark.parametrize(
    "answer", [httpx.Response(502, text="<html>"), httpx.Response(400, json=[1]), httpx.Response(400, json={})]
)
def test_an_error_that_is_no_problem_document(answer: httpx.Response) -> None:
    assert f"answers {answer.status_code}" in refused(answer).cause


@pytest.mark.parametrize(
    ("trouble", "told"),
    [
        (httpx.ConnectError("refused"), "Nobody answers at http://localhost: refused."),
        (httpx.ReadTimeout("slow"), "has not answered in time"),
        (httpx.RemoteProtocolError("gone."), "has broken: gone."),
        (httpx.Response(200, text="<html>"), "may not be modabatchd at all"),
    ],
)
def test_who_does_not_answer_is_away(trouble: Any, told: str) -> None:
    problem = refused(trouble)
    assert isinstance(problem, ServerAway)
    assert told in problem.cause
    assert status_of(problem) == AWAY


@pytest.mark.parametrize("url", ["localhost:5000", "ftp://x", "", "http://[::1"])
def test_what_is_no_server(url: str) -> None:
    with pytest.raises(Unusable), Server(url) as server:
        server.ask("GET", "/")


def test_a_form_has_what_was_given_and_nothing_else() -> None:
    assert Submission().fields() == {}
    full = Submission(arguments=("a b", "c'd"), environment={"X": "1=2"}, labels={"k": "v"}, priority=0, cpus=2, memory="2G")
    assert full.fields() == {
        "job-arguments": "'a b' 'c'\"'\"'d'",
        "job-environment": ["X=1=2"],
        "job-label": ["k=v"],
        "job-priority": "0",
        "request-cpus": "2",
        "request-memory": "2G",
    }


def test_what_is_sent_is_told(tmp_path: Path) -> None:
    bundle, told, received = tmp_path / "job.tar.gz", list[int](), list[bytes]()
    bundle.write_bytes(b"x" * 200_000)

    def handle(request: httpx.Request) -> httpx.Response:
        received.append(request.read())
        return httpx.Response(201, json={"job_id": "1"})

    jobs = Jobs(Server("http://localhost", Answering(handle)))
    assert jobs.submit(bundle, Submission(), told.append) == {"job_id": "1"}
    assert sum(told) == 200_000
    assert len(told) > 2
    assert b"x" * 200_000 in received[0]


def test_a_server_without_nodes_says_little_about_a_job_that_waits() -> None:
    unknown = PROBLEM | {"type": "urn:modabatchd:problem:unknown-action"}
    assert "until the scheduler has room" in Jobs(server(httpx.Response(400, json=unknown))).analysis("1")["summary"]
    with pytest.raises(ServerRefused):
        Jobs(server(httpx.Response(404, json=PROBLEM))).analysis("1")


@pytest.mark.parametrize(
    ("job", "status"),
    [
        ({"job_status": "completed", "exit_by_signal": False, "exit_status": 7}, 7),
        ({"job_status": "completed", "exit_by_signal": True, "exit_signal": 9}, 137),
        ({"job_status": "completed", "exit_by_signal": False, "exit_status": None}, 125),
        ({"job_status": "removed", "exit_by_signal": False, "exit_status": None}, 125),
    ],
)
def test_exit_statuses(job: dict[str, Any], status: int) -> None:
    assert exit_status(job) == status
