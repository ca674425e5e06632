"""The query of a list: which jobs, and which page of them.  Pure."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final
from urllib.parse import urlencode

import msgspec

from modabatchd.errors import FieldError
from modabatchd.queue.job import JobState
from modabatchd.rest.operations import Parameter
from modabatchd.rest.projection import PROJECTION, projection
from modabatchd.store.interfaces import Place, Selection, Span

LARGEST_PAGE: Final = 1000
_PAGE: Final = 100

_TEXT: Final = r"^[^\x00]*$"
_LABEL: Final = r"^[^=\x00][^\x00]*$"

_CURSOR: Final = re.compile("([0-9]{1,18})(?:-([0-9a-f]{16}))?", re.ASCII)
_SECONDS: Final = r"^[0-9]{1,12}(\.[0-9]{1,6})?$"
_TIME: Final = {"anyOf": [{"type": "string", "format": "date-time"}, {"type": "string", "pattern": _SECONDS}]}
_TIMES: Final = {
    "submitted_since": "Only jobs submitted at this time or later.",
    "submitted_until": "Only jobs submitted before this time.",
    "ended_since": "Only jobs that reached a final state at this time or later, in the order of their ends.",
    "ended_until": "Only jobs that reached a final state before this time, in the order of their ends.",
}

#: Which jobs.
CONDITIONS: Final = (
    Parameter(
        name="status",
        description="Only jobs in this state; given more than once, in any of them.",
        schema={"type": "string", "enum": [str(state) for state in JobState]},
        repeated=True,
    ),
    Parameter(name="name", description="Only jobs of this name.", schema={"type": "string", "pattern": _TEXT}),
    Parameter(name="name_prefix", description="Only jobs whose name begins so.", schema={"type": "string", "pattern": _TEXT}),
    Parameter(
        name="label",
        description="Only jobs with this label: KEY, or KEY=VALUE; given more than once, with all of them.",
        schema={"type": "string", "pattern": _LABEL},
        repeated=True,
    ),
    *(
        Parameter(name=name, description=f"{description} RFC 3339, or seconds since 1970.", schema=_TIME)
        for name, description in _TIMES.items()
    ),
)
PARAMETERS: Final = (
    *CONDITIONS,
    Parameter(
        name="order",
        description="Which jobs come first: oldest, as without it, or newest.",
        schema={"type": "string", "enum": ["oldest", "newest"]},
    ),
    Parameter(
        name="limit",
        description=f"How many jobs a page holds at most; {_PAGE} if only other parameters are given.",
        schema={"type": "integer", "minimum": 1, "maximum": LARGEST_PAGE},
    ),
    Parameter(
        name="cursor",
        description="Where the page begins: take it from the Link header of the page before.",
        schema={"type": "string", "pattern": "^[0-9]{1,18}(-[0-9a-f]{16})?$"},
    ),
    PROJECTION,
)
_MOST_LABELS: Final = 20


class Wanted(msgspec.Struct, frozen=True):
    """
    A page of the list.

    @ivar after: where it begins.
    @ivar fields: what is shown of each job; L{None} for what is always shown.
    """

    selection: Selection
    limit: int
    after: Place | None
    fields: tuple[str, ...] | None


def wanted(query: Mapping[str, Sequence[str]]) -> Wanted | None:
    """
    The page that a query asks for; L{None} for the whole list, when it asks for nothing.

    @raise FieldError: names the parameter that is unknown, repeated or out of range.
    """
    check(query, PARAMETERS)
    if not query:
        return None
    limit = number("limit", first(query, "limit") or str(_PAGE), 1, LARGEST_PAGE)
    return Wanted(selection(query), limit, _place(first(query, "cursor")), projection(query))


def selection(query: Mapping[str, Sequence[str]]) -> Selection:
    """
    Which jobs a query asks for.  Its parameters have been checked.

    @raise FieldError: names the parameter whose value is wrong.
    """
    order = first(query, "order") or "oldest"
    if order not in ("oldest", "newest"):
        raise FieldError("order", f"order is {order[:100]!r}.", "Send oldest or newest.")
    return Selection(
        states=_states(query.get("status", ())),
        name=first(query, "name"),
        prefix=first(query, "name_prefix"),
        labels=_labels(query.get("label", ())),
        submitted=Span(_time(query, "submitted_since"), _time(query, "submitted_until")),
        ended=Span(_time(query, "ended_since"), _time(query, "ended_until")),
        newest=order == "newest",
    )


def next_link(query: Mapping[str, Sequence[str]], following: Place) -> str:
    """The Link header that leads to the page at a place."""
    kept = [(name, value) for name, values in query.items() if name != "cursor" for value in values]
    return f'</jobs?{urlencode([*kept, ("cursor", _cursor(following))])}>; rel="next"'


def check(query: Mapping[str, Sequence[str]], parameters: Iterable[Parameter]) -> None:
    """See that a query holds nothing else.  @raise FieldError: names what it should not hold."""
    known = {parameter.name: parameter for parameter in parameters}
    for name, values in query.items():
        _check(name, values, known)


def _cursor(place: Place) -> str:
    return f"{place.seq}-{struct.pack('>d', place.ended).hex()}" if place.ended else str(place.seq)


def _place(cursor: str | None) -> Place | None:
    if cursor is None:
        return None
    match = _CURSOR.fullmatch(cursor)
    if match is None:
        raise FieldError("cursor", f"cursor is {cursor[:100]!r}.", "Take it from the Link header of the page before.")
    [ended] = struct.unpack(">d", bytes.fromhex(match[2] or "00" * 8))
    return Place(int(match[1]), ended)


def _check(name: str, values: Sequence[str], known: Mapping[str, Parameter]) -> None:
    if name not in known:
        cure = f"The parameters are {', '.join(known)}." if known else "It takes none."
        raise FieldError(name, f"There is no parameter {name[:100]!r}.", cure)
    if len(values) > 1 and not known[name].repeated:
        raise FieldError(name, f"The parameter {name!r} is there more than once.", "Send it once.")
    if any("\0" in value for value in values):
        raise FieldError(name, f"The parameter {name!r} holds a NUL character.", "Send text without NUL.")


def first(query: Mapping[str, Sequence[str]], name: str) -> str | None:
    """The value of a parameter that is there at most once."""
    return query[name][0] if name in query else None


def _states(values: Sequence[str]) -> tuple[JobState, ...]:
    try:
        return tuple(dict.fromkeys(map(JobState, values)))
    except ValueError:
        known = ", ".join(JobState)
        raise FieldError("status", f"There is no state among {', '.join(values)[:200]!r}.", f"States are {known}.") from None


def _labels(texts: Sequence[str]) -> tuple[tuple[str, str | None], ...]:
    if len(texts) > _MOST_LABELS:
        raise FieldError("label", f"There are {len(texts)} labels.", f"Send {_MOST_LABELS} at the most.")
    return tuple(dict.fromkeys(map(label, texts)))


def label(text: str) -> tuple[str, str | None]:
    """The label that C{KEY} or C{KEY=VALUE} asks for.  @raise FieldError: it names none."""
    key, equals, value = text.partition("=")
    if not key:
        raise FieldError("label", f"label is {text[:100]!r}, which names no label.", "Send KEY or KEY=VALUE.")
    return key, value if equals else None


def _time(query: Mapping[str, Sequence[str]], name: str) -> float | None:
    text = first(query, name)
    if text is None:
        return None
    try:
        return float(text) if re.fullmatch(_SECONDS, text, re.ASCII) else _timestamp(text)
    except (ValueError, OverflowError):
        cure = "Send a time like 2026-01-31T12:00:00Z, or seconds since 1970."
        raise FieldError(name, f"{name} is {text[:100]!r}.", cure) from None


def _timestamp(text: str) -> float:
    time = datetime.fromisoformat(text.upper())
    if time.tzinfo is None:
        raise ValueError("without a time zone")
    return time.timestamp()


def number(name: str, text: str, low: int, high: int) -> int:
    """The value of a parameter that is a whole number.  @raise FieldError: it is none, or out of range."""
    if not (text.isascii() and text.isdigit() and len(text) < 20 and low <= int(text) <= high):
        raise FieldError(name, f"{name} is {text[:100]!r}.", f"Send a whole number from {low} to {high}.")
    return int(text)
