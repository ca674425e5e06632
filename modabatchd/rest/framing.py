"""What a request must look like, so that nobody can take it for another one.  Pure."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote_to_bytes

from modabatchd.errors import TooLarge
from modabatchd.rest.front import Head
from modabatchd.rest.problems import HTTPRefusal

_ABSOLUTE: Final = re.compile(rb"https?://(?P<authority>[^/?#]+)(?P<path>/.*)?", re.IGNORECASE | re.DOTALL)

#: Bytes of a body that nobody asked for and that are read all the same, so that the connection can be used on.
UNWANTED: Final = 1 << 16


def check_framing(head: Head, version: bytes) -> None:
    """
    See that there is one way only to read the request, for us and for any proxy before us.

    @raise HTTPRefusal: there are several.
    """
    if not head.path.startswith(b"/") or not _is_text(unquote_to_bytes(head.path)):
        raise malformed("The request's target is no path in UTF-8.", "Ask for a path that begins with a slash.")
    codings = head.headers.getRawHeaders(b"Transfer-Encoding", [])
    chunked = [coding.lower() for coding in codings] == [b"chunked"] and version == b"HTTP/1.1"
    if codings and not chunked:
        raise malformed(
            "The request's Transfer-Encoding can be understood in several ways.",
            "Send a Content-Length, or chunks over HTTP/1.1.",
        )


def _is_text(path: bytes) -> bool:
    try:
        path.decode()
    except UnicodeDecodeError:
        return False
    return True


def origin_form(target: bytes) -> tuple[bytes, bytes | None]:
    """
    A request's target as a path with its query, and the authority that it names itself, as a client of a proxy would.

    That one counts instead of the Host header (RFC 9112, 3.2.2).
    """
    match = _ABSOLUTE.fullmatch(target)
    return (target, None) if match is None else (match["path"] or b"/", match["authority"])


def check_length(length: int | None, limit: int) -> None:
    """
    See that a body is not too large, as far as its length is known.

    @raise TooLarge: it is.
    """
    if length is not None and length > limit:
        raise TooLarge(
            f"The request's body has more bytes than the {limit} that are allowed here.",
            "Send less, or have the operator raise http.max_request_size." if limit != UNWANTED else "Send no body.",
        )


def malformed(cause: str, cure: str) -> HTTPRefusal:
    """The error of a request that is not good HTTP."""
    return HTTPRefusal(400, "malformed-request", cause, cure)
