"""Some fields of a job instead of all.  Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, get_type_hints

import msgspec

from modabatchd.errors import FieldError
from modabatchd.queue.job import Job
from modabatchd.rest.operations import Parameter
from modabatchd.rest.representation import JobView, view
from modabatchd.store.interfaces import Listed

_TYPES: Final = get_type_hints(JobView)
_ONE: Final = f"({'|'.join(_TYPES)})"
#: What a row of a list knows without the rest of the job.
_LISTED: Final = frozenset({"id", "job_status", "job_name"})
#: What is made of a job's history.
_HISTORICAL: Final = frozenset({"history", "reason", "hold_reason"})

PROJECTION: Final = Parameter(
    name="fields",
    description=f"Only these fields of a job, separated by commas: {', '.join(_TYPES)}.",
    schema={"type": "string", "pattern": f"^{_ONE}(,{_ONE})*$"},
)

#: A job of which only some fields are told; for the description.
JobPart: Any = msgspec.defstruct(
    "JobPart",
    [(name, kind | msgspec.UnsetType, msgspec.UNSET) for name, kind in _TYPES.items()],
    namespace={"__doc__": "Some fields of a job: those that were asked for."},
    kw_only=True,
)


def projection(query: Mapping[str, Sequence[str]]) -> tuple[str, ...] | None:
    """
    The fields that a query asks for; L{None} if it does not care.

    @raise FieldError: there is no such field.
    """
    if "fields" not in query:
        return None
    fields = tuple(dict.fromkeys(query["fields"][0].split(",")))
    if unknown := [name for name in fields if name not in _TYPES]:
        cause = f"A job has no field {unknown[0][:100]!r}."
        raise FieldError("fields", cause, f"The fields are {', '.join(_TYPES)}; separate them by commas.")
    return fields


def is_listed(fields: Sequence[str]) -> bool:
    """Whether a row of a list has all of them."""
    return _LISTED.issuperset(fields)


def is_historical(fields: Sequence[str]) -> bool:
    """Whether some of them are made of the job's history."""
    return not _HISTORICAL.isdisjoint(fields)


def part(job: Job | Listed, fields: Sequence[str]) -> dict[str, Any]:
    """These fields of a job, or of a row of a list."""
    shown = job if isinstance(job, Listed) else view(job)
    return {name: getattr(shown, name) for name in fields}
