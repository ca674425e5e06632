"""
The two encodings of a form, taken apart while they arrive.  Pure: no I/O, and no more memory than a piece needs.

A form is told as events: a L{Field} begins, bytes are pieces of its value, L{None} ends it.
"""

from __future__ import annotations

import re
from binascii import a2b_qp
from collections.abc import Iterator
from typing import Any, Final, Protocol

import msgspec
from multipart import MultipartError, PushMultipartParser, parse_options_header
from twisted.web.http_headers import Headers

from modabatchd.errors import FieldError
from modabatchd.rest.problems import HTTPRefusal

_MULTIPART: Final = "multipart/form-data"
_ENCODED: Final = "application/x-www-form-urlencoded"
_GZIP: Final = b"\x1f\x8b"
_LONGEST_NAME: Final = 1000
#: Fields of a form at the most.
MOST: Final = 1000
#: A percent sign that begins no escape, and so stands for itself.
_STRAY: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")


class Field(msgspec.Struct, frozen=True):
    """
    A field begins.

    @ivar file: whether a browser would have sent the content of a file, with the file's name.
    """

    name: str
    file: bool = False


Event = Field | bytes | None


class FormParser(Protocol):
    """Takes a form apart."""

    def feed(self, data: bytes) -> Iterator[Event]:
        """
        Go on with a piece of the form.

        @raise modabatchd.errors.ModabatchError: the form cannot be read.
        """

    def close(self) -> Iterator[Event]:
        """
        The form ends here.

        @raise modabatchd.errors.ModabatchError: it is not complete.
        """


def form_parser(headers: Headers) -> FormParser:
    """
    The parser for a request.

    @raise HTTPRefusal: the request does not say that its body is a form, or not how it is to be read.
    """
    if headers.hasHeader(b"Content-Encoding"):
        raise HTTPRefusal(415, "unsupported-content-encoding", "The body has a Content-Encoding.", "Send the form without one.")
    values = headers.getRawHeaders(b"Content-Type", [])
    media, options = parse_options_header(values[0].decode("latin-1")) if len(values) == 1 else ("", {})
    if media == _ENCODED:
        return Encoded()
    if media != _MULTIPART:
        raise HTTPRefusal(
            415,
            "unsupported-media-type",
            f"The request's Content-Type is {media[:100]!r}, which is no form."
            if media
            else "The request has no Content-Type.",
            f"Send {_MULTIPART} (curl -F) or {_ENCODED} (curl --data-urlencode).",
        )
    boundary = options.get("boundary", "")
    if not 0 < len(boundary) <= 200:
        raise _malformed("The Content-Type names no boundary, or one that cannot be used")
    return Multipart(boundary)


class Multipart:
    """A form in C{multipart/form-data}."""

    def __init__(self, boundary: str) -> None:
        # Latin-1 takes any bytes; names are decoded here and filenames do not matter.
        self._parser: Any = PushMultipartParser(boundary.encode("latin-1"), header_charset="latin-1")

    def feed(self, data: bytes) -> Iterator[Event]:
        """See L{FormParser.feed}."""
        try:
            for event in self._parser.parse(data):
                yield event if event is None or isinstance(event, bytes) else _begin(event)
        except MultipartError as problem:
            raise _malformed(str(problem)) from None

    def close(self) -> Iterator[Event]:
        """See L{FormParser.close}."""
        try:
            self._parser.close()
        except MultipartError:
            raise _malformed("It ends too early") from None
        yield from ()


class Encoded:
    """A form in C{application/x-www-form-urlencoded}."""

    def __init__(self) -> None:
        self._name = b""
        self._in_value = False
        self._held = b""
        self._ended = 0

    def feed(self, data: bytes) -> Iterator[Event]:
        """See L{FormParser.feed}."""
        if not self._ended and (self._held + data).startswith(_GZIP):
            raise _malformed("It is a gzip'ed file as it is; send it as a field, 'curl -F job-bundle=@job.tar.gz URL'")
        *ended, last = (self._held + data).split(b"&")
        self._ended += len(ended)
        if self._ended > MOST:
            raise _malformed(f"It has more than {MOST} fields, empty ones included")
        for piece in ended:
            yield from self._piece(piece)
            yield from self._end()
        # The last two bytes may be the beginning of an escape whose rest is still to come.
        opening = last.rfind(b"%", max(0, len(last) - 2))
        whole = len(last) if opening < 0 else opening
        self._held = last[whole:]
        yield from self._piece(last[:whole])

    def close(self) -> Iterator[Event]:
        """See L{FormParser.close}."""
        held, self._held = self._held, b""
        yield from self._piece(held)
        yield from self._end()

    def _piece(self, piece: bytes) -> Iterator[Event]:
        """A piece of a field, which lies within the field and cuts no escape."""
        if not self._in_value:
            name, equals, piece = piece.partition(b"=")
            self._name += name
            if len(self._name) > _LONGEST_NAME:
                raise _malformed("The name of a field is too long")
            if not equals:
                return
            yield self._begin()
        if piece:
            yield unescape(piece)

    def _begin(self) -> Field:
        self._in_value = True
        return Field(_text_name(unescape(self._name)))

    def _end(self) -> Iterator[Event]:
        if self._name and not self._in_value:
            yield self._begin()
        if self._in_value:
            yield None
        self._name, self._in_value = b"", False


def unescape(data: bytes) -> bytes:
    """Undo percent-encoding; C{+} is a blank, and a percent sign that begins no escape stays."""
    data = data.replace(b"+", b" ")
    if b"%" not in data:
        return data
    plain = _unquote(data)
    return unescape(_STRAY.sub(b"%25", data)) if plain is None else plain


def _unquote(data: bytes) -> bytes | None:
    """
    Undo escapes by the decoder of quoted-printable, the one in C whose escapes are the same but for the sign.

    @return: L{None} when there are percent signs that begin no escape; to look for them first would take ten times longer.
    """
    quoted = data.replace(b"=", b"%3D").replace(b"%", b"=")
    if (b"\n" in quoted and b"=\n" in quoted) or (b"\r" in quoted and b"=\r" in quoted):
        return None
    plain = a2b_qp(quoted)
    # Only a whole escape becomes shorter by two.
    return plain if len(quoted) - len(plain) == 2 * quoted.count(b"=") else None


def _begin(segment: Any) -> Field:
    return Field(_text_name(segment.name.encode("latin-1")), file=bool(segment.filename))


def _text_name(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        name = raw.decode("utf-8", "replace")
        raise FieldError(name, "The name of a field is not UTF-8.", "Send names and texts in UTF-8.") from None


def _malformed(what: str) -> HTTPRefusal:
    return HTTPRefusal(400, "malformed-form", f"The form cannot be read: {what}.", "Send the form as curl or a browser does.")
