"""The query of a list: which jobs, and which page of them.  Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import urlencode

import msgspec

from modabatchd.errors import FieldError
from modabatchd.queue.job import JobState
from modabatchd.rest.operations import Parameter
from modabatchd.store.interfaces import Listed, Selection

LARGEST_PAGE: Final = 1000
_PAGE: Final = 100
_LARGEST_CURSOR: Final = 2**63 - 1

_TEXT: Final = r"^[^\x00]*$"
_LABEL: Final = r"^[^=\x00][^\x00]*$"

PARAMETERS: Final = (
    Parameter(
        name="status",
        description="Only jobs in this state; given more than once, in any of them.",
        schema={"type": "string", "enum": [str(state) for state in JobState]},
        repeated=True,
    ),
    Parameter(name="name", description="Only jobs of this name.", schema={"type": "string", "pattern": _TEXT}),
    Parameter(
        name="label", description="Only jobs with this label: KEY, or KEY=VALUE.", schema={"type": "string", "pattern": _LABEL}
    ),
    Parameter(
        name="limit",
        description=f"How many jobs a page holds at most; {_PAGE} if only other parameters are given.",
        schema={"type": "integer", "minimum": 1, "maximum": LARGEST_PAGE},
    ),
    Parameter(
        name="cursor",
        description="Where the page begins: take it from the Link header of the page before.",
        schema={"type": "string", "pattern": "^[0-9]{1,18}$"},
    ),
)
_KNOWN: Final = {parameter.name: parameter for parameter in PARAMETERS}


class Page(msgspec.Struct, frozen=True):
    """
    A page of the list.

    @ivar after: the C{seq} of the job that it begins after.
    """

    selection: Selection
    limit: int
    after: int


def page(query: Mapping[str, Sequence[str]]) -> Page | None:
    """
    The page that a query asks for; L{None} for the whole list, when it asks for nothing.

    @raise FieldError: names the parameter that is unknown, repeated or out of range.
    """
    for name, values in query.items():
        _check(name, values)
    if not query:
        return None
    selection = Selection(states=_states(query.get("status", ())), name=_first(query, "name"), label=_label(query))
    limit = _number("limit", _first(query, "limit") or str(_PAGE), 1, LARGEST_PAGE)
    return Page(selection, limit, _number("cursor", _first(query, "cursor") or "0", 0, _LARGEST_CURSOR))


def next_link(query: Mapping[str, Sequence[str]], last: Listed) -> str:
    """The Link header that leads to the page after a job."""
    kept = [(name, value) for name, values in query.items() if name != "cursor" for value in values]
    return f'</jobs?{urlencode([*kept, ("cursor", str(last.seq))])}>; rel="next"'


def _check(name: str, values: Sequence[str]) -> None:
    if name not in _KNOWN:
        raise FieldError(name, f"There is no parameter {name[:100]!r}.", f"The parameters are {', '.join(_KNOWN)}.")
    if len(values) > 1 and not _KNOWN[name].repeated:
        raise FieldError(name, f"The parameter {name!r} is there more than once.", "Send it once.")
    if any("\0" in value for value in values):
        raise FieldError(name, f"The parameter {name!r} holds a NUL character.", "Send text without NUL.")


def _first(query: Mapping[str, Sequence[str]], name: str) -> str | None:
    return query[name][0] if name in query else None


def _states(values: Sequence[str]) -> tuple[JobState, ...]:
    try:
        return tuple(dict.fromkeys(map(JobState, values)))
    except ValueError:
        known = ", ".join(JobState)
        raise FieldError("status", f"There is no state among {', '.join(values)[:200]!r}.", f"States are {known}.") from None


def _label(query: Mapping[str, Sequence[str]]) -> tuple[str, str | None] | None:
    text = _first(query, "label")
    if text is None:
        return None
    key, equals, value = text.partition("=")
    if not key:
        raise FieldError("label", f"label is {text[:100]!r}, which names no label.", "Send KEY or KEY=VALUE.")
    return key, value if equals else None


def _number(name: str, text: str, low: int, high: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20 and low <= int(text) <= high):
        raise FieldError(name, f"{name} is {text[:100]!r}.", f"Send a whole number from {low} to {high}.")
    return int(text)
