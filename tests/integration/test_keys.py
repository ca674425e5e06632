"""One key, many clients, and a crash: one job."""

import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import requests

from tests.integration.daemon import bundle, running

KEY = "8e03978e-40d5-43dd-bc93-6894a57f9324"
CLIENTS = 32


def test_equal_requests_at_once_and_after_a_crash_are_one_job(tmp_path: Path) -> None:
    content = bundle("echo here")

    def post(_: object) -> requests.Response:
        # Every one has a boundary of its own.
        files, headers = {"job-bundle": content}, {"Idempotency-Key": KEY}
        return requests.post(f"{daemon.url}/jobs", files=files, data={"job-name": "n"}, headers=headers, timeout=60)

    with running(tmp_path / "state") as daemon, ThreadPoolExecutor(CLIENTS) as clients:
        first = list(clients.map(post, range(CLIENTS)))
        taken = {(answer.content, answer.headers["Location"]) for answer in first if answer.status_code == 201}
        assert len(taken) == 1
        assert {answer.status_code for answer in first} <= {201, 409}
        assert all(answer.headers["Retry-After"] for answer in first if answer.status_code == 409)
        daemon.stop(signal.SIGKILL)
        daemon.start()
        [(body, location)] = taken
        again = post(None)
        assert (again.status_code, again.content, again.headers["Location"]) == (201, body, location)
        assert again.headers["Idempotent-Replayed"] == "true"
        assert [job["id"] for job in daemon.get("/jobs").json()] == [again.json()["job_id"]]
