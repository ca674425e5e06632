"""
HTCondor's own library in a bare process: one C{Schedd.submit} after the other, without HTTP, and with nothing to remember.

C{python -m benchmarks.peers.schedd_submit} reads a L{Work} from its standard input, and prints how many jobs a second that was.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from modabatchd.queue.htcondor import classads
from modabatchd.queue.htcondor.environment import Access, child_environment
from modabatchd.queue.indices import Indices, Stride
from modabatchd.queue.job import JobRequest, Resources

_PATIENCE: Final = 600.0
#: Jobs of one submission at the most: more would keep the scheduler from all else for too long.
_ROWS: Final = 1000


class Work(msgspec.Struct, frozen=True):
    """
    Jobs to submit.

    @ivar jobs: the id of each, and its directory.
    @ivar mark: takes the place of our installation's UUID in their ads.
    @ivar together: whether as many as possible go as one submission.
    @ivar tasks: if there are any, each job is an array of so many, which goes as one submission.
    """

    jobs: list[tuple[str, str]]
    mark: str
    wrapper: str
    cpus: int
    together: bool = False
    tasks: int = 0


def rate(work: Work, pool: Mapping[str, str]) -> float:
    """
    Submit jobs in a process of its own.

    @param pool: what L{benchmarks.programs.pool} tells.
    @return: how many jobs, or tasks, a second, without the time to start the process and to find the scheduler.
    """
    told = {name.rpartition("__")[2]: value for name, value in pool.items()}
    access = Access(
        collector=told["COLLECTOR"],
        schedd=told["SCHEDD"],
        token_directory=Path(told["TOKEN_DIRECTORY"]),
        config_file=Path(told["CONFIG_FILE"]),
    )
    ran = subprocess.run(
        [sys.executable, "-m", __name__],
        env=child_environment(os.environ, access),
        input=msgspec.json.encode(work),
        stdout=subprocess.PIPE,
        check=True,
        timeout=_PATIENCE,
    )
    return float(ran.stdout)


def main() -> None:
    """Do what the module's text says."""
    import htcondor2  # Not in the process that measures.

    work = msgspec.json.decode(sys.stdin.buffer.read(), type=Work)
    groups = list(_groups(work))
    name = os.environ["_CONDOR_SCHEDD_HOST"]
    [location] = htcondor2.Collector().query(htcondor2.AdType.Schedd, f'Name == "{name}"')
    schedd = htcondor2.Schedd(location)
    start = time.monotonic()
    for group in groups:
        schedd.submit(htcondor2.Submit(group.description), itemdata=iter(group.rows))
    print(sum(len(group.rows) for group in groups) / (time.monotonic() - start))


def _groups(work: Work) -> list[classads.Group]:
    resources = Resources(cpus=work.cpus)
    jobs = [(JobRequest(id=job_id, submitted=0.0, resources=resources), Path(directory)) for job_id, directory in work.jobs]
    if work.tasks:
        indices, wrapper = Indices((Stride(1, work.tasks),)), Path(work.wrapper)
        return [classads.array(request, indices, directory, work.mark, wrapper, False) for request, directory in jobs]
    size = _ROWS if work.together else 1
    pieces = (jobs[start : start + size] for start in range(0, len(jobs), size))
    return [classads.group(piece, work.mark, Path(work.wrapper), False) for piece in pieces]


if __name__ == "__main__":
    main()
