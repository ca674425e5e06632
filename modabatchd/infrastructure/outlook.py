"""
Whether a job that comes now could ever run, by what is remembered.  Pure.

Note [Only what is certain]
===========================
A job is taken in without waiting for HTCondor, so its requirements are not matched here with those of the pools: what counts
is its size alone.  So whoever is warned is warned with reason, and whoever is not may still learn later, by the analysis of
his job, that no pool accepts it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from modabatchd.infrastructure.look import Presence
from modabatchd.infrastructure.node import Capacity
from modabatchd.infrastructure.planning.choices import choices
from modabatchd.infrastructure.planning.fitting import why_never
from modabatchd.infrastructure.planning.packing import asked, holds, offered
from modabatchd.infrastructure.policy import Policy

#: HTCondor rounds what is asked for up to these: MiB, KiB.
_MEMORY_GRAIN: Final = 128
_DISK_GRAIN: Final = 1024


def warning(wanted: Capacity, policy: Policy, turned_out: Mapping[str, Capacity], presences: Iterable[Presence]) -> str | None:
    """
    A sentence for the owner of a job that no node there is could run, nor any that could be started; L{None} if one could.

    @param wanted: what the job asks for, as its owner wrote it.
    @param turned_out: what nodes really had, by pool and size, where that was seen.
    @param presences: the nodes that were seen last, ours and all others.
    """
    each = asked(rounded(wanted))
    if any(holds(offered(node.total, node.total), each) for node in presences):
        return None
    reason = why_never(each, choices(policy, turned_out), policy)
    return f"No pool can ever run this: {reason}." if reason else None


def rounded(wanted: Capacity) -> Capacity:
    """What HTCondor makes of what a job asks for."""
    memory, disk = -(-wanted.memory // _MEMORY_GRAIN) * _MEMORY_GRAIN, -(-wanted.disk // _DISK_GRAIN) * _DISK_GRAIN
    return Capacity(cpus=max(1, wanted.cpus), memory=memory, disk=disk, gpus=wanted.gpus)
