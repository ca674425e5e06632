"""
Versions of answers, so that whoever has the same already is not sent it again (RFC 9110, chapter 13).  Pure.

Note [Tags]
===========
An entity tag is the version that the store gives (L{modabatchd.store.interfaces.IStore.version}), for one URL.  It is a strong
one, so the gzip'ed body has another than the plain body; both stand for the same version.
"""

from __future__ import annotations

import re
from typing import Any, Final

from msgspec.structs import replace
from twisted.web.http_headers import Headers

from modabatchd.rest.operations import Answer, Parameter

IF_NONE_MATCH: Final = Parameter(
    name="If-None-Match",
    place="header",
    description="ETags of what is there already; if nothing has changed since, nothing is sent.",
    schema={"type": "string"},
)

#: The answer to whoever has it already.
UNCHANGED: Final = Answer(b"", 304, headers={"Cache-Control": "private, no-cache"})

_TAG: Final = re.compile(r'(?:W/)?("[^"]*")')
_GZIP: Final = "-gzip"


def is_conditional(request: Any) -> bool:
    """Whether a request says what its client has already."""
    return bool(request.requestHeaders.hasHeader("If-None-Match"))


def has_version(request: Any, version: str | None) -> bool:
    """Whether a request says that its client has this version of the answer."""
    headers: Headers = request.requestHeaders
    if version is None or not (values := headers.getRawHeaders("If-None-Match")):
        return False
    wanted = f'"{version}"'
    for tag in _TAG.findall(",".join(values)):
        if tag in (wanted, coded(wanted)):
            request.setHeader(b"ETag", tag.encode("latin-1"))
            request.setHeader(b"Vary", b"Accept-Encoding")
            return True
    return False


def with_version(answer: Answer, before: str | None, after: str | None) -> Answer:
    """
    An answer with its tag, if there is one.

    @param before: the version before the reading.
    @param after: and after it.
    """
    if before is None or before != after:
        return answer
    return replace(answer, headers={**answer.headers, "ETag": f'"{before}"', "Cache-Control": "private, no-cache"})


def coded(tag: str) -> str:
    """The tag of the gzip'ed body.  See Note [Tags]."""
    return f'{tag[:-1]}{_GZIP}"'
