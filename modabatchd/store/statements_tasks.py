"""The statements on the tasks of job arrays, each built once."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import ColumnElement, bindparam, func, select, text, update

from modabatchd.queue.job import JobState
from modabatchd.store.rows_tasks import TASK
from modabatchd.store.schema import jobs, tasks

_LIMIT: Final[ColumnElement[Any]] = bindparam("limit")

#: The rows of one stride of indices.  They are made where they are stored: an array may have many thousands.
ADD_TASKS: Final = text(
    "INSERT INTO tasks (job, task, state) "
    "WITH RECURSIVE indices(task) AS (SELECT CAST(:first AS BIGINT) "
    "UNION ALL SELECT task + CAST(:step AS BIGINT) FROM indices WHERE task + CAST(:step AS BIGINT) <= CAST(:last AS BIGINT)) "
    "SELECT CAST(:job AS BIGINT), task, :state FROM indices"
)

#: The states of some tasks of one array.
STATES: Final = select(tasks.c.task, tasks.c.state).where(
    tasks.c.job == bindparam("job_seq"), tasks.c.task.in_(bindparam("indices", expanding=True))
)

ADVANCE_TASKS: Final = (
    update(tasks)
    .where(tasks.c.job == bindparam("job_seq"), tasks.c.task == bindparam("index"))
    .values(state=bindparam("to"), sighting=func.coalesce(bindparam("seen", type_=tasks.c.sighting.type), tasks.c.sighting))
)
CLOSE_TASKS: Final = (
    update(tasks)
    .where(tasks.c.job == bindparam("job_seq"), tasks.c.state.in_([state.value for state in JobState if not state.final]))
    .values(state=bindparam("to"))
)

_TASKS: Final = select(*TASK).join(jobs, jobs.c.seq == tasks.c.job).where(jobs.c.id == bindparam("id"))
TASKS: Final = (
    _TASKS.where(tasks.c.state.in_(bindparam("states", expanding=True)), tasks.c.task > bindparam("after"))
    .order_by(tasks.c.task)
    .limit(_LIMIT)
)
ONE_TASK: Final = _TASKS.where(tasks.c.task == bindparam("index"))
