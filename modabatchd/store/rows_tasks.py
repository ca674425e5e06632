"""
The tasks of job arrays as rows, and back.  Pure.

Note [Compact sightings]
========================
There are many tasks, so what the queue said of one is stored as the bare values of a L{Sighting} in their order, without those
that its row tells already.  A later version may add values at the end; what it did not write then has its default.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from modabatchd.queue.job import BackendId, JobRequest, JobState, Sighting, Task
from modabatchd.store.rows import Row
from modabatchd.store.schema import tasks

#: The columns that L{task} reads, in its order.
TASK: Final = (tasks.c.task, tasks.c.state, tasks.c.sighting)

_IDLE: Final = JobState.IDLE.value
_TOLD: Final = ("job_id", "backend_id", "state", "task")
_KEPT: Final = tuple(name for name in Sighting.__struct_fields__ if name not in _TOLD)


def new_tasks(seq: int, request: JobRequest) -> Iterable[Row]:
    """What makes the rows of an array's tasks, one mapping for each stride of the indices."""
    for stride in request.array.strides if request.array is not None else ():
        yield {"job": seq, "first": stride.first, "last": stride.last, "step": stride.step, "state": _IDLE}


def compact(sighting: Sighting | None) -> str | None:
    """A sighting as the text of a column.  See Note [Compact sightings]."""
    if sighting is None:
        return None
    number = sighting.backend_id
    rest = (getattr(sighting, name) for name in _KEPT)
    return msgspec.json.encode([number.cluster, number.proc, *rest]).decode()


def task(job_id: str, row: Sequence[Any]) -> Task:
    """The task of a row of L{TASK}."""
    index, state, seen = row
    return Task(index=index, state=JobState(state), sighting=None if seen is None else _sighting(job_id, index, state, seen))


def _sighting(job_id: str, index: int, state: str, seen: str) -> Sighting:
    cluster, proc, *rest = msgspec.json.decode(seen)
    values = dict(zip(_KEPT, rest, strict=False))
    return Sighting(job_id=job_id, backend_id=BackendId(cluster, proc), state=JobState(state), task=index, **values)
