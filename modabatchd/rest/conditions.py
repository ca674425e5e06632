"""Which part of a file a request wants, and whether it wants it at all (RFC 9110, chapters 13 and 14).  Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from email.utils import formatdate, parsedate_to_datetime
from typing import Final

import msgspec
from twisted.web.http_headers import Headers

from modabatchd.rest.problems import HTTPRefusal

_RANGE: Final = re.compile(r"bytes=[ \t]*([0-9]{0,18})-([0-9]{0,18})[ \t]*", re.ASCII | re.IGNORECASE)
_STRONG: Final = re.compile(r'(?<!W/)("[^"]*")')
_TAG: Final = re.compile(r'(?:W/)?("[^"]*")')


class Version(msgspec.Struct, frozen=True):
    """
    A file that changes no more.

    @ivar tag: a strong entity tag, with its quotes.
    @ivar modified: seconds since the epoch.
    """

    tag: str
    modified: int

    @property
    def date(self) -> str:
        """When it was modified, as HTTP writes it."""
        return formatdate(self.modified, usegmt=True)


class Part(msgspec.Struct, frozen=True):
    """
    What is to be sent of a file.

    @ivar status: 200, 206, or 304 with nothing at all.
    """

    status: int
    start: int
    length: int


def choose(headers: Headers, size: int, version: Version | None) -> Part:
    """
    Choose what a request gets of a file.

    @param size: bytes of the file.
    @param version: L{None} when the file may still change, so that nothing a client has of it can be relied on.
    @raise HTTPRefusal: the range lies outside of the file, or the file is not the one that the client wants a part of.
    """
    _check_wanted(headers, version)
    if version is not None and _has_it(headers, version):
        return Part(304, 0, 0)
    wanted = _range(headers)
    if wanted is None or not _still_the_same(headers, version):
        return Part(200, 0, size)
    return _within(wanted, size)


def _check_wanted(headers: Headers, version: Version | None) -> None:
    tags = headers.getRawHeaders("If-Match")
    since = _time(headers.getRawHeaders("If-Unmodified-Since", []))
    if tags is not None:
        fits = "*" in tags or (version is not None and version.tag in _STRONG.findall(",".join(tags)))
    else:
        fits = since is None or (version is not None and version.modified <= since)
    if not fits:
        raise HTTPRefusal(412, "changed", "The file is another one than the request wants.", "Fetch the whole file anew.")


def _has_it(headers: Headers, version: Version) -> bool:
    tags = headers.getRawHeaders("If-None-Match")
    if tags is not None:
        return "*" in tags or version.tag in _TAG.findall(",".join(tags))
    since = _time(headers.getRawHeaders("If-Modified-Since", []))
    return since is not None and version.modified <= since


def _still_the_same(headers: Headers, version: Version | None) -> bool:
    """Whether a part of the file fits to what the client has already."""
    conditions = headers.getRawHeaders("If-Range", [])
    return not conditions or (version is not None and conditions[-1] in (version.tag, version.date))


def _range(headers: Headers) -> tuple[str, str] | None:
    """The first and the last byte that are asked for; of several ranges, and of other units, the whole file is the answer."""
    values = headers.getRawHeaders("Range", [])
    match = _RANGE.fullmatch(values[0]) if len(values) == 1 else None
    return (match[1], match[2]) if match and (match[1] or match[2]) and not _reversed(match[1], match[2]) else None


def _reversed(first: str, last: str) -> bool:
    return bool(first and last) and int(first) > int(last)


def _within(wanted: tuple[str, str], size: int) -> Part:
    first, last = wanted
    start = int(first) if first else max(0, size - int(last))
    stop = min(int(last) + 1, size) if first and last else size
    if start >= size:
        raise HTTPRefusal(
            416,
            "range-outside",
            f"The range begins at or after the end of the file, which has {size} bytes.",
            "Ask for a part that exists, or for the whole file.",
            {"Content-Range": f"bytes */{size}"},
        )
    return Part(206, start, stop - start)


def _time(values: Sequence[str]) -> float | None:
    try:
        return parsedate_to_datetime(values[-1]).timestamp() if values else None
    except (ValueError, OverflowError):
        return None
