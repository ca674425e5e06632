"""The queries of the operations on the tasks of job arrays.  Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import urlencode

import msgspec

from modabatchd.errors import FieldError
from modabatchd.queue.indices import HIGHEST, Indices, parse_indices
from modabatchd.queue.job import JobState
from modabatchd.rest.asking import LARGEST_PAGE, PAGE, Query, number, only
from modabatchd.rest.operations import Parameter

PARAMETERS: Final = (
    Parameter(
        name="status",
        description="Only tasks in this state; given more than once, in any of them.",
        schema={"type": "string", "enum": [str(state) for state in JobState]},
        repeated=True,
    ),
    Parameter(
        name="limit",
        description=f"How many tasks a page holds at most; {PAGE} if it is not given.",
        schema={"type": "integer", "minimum": 1, "maximum": LARGEST_PAGE},
    ),
    Parameter(
        name="cursor",
        description="The index that the page begins after: take it from the Link header of the page before.",
        schema={"type": "string", "pattern": "^[0-9]{1,9}$"},
    ),
)
#: Which tasks of a job array an action is for.
SOME: Final = (
    Parameter(
        name="tasks",
        description="Of a job array, only these tasks: 1-10, 0-99:10, 1,5,7-9.",
        schema={"type": "string", "pattern": "^[0-9]+(-[0-9]+(:[0-9]+)?)?(,[0-9]+(-[0-9]+(:[0-9]+)?)?)*$"},
    ),
)


class Page(msgspec.Struct, frozen=True):
    """A page of tasks.  @ivar after: the index that it begins after."""

    states: Sequence[JobState]
    limit: int
    after: int


def page(asked: Query) -> Page:
    """
    The page that a query asks for.

    @raise FieldError: names the parameter that is unknown, repeated or out of range.
    """
    states = _states(asked.get("status", ()))
    others = {name: values for name, values in asked.items() if name != "status"}
    only(others, "limit", "cursor")
    limit = number(others, "limit", PAGE, 1, LARGEST_PAGE)
    after = number(others, "cursor", 0, 0, HIGHEST) if "cursor" in others else -1
    return Page(states, limit, after)


def some(asked: Query) -> Indices | None:
    """
    The tasks that an action is for; L{None} for all.

    @raise FieldError: they cannot be read.
    """
    if "tasks" not in asked:
        return None
    only({"tasks": asked["tasks"]}, "tasks")
    try:
        return parse_indices(asked["tasks"][0])
    except ValueError as problem:
        cure = "Write indices and ranges, separated by commas: 1-10, 0-99:10, 1,5,7-9."
        raise FieldError("tasks", f"tasks cannot be read: {problem}.", cure) from None


def next_link(job_id: str, asked: Mapping[str, Sequence[str]], last: int) -> str:
    """The Link header that leads to the page after a task."""
    kept = [(name, value) for name, values in asked.items() if name != "cursor" for value in values]
    return f'</jobs/{job_id}/tasks?{urlencode([*kept, ("cursor", str(last))])}>; rel="next"'


def _states(values: Sequence[str]) -> Sequence[JobState]:
    try:
        return list(dict.fromkeys(map(JobState, values))) or list(JobState)
    except ValueError:
        known = ", ".join(JobState)
        raise FieldError("status", f"There is no state among {', '.join(values)[:200]!r}.", f"States are {known}.") from None
