"""
Clouds for the pools of a policy: the only place that knows which driver is which.

Note [Secrets of an account]
============================
They are in a TOML file of their own, C{key} and C{secret}, which the policy names.  A file that others can read is refused.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from modabatchd.infrastructure.errors import CloudRefused
from modabatchd.infrastructure.libcloud import Account, driver_factory
from modabatchd.infrastructure.local import LocalNodeDriver
from modabatchd.infrastructure.policy import Policy, Pool
from modabatchd.infrastructure.remote import RemoteCloud

_LOCAL: Final = "local"
_FORBIDDEN: Final = stat.S_IRWXG | stat.S_IRWXO


class Credentials(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the file holds.  See Note [Secrets of an account]."""

    key: str
    secret: str = ""


def clouds(reactor: Any, policy: Policy, installation: str, directory: Path) -> tuple[dict[str, RemoteCloud], dict[str, str]]:
    """
    The cloud of each pool, and the pools that have none, each with the reason.

    @param reactor: see L{RemoteCloud}.
    @param installation: our UUID.
    @param directory: where nodes of the local provider live.
    """
    made: dict[str, RemoteCloud] = {}
    broken: dict[str, str] = {}
    for pool in policy.pools:
        try:
            made[pool.name] = RemoteCloud(reactor, pool.name, installation, pool.driver, _maker(pool, directory))
        except CloudRefused as problem:
            broken[pool.name] = f"{problem.cause} {problem.cure}"
    return made, broken


def driver_maker(pool: Pool) -> Callable[[], Any]:
    """
    Makes drivers of a remote provider with a pool's account.

    @raise CloudRefused: the driver cannot be used, or the credentials cannot be read.
    """
    secrets = Credentials("") if pool.credentials is None else _credentials(pool.credentials)
    account = Account(provider=pool.driver, key=secrets.key, secret=secrets.secret, arguments=pool.account)
    return driver_factory(account)


def _maker(pool: Pool, directory: Path) -> Callable[[], Any]:
    return _local(pool, directory / pool.name) if pool.driver == _LOCAL else driver_maker(pool)


def _local(pool: Pool, directory: Path) -> Callable[[], LocalNodeDriver]:
    sizes = {size.id: size.capacity for size in pool.sizes}
    delay = _seconds(pool.account)
    master = pool.account.get("master")
    return lambda: LocalNodeDriver(directory, sizes, Path(master) if master else None, boot_delay=delay)


def _seconds(account: Mapping[str, str]) -> float:
    text = account.get("boot_delay", "0")
    try:
        return float(text)
    except ValueError:
        raise CloudRefused(f"boot_delay is {text!r}, which is no number of seconds.", "Correct the pool's account.") from None


def _credentials(path: Path) -> Credentials:
    cure = "See the pool's credentials in conf/policies/complete.toml."
    try:
        if path.stat().st_mode & _FORBIDDEN:
            raise CloudRefused(f"{path} can be read by others than its owner.", f"Run chmod 600 {path}.")
        return msgspec.toml.decode(path.read_bytes(), type=Credentials)
    except OSError as problem:
        raise CloudRefused(f"{path} cannot be read: {problem.strerror}.", cure) from None
    except msgspec.DecodeError:
        # What it says may be a secret.
        raise CloudRefused(f"{path} is not TOML with a key and perhaps a secret.", cure) from None
