"""Jobs that come together: each is taken in as if it were alone, and a crash at any step loses and doubles none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from modabatchd.errors import BundleError
from modabatchd.queue.form import SubmissionForm
from modabatchd.queue.interfaces import Ticket
from modabatchd.queue.job import Job, JobState
from tests.queue.world import Broken, World
from tests.rest.places import Held

MANY = 4


class Crowd:
    """Submissions that come at the same time, to services that work when the test says so."""

    def __init__(self, world: World, workers: Held) -> None:
        self.world = world
        self.workers = workers
        self.answers: dict[int, Any] = {}

    def come(self, bundles: dict[int, bytes] | None = None) -> None:
        """@param bundles: those that are not good ones, by the number of the submission."""
        for number in range(MANY):
            draft = self.world.draft((bundles or {}).get(number))
            accepting = Deferred.fromCoroutine(self.world.submission.accept(draft, SubmissionForm(name=str(number))))
            accepting.addBoth(self._note, number)

    def work(self, steps: int) -> bool:
        """Do so many pieces of work.  @return: whether there was as much to do."""
        for _ in range(steps):
            if not self.workers.work:
                return False
            self.workers.one()
        return True

    def jobs(self) -> list[Job]:
        return [answer for answer in self.answers.values() if isinstance(answer, Job)]

    def _note(self, result: Any, number: int) -> None:
        self.answers[number] = result


@pytest.fixture
def crowd(tmp_path: Path, fresh_store: tuple[Path, str]) -> Crowd:
    workers = Held()
    return Crowd(World(tmp_path, fresh_store, workers), workers)


def test_all_are_taken_in_with_less_work_than_one_by_one(crowd: Crowd) -> None:
    crowd.come()
    steps = 0
    while crowd.work(1):
        steps += 1
    assert [crowd.answers[number].request.name for number in range(MANY)] == [str(number) for number in range(MANY)]
    assert len({job.backend_id for job in crowd.jobs()}) == MANY
    for job in crowd.jobs():
        assert crowd.world.job(job.request.id).backend_id == job.backend_id is not None
    # Alone, each would be inspected, kept, recorded and given its number: four pieces of work.
    assert steps < 4 * MANY


@pytest.mark.parametrize("steps", range(3 * MANY))
def test_a_crash_at_any_step_loses_and_doubles_none(crowd: Crowd, steps: int) -> None:
    crowd.come()
    crowd.work(steps)
    world = crowd.world
    acknowledged = {job.request.id: job.backend_id for job in crowd.jobs()}
    world.crash()
    world.wait_out(world.repair)
    world.look()
    stored = set(world.real_queue.tickets)
    assert acknowledged.keys() <= stored <= world.kept()
    assert world.stored() == len(stored)
    for job_id, number in acknowledged.items():
        assert world.job(job_id).backend_id == number
    for job_id in stored:
        world.real_queue.finish(job_id)
    world.look()
    assert all(world.state(job_id) is JobState.COMPLETED for job_id in stored)


def test_a_bad_bundle_is_alone_refused(crowd: Crowd) -> None:
    crowd.come({2: b"no archive"})
    crowd.workers.all()
    assert crowd.answers.pop(2).check(BundleError)
    assert len(crowd.jobs()) == MANY - 1
    assert crowd.world.incoming() == 0


def test_a_job_that_the_queue_refuses_is_alone_refused(crowd: Crowd) -> None:
    take = crowd.world.real_queue.refuse

    def refuse(ticket: Ticket) -> str | None:
        return "no" if ticket.request.name == "3" else take(ticket)

    crowd.world.real_queue.refuse = refuse
    crowd.come()
    crowd.workers.all()
    states = [crowd.answers[number].state for number in range(MANY)]
    assert states == [JobState.SUBMISSION_ERROR if number == 3 else JobState.IDLE for number in range(MANY)]


@pytest.mark.parametrize(("part", "method"), [("spool", "keep"), ("store", "add")])
def test_what_fails_for_all_keeps_nothing(crowd: Crowd, part: str, method: str) -> None:
    getattr(crowd.world, part).before = {method}
    crowd.come()
    crowd.workers.all()
    crowd.world.crash()
    assert all(answer.check(Broken) for answer in crowd.answers.values())
    assert (crowd.world.stored(), crowd.world.kept(), crowd.world.incoming()) == (0, set(), 0)
