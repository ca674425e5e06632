"""Bodies that are short enough to be kept in memory: JSON, or a form with the same fields."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec
from zope.interface import implementer

from modabatchd.errors import FieldError, TooLarge
from modabatchd.rest.forms import Field, FormParser, form_parser
from modabatchd.rest.front import Head
from modabatchd.rest.interfaces import IBody, IFlow
from modabatchd.rest.operations import JSON
from modabatchd.rest.problems import HTTPRefusal

_LONGEST: Final = 1 << 20


@implementer(IBody)
class ShortBody:
    """Keeps a body until the request is served."""

    def __init__(self, head: Head, forms: bool = True) -> None:
        """
        @param forms: whether it may be a form.
        @raise HTTPRefusal: the body will be neither JSON nor a form.
        """
        is_json = _is_json(head)
        if not (is_json or forms):
            raise HTTPRefusal(415, "unsupported-media-type", "The body is no JSON.", f"Send {JSON}, with this Content-Type.")
        self._parser = None if is_json else form_parser(head.headers)
        self._data = bytearray()

    def begin(self, flow: IFlow) -> None:
        """See L{IBody.begin}."""

    def write(self, data: bytes) -> None:
        """See L{IBody.write}."""
        if len(self._data) + len(data) > _LONGEST:
            raise TooLarge(f"The body is longer than {_LONGEST} bytes.", "Ask for less at once.")
        self._data += data

    def end(self) -> None:
        """See L{IBody.end}."""

    def abort(self) -> None:
        """See L{IBody.abort}."""

    def sent(self) -> bytes:
        """The body as it was sent."""
        return bytes(self._data)

    def fields(self, kind: type[msgspec.Struct]) -> Mapping[str, list[str]]:
        """
        The fields of the body as text, like those of a query.

        @param kind: what the body is, if it is JSON: text, numbers, booleans, and lists of text.
        @raise modabatchd.errors.ModabatchError: it is not.
        """
        if self._parser is not None:
            return _of_form(self._parser, bytes(self._data))
        try:
            asked = msgspec.json.decode(self._data, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError) as problem:
            where = str(problem).rpartition("$.")[2].strip("`").partition("[")[0] if "$." in str(problem) else "body"
            raise FieldError(where, f"The body cannot be read: {problem}.", "See the schema in /api/spec.html.") from None
        return {
            name: list(_texts(value)) for name, value in msgspec.structs.asdict(asked).items() if value not in (None, [], False)
        }


def _is_json(head: Head) -> bool:
    values = head.headers.getRawHeaders(b"Content-Type", [])
    if not values:
        raise HTTPRefusal(415, "unsupported-media-type", "The request has no Content-Type.", f"Send {JSON}, or a form.")
    return values[0].partition(b";")[0].strip().lower() == JSON.encode("ascii")


def _texts(value: object) -> Iterable[str]:
    values = value if isinstance(value, list) else [value]
    return ("true" if each is True else str(each) for each in values)


def _of_form(parser: FormParser, data: bytes) -> Mapping[str, list[str]]:
    fields: dict[str, list[str]] = {}
    name, text = "", bytearray()
    for event in (*parser.feed(data), *parser.close()):
        if isinstance(event, Field):
            name, text = event.name, bytearray()
        elif event is None:
            fields.setdefault(name, []).append(_decoded(name, text))
        else:
            text += event
    return fields


def _decoded(name: str, raw: bytearray) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise FieldError(name, f"The field {name!r} is not UTF-8.", "Send names and texts in UTF-8.") from None
