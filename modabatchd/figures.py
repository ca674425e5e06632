"""What the parts of the service count and measure, in the terms of Prometheus.  Values only: nothing is registered anywhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import msgspec


class Figure(msgspec.Struct, frozen=True):
    """
    One figure, or one for each of several things.

    @ivar name: without the service's prefix and without C{_total}.
    @ivar about: one sentence.
    @ivar kind: a C{counter} only ever grows; a C{gauge} is as it is now.
    @ivar read: gives the value; for several things, one each by what C{label} says of it.  No I/O.
    @ivar label: what tells the things apart; empty for a single value.
    """

    name: str
    about: str
    kind: Literal["counter", "gauge"]
    read: Callable[[], float | Mapping[str, float]]
    label: str = ""


def counter(name: str, about: str, read: Callable[[], float | Mapping[str, float]], label: str = "") -> Figure:
    """A figure that only ever grows."""
    return Figure(name, about, "counter", read, label)


def gauge(name: str, about: str, read: Callable[[], float | Mapping[str, float]], label: str = "") -> Figure:
    """A figure that is as it is now."""
    return Figure(name, about, "gauge", read, label)
