"""Which figures of the daemon's parts are told to Prometheus; the README lists them."""

from __future__ import annotations

from collections.abc import Iterator

from modabatchd.figures import Figure, counter, gauge
from modabatchd.notifications.delivery import Courier
from modabatchd.queue.htcondor.changes import Changes
from modabatchd.queue.spool import FileSpool
from modabatchd.queue.submission import Submission
from modabatchd.queue.watching import Watching


def of_services(watching: Watching, submission: Submission, courier: Courier) -> Iterator[Figure]:
    """What the services have done in this life."""
    yield counter("submissions", "Submissions that were accepted.", lambda: submission.accepted)
    yield counter("sweeps", "Looks at all jobs of the queue.", lambda: watching.sweeps)
    yield counter("sweep_repairs", "Changes of a job's state that only a sweep has found.", lambda: watching.repaired)
    yield counter("notifications", "Tries to deliver a notification.", lambda: courier.outcomes, "result")


def of_spool(spool: FileSpool, quota: int) -> Iterator[Figure]:
    """What the files of jobs take up."""
    yield gauge("spool_bytes", "What the files of jobs take up.", lambda: spool.used)
    yield gauge("spool_quota_bytes", "What they may take up.", lambda: quota)


def of_htcondor(changes: Changes) -> Iterator[Figure]:
    """What it took to hear of changes."""
    yield counter("events", "Events of HTCondor that were read.", lambda: changes.events)
    yield counter("queries", "Questions to HTCondor for jobs that have changed.", lambda: changes.questions)
