"""
The fields of a submission: from the text a client sent to values of the right kind and range.  Pure: no I/O.

A field that is sent empty counts as not sent, so that an HTML form may leave its inputs blank.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from modabatchd.errors import FieldError
from modabatchd.queue.indices import Indices, parse_indices
from modabatchd.queue.job import Resources
from modabatchd.queue.words import split_words

#: Fields that carry bytes; they go to files and are not parsed here.
FILE_FIELDS: Final = ("job-bundle", "job-input", "job-parameters")

#: Names that the wrapper sets for every job.
RESERVED_ENVIRONMENT: Final = "MODACLOUDS_BATCH_"

_LONGEST_NAME: Final = 255
_LONGEST_URL: Final = 2048
#: What Linux lets one argument or variable of a program have, in bytes (MAX_ARG_STRLEN; see execve(2)).
_LONGEST_WORD: Final = 131072
_KIBI: Final[Mapping[str, int]] = MappingProxyType({"K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4})
_SECONDS: Final[Mapping[str, int]] = MappingProxyType({"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400})
_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,100}", re.ASCII)
_SIZE: Final = re.compile(r"([0-9]{1,15})(\.[0-9]{1,6})?(?: ?([KMGT])(?:i?B)?)?", re.ASCII | re.IGNORECASE)
_DURATION: Final = re.compile(r"([0-9]{1,12})([smhd]?)", re.ASCII)
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_CONTROL: Final = re.compile(r"[\x00-\x20\x7f]")


class SubmissionForm(msgspec.Struct, frozen=True, kw_only=True):
    """
    What a submission asks for, besides its files.  See L{modabatchd.queue.job.JobRequest} for the meaning of each.

    @ivar environment: variables for C{run.sh}; may hold secrets, so it is kept in the job's launch file alone.
    """

    name: str = ""
    arguments: tuple[str, ...] = ()
    environment: dict[str, str] = {}
    labels: dict[str, str] = {}
    notification: str | None = None
    resources: Resources = Resources()
    priority: int = 0
    max_retries: int = 0
    max_wall_time: int | None = None
    array: Indices | None = None


def parse_form(fields: Sequence[tuple[str, str]]) -> SubmissionForm:
    """
    Read the text fields of a submission.

    @param fields: C{(name, value)} in the order in which they came; the files are not among them.
    @raise FieldError: names the first field that is unknown, repeated, malformed or out of range.
    """
    gathered: dict[str, list[str]] = {}
    for name, value in fields:
        check_name(name)
        _refuse_nul(name, value)
        if value:
            gathered.setdefault(name, []).append(value)
    return _form({name: _read(name, values) for name, values in gathered.items()})


def check_name(name: str) -> None:
    """
    See that there is a field of this name.

    @raise FieldError: there is none; the cure suggests the one that was probably meant.
    """
    if name in _READERS or name in _PAIR_READERS or name in FILE_FIELDS:
        return
    close = difflib.get_close_matches(name.lower().replace("_", "-"), FIELDS, n=1)
    cure = f"Did you mean {close[0]!r}?" if close else f"The fields are {', '.join(FIELDS)}."
    raise FieldError(name, f"There is no field {name[:100]!r}.", cure)


def repeated(name: str) -> FieldError:
    """The error of sending a field twice that may be sent once only."""
    return FieldError(name, f"The field {name!r} is there more than once.", "Send it once.")


def _form(values: Mapping[str, Any]) -> SubmissionForm:
    resources = {field[len("request-") :]: value for field, value in values.items() if field.startswith("request-")}
    others = {_ATTRIBUTES[field]: value for field, value in values.items() if field in _ATTRIBUTES}
    return SubmissionForm(resources=Resources(**resources), **others)


def _read(name: str, values: Sequence[str]) -> Any:
    if name in _PAIR_READERS:
        return _pairs(name, values, _PAIR_READERS[name])
    if len(values) > 1:
        raise repeated(name)
    return _READERS[name](name, values[0])


def _refuse_nul(name: str, value: str) -> None:
    if "\0" in value:
        raise FieldError(name, f"The field {name!r} holds a NUL character.", "Send text without NUL.")


def _text(name: str, value: str) -> str:
    if len(value) > _LONGEST_NAME:
        raise FieldError(name, f"{name} has {len(value)} characters.", f"Use at most {_LONGEST_NAME}.")
    return value


def _words(name: str, value: str) -> tuple[str, ...]:
    try:
        words = tuple(split_words(value))
    except ValueError as problem:
        cause = f"{name} cannot be split into words: {problem}."
        raise FieldError(name, cause, "Quote the arguments as for a POSIX shell, and close every quote.") from None
    for word in words:
        _check_word(name, word)
    return words


def _check_word(name: str, word: str) -> None:
    if len(word.encode()) >= _LONGEST_WORD:
        cause = f"{name} holds {word[:20]!r}... of {len(word.encode())} bytes, more than a program can be given at once."
        raise FieldError(name, cause, "Put it into a file of the bundle, or into job-input.")


def _integer(low: int, high: int) -> Callable[[str, str], int]:
    def read(name: str, value: str) -> int:
        if not _INTEGER.fullmatch(value):
            raise FieldError(name, f"{name} is {value[:100]!r}, which is no whole number.", _between(low, high))
        return _in_range(name, value, int(value), low, high)

    return read


def _size(unit: str, low: int, high: int) -> Callable[[str, str], int]:
    """Reads a size in a unit, rounded up to whole ones; C{low} and C{high} are in that unit."""

    def read(name: str, value: str) -> int:
        match = _SIZE.fullmatch(value)
        if match is None:
            cause = f"{name} is {value[:100]!r}, which is no size."
            raise FieldError(name, cause, f"Write a number of {unit}iB, or a number with K, M, G or T: 512M, 2G.")
        whole, fraction, suffix = match.groups()
        amount = Decimal(whole + (fraction or "")) * _KIBI[(suffix or unit).upper()] / _KIBI[unit]
        return _in_range(name, value, math.ceil(amount), low, high, f" {unit}iB")

    return read


def _duration(low: int, high: int) -> Callable[[str, str], int]:
    def read(name: str, value: str) -> int:
        match = _DURATION.fullmatch(value)
        if match is None:
            cause = f"{name} is {value[:100]!r}, which is no duration."
            raise FieldError(name, cause, "Write seconds, or a number with s, m, h or d: 90s, 15m, 2h, 1d.")
        return _in_range(name, value, int(match[1]) * _SECONDS[match[2]], low, high, " seconds")

    return read


def _in_range(name: str, text: str, number: int, low: int, high: int, unit: str = "") -> int:
    if not low <= number <= high:
        raise FieldError(name, f"{name} is {text[:100]!r}, which is out of range.", _between(low, high, unit))
    return number


def _between(low: int, high: int, unit: str = "") -> str:
    return f"Send a whole number from {low} to {high}{unit}."


def read_url(name: str, value: str) -> str:
    """
    The URL in a field.

    @param name: of the field.
    @raise FieldError: nothing can be posted there.
    """
    try:
        check_url(value)
    except ValueError as problem:
        cause = f"{name} cannot be used as a URL: {problem}."
        raise FieldError(name, cause, "Send an absolute http or https URL without a user name.") from None
    return value


def check_url(value: str) -> None:
    """@raise ValueError: nothing can be posted there."""
    if len(value) > _LONGEST_URL or not value.isascii() or _CONTROL.search(value):
        raise ValueError(f"it is longer than {_LONGEST_URL}, or holds spaces or characters outside ASCII")
    parts = urlsplit(value)
    if parts.scheme.lower() not in ("http", "https"):
        raise ValueError("its scheme is neither http nor https")
    if not parts.hostname or parts.port == 0:
        raise ValueError("it names no host")
    if "@" in parts.netloc:
        raise ValueError("it holds a user name or a password")


def _indices(name: str, value: str) -> Indices:
    try:
        return parse_indices(value)
    except ValueError as problem:
        cause = f"{name} cannot be read: {problem}."
        raise FieldError(name, cause, "Write indices and ranges, separated by commas: 1-1000, 0-99:10, 1,5,7-9.") from None


def _pairs(name: str, values: Iterable[str], check: Callable[[str, str, str], None]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for text in values:
        key, equals, value = text.partition("=")
        if not equals:
            raise FieldError(name, f"{name} is {text[:100]!r}, which has no '='.", f"Send {name} as NAME=VALUE.")
        if key in pairs:
            raise FieldError(name, f"{name} gives {key[:100]!r} more than once.", "Give every name once.")
        check(name, key, value)
        pairs[key] = value
    return pairs


def check_variable(name: str, key: str, value: str) -> None:
    """
    See that a job can be given an environment variable.

    @param name: of the field.
    @raise FieldError: it cannot.
    """
    if not _VARIABLE.fullmatch(key):
        cause = f"{key[:100]!r} cannot be the name of an environment variable."
        raise FieldError(name, cause, "Use letters, digits and underscores, and no digit first.")
    if key.startswith(RESERVED_ENVIRONMENT):
        cause = f"{key[:100]!r} is a name that the service sets itself."
        raise FieldError(name, cause, f"Use a name that does not start with {RESERVED_ENVIRONMENT}.")
    _check_word(name, f"{key}={value}")


def _check_label(name: str, key: str, value: str) -> None:
    if not 0 < len(key) <= _LONGEST_NAME or len(value) > _LONGEST_NAME:
        cause = f"The label {key[:100]!r} is empty or too long."
        raise FieldError(name, cause, f"Use a key of 1 to {_LONGEST_NAME} characters and a value of at most as many.")


_READERS: Final[Mapping[str, Callable[[str, str], Any]]] = MappingProxyType(
    {
        "job-name": _text,
        "job-arguments": _words,
        "job-notification": read_url,
        "request-cpus": _integer(1, 65_536),
        "request-memory": _size("M", 1, 2**30),
        "request-disk": _size("K", 1, 2**40),
        "request-gpus": _integer(0, 1024),
        "job-priority": _integer(-1_000_000, 1_000_000),
        "max-wall-time": _duration(1, 315_360_000),
        "max-retries": _integer(0, 100),
        "job-array": _indices,
    }
)
_PAIR_READERS: Final[Mapping[str, Callable[[str, str, str], None]]] = MappingProxyType(
    {"job-environment": check_variable, "job-label": _check_label}
)
_ATTRIBUTES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "job-name": "name",
        "job-arguments": "arguments",
        "job-environment": "environment",
        "job-label": "labels",
        "job-notification": "notification",
        "job-priority": "priority",
        "max-wall-time": "max_wall_time",
        "max-retries": "max_retries",
        "job-array": "array",
    }
)

#: Every field of a submission.
FIELDS: Final = (*FILE_FIELDS, *_READERS, *_PAIR_READERS)
