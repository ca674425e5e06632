"""
What a daemon has recorded of its own jobs and decisions, as C{modabatch journal} writes it.  Pure: the lines are an argument.

A line is a JSON object, and its C{kind} tells which: C{recorded} (the first line), C{job}, C{decision}.  Times are seconds
since the epoch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Final

import msgspec

from modabatchd.infrastructure.journal import Written
from modabatchd.infrastructure.planning import StartNode
from modabatchd.infrastructure.policy import Policy
from modabatchd.infrastructure.replay.figures import Figures, percentile
from modabatchd.infrastructure.replay.log import Job, Log, LogProblem, begun


class Recorded(msgspec.Struct, frozen=True, tag_field="kind", tag="recorded"):
    """What was asked for.  @ivar format: counts changes of this one."""

    since: float
    until: float
    format: int = 1


class RecordedJob(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="job"):
    """
    A job that has run, or runs.

    @ivar id: its UUID.
    @ivar first: when its first run began.
    @ivar started: when its last one did.
    @ivar ended: L{None}: it runs yet.
    @ivar memory: MiB.
    """

    id: str
    submitted: float
    first: float
    started: float
    ended: float | None
    cpus: int
    memory: int
    gpus: int


class RecordedDecision(msgspec.Struct, frozen=True, tag_field="kind", tag="decision"):
    """An entry of the journal."""

    at: float
    decision: Written


Line = Recorded | RecordedJob | RecordedDecision
_DECODER: Final = msgspec.json.Decoder(Line)


class Recording(msgspec.Struct, frozen=True):
    """All of it, in the order of time."""

    about: Recorded
    jobs: tuple[RecordedJob, ...]
    decisions: tuple[RecordedDecision, ...]


def encode(line: Line) -> bytes:
    """A line, without its end."""
    return msgspec.json.encode(line)


def read_recording(lines: Iterable[str]) -> Recording:
    """
    Read one.  What stands there twice, because recordings overlap, counts once.

    @raise LogProblem: a line is none of a recording.
    """
    found = [*_read(lines)]
    heads = [line for line in found if isinstance(line, Recorded)]
    if not heads:
        raise LogProblem(1, "the line that begins a recording is missing")
    jobs = {line.id: line for line in found if isinstance(line, RecordedJob)}
    decisions = {line.at: line for line in found if isinstance(line, RecordedDecision)}
    return Recording(
        Recorded(min(head.since for head in heads), max(head.until for head in heads)),
        tuple(sorted(jobs.values(), key=lambda job: job.submitted)),
        tuple(sorted(decisions.values(), key=lambda decision: decision.at)),
    )


def _read(lines: Iterable[str]) -> Iterator[Line]:
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                yield _DECODER.decode(line)
            except msgspec.DecodeError as problem:
                raise LogProblem(number, str(problem)) from None


def to_log(recording: Recording, policy: Policy) -> Log:
    """
    The jobs, to be run again.

    A simulated node has cores and no memory.  So a job that asks for more memory than goes with its cores on the policy's
    machines counts as one of more cores: those that it keeps from others.
    """
    share = max((size.capacity.memory / size.capacity.cpus for pool in policy.pools for size in pool.sizes), default=0.0)
    return begun((_job(job, share, recording.about.until) for job in recording.jobs), 0.0)


def as_it_was(recording: Recording) -> Figures:
    """What really happened, as far as it was recorded."""
    waits = sorted(job.first - job.submitted for job in recording.jobs)
    steps = [step for each in recording.decisions for step in each.decision.steps]
    return Figures(
        rule="as it was",
        cost=None,
        wait=sum(waits) / len(waits) if waits else 0.0,
        p95=percentile(waits, 0.95),
        starts=sum(isinstance(step, StartNode) for step in steps),
        money=_spent([each.decision.spent for each in recording.decisions]),
    )


def _job(job: RecordedJob, share: float, until: float) -> Job:
    blocked = -(-job.memory // share) if share else 0
    runs = max(1.0, (until if job.ended is None else job.ended) - job.started)
    return Job(job.submitted, runs, max(job.cpus, int(blocked)))


def _spent(sums: Sequence[float]) -> float:
    """What was spent from the first to the last of these sums, each of which begins anew with its month."""
    return sum(after - before if after >= before else after for before, after in pairwise(sums))
