"""Jobs that are over, put into the store and the spool of a daemon before it starts."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final, TypeVar
from uuid import uuid4

from twisted.internet.defer import Deferred, execute
from twisted.python.failure import Failure
from zope.interface import implementer

from modabatchd.queue.job import BackendId, JobRequest, JobState, Sighting
from modabatchd.queue.spool import FileSpool
from modabatchd.store.interfaces import Progress
from modabatchd.store.preparing import prepare
from modabatchd.store.sql import SQLStore
from modabatchd.workers import IWorkers

R = TypeVar("R")

_AT_ONCE: Final = 5000
_FILES: Final = {"bundle.tar.gz": 1000, "launch.sh": 200, "output.tar.gz": 500, "stdout": 100, "stderr": 0, "_userlog": 1500}


@implementer(IWorkers)
class AtOnce:
    """Work done at once, on the thread of the caller."""

    def run(self, work: Callable[..., R], *args: Any, **kwargs: Any) -> Deferred[R]:
        """See L{IWorkers.run}."""
        return execute(work, *args, **kwargs)


def fill(directory: Path, count: int, with_files: bool = False) -> list[str]:
    """
    Make the directory of a daemon that has run so many jobs.

    @param with_files: whether the files of the jobs are there, too.
    @return: the ids of the jobs.
    """
    directory.mkdir(mode=0o700)
    url = f"sqlite:///{directory / 'modabatchd.sqlite'}"
    store = SQLStore(url, prepare(url), AtOnce(), AtOnce())
    store.startService()
    spool = FileSpool(directory / "spool", 1 << 40, AtOnce())
    spool.prepare()
    ids: list[str] = []
    for requests in _portions(count):
        done(store.add(requests))
        done(store.advance([step for request in requests for step in _steps(request)]))
        ids.extend(request.id for request in requests)
    for job_id in ids if with_files else ():
        _write_files(spool.directory(job_id))
    done(store.stopService())
    return ids


def multiply(directory: Path, times: int) -> list[str]:
    """
    Make so many times as many jobs of those that L{fill} has made, faster than by way of the store.

    @return: the ids of all.
    """
    with closing(sqlite3.connect(directory / "modabatchd.sqlite", isolation_level=None)) as database:
        database.create_function("new_id", 0, lambda: str(uuid4()))
        columns = [row[1] for row in database.execute("PRAGMA table_info(jobs)")]
        copied = ", ".join(name for name in columns if name not in ("seq", "id", "request", "sighting"))
        database.execute("BEGIN")
        [count] = database.execute("SELECT count(*) FROM jobs").fetchone()
        for _ in range(times - 1):
            database.execute(
                f"INSERT INTO jobs (id, request, sighting, {copied}) "
                f"SELECT new, replace(request, id, new), replace(sighting, id, new), {copied} "
                f"FROM (SELECT *, new_id() AS new FROM jobs ORDER BY seq LIMIT {count})"
            )
        database.execute(
            "INSERT INTO changes (job, state, at, reason) SELECT jobs.seq, changes.state, changes.at, changes.reason "
            f"FROM jobs JOIN changes ON changes.job = (jobs.seq - 1) % {count} + 1 WHERE jobs.seq > {count} ORDER BY jobs.seq"
        )
        database.execute(f"UPDATE counts SET jobs = jobs * {times}")
        database.execute("COMMIT")
        return [row[0] for row in database.execute("SELECT id FROM jobs ORDER BY seq")]


def _portions(count: int) -> Iterator[list[JobRequest]]:
    now = time.time()
    for start in range(0, count, _AT_ONCE):
        numbers = range(start, min(start + _AT_ONCE, count))
        yield [JobRequest(id=str(uuid4()), submitted=now, name=f"job {n}", arguments=("one", str(n))) for n in numbers]


def _steps(request: JobRequest) -> Iterator[Progress]:
    for state, code in ((JobState.RUNNING, None), (JobState.COMPLETED, 0)):
        sighting = Sighting(
            job_id=request.id,
            backend_id=BackendId(1),
            state=state,
            backend_state=state.value,
            global_job_id=f"test@#{request.id}",
            run_count=1,
            started=request.submitted,
            current_started=request.submitted,
            completed=request.submitted if state.final else None,
            exit_status=code,
            host="node.example.org",
        )
        yield Progress(job_id=request.id, state=state, at=request.submitted, sighting=sighting)


def _write_files(place: Path) -> None:
    place.mkdir(parents=True, mode=0o700)
    for name, size in _FILES.items():
        (place / name).write_bytes(b"x" * size)


def done(deferred: Deferred[R]) -> R:
    """The result of a Deferred that has fired."""
    results: list[R | Failure] = []
    deferred.addBoth(results.append)
    result = results[0]
    if isinstance(result, Failure):
        result.raiseException()
    return result
