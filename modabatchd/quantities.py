"""Durations and sizes as people write them: C{15m}, C{2G}.  Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Final

_SECONDS: Final[Mapping[str, Fraction]] = {
    "ms": Fraction(1, 1000),
    "": Fraction(1),
    "s": Fraction(1),
    "m": Fraction(60),
    "h": Fraction(3600),
    "d": Fraction(86400),
    "w": Fraction(604800),
}
_BYTES: Final[Mapping[str, Fraction]] = {
    "b": Fraction(1),
    **{prefix + tail: Fraction(2 ** (10 * power)) for power, prefix in enumerate("kmgt", 1) for tail in ("", "b", "ib")},
}
_QUANTITY: Final = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,9})?) ?([A-Za-z]*)")
_LARGEST: Final = 2**63 - 1


def parse_duration(text: str) -> float:
    """
    Seconds of a duration such as C{90}, C{90s}, C{500ms}, C{15m}, C{2h}, C{1.5d} or C{4w}; a bare number counts seconds.

    @raise ValueError: with a sentence that says what was expected.
    """
    return float(_quantity(text, _SECONDS, "a duration", "a number of seconds, or a number with ms, s, m, h, d or w"))


def parse_size(text: str, unit: int = 1) -> int:
    """
    Bytes of a size such as C{512}, C{512K}, C{1.5G} or C{2GiB}; suffixes are powers of 1024.

    @param unit: how many bytes a bare number counts.
    @raise ValueError: with a sentence that says what was expected.
    """
    scales = {**_BYTES, "": Fraction(unit)}
    size = _quantity(text, scales, "a size", "a number, or a number with K, M, G or T")
    if size > _LARGEST:
        raise ValueError(f"{text!r} is too large a size")
    if size.denominator != 1:
        raise ValueError(f"{text!r} is not a whole number of bytes")
    return int(size)


def _quantity(text: str, scales: Mapping[str, Fraction], kind: str, expected: str) -> Fraction:
    """The exact value of a number with a unit, case ignored."""
    match = _QUANTITY.fullmatch(text.strip(" "))
    if match is None or match[2].lower() not in scales:
        raise ValueError(f"{text!r} is not {kind}: expected {expected}")
    return Fraction(match[1]) * scales[match[2].lower()]
