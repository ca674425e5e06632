"""
HTCondor's IDTOKENs, minted here instead of asked for.  Pure: bytes and arguments in, text out.

An IDTOKEN is a JSON Web Token (HS256) whose key is derived from a I{signing key} that the verifying daemon has in its
C{SEC_PASSWORD_DIRECTORY}.  Two kinds are made.  A I{node token} is signed with a key of the pool; with it a node advertises
itself, and does nothing else.  An I{administrator's token} is signed with a key that only that node and we know; with it we
drain the node and send it off.

Note [A key per node]
=====================
A node needs a signing key of its own, or it could verify nobody who wants to drain it; the pool's key must never get there.
The node's key is derived from the pool's key and the node's name, so we need not store it, a restarted daemon still has it,
and who steals it can administer the node that it was stolen from and no other.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Sequence
from typing import Final

import msgspec

#: The signing key that every pool has.
POOL_KEY: Final = "POOL"
#: What a node may do in the pool.
NODE_SCOPES: Final = ("condor:/ADVERTISE_STARTD", "condor:/ADVERTISE_MASTER", "condor:/READ")
#: What we may do on a node.
ADMINISTRATOR_SCOPES: Final = ("condor:/ADMINISTRATOR", "condor:/READ")
#: Whom a node takes orders from, on its own domain.
ADMINISTRATOR: Final = "modabatchd"
#: A claim's time reaches back so many seconds, for clocks that differ.
_SKEW: Final = 60
_SCRAMBLE: Final = b"\xde\xad\xbe\xef"
_SALT: Final = b"htcondor"
_INFO: Final = b"master jwt"
_NODE_INFO: Final = b"modabatchd node key "


class SigningKey(msgspec.Struct, frozen=True):
    """
    A key that signs tokens.

    @ivar id: its name: that of its file in C{SEC_PASSWORD_DIRECTORY}, or C{POOL}.
    @ivar stored: what the file holds.
    """

    id: str
    stored: bytes

    def __repr__(self) -> str:
        return f"SigningKey({self.id!r}, <{len(self.stored)} bytes>)"


def mint(key: SigningKey, issuer: str, subject: str, scopes: Sequence[str], now: float, lifetime: float, serial: str) -> str:
    """
    An IDTOKEN.

    @param issuer: the C{TRUST_DOMAIN} of the daemons that are to accept it.
    @param subject: the identity C{name@domain}; the domain is their C{UID_DOMAIN}.
    @param now: seconds since the epoch.
    @param lifetime: seconds from then on for which it is good.
    @param serial: tells it from all others; goes into the claim C{jti}, by which a pool can revoke it.
    """
    claims = {
        "exp": int(now + lifetime),
        "iat": int(now) - _SKEW,
        "iss": issuer,
        "jti": serial,
        "scope": " ".join(scopes),
        "sub": subject,
    }
    signed = ".".join(_base64(msgspec.json.encode(part)) for part in ({"alg": "HS256", "kid": key.id}, claims))
    return f"{signed}.{signature(key, signed)}"


def signature(key: SigningKey, signed: str) -> str:
    """What stands behind the second dot of a token.  @param signed: what stands before it."""
    return _base64(hmac.digest(_signing_secret(key), signed.encode(), "sha256"))


def node_token(key: SigningKey, domain: str, name: str, now: float, lifetime: float, serial: str) -> str:
    """What a node shows to the pool.  @param domain: the pool's C{TRUST_DOMAIN}, which is its C{UID_DOMAIN} as well."""
    return mint(key, domain, f"{name}@{domain}", NODE_SCOPES, now, lifetime, serial)


def node_key(key: SigningKey, name: str) -> SigningKey:
    """The signing key that a node has for itself, named like it.  See Note [A key per node]."""
    return SigningKey(name, base64.b64encode(_derived(key.stored, _SALT, _NODE_INFO + name.encode())))


def administrator_token(key: SigningKey, domain: str, name: str, now: float, lifetime: float, serial: str) -> str:
    """What we show to a node when we drain it.  @param key: the pool's, from which the node's is derived."""
    return mint(node_key(key, name), domain, f"{ADMINISTRATOR}@{domain}", ADMINISTRATOR_SCOPES, now, lifetime, serial)


def _signing_secret(key: SigningKey) -> bytes:
    """What HTCondor makes of a key's file; the pool's own key counts twice, for the sake of a protocol older than tokens."""
    secret = bytes(byte ^ _SCRAMBLE[index % len(_SCRAMBLE)] for index, byte in enumerate(key.stored))
    return _derived(secret * 2 if key.id == POOL_KEY else secret, _SALT, _INFO)


def _derived(secret: bytes, salt: bytes, info: bytes) -> bytes:
    """The first 32 bytes of HKDF (RFC 5869) with SHA-256."""
    return hmac.digest(hmac.digest(salt, secret, "sha256"), info + b"\x01", "sha256")


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
