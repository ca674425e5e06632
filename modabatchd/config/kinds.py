"""
The kinds of values that a configuration holds: what each looks like, and how it is read.  Pure.

A kind's C{read} takes what TOML gave and returns the setting, or raises ValueError with half a sentence on what is wrong;
C{expected} tells what would be right.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from modabatchd.config.listening import listener
from modabatchd.quantities import parse_duration, parse_size
from modabatchd.queue.form import check_url

N = TypeVar("N", int, float)
_HOST: Final = re.compile(r"(?:[A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])", re.ASCII)
_URL: Final = re.compile(r"(?:sqlite|postgresql(?:\+psycopg)?)://.*", re.ASCII)


class Kind(msgspec.Struct, frozen=True):
    """
    One kind of value.

    @ivar expected: completes the sentence "expected ...".
    @ivar read: see the module's docstring.
    """

    expected: str
    read: Callable[[Any], Any]


def integer(least: int, most: int = 2**63 - 1) -> Kind:
    """A whole number."""

    def read(value: object) -> int:
        if isinstance(value, float) and value.is_integer():
            # TOML tells 5.0 from 5, people do not.
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise _unfit(value)
        return value

    return Kind(f"a whole number, {least} or more" if most == 2**63 - 1 else f"a whole number from {least} to {most}", read)


def duration(above_zero: bool = False) -> Kind:
    """A span of time; reads as seconds."""

    def read(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            raise _unfit(value)
        seconds = _quantity(parse_duration, value) if isinstance(value, str) else value
        if not 0 <= seconds < 1e9 or (above_zero and not seconds):
            raise _unfit(value)
        return float(seconds)

    least = "above 0" if above_zero else "0 or more"
    return Kind(f'seconds, {least}, or a text like "500ms", "90s", "15m", "2h", "30d"', read)


def size() -> Kind:
    """A number of bytes."""

    def read(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, (int, str)) or (isinstance(value, int) and value < 0):
            raise _unfit(value)
        return _quantity(parse_size, value) if isinstance(value, str) else value

    return Kind('bytes, 0 or more, or a text like "512K", "100M", "50G", "2T"', read)


def flag() -> Kind:
    """Yes or no."""

    def read(value: object) -> bool:
        if not isinstance(value, bool):
            raise _unfit(value)
        return value

    return Kind("true or false", read)


def text() -> Kind:
    """Any text; empty where it is not needed."""
    return Kind('a text in quotes, for instance "abc"', _text)


def one_of(*choices: str) -> Kind:
    """One of a few words."""

    def read(value: object) -> str:
        if value not in choices:
            raise _unfit(value)
        return str(value)

    return Kind(" or ".join(f'"{choice}"' for choice in choices), read)


def directory() -> Kind:
    """An absolute path; the empty one stands for a default."""

    def read(value: object) -> Path:
        path = Path(_text(value))
        if path != Path() and not path.is_absolute():
            raise _unfit(value)
        return path

    return Kind('an absolute path, or ""', read)


def optional_path() -> Kind:
    """An absolute path, or nothing."""
    kind = directory()

    def read(value: object) -> Path | None:
        path: Path = kind.read(value)
        return None if path == Path() else path

    return Kind(kind.expected, read)


def endpoint() -> Kind:
    """Where to listen: a Twisted endpoint description, or a bare port."""

    def read(value: object) -> str:
        if isinstance(value, bool) or not isinstance(value, (int, str)):
            raise _unfit(value)
        return listener(str(value))

    return Kind('a port, "tcp:5000:interface=127.0.0.1" or "unix:/run/modabatchd/http"', read)


def database() -> Kind:
    """The URL of a database.  It may hold a password, so it is never shown."""

    def read(value: object) -> str:
        if not isinstance(value, str) or (value and not _URL.fullmatch(value)):
            raise ValueError("this is not the URL of a database that can be used")
        return value

    return Kind('"sqlite:////absolute/path", "postgresql://user:password@host/database", or ""', read)


def url() -> Kind:
    """Where something is posted to, or nothing."""

    def read(value: object) -> str:
        where = _text(value)
        if where:
            check_url(where)
        return where

    return Kind('an http or https URL without a user name, or ""', read)


def hosts() -> Kind:
    """Names that a Host header may hold, without ports."""

    def read(value: object) -> tuple[str, ...]:
        names = _texts(value)
        for name in names:
            if not _HOST.fullmatch(name):
                raise _unfit(name)
        return tuple(name.lower() for name in names)

    return Kind('a list of host names without ports, for instance ["batch.example.org"]', read)


def networks() -> Kind:
    """IP networks."""

    def read(value: object) -> tuple[IPv4Network | IPv6Network, ...]:
        return tuple(ip_network(name) for name in _texts(value))

    return Kind('a list of networks, for instance ["10.0.0.0/8", "fd00::/8"]', read)


def _quantity(parse: Callable[[str], N], value: str) -> N:
    try:
        return parse(value)
    except ValueError:
        raise _unfit(value) from None


def _text(value: object) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise _unfit(value)
    return value


def _texts(value: object) -> list[str]:
    if not isinstance(value, list):
        raise _unfit(value)
    return [_text(item) for item in value]


def _unfit(value: object) -> ValueError:
    """The complaint about a value of the wrong type or out of range, as the owner wrote it."""
    shown = str(value).lower() if isinstance(value, bool) else repr(value) if isinstance(value, str) else str(value)
    return ValueError(f"{shown[:100]} does not fit")
