"""What every store does with job arrays; a part of the contract of IStore."""

from collections.abc import Callable

import msgspec
import pytest

from modabatchd.queue.indices import parse_indices
from modabatchd.queue.job import BackendId, JobState, Sighting, Tally, Task
from modabatchd.store.interfaces import IStore, Listed, Page, Progress, Selection
from tests.deferreds import now
from tests.store.values import a_message, a_request, a_sighting, add, get, page, step

IDLE, RUNNING, COMPLETED = JobState.IDLE, JobState.RUNNING, JobState.COMPLETED


def add_array(store: IStore, indices: str = "1-5", **fields: object) -> str:
    [job_id] = add(store, array=parse_indices(indices), **fields)
    return job_id


def tasks(store: IStore, job_id: str, *states: JobState, limit: int = 100, after: int = -1) -> list[int]:
    return [task.index for task in now(store.tasks(job_id, states or tuple(JobState), limit, after))]


def seen(job_id: str, index: int, state: JobState = RUNNING, **fields: object) -> Progress:
    sighting = a_sighting(job_id, state, backend_id=BackendId(7, index - 1), task=index, **fields)
    return Progress(job_id=job_id, state=state, at=2.0, sighting=sighting, task=index)


def ended(job_id: str, indices: range, **fields: object) -> list[Progress]:
    return [seen(job_id, index, COMPLETED, **{"exit_status": 0, **fields}) for index in indices]


class TasksContract:
    """What every store does with job arrays."""

    def test_added_array(self, store: IStore) -> None:
        request = a_request(array=parse_indices("1-9:4,100"), name="n")
        [job, other] = now(store.add([request, a_request()]))
        assert (job.tally, other.tally) == (Tally(idle=4), None)
        assert get(store, request.id) == job
        assert now(store.page(Selection(name="n"), 9)) == Page([Listed(job.seq, request.id, IDLE, "n", Tally(idle=4))])
        assert now(store.tasks(request.id, list(JobState), 9)) == [Task(index=index, state=IDLE) for index in (1, 5, 9, 100)]
        assert now(store.tasks(other.request.id, list(JobState), 9)) == []

    def test_large_array(self, store: IStore) -> None:
        job_id = add_array(store, "1-10000")
        assert tasks(store, job_id, limit=3, after=9997) == [9998, 9999, 10000]
        now(store.forget([job_id]))
        assert tasks(store, job_id) == []

    def test_steps_of_tasks(self, store: IStore) -> None:
        job_id = add_array(store, labels={"k": "v"})
        assert now(store.advance([seen(job_id, 2), seen(job_id, 4), seen(job_id, 4, JobState.HELD, reason="so")])) == []
        job = get(store, job_id)
        assert (job.state, job.previous_state, job.tally) == (RUNNING, IDLE, Tally(idle=3, running=1, held=1))
        assert [change.state for change in job.history] == [IDLE, RUNNING]
        assert job.sighting is None
        assert page(store, states=(RUNNING,), labels=(("k", "v"),)) == [job_id]
        assert tasks(store, job_id, IDLE, RUNNING) == [1, 2, 3, 5]
        assert tasks(store, job_id, IDLE, limit=2, after=1) == [3, 5]
        [held] = now(store.tasks(job_id, [JobState.HELD], 9))
        assert held == now(store.task(job_id, 4))
        assert held.sighting == seen(job_id, 4, JobState.HELD, reason="so").sighting

    def test_all_that_a_sighting_tells_of_a_task_is_kept(self, store: IStore) -> None:
        job_id = add_array(store)
        everything = Sighting(
            job_id=job_id,
            backend_id=BackendId(2**40, 1),
            state=COMPLETED,
            backend_state="transferring_output",
            global_job_id="schedd#7.1#99",
            universe="vm",
            priority=-3,
            run_count=2,
            started=1.5,
            current_started=2.5,
            completed=3.5,
            exit_status=4,
            exit_signal=9,
            image_size=77,
            user_cpu=1.25,
            host="node",
            reason="a 'reason' ☃\n",
            task=2,
        )
        now(store.advance([Progress(job_id=job_id, state=COMPLETED, at=4.0, sighting=everything, task=2)]))
        assert now(store.task(job_id, 2)) == Task(index=2, state=COMPLETED, sighting=everything)

    def test_an_array_whose_last_task_is_over_is_told(self, store: IStore) -> None:
        job_id = add_array(store)
        assert now(store.advance(ended(job_id, range(1, 5)))) == []
        assert get(store, job_id).state is IDLE
        last = ended(job_id, range(5, 6), exit_status=1)
        assert now(store.advance(last)) == [job_id]
        # Told again, until it is final: a crash may have come between.
        assert now(store.advance(last)) == [job_id]
        job = get(store, job_id)
        assert (job.state, job.tally, job.settled) == (IDLE, Tally(completed=5, failed=1), None)
        message = a_message(job_id)
        assert now(store.advance([Progress(job_id=job_id, state=COMPLETED, at=5.0, messages=(message,))])) == []
        assert (get(store, job_id).state, get(store, job_id).settled) == (COMPLETED, 5.0)
        assert get(store, job_id).tally == job.tally
        assert [delivery.message for delivery in now(store.due(1e9, 9))] == [message]
        assert now(store.advance(last)) == []

    def test_nothing_follows_the_end_of_a_task(self, store: IStore) -> None:
        job_id = add_array(store)
        now(store.advance([*ended(job_id, range(1, 2), exit_status=2), seen(job_id, 1), *ended(job_id, range(1, 2))]))
        now(store.advance([seen(job_id, 1), *ended(job_id, range(1, 2))]))
        task = now(store.task(job_id, 1))
        assert (task.state, task.sighting.exit_status) == (COMPLETED, 2)
        assert get(store, job_id).tally == Tally(idle=4, completed=1, failed=1)

    def test_an_array_that_ends_as_a_whole(self, store: IStore) -> None:
        job_id, other = add_array(store), add_array(store)
        now(store.advance([*ended(job_id, range(1, 3)), seen(job_id, 3), seen(other, 3)]))
        step(store, job_id, JobState.REMOVED, 4.0)
        assert get(store, job_id).tally == Tally(completed=2, removed=3)
        assert tasks(store, job_id, JobState.REMOVED) == [3, 4, 5]
        assert now(store.task(job_id, 3)).sighting is not None
        assert tasks(store, other, RUNNING) == [3]

    @pytest.mark.parametrize("index", [6, 99, None])
    def test_tasks_that_are_not_there(self, store: IStore, index: int | None) -> None:
        job_id = add_array(store) if index is not None else add(store)[0]
        before = get(store, job_id)
        assert now(store.advance([seen(job_id, index or 1)])) == []
        assert get(store, job_id) == before
        assert now(store.task(job_id, index or 1)) is None

    def test_many_steps_of_tasks(self, store: IStore) -> None:
        job_id = add_array(store, "1-1000")
        assert now(store.advance(ended(job_id, range(1, 1001)))) == [job_id]
        assert get(store, job_id).tally == Tally(completed=1000)

    def test_arrays_reopened(self, store: IStore, reopen: Callable[[], IStore]) -> None:
        job_id = add_array(store)
        now(store.advance([seen(job_id, 2)]))
        before = get(store, job_id), now(store.tasks(job_id, list(JobState), 9))
        again = reopen()
        assert (get(again, job_id), now(again.tasks(job_id, list(JobState), 9))) == before
        assert now(again.live(0, 9)) == [msgspec.structs.replace(before[0], history=())]
