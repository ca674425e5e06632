"""Jobs that wait in the scheduler's queue and will never run, so that it is as long as it is to be."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from uuid import uuid4

from benchmarks.peers import condor_submit, schedd_submit
from benchmarks.programs import pool

_REMOVAL: Final = 600.0


def fill(directory: Path, mark: str, wrapper: Path, cpus: int, length: int) -> None:
    """
    Submit as many jobs as the queue lacks, all with the same files.

    @param mark: takes the place of an installation's UUID, so that they can be removed by it.
    """
    directory.mkdir(mode=0o700)
    for name in ("bundle.tar.gz", "launch.sh"):
        (directory / name).write_bytes(b"")
    missing = length - len(condor_submit.tool("condor_q", "-allusers", "-af", "ClusterId").split())
    jobs = [(str(uuid4()), str(directory)) for _ in range(missing)]
    schedd_submit.rate(schedd_submit.Work(jobs, mark, str(wrapper), cpus, together=True), pool())


def remove(marks: Sequence[str]) -> None:
    """Take the jobs of installations out of the queue, where they would wait to be acknowledged."""
    constraint = " || ".join(f'ModabatchInstance == "{mark}"' for mark in marks)
    if not _left(constraint):
        return
    condor_submit.tool("condor_qedit", "-constraint", constraint, "ModabatchAcknowledged", "true")
    condor_submit.tool("condor_rm", "-constraint", constraint)
    until = time.monotonic() + _REMOVAL
    # The scheduler writes to the directories of the jobs until they are gone.
    while _left(constraint) and time.monotonic() < until:
        time.sleep(0.5)


def _left(constraint: str) -> int:
    return len(condor_submit.tool("condor_q", "-allusers", "-constraint", constraint, "-af", "ClusterId").split())
