"""What a JSON body says, as a struct."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from modabatchd.errors import FieldError
from modabatchd.rest.problems import HTTPRefusal

T = TypeVar("T", bound=msgspec.Struct)


def document(request: Any, kind: type[T]) -> T:
    """
    The body of a request.

    @param kind: says what it must hold.
    @raise HTTPRefusal: it is no JSON.
    @raise FieldError: it holds something else.
    """
    sent: bytes = b"" if request.body is None else request.body.sent()
    try:
        return msgspec.json.decode(sent, type=kind)
    except msgspec.ValidationError as problem:
        what, _, where = str(problem).partition(" - at `$")
        field = where.rstrip("`").lstrip(".")
        raise FieldError(field, f"The document does not fit: {what}.", "GET /api/spec.json tells what it may hold.") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as problem:
        cause = f"The body is not JSON: {problem}."
        raise HTTPRefusal(400, "malformed-document", cause, "Send a JSON object in UTF-8.") from None
