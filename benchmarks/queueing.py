"""Jobs that wait in the scheduler's queue, and that a daemon that starts knows as its own."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final
from uuid import uuid4

from benchmarks.filling import AtOnce, done
from benchmarks.peers.schedd import submit
from modabatchd.queue.htcondor.classads import EventLog, group
from modabatchd.queue.job import BackendId, JobRequest, JobState, Resources, Sighting
from modabatchd.store.interfaces import Progress
from modabatchd.store.preparing import prepare
from modabatchd.store.sql import SQLStore

_CORES: Final = 5000
_AT_ONCE: Final = 1000
_WRAPPER: Final = Path(__file__).parents[1] / "modabatchd/queue/wrapper.sh"
_URL: Final = "http://127.0.0.1:9/nobody"


def fill(directory: Path, count: int) -> tuple[str, list[tuple[str, str]]]:
    """
    Make the directory of a daemon that has so many jobs in the queue.

    @return: its installation, and the ids of the jobs with their numbers in the queue.
    """
    directory.mkdir(mode=0o700)
    files, log = _files(directory), _log(directory)
    url = f"sqlite:///{directory / 'modabatchd.sqlite'}"
    instance = prepare(url, "htcondor")
    store = SQLStore(url, instance, AtOnce(), AtOnce())
    store.startService()
    jobs: list[tuple[str, str]] = []
    for start in range(0, count, _AT_ONCE):
        requests = [_request(number) for number in range(start, min(start + _AT_ONCE, count))]
        done(store.add(requests))
        numbers = submit(group([(request, files) for request in requests], instance, _WRAPPER, False, log))
        pairs = [(request, BackendId(*number)) for request, number in zip(requests, numbers, strict=True)]
        done(store.advance([_seen(request, number) for request, number in pairs]))
        jobs.extend((request.id, str(number)) for request, number in pairs)
    done(store.stopService())
    return instance, jobs


def _request(number: int) -> JobRequest:
    resources = Resources(cpus=_CORES, memory=64, disk=1024)
    return JobRequest(id=str(uuid4()), submitted=time.time(), name=f"job {number}", resources=resources, notification=_URL)


def _seen(request: JobRequest, number: BackendId) -> Progress:
    idle, at = JobState.IDLE, request.submitted
    seen = Sighting(job_id=request.id, backend_id=number, state=idle, backend_state="idle", global_job_id="")
    return Progress(job_id=request.id, state=idle, at=at, sighting=seen)


def _files(directory: Path) -> Path:
    """None of the jobs ever runs, so one directory with files is enough for all of them."""
    files = directory / "files"
    files.mkdir(mode=0o700)
    for name in ("bundle.tar.gz", "launch.sh"):
        (files / name).write_bytes(b"")
    return files


def _log(directory: Path) -> EventLog:
    stamp = int(time.strftime("%Y%m%d%H%M%S", time.gmtime()))
    log = directory / f"spool/events/{stamp}.log"
    log.parent.mkdir(parents=True, mode=0o700)
    log.touch(mode=0o600)
    return EventLog(stamp, str(log))
