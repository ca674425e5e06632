"""Logs of jobs in the Standard Workload Format.  Pure: the lines are an argument."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import msgspec

_FIELDS: Final = 18
_START: Final = re.compile(r"\s*;\s*UnixStartTime:\s*([0-9]{1,10})\b")
_ARRIVAL, _RUN, _USED, _ASKED = 1, 3, 4, 7


class LogProblem(ValueError):
    """A line is not what it should be.  @ivar line: its number."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(problem)
        self.line = line


class Job(msgspec.Struct, frozen=True):
    """@ivar arrives, runs: seconds.  @ivar cpus: cores."""

    arrives: float
    runs: float
    cpus: int


class Log(msgspec.Struct, frozen=True):
    """
    The jobs of a log that did run, in the order of their arrival, the first of them at 0.

    @ivar begins: when that was, in seconds since the epoch; L{None} if nobody knows.
    """

    jobs: list[Job]
    begins: float | None = None


def begun(jobs: Iterable[Job], zero: float | None) -> Log:
    """
    A log of these jobs.

    @param zero: the second that they count from, in seconds since the epoch.
    """
    ordered = sorted(jobs, key=lambda job: job.arrives)
    start = ordered[0].arrives if ordered else 0.0
    return Log([Job(job.arrives - start, job.runs, job.cpus) for job in ordered], None if zero is None else zero + start)


def read_swf(lines: Iterable[str]) -> Log:
    """
    A log in the Standard Workload Format.

    @raise LogProblem: a line is not of it.
    """
    comments: list[str] = []
    jobs = [*_jobs(lines, comments)]
    told = next((match for comment in comments if (match := _START.match(comment))), None)
    return begun(jobs, float(told[1]) if told else None)


def _jobs(lines: Iterable[str], comments: list[str]) -> Iterator[Job]:
    for number, line in enumerate(lines, 1):
        if line.lstrip().startswith(";"):
            comments.append(line)
        elif line.strip():
            job = _job(number, line.split())
            if job.runs > 0 and job.cpus > 0:
                yield job


def _job(number: int, fields: Sequence[str]) -> Job:
    if len(fields) != _FIELDS:
        raise LogProblem(number, f"{len(fields)} fields, where the Standard Workload Format has {_FIELDS}")
    try:
        arrives, runs, used, asked = (float(fields[index]) for index in (_ARRIVAL, _RUN, _USED, _ASKED))
    except ValueError as problem:
        raise LogProblem(number, str(problem)) from None
    return Job(arrives, runs, int(used if used > 0 else asked))


def split(jobs: Iterable[Job], cores: int) -> list[Job]:
    """
    Jobs that no machine could run, as several that one can.

    The logs are of parallel machines, whose jobs span many nodes; those of a batch queue do not.  So a job of 20 cores
    becomes, for machines of 8, two of 8 and one of 4, all of which arrive and run as it did: the work is the same.
    """
    parts = []
    for job in jobs:
        full, rest = divmod(job.cpus, cores)
        parts += [Job(job.arrives, job.runs, cores)] * full
        if rest:
            parts.append(Job(job.arrives, job.runs, rest))
    return parts


def work(jobs: Iterable[Job]) -> float:
    """Core seconds."""
    return sum(job.runs * job.cpus for job in jobs)
