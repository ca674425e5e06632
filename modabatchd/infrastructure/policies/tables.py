"""The tables of a policy: which keys there are, how each is read, and which have to be there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from modabatchd.config.kinds import Kind, duration, flag, integer, one_of
from modabatchd.infrastructure.policies.kinds import (
    absolute_path,
    clock,
    cron,
    filled,
    idle,
    kibibytes,
    line,
    lines,
    mebibytes,
    money,
    name,
    requirement,
    texts,
    timezone,
)


class Table(msgspec.Struct, frozen=True):
    """
    A table, or each of a list of tables.

    @ivar keys: what it may hold.
    @ivar needed: what it must hold.
    """

    keys: Mapping[str, Kind]
    needed: tuple[str, ...] = ()


SCALING: Final = Table(
    {
        "objective": one_of("cost", "balanced", "latency"),
        "dry_run": flag(),
        "idle": idle(),
    }
)
LIMITS: Final = Table(
    {
        "max_nodes": integer(0),
        "max_cores": integer(0),
        "starts_per_minute": integer(1),
        "max_hourly_cost": money(),
        "monthly_budget": money(),
    },
    needed=("max_nodes",),
)
POOL: Final = Table(
    {
        "name": name(),
        "driver": filled(),
        "zones": lines(),
        "image": line(),
        "min_nodes": integer(0),
        "max_nodes": integer(0),
        "max_cores": integer(0),
        "boot_timeout": duration(above_zero=True),
        "drain_timeout": duration(above_zero=True),
        "lease": duration(above_zero=True),
        "max_lifetime": duration(above_zero=True),
        "spot": one_of("never", "preferred", "only"),
        "billing_quantum": duration(),
        "requirements": requirement(),
        "labels": texts(),
        "options": texts(),
        "account": texts(),
        "credentials": absolute_path(),
    },
    needed=("name", "driver", "sizes"),
)
SIZE: Final = Table(
    {
        "name": filled(),
        "cpus": integer(1),
        "memory": mebibytes(),
        "disk": kibibytes(),
        "gpus": integer(0),
        "price": money(),
        "spot_price": money(),
    },
    needed=("name", "cpus", "memory", "price"),
)
SCHEDULE: Final = Table(
    {
        "cron": cron(),
        "until": clock(),
        "min_nodes": integer(1),
        "pool": name(),
        "timezone": timezone(),
    },
    needed=("cron", "until", "min_nodes"),
)
