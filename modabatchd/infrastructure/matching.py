"""
Which pools could run which jobs, by their ClassAds.  Pure: it writes the ads that the matching is done with, and reads its
result.

Note [Machines that are not there yet]
======================================
A job's requirements are an expression over the ad of a machine, so for every size of a pool there is an ad of a machine that it
would be, which the process that speaks to HTCondor matches with a sample of each shape of job.

Note [Too large for all]
========================
A job that asks for more than the largest size has matches none of those ads, and neither does one that wants another
operating system.  The owner needs to know which.  So each pool has one ad more, of a machine without bounds, under a name
that no pool can have; if that is all that matches, and the job is too large for each size indeed, then the pool would do but
for the size, and planning is told so.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from modabatchd.infrastructure.bootstrap import expression, label, string
from modabatchd.infrastructure.look import DemandGroup
from modabatchd.infrastructure.node import Capacity
from modabatchd.infrastructure.policy import Policy, Pool

_UNBOUNDED: Final = "*"
_PLENTY: Final = 1 << 40
_ENOUGH: Final = Capacity(cpus=1 << 20, memory=_PLENTY, disk=_PLENTY, gpus=1 << 20)
#: What a startd asks of a job by itself.
_FITS: Final = (
    "TARGET.RequestCpus <= MY.Cpus && TARGET.RequestMemory <= MY.Memory && TARGET.RequestDisk <= MY.Disk"
    " && (TARGET.RequestGPUs ?: 0) <= MY.GPUs"
)


def offers(policy: Policy, domain: str) -> Mapping[str, Sequence[str]]:
    """
    The ads to match jobs with, as ClassAd text, by the names that L{resolved} understands.

    @param domain: the pool's.
    @raise ValueError: a requirement cannot be told to HTCondor.
    """
    found: dict[str, Sequence[str]] = {}
    for pool in policy.pools:
        found[pool.name] = machines(pool, domain)
        found[pool.name + _UNBOUNDED] = [_ad(pool, _ENOUGH, domain)]
    return found


def machines(pool: Pool, domain: str = "example.org") -> Sequence[str]:
    """The ads of a machine of each size of a pool, as ClassAd text."""
    return [_ad(pool, size.capacity, domain) for size in pool.sizes]


def resolved(groups: Iterable[DemandGroup], policy: Policy) -> tuple[DemandGroup, ...]:
    """The same groups with the names of pools.  See Note [Too large for all]."""
    return tuple(msgspec.structs.replace(group, pools=frozenset(_pools(group, policy))) for group in groups)


def _pools(group: DemandGroup, policy: Policy) -> Iterable[str]:
    for pool in policy.pools:
        too_large = not any(_holds(size.capacity, group.each) for size in pool.sizes)
        if pool.name in group.pools or (too_large and pool.name + _UNBOUNDED in group.pools):
            yield pool.name


def _holds(whole: Capacity, part: Capacity) -> bool:
    disk = not whole.disk or part.disk <= whole.disk
    return disk and part.cpus <= whole.cpus and part.memory <= whole.memory and part.gpus <= whole.gpus


def _ad(pool: Pool, capacity: Capacity, domain: str) -> str:
    name = f"modabatch-0000000000000000.{domain}"
    facts: dict[str, object] = {
        "MyType": "Machine",
        "Name": f"slot1@{name}",
        "Machine": name,
        "Cpus": capacity.cpus,
        "Memory": capacity.memory,
        "Disk": capacity.disk or _PLENTY,
        "GPUs": capacity.gpus,
        "TotalCpus": capacity.cpus,
        "TotalMemory": capacity.memory,
        "TotalDisk": capacity.disk or _PLENTY,
        "PartitionableSlot": True,
        "SlotType": "Partitionable",
        "Arch": _ARCHITECTURES.get(platform.machine(), platform.machine().upper()),
        "OpSys": "LINUX",
        "HasFileTransfer": True,
        "HasJobDeferral": True,
        "CondorVersion": "$CondorVersion: 23.9.6 2024-08-08 BuildID: 0 $",
        "FileSystemDomain": name,
        "UidDomain": domain,
        "ModabatchPool": pool.name,
    }
    told = {name: _literal(value) for name, value in facts.items()}
    told |= {label(key): string(value) for key, value in sorted(pool.labels.items())}
    lines = [f"{name} = {value}" for name, value in told.items()]
    return f"[ {'; '.join(lines)}; Requirements = ({expression(pool.requirements)}) && {_FITS} ]"


_ARCHITECTURES: Final[Mapping[str, str]] = {"x86_64": "X86_64", "amd64": "X86_64", "aarch64": "aarch64"}


def _literal(value: object) -> str:
    # A string of JSON is one of ClassAds.
    return json.dumps(value) if isinstance(value, str) else str(value).lower()
