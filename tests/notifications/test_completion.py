"""What is told when a job is over."""

from typing import Any

import msgspec
import pytest

from modabatchd.notifications.completion import completion
from modabatchd.queue.job import BackendId, Job, JobRequest, JobState, Sighting


def job(state: JobState, url: str | None = "http://r/x", **seen: Any) -> Job:
    request = JobRequest(id="5c0ffee0", submitted=1.0, name="näme", labels={"a": "b"}, notification=url)
    sighting = Sighting(job_id="5c0ffee0", backend_id=BackendId(1), state=state, backend_state="x", global_job_id="g", **seen)
    return Job(seq=1, request=request, state=state, sighting=sighting if seen else None)


def told(job: Job) -> dict[str, Any]:
    message = completion(job, "m1", 5.0, "because")
    assert message is not None
    return msgspec.json.decode(message.body)


def test_nobody_asked() -> None:
    assert completion(job(JobState.COMPLETED, url=None, exit_status=0), "m1", 5.0, None) is None


def test_a_completed_job_tells_its_exit_status() -> None:
    message = completion(job(JobState.COMPLETED, exit_status=3), "m1", 5.0, None)
    assert message is not None
    assert (message.id, message.job_id, message.url, message.created) == ("m1", "5c0ffee0", "http://r/x", 5.0)
    assert msgspec.json.decode(message.body) == {
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
