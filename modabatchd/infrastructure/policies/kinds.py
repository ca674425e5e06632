"""The kinds of values that a policy has beside those of the configuration.  Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from cronsim import CronSim, CronSimError

from modabatchd.config.kinds import Kind, duration
from modabatchd.infrastructure.bootstrap import expression
from modabatchd.infrastructure.schedules import time_of_day
from modabatchd.quantities import parse_size

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}", re.ASCII)
_MONEY: Final = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,6})?) ?([A-Z]{3})?", re.ASCII)
_MIB: Final = 1 << 20
_KIB: Final = 1 << 10
_SOME_DAY: Final = datetime(2026, 1, 1, tzinfo=UTC)


class Money(msgspec.Struct, frozen=True):
    """@ivar currency: empty where nobody said."""

    amount: float
    currency: str


def money() -> Kind:
    """An amount, with or without its currency."""

    def read(value: object) -> Money:
        if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 1e12:
            return Money(float(value), "")
        match = _MONEY.fullmatch(value) if isinstance(value, str) else None
        if match is None:
            raise unfit(value)
        return Money(float(match[1]), match[2] or "")

    return Kind('an amount of money, 0 or more, for instance 0.16 or "4.00 EUR"', read)


def mebibytes() -> Kind:
    """An amount of memory; reads as MiB."""
    return Kind('a text like "512M", "16G" or "1.5T", a whole number of MiB', _size(_MIB))


def kibibytes() -> Kind:
    """An amount of disk; reads as KiB."""
    return Kind('a text like "512M", "50G" or "2T", a whole number of KiB', _size(_KIB))


def _size(unit: int) -> Callable[[Any], int]:
    def read(value: object) -> int:
        # A bare number could be anything: HTCondor counts memory in MiB and disk in KiB, everybody else both in bytes.
        if not isinstance(value, str) or value.strip(" ")[-1:].isdigit():
            raise unfit(value)
        try:
            size = parse_size(value)
        except ValueError:
            raise unfit(value) from None
        if size < unit or size % unit:
            raise unfit(value)
        return size // unit

    return read


def name() -> Kind:
    """What becomes a part of other names."""
    return Kind("letters, digits, - and _, 32 at most, a letter or digit first", _matching(_NAME.fullmatch))


def line() -> Kind:
    """A text that becomes part of a line somewhere."""
    return Kind("a text in quotes, of one line", _matching(lambda text: text.isprintable()))


def requirement() -> Kind:
    """A ClassAd expression that HTCondor can be told; whether it is one, is not looked at."""

    def read(value: object) -> str:
        if not isinstance(value, str) or not value.isprintable():
            raise unfit(value)
        return expression(value) if value.strip() else ""

    return Kind("a ClassAd expression in quotes, of one line, in ASCII", read)


def _matching(fits: Callable[[str], object]) -> Callable[[Any], str]:
    def read(value: object) -> str:
        if not isinstance(value, str) or not fits(value):
            raise unfit(value)
        return value

    return read


def filled() -> Kind:
    """A text that cannot be empty."""
    return Kind("a text in quotes, of one line, not empty", _matching(lambda text: text.isprintable() and text))


def lines() -> Kind:
    """Several texts, one at least."""

    def read(value: object) -> tuple[str, ...]:
        if not isinstance(value, list) or not value:
            raise unfit(value)
        return tuple(filled().read(item) for item in value)

    return Kind('a list of texts, one at least, for instance ["zone-a", "zone-b"]', read)


def texts() -> Kind:
    """A table of texts."""

    def read(value: object) -> dict[str, str]:
        if not isinstance(value, dict):
            raise unfit(value)
        return {key: line().read(text) for key, text in value.items()}

    return Kind('a table of texts, for instance {network = "internal"}', read)


def idle() -> Kind:
    """How long a node without work is kept; reads as seconds, or None for what was learned."""
    fixed = duration()
    return Kind(f'"learned", or {fixed.expected}', lambda value: None if value == "learned" else fixed.read(value))


def absolute_path() -> Kind:
    """A file somewhere."""
    return Kind("an absolute path", lambda value: Path(_matching(lambda text: Path(text).is_absolute())(value)))


def cron() -> Kind:
    """When something begins."""

    def read(value: object) -> str:
        text = _matching(lambda text: len(text.split()) == 5)(value)
        try:
            next(CronSim(text, _SOME_DAY), None)
        except CronSimError as problem:
            raise ValueError(f"{text!r} does not fit: {problem}") from None
        return text

    return Kind('minute, hour, day of month, month and day of week, for instance "0 8 * * MON-FRI"', read)


def clock() -> Kind:
    """A time of day."""

    def read(value: object) -> str:
        text = _matching(lambda text: re.fullmatch("[0-9]{2}:[0-9]{2}", text, re.ASCII))(value)
        try:
            time_of_day(text)
        except ValueError:
            raise unfit(value) from None
        return text

    return Kind('a time of day, for instance "18:00"', read)


def timezone() -> Kind:
    """An IANA timezone."""

    def read(value: object) -> str:
        text = _matching(bool)(value)
        try:
            ZoneInfo(text)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise unfit(value) from None
        return text

    return Kind('a timezone of this system, for instance "Europe/Rome"', read)


def unfit(value: object) -> ValueError:
    """The complaint about a value of the wrong type or out of range, as the owner wrote it."""
    shown = str(value).lower() if isinstance(value, bool) else repr(value)
    return ValueError(f"{shown[:100]} does not fit")
