"""HTCondor's own C{condor_submit}, one process for each job, as a script in front of HTCondor would use it."""

from __future__ import annotations

import os
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from modabatchd.queue.htcondor import classads
from modabatchd.queue.job import JobRequest, Resources

_PATIENCE: Final = 600.0


def description(job_id: str, instance: str, wrapper: Path, directory: Path, cpus: int) -> str:
    """The submit description of the very job that modabatchd would make."""
    request = JobRequest(id=job_id, submitted=0.0, resources=Resources(cpus=cpus))
    group = classads.group([(request, directory)], instance, wrapper, False)
    lines = [f"{name} = {value}" for name, value in group.rows[0].items()]
    lines += [f"{name} = {value}" for name, value in group.description.items()]
    return "\n".join([*lines, "queue", ""])


def rate(files: list[Path], at_once: int) -> float:
    """Submit each description.  @return: how many a second."""
    start = time.monotonic()
    with ThreadPoolExecutor(at_once) as threads:
        list(threads.map(_submit, files))
    return len(files) / (time.monotonic() - start)


def tool(name: str, *arguments: str) -> str:
    """Run one of HTCondor's tools on the pool.  @return: what it printed."""
    ran = subprocess.run(
        [os.environ["MODABATCH_TEST_CONDOR"], name, *arguments], check=True, capture_output=True, text=True, timeout=_PATIENCE
    )
    return ran.stdout


def _submit(path: Path) -> None:
    tool("condor_submit", "-terse", str(path))
