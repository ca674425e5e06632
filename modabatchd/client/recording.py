"""
What a server knows of its jobs and decisions, as lines that can be replayed.

The form of the lines is that of L{modabatchd.infrastructure.replay.recording}, which reads them.
"""

from __future__ import annotations

from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec

from modabatchd.client.errors import ServerRefused
from modabatchd.client.jobs import Document, Jobs
from modabatchd.client.nodes import Nodes


def recorded(jobs: Jobs, nodes: Nodes, since: float, until: float) -> Iterator[bytes]:
    """
    The lines of a recording, without their ends; times are seconds since the epoch.

    @param since: jobs that were submitted before, and decisions that were taken before, are left out.
    """
    yield _line("recorded", since=since, until=until, format=1)
    for entry in jobs.entries():
        job = jobs.job(entry["id"])
        if since <= (_seconds(job["job_submission_date"]) or 0.0) <= until and job["job_start_date"]:
            yield _job(job)
    yield from _decisions(nodes, since)


def _decisions(nodes: Nodes, since: float) -> Iterator[bytes]:
    try:
        for entry in nodes.decisions():
            at = _seconds(entry["at"]) or 0.0
            if at < since:
                return
            yield _line("decision", at=at, decision=entry["decision"])
    except ServerRefused as problem:
        # A server without scaling has jobs that are worth a replay all the same.
        if problem.type != "unknown-resource":
            raise


def _job(job: Document) -> bytes:
    asked = job["resources"]
    return _line(
        "job",
        id=job["id"],
        submitted=_seconds(job["job_submission_date"]),
        first=_seconds(job["job_start_date"]),
        started=_seconds(job["job_current_start_date"] or job["job_start_date"]),
        ended=_seconds(job["job_completion_date"]),
        cpus=asked["cpus"],
        memory=asked["memory"],
        gpus=asked["gpus"],
    )


def _line(kind: str, **fields: Any) -> bytes:
    return msgspec.json.encode({"kind": kind, **fields})


def _seconds(date: str | None) -> float | None:
    return None if date is None else parsedate_to_datetime(date).timestamp()
