"""Where the daemon may listen as long as it has no authentication.  Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import IPv6Address, ip_address
from typing import Final

_PORT: Final = re.compile(r"[0-9]{1,5}", re.ASCII)
_TCP_OPTIONS: Final = frozenset({"port", "interface", "backlog"})
_UNIX_OPTIONS: Final = frozenset({"address", "mode", "backlog", "lockfile"})


def listener(text: str) -> str:
    """
    Turn what the owner wrote into a Twisted endpoint description: a bare port means that port on loopback.

    @raise ValueError: with a sentence, when it cannot be one, or when others than this machine could reach it.
    """
    description = f"tcp:{text}:interface=127.0.0.1" if _PORT.fullmatch(text) else text
    refuse_open_listener(description)
    return description


def refuse_open_listener(description: str) -> None:
    """
    Check that only this machine can reach a Twisted endpoint.

    @raise ValueError: with a sentence, when others can, or when that cannot be told.
    """
    kind, given = options(description)
    if kind in ("tcp", "tcp6"):
        _check_tcp(description, given)
    elif kind == "unix":
        _check(description, given, _UNIX_OPTIONS, "address")
    else:
        raise ValueError(f"{description!r} is neither a tcp port on loopback nor a unix socket")


def address(description: str) -> str:
    """A Twisted endpoint as people write it: a URL, or the description itself."""
    kind, given = options(description)
    if kind not in ("tcp", "tcp6"):
        return description
    interface = given["interface"]
    return f"http://{f'[{interface}]' if ':' in interface else interface}:{given['port']}"


def _check_tcp(description: str, options: Mapping[str, str]) -> None:
    _check(description, options, _TCP_OPTIONS, "port")
    port, interface = options["port"], options.get("interface", "")
    if not _PORT.fullmatch(port) or int(port) > 65535:
        raise ValueError(f"{port!r} is not a port")
    if not _loopback(interface):
        where = f"at {interface!r}" if interface else "at every address of this machine"
        raise ValueError(f"{description!r} listens {where}, where others than this machine can reach it without a password")


def _check(description: str, options: Mapping[str, str], known: frozenset[str], needed: str) -> None:
    """Refuse what Twisted would refuse, and what we do not know the meaning of."""
    strange = sorted(options.keys() - known)
    if strange:
        raise ValueError(f"{description!r} has an unknown option {strange[0]!r}")
    if not options.get(needed):
        raise ValueError(f"{description!r} names no {needed}")


def _loopback(interface: str) -> bool:
    """Whether this is the literal of a loopback address; a name could resolve to anything."""
    try:
        address = ip_address(interface)
    except ValueError:
        return False
    return address == IPv6Address("::1") or (address.version == 4 and address.is_loopback)


def options(description: str) -> tuple[str, Mapping[str, str]]:
    """The kind of a Twisted endpoint and its options; only the first of them may lack its name in the description."""
    (_, kind), *parts = _parts(description)
    if parts and parts[0][0] is None:
        parts[0] = ("address" if kind == "unix" else "port", parts[0][1])
    return kind, {value if name is None else name: value for name, value in parts}


def _parts(description: str) -> list[tuple[str | None, str]]:
    """Take a description apart as Twisted does: at colons, and each part at its first equals sign; a backslash escapes."""
    parts: list[tuple[str | None, str]] = []
    name, current = None, ""
    characters = iter(description)
    for character in characters:
        if character == "\\":
            current += next(characters, "\\")
        elif character == "=" and name is None:
            name, current = current, ""
        elif character == ":":
            parts.append((name, current))
            name, current = None, ""
        else:
            current += character
    return [*parts, (name, current)]
