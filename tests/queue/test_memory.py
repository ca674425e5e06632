"""MemoryQueue: what tests rely on."""

from pathlib import Path
from uuid import uuid4

import pytest
from zope.interface.verify import verifyObject

from modabatchd.errors import QueueAway
from modabatchd.queue.interfaces import ActionResult, IQueue, Refusal, Ticket
from modabatchd.queue.job import Action, BackendId, JobRequest, JobState
from tests.deferreds import now
from tests.queue.memory import MemoryQueue


def ticket(directory: Path) -> Ticket:
    return Ticket(JobRequest(id=str(uuid4()), submitted=0.0), directory)


def test_interface() -> None:
    assert verifyObject(IQueue, MemoryQueue())


def test_a_job_from_submission_to_acknowledgement(tmp_path: Path) -> None:
    queue = MemoryQueue(lambda: 7.0)
    job = ticket(tmp_path)
    [number] = now(queue.submit([job]))
    assert isinstance(number, BackendId)
    queue.start(job.request.id)
    queue.finish(job.request.id, exit_status=3, stdout=b"told")
    [sighting] = now(queue.sightings())
    assert (sighting.state, sighting.exit_status, sighting.run_count) == (JobState.COMPLETED, 3, 1)
    assert (tmp_path / "stdout").read_bytes() == b"told"
    now(queue.acknowledge([number, BackendId(99)]))
    assert now(queue.sightings()) == []
    assert list(now(queue.find([job.request.id, str(uuid4())]))) == [job.request.id]


def test_actions(tmp_path: Path) -> None:
    queue = MemoryQueue()
    [number] = now(queue.submit([ticket(tmp_path)]))
    assert isinstance(number, BackendId)
    results = [now(queue.act(action, [number, BackendId(99)], "test")) for action in (Action.HOLD, Action.HOLD, Action.SUSPEND)]
    assert [first for first, _ in results] == [ActionResult.DONE, ActionResult.ALREADY_DONE, ActionResult.BAD_STATUS]
    assert {second for _, second in results} == {ActionResult.NOT_FOUND}


def test_refusal_and_absence(tmp_path: Path) -> None:
    queue = MemoryQueue()
    queue.refuse = lambda ticket: "not today"
    assert now(queue.submit([ticket(tmp_path)])) == [Refusal("not today")]
    queue.away = True
    with pytest.raises(QueueAway):
        now(queue.sightings())
