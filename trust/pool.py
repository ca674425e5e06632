"""The real pool, as its administrator sees it, and as it breaks."""

from __future__ import annotations

import os
import subprocess
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

_PATIENCE: Final = 120.0


def tool(name: str, *arguments: str) -> str:
    """Run one of HTCondor's tools; again, as long as the scheduler is away.  @return: what it printed."""
    until = time.monotonic() + _PATIENCE
    while True:
        ran = subprocess.run(
            [os.environ["MODABATCH_TEST_CONDOR"], name, *arguments], capture_output=True, text=True, check=False
        )
        if ran.returncode == 0:
            return ran.stdout
        if time.monotonic() > until:
            raise RuntimeError(f"{name}: {ran.stderr}")
        time.sleep(0.5)


def clusters(instance: str) -> Mapping[str, set[int]]:
    """The numbers of an installation's jobs in the scheduler's queue and history, by their ids."""
    found: defaultdict[str, set[int]] = defaultdict(set)
    for job_id, cluster in _told(instance, "ClusterId"):
        found[job_id].add(int(cluster))
    return found


def starts(instance: str) -> Mapping[str, int]:
    """How often each of an installation's jobs was started on a node, by their ids."""
    return {job_id: int(count) for job_id, count in _told(instance, "NumJobStarts") if count.isdigit()}


def remove(instance: str) -> None:
    """Take an installation's jobs out of the queue, where they would wait to be acknowledged."""
    constraint = f'ModabatchInstance == "{instance}"'
    if left := _left(constraint):
        tool("condor_qedit", "-constraint", constraint, "ModabatchAcknowledged", "true")
        tool("condor_rm", "-constraint", constraint)
    until = time.monotonic() + _PATIENCE
    # The scheduler writes to the directories of the jobs until they are gone.
    while left and time.monotonic() < until:
        time.sleep(0.5)
        left = _left(constraint)


def scheduler() -> int | None:
    """The process of the pool's scheduler, if there is one at the moment."""
    found = processes("condor_schedd", os.environ["MODABATCH_TEST_COLLECTOR"])
    return found[0] if found else None


def processes(trait: str, also: str) -> list[int]:
    """Processes whose command line holds one text, and it or their environment another."""
    return [
        pid for pid in _everybody() if trait in _file(pid, "cmdline") and also in _file(pid, "cmdline") + _file(pid, "environ")
    ]


def children(pid: int) -> list[int]:
    """The child processes of a process."""
    return [child for child in _everybody() if _file(child, "stat").rpartition(")")[2].split()[1:2] == [str(pid)]]


def _told(instance: str, attribute: str) -> Iterator[list[str]]:
    """The ids of an installation's jobs in the scheduler's queue and history, each with an attribute."""
    for place in (("condor_q", "-allusers"), ("condor_history",)):
        told = tool(*place, "-constraint", f'ModabatchInstance == "{instance}"', "-af", "ModabatchJobId", attribute)
        yield from map(str.split, told.splitlines())


def _left(constraint: str) -> int:
    return len(tool("condor_q", "-allusers", "-constraint", constraint, "-af", "ClusterId").split())


def _everybody() -> list[int]:
    return [int(process.name) for process in Path("/proc").glob("[0-9]*")]


def _file(pid: int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes().decode(errors="replace")
    except OSError:
        return ""
