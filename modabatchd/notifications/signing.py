"""Signatures of messages, after Standard Webhooks 1.0: HMAC-SHA256 over id, time and body.  Pure."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable, Iterable
from typing import Final

_PREFIX: Final = "whsec_"
#: Bytes of a secret; the specification wants 24 to 64.
_SHORTEST: Final = 24
_LONGEST: Final = 64
_NEW: Final = 32


def new_secret(random: Callable[[int], bytes]) -> str:
    """@param random: gives so many random bytes, that nobody can guess."""
    return _PREFIX + base64.b64encode(random(_NEW)).decode("ascii")


def key(secret: str) -> bytes:
    """
    The key in a secret.

    @raise ValueError: it is none.
    """
    try:
        found = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except ValueError:
        found = b""
    if not secret.startswith(_PREFIX) or not _SHORTEST <= len(found) <= _LONGEST:
        raise ValueError(f"a secret is {_PREFIX} and the base64 of {_SHORTEST} to {_LONGEST} bytes")
    return found


def signature(secrets: Iterable[str], id: str, timestamp: int, body: bytes) -> str:
    """
    The value of C{webhook-signature}: one signature by each secret, so that a receiver may know any of them.

    @param id: as in C{webhook-id}.
    @param timestamp: as in C{webhook-timestamp}.
    """
    content = f"{id}.{timestamp}.".encode() + body
    digests = (hmac.digest(key(secret), content, hashlib.sha256) for secret in secrets)
    return " ".join(f"v1,{base64.b64encode(digest).decode('ascii')}" for digest in digests)
