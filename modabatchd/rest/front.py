"""
Who may ask, judged by the headers of a request.  Pure.

Note [Pages of other sites]
===========================
As long as nobody has to log in, whatever runs in the user's browser may reach the service.  Three rules keep the pages of
other sites out.  A Host that is not ours is a name that somebody points at loopback in order to be of the same origin as us
(DNS rebinding).  An Origin that is not ours is a page that asks by script or form.  And Sec-Fetch-Site, which scripts cannot
set, tells of the rest: images, frames, and links, which carry no Origin.  A link is allowed to what changes nothing, because
the page that holds it learns nothing of what it leads to.  C{same-site} is foreign: all ports of localhost are one site.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Final

import msgspec
from twisted.web.http_headers import Headers

from modabatchd.rest.problems import HTTPRefusal

#: The headers of every response, unless an operation sets its own.
RESPONSE_HEADERS: Final[Mapping[bytes, bytes]] = MappingProxyType(
    {
        b"Server": b"modabatchd",
        b"Cache-Control": b"no-store",
        b"Content-Security-Policy": b"default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox",
        b"Cross-Origin-Opener-Policy": b"same-origin",
        b"Cross-Origin-Resource-Policy": b"same-origin",
        b"Referrer-Policy": b"no-referrer",
        b"X-Content-Type-Options": b"nosniff",
        b"X-Frame-Options": b"DENY",
    }
)

_OURS: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})
_AUTHORITY: Final = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::(?P<port>[0-9]{1,5})?)?", re.ASCII | re.IGNORECASE)
_DEFAULT_PORTS: Final[Mapping[str, int]] = MappingProxyType({"http": 80, "https": 443})


class Head(msgspec.Struct, frozen=True):
    """
    A request without its body.

    @ivar path: as it was sent, without the query.
    @ivar length: bytes of the body; L{None} when it is sent in chunks.
    """

    method: bytes
    path: bytes
    headers: Headers
    length: int | None = 0


def check(head: Head, allowed_hosts: Collection[str], changes: bool) -> None:
    """
    See that a request is meant for us, and that no page of another site is behind it.  See Note [Pages of other sites].

    @param allowed_hosts: names beside those of loopback, in lower case.
    @param changes: whether the request asks for a change of anything.
    @raise HTTPRefusal: it may not ask.
    """
    name, port = _host(head)
    if name not in _OURS and name not in {_bare(allowed) for allowed in allowed_hosts}:
        raise HTTPRefusal(
            421,
            "unknown-host",
            f"This service is not known as {name[:100]!r}.",
            "Use a name of this machine's loopback, or have the operator add the name to http.allowed_hosts.",
        )
    _check_origin(head, name, port)
    _check_fetch(head, changes)


def _host(head: Head) -> tuple[str, int | None]:
    """The name and the port of the request's Host."""
    values = head.headers.getRawHeaders(b"Host", [])
    match = _AUTHORITY.fullmatch(values[0].decode("latin-1")) if len(values) == 1 else None
    if match is None:
        raise HTTPRefusal(
            400, "bad-host", "The request has no Host header, several, or an unreadable one.", "Send one: Host: NAME:PORT."
        )
    return _bare(match["name"]), int(match["port"]) if match["port"] else None


def _bare(name: str) -> str:
    return name.lower().removesuffix(".")


def _check_origin(head: Head, name: str, port: int | None) -> None:
    values = head.headers.getRawHeaders(b"Origin", [])
    for value in values:
        if len(values) > 1 or not _same_origin(value.decode("latin-1"), name, port):
            raise _cross_site(f"The request comes from a page of {value.decode('latin-1')[:100]!r}.")


def _same_origin(origin: str, name: str, port: int | None) -> bool:
    scheme, _, authority = origin.lower().partition("://")
    match = _AUTHORITY.fullmatch(authority)
    if match is None or scheme not in _DEFAULT_PORTS:
        return False
    default = _DEFAULT_PORTS[scheme]
    theirs = int(match["port"]) if match["port"] else default
    return (_bare(match["name"]), theirs) == (name, default if port is None else port)


def _check_fetch(head: Head, changes: bool) -> None:
    sites = head.headers.getRawHeaders(b"Sec-Fetch-Site", [])
    if all(site in (b"same-origin", b"none") for site in sites):
        return
    if changes or not _is_link(head):
        raise _cross_site("The request comes from a page of another site.")


def _is_link(head: Head) -> bool:
    """Whether a browser asks because its user follows a link: the answer is shown, and the page with the link sees nothing."""
    mode = head.headers.getRawHeaders(b"Sec-Fetch-Mode")
    destination = head.headers.getRawHeaders(b"Sec-Fetch-Dest")
    return head.method in (b"GET", b"HEAD") and mode == [b"navigate"] and destination == [b"document"]


def _cross_site(cause: str) -> HTTPRefusal:
    return HTTPRefusal(403, "cross-site", cause, "Ask from a page of this service, or without a browser.")
