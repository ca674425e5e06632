"""The operations on the tasks of job arrays."""

from __future__ import annotations

from typing import Any

from modabatchd.errors import UnknownTask
from modabatchd.queue.control import Control
from modabatchd.queue.indices import HIGHEST, gathered
from modabatchd.queue.job import Task
from modabatchd.rest import artifacts, listing_tasks
from modabatchd.rest.artifacts import Artifacts
from modabatchd.rest.naming import action_named, canonical, unknown
from modabatchd.rest.operations import Answer, operation, query
from modabatchd.rest.representation import ActionTaken
from modabatchd.rest.representation_tasks import TaskView, task_view
from modabatchd.store.interfaces import IStore


class Tasks:
    """The tasks of job arrays over HTTP."""

    def __init__(self, store: IStore, artifacts: Artifacts, control: Control) -> None:
        self._store = store
        self._artifacts = artifacts
        self._control = control

    @operation(
        "GET",
        "/jobs/<job_id>/tasks",
        "List the tasks of a job array",
        parameters=listing_tasks.PARAMETERS,
        answers={200: list[TaskView]},
        headers={200: ("Link",)},
        problems=(404, 422),
    )
    async def list_tasks(self, request: Any, job_id: str) -> Answer:
        """A page of the tasks, by their indices; a Link header leads to the next page."""
        asked = query(request)
        page = listing_tasks.page(asked)
        known = canonical(job_id)
        found = await self._store.tasks(known, page.states, page.limit + 1, page.after)
        if not found:
            await self._see_that_it_is_an_array(known)
        shown = found[: page.limit]
        headers = {"Link": listing_tasks.next_link(known, asked, shown[-1].index)} if len(found) > page.limit else {}
        return Answer([task_view(known, task) for task in shown], headers=headers)

    @operation("GET", "/jobs/<job_id>/tasks/<task>", "Look at a task of a job array", answers={200: TaskView}, problems=(404,))
    async def get_task(self, request: Any, job_id: str, task: str) -> Answer:
        """All about one task."""
        known = canonical(job_id)
        return Answer(task_view(known, await self._task(known, task)))

    @operation(
        "GET POST PUT",
        "/jobs/<job_id>/tasks/<task>/<action>",
        "Hold, release, suspend, continue or remove a task of a job array",
        changes=True,
        answers={200: ActionTaken},
        problems=(409, 502, 503),
    )
    async def act_on_task(self, request: Any, job_id: str, task: str, action: str) -> Answer:
        """Takes an action on one task, if its state allows it."""
        known, wanted = canonical(job_id), action_named(action)
        done = await self._control.act(known, wanted, gathered([_index(task)]))
        return Answer(ActionTaken((known, wanted), tasks=done))

    @operation(
        "GET", "/jobs/<job_id>/tasks/<task>/artifacts/<artifact>", "Fetch a file of a task of a job array", **artifacts.ABOUT
    )
    async def get_task_artifact(self, request: Any, job_id: str, task: str, artifact: str) -> None:
        """The same files as those of a job, of one task."""
        known = canonical(job_id)
        found = await self._task(known, task)
        await self._artifacts.send(request, known, artifact, found.state.final, found.index)

    async def _task(self, job_id: str, task: str) -> Task:
        found = await self._store.task(job_id, _index(task))
        if found is None:
            await self._see_that_it_is_an_array(job_id)
            raise UnknownTask(f"Job {job_id} has no task {task[:20]}.", f"List them with GET /jobs/{job_id}/tasks.")
        return found

    async def _see_that_it_is_an_array(self, job_id: str) -> None:
        job = await self._store.get(job_id)
        if job is None:
            raise unknown(job_id)
        if job.request.array is None:
            raise UnknownTask(f"Job {job_id} is no job array.", f"Look at it with GET /jobs/{job_id}.")


def _index(task: str) -> int:
    if not (task.isascii() and task.isdigit() and len(task) <= 10 and int(task) <= HIGHEST):
        raise UnknownTask(f"{task[:20]!r} is no index of a task.", "List the tasks with GET /jobs/JOB/tasks.")
    return int(task)
