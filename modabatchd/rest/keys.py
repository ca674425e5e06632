"""The Idempotency-Key of a request, and the digest of what was sent with it.  Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Final

import msgspec
from twisted.web.http_headers import Headers

from modabatchd.rest.operations import Parameter
from modabatchd.rest.problems import HTTPRefusal

HEADER: Final = "Idempotency-Key"
#: Methods whose requests may be marked by a key; the others may be repeated as they are.
METHODS: Final = ("POST", "PATCH")
_LONGEST: Final = 255
#: A string of Structured Fields (RFC 8941), as the draft has it, or what most clients send: the same without quotes.
_QUOTED: Final = re.compile(rb'"((?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"')
_BARE: Final = re.compile(rb"[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]+")
_ESCAPE: Final = re.compile(rb"\\(.)")

PARAMETER: Final = Parameter(
    name=HEADER,
    place="header",
    description="Marks a request that may be sent again: with the same key and the same content it is carried out once, and "
    "answered as it was first (with the header Idempotent-Replayed).  A UUID, for instance; kept for days.",
    schema={"type": "string", "pattern": r"^[A-Za-z0-9_.:/+=@-]{1,255}$"},
)


def key(headers: Headers) -> str | None:
    """
    The key of a request; L{None} when it has none.

    @raise HTTPRefusal: there are several, or it cannot be read.
    """
    values = headers.getRawHeaders(HEADER.encode("ascii"))
    if values is None:
        return None
    value = values[0].strip(b" \t")
    quoted = _QUOTED.fullmatch(value)
    found = _ESCAPE.sub(rb"\1", quoted[1]) if quoted else value
    if len(values) > 1 or not (quoted or _BARE.fullmatch(value)) or not 0 < len(found) <= _LONGEST:
        raise HTTPRefusal(
            400,
            "bad-key",
            f"The {HEADER} cannot be read.",
            f"Send one, of 1 to {_LONGEST} printable ASCII characters; put it into double quotes if it has blanks in it.",
        )
    return found.decode("ascii")


def of_query(query: Mapping[str, Sequence[str]], body: bytes = b"") -> bytes:
    """The digest of a request that is told by its query, and its body if there is one."""
    return _digest([sorted((name, list(values)) for name, values in query.items()), hashlib.sha256(body).hexdigest()])


def of_form(texts: Iterable[tuple[str, str]], files: Mapping[str, bytes]) -> bytes:
    """
    The digest of a form, however it was encoded.

    @param texts: names and values; only the order of those with the same name counts.
    @param files: the digests of their contents.
    """
    contents = sorted((name, digest.hex()) for name, digest in files.items())
    return _digest([sorted(texts, key=itemgetter(0)), contents])


def _digest(content: object) -> bytes:
    return hashlib.sha256(msgspec.json.encode(content)).digest()
