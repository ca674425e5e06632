"""gzip, for those who take it, where it is worth the work (RFC 9110, chapter 12.5.3).  Pure."""

from __future__ import annotations

import re
import zlib
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Final

from twisted.web.http_headers import Headers

#: Bytes from which on it is worth the work.
WORTHWHILE: Final = 1000

#: The fastest: JSON of ours is a tenth then, and hardly less with more work.
_LEVEL: Final = 1
_GZIP: Final = 16 + zlib.MAX_WBITS
_CODING: Final = re.compile(r"\s*([!#$%&'*+.^_`|~0-9a-z-]+)\s*(?:;\s*q\s*=\s*([01](?:\.[0-9]{0,3})?))?\s*", re.IGNORECASE)


def wants_gzip(headers: Headers) -> bool:
    """Whether a request takes gzip."""
    weights: dict[str, float] = {}
    for values in headers.getRawHeaders("Accept-Encoding", []):
        for match in filter(None, map(_CODING.fullmatch, values.split(","))):
            weights[match[1].lower()] = float(match[2] or 1)
    return weights.get("gzip", weights.get("x-gzip", weights.get("*", 0.0))) > 0


def gzipped(body: bytes) -> bytes:
    """A whole body."""
    return zlib.compress(body, _LEVEL, _GZIP)


async def zipped(pieces: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """A body that comes in pieces."""
    packing = zlib.compressobj(_LEVEL, wbits=_GZIP)
    async for piece in pieces:
        yield packing.compress(piece)
    yield packing.flush()
