"""Axes of a picture: where their marks are, and what is written there.  Pure."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Final

_HOUR: Final = 3600.0
_DAY: Final = 86400.0
#: Seconds between two marks of time, and how a mark is written.
_STEPS: Final = (
    (300.0, "%H:%M"),
    (900.0, "%H:%M"),
    (_HOUR, "%H:%M"),
    (3 * _HOUR, "%d %b %H:%M"),
    (6 * _HOUR, "%d %b %H:%M"),
    (12 * _HOUR, "%d %b %H:%M"),
    (_DAY, "%a %d %b"),
    (2 * _DAY, "%a %d %b"),
    (7 * _DAY, "%d %b"),
    (14 * _DAY, "%d %b"),
    (28 * _DAY, "%d %b %Y"),
    (91 * _DAY, "%b %Y"),
    (182 * _DAY, "%b %Y"),
    (364 * _DAY, "%Y"),
)
_MOST_TIMES: Final = 12
_MOST_VALUES: Final = 4
_NOTHING: Final = 1e-9
#: A Monday, so that weeks begin with one.
_MONDAY: Final = 345600.0


def values(most: float) -> list[float]:
    """Round numbers from 0 up; the last one is the least that is not below C{most}."""
    if most < _NOTHING:
        return [0.0, 1.0]
    rough = most / _MOST_VALUES
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1.0, 2.0, 2.5, 5.0, 10.0) if power * factor >= rough * (1 - 1e-9))
    return [step * number for number in range(math.ceil(most / step - 1e-9) + 1)]


def number(value: float) -> str:
    """Short: C{1200}, C{0.25}."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


def times(begin: float, end: float) -> list[tuple[float, str]]:
    """Round times between two, in seconds since the epoch, as UTC."""
    step, written = next((each for each in _STEPS if (end - begin) / each[0] <= _MOST_TIMES), _STEPS[-1])
    origin = _MONDAY if step >= _DAY else 0.0
    first = origin + math.ceil((begin - origin) / step) * step
    count = int((end - first) // step) + 1
    return [(moment, f"{datetime.fromtimestamp(moment, UTC):{written}}") for moment in (first + step * n for n in range(count))]
