"""Whether what clients were told agrees with what the queue and the store say.  Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import pairwise

from modabatchd.queue.job import FINAL, JobState
from trust.findings import Finding, exactly, none


def check(
    told: Mapping[str, Collection[str]], clusters: Mapping[str, Collection[int]], stored: Collection[str]
) -> Iterator[Finding]:
    """
    Submissions: every job that a client was told of is there once, and no other.

    @param told: by the key of a submission, the ids of the jobs that its clients were told of.
    @param clusters: by the id of a job, its numbers in the scheduler's queue and history.
    @param stored: the ids of the jobs that the API shows.
    """
    acknowledged = {job_id for ids in told.values() for job_id in ids}
    listed = Counted(stored)
    yield Finding("submissions that were acknowledged", f"{len(told):,}")
    yield none("keys with more than one job", [key for key, ids in told.items() if len(ids) != 1])
    yield exactly("different jobs among the acknowledged", len(acknowledged), len(told))
    yield none("acknowledged jobs that the queue lost", sorted(acknowledged - clusters.keys()))
    yield none("acknowledged jobs that the store lost", sorted(acknowledged - listed.once))
    yield none("jobs that no client was told of", sorted(listed.once - acknowledged))
    yield none("jobs that the queue has twice", sorted(job_id for job_id, numbers in clusters.items() if len(numbers) > 1))
    yield none("jobs in the queue that the store does not know", sorted(clusters.keys() - listed.once))
    yield none("jobs that the list shows twice", sorted(listed.repeated))


class Counted:
    """@ivar once: what is there.  @ivar repeated: what is there more than once."""

    def __init__(self, things: Collection[str]) -> None:
        self.once: set[str] = set()
        self.repeated: set[str] = set()
        for thing in things:
            (self.repeated if thing in self.once else self.once).add(thing)


def unlawful(states: Sequence[JobState]) -> str | None:
    """What is wrong with the history of a job: nothing follows a final state, nothing stays the same."""
    for before, after in pairwise(states):
        if before in FINAL:
            return f"{after} after {before}"
        if before is after:
            return f"{after} twice"
    return None if states and states[0] is JobState.IDLE else f"begins with {states[:1]}"
