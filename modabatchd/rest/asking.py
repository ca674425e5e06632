"""The queries of the operations on nodes: which parameters there are, and what they say.  Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import urlencode

from modabatchd.errors import FieldError
from modabatchd.rest.operations import Parameter

Query = Mapping[str, Sequence[str]]

PAGE: Final = 100
LARGEST_PAGE: Final = 1000
NEWEST: Final = 2**63 - 1
MOST: Final = 1000

COUNT: Final = Parameter(
    name="count", description="How many.", schema={"type": "integer", "minimum": 1, "maximum": MOST, "default": 1}
)
LIMIT: Final = Parameter(
    name="limit",
    description=f"How many entries at most; {PAGE} if it is not given.",
    schema={"type": "integer", "minimum": 1, "maximum": LARGEST_PAGE},
)
CURSOR: Final = Parameter(
    name="cursor",
    description="Where the page begins: take it from the Link header of the page before.",
    schema={"type": "string", "pattern": "^[0-9]{1,18}$"},
)
_NUMBERS: Final = {"max_nodes": 0, "max_cores": 0, "starts_per_minute": 1}
_AMOUNTS: Final = ("max_hourly_cost", "monthly_budget")
_UNLIMITED: Final = ("max_cores", *_AMOUNTS)
LIMITS: Final = (
    *(
        Parameter(name=name, description=f"{name}; none: no limit." if name in _UNLIMITED else name, schema=schema)
        for name, schema in {
            "max_nodes": {"type": "string", "pattern": "^[0-9]{1,9}$"},
            "max_cores": {"type": "string", "pattern": "^([0-9]{1,9}|none)$"},
            "starts_per_minute": {"type": "string", "pattern": "^[1-9][0-9]{0,8}$"},
            "max_hourly_cost": {"type": "string", "pattern": r"^([0-9]{1,9}(\.[0-9]{1,6})?|none)$"},
            "monthly_budget": {"type": "string", "pattern": r"^([0-9]{1,9}(\.[0-9]{1,6})?|none)$"},
        }.items()
    ),
)


def only(asked: Query, *known: str) -> None:
    """Refuse whatever else is asked.  @raise FieldError: it is there."""
    for name, values in asked.items():
        if name not in known:
            cure = f"The parameters are {', '.join(known)}." if known else "It takes none."
            raise FieldError(name, f"There is no parameter {name[:100]!r}.", cure)
        if len(values) > 1:
            raise FieldError(name, f"The parameter {name!r} is there more than once.", "Send it once.")


def number(asked: Query, name: str, default: int, low: int, high: int) -> int:
    """A whole number.  @raise FieldError: it is none, or out of range."""
    text = asked[name][0] if name in asked else str(default)
    if not (text.isascii() and text.isdigit() and len(text) < 20 and low <= int(text) <= high):
        raise FieldError(name, f"{name} is {text[:100]!r}.", f"Send a whole number from {low} to {high}.")
    return int(text)


def limits(asked: Query) -> dict[str, float | None]:
    """The limits that are given.  @raise FieldError: they are wrong."""
    only(asked, *_NUMBERS, *_AMOUNTS)
    return {name: _read(name, asked) for name in asked}


def _read(name: str, asked: Query) -> float | None:
    text = asked[name][0]
    if text == "none" and name in _UNLIMITED:
        return None
    if name in _NUMBERS:
        return number(asked, name, 0, _NUMBERS[name], 10**9 - 1)
    whole, _, part = text.partition(".")
    if not (text.isascii() and whole.isdigit() and (part.isdigit() or not part) and len(text) <= 16):
        raise FieldError(name, f"{name} is {text[:100]!r}.", "Send an amount like 4.50, or none.")
    return float(text)


def next_link(limit: int, last: int) -> str:
    """The Link header that leads to the next page of the journal."""
    return f'</infrastructure/decisions?{urlencode({"limit": limit, "cursor": last})}>; rel="next"'
