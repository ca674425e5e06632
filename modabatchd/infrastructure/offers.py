"""
Machines that do not exist yet, as HTCondor would see them, to be matched with the jobs that wait.  Pure.

Such a machine has what its pool's nodes will have by L{modabatchd.infrastructure.bootstrap}, and what every Linux node has.
What only a real node can know, an exact version for instance, it does not have: a job that asks for that matches none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from modabatchd.infrastructure.bootstrap import expression, label, string
from modabatchd.infrastructure.node import Capacity
from modabatchd.infrastructure.policy import Pool

#: KiB, where nobody counts the disk.
_PLENTY: Final = 2**40
_FITS: Final = "TARGET.RequestCpus <= MY.Cpus && TARGET.RequestMemory <= MY.Memory && TARGET.RequestDisk <= MY.Disk"


def offers(pools: Iterable[Pool], arch: str = "X86_64") -> Mapping[str, list[str]]:
    """
    For each pool, by its name, the ads of one machine of each size.

    @param arch: HTCondor's word for the processors.
    @raise ValueError: a requirement cannot be told to HTCondor.
    """
    return {pool.name: [_machine(pool, size.capacity, arch) for size in pool.sizes] for pool in pools}


def _machine(pool: Pool, capacity: Capacity, arch: str) -> str:
    facts = {
        "MyType": '"Machine"',
        "Name": f'"slot1@modabatch-{"0" * 16}"',
        "SlotType": '"Partitionable"',
        "PartitionableSlot": "true",
        "State": '"Unclaimed"',
        "Arch": string(arch),
        "OpSys": '"LINUX"',
        "HasFileTransfer": "true",
        # As on a node: a file system that no job shares.
        "FileSystemDomain": '"modabatch"',
        "ModabatchPool": string(pool.name),
        **{label(key): string(value) for key, value in pool.labels.items()},
        **_amounts(capacity),
        "Requirements": f"({expression(pool.requirements)}) && {_FITS} && (TARGET.RequestGPUs ?: 0) <= MY.GPUs",
    }
    return "[" + "; ".join(f"{name} = {value}" for name, value in facts.items()) + "]"


def _amounts(capacity: Capacity) -> dict[str, str]:
    has = {"Cpus": capacity.cpus, "Memory": capacity.memory, "Disk": capacity.disk or _PLENTY, "GPUs": capacity.gpus}
    return {prefix + what: f"{amount:d}" for prefix in ("", "TotalSlot", "Total") for what, amount in has.items()}
