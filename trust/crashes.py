"""
Submissions, while the daemon, its HTCondor child and the scheduler are killed over and over.

Clients submit to a real daemon before a real pool, each submission under a key of its own, and ask again with the same key
until they are told that it was accepted.  Nothing they were told of may be lost, and nothing may be there twice.  Most jobs
never start, because no machine has as many cores as they want; some run at once, so that completions are among what is
interrupted.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import requests

from benchmarks import programs
from benchmarks.places import place
from modabatchd.queue.job import JobState
from modabatchd.store.preparing import prepare
from tests.integration.daemon import Daemon, bundle
from trust import pool
from trust.clients import Clients
from trust.findings import Finding, Trial, exactly, none
from trust.histories import check, unlawful

_CLIENTS: Final = 16
_KILLS: Final = 1000
_SUBMISSIONS: Final = 50_000
#: Seconds after the last start in which all must have come into order.
_REST: Final = 60.0
_LONGEST_LIFE: Final = 6.0
_SAMPLE: Final = 500
_VICTIMS: Final = {"daemon": 0.6, "child": 0.25, "scheduler": 0.15}


def prove(trial: Trial) -> Iterator[Finding]:
    """1,000 kills, 50,000 acknowledgements: none lost, none doubled, no orphans a minute after the last start."""
    with place("crashes") as directory:
        home = directory / "daemon"
        home.mkdir(mode=0o700)
        instance = prepare(f"sqlite:///{home / 'modabatchd.sqlite'}")
        try:
            yield from _prove(trial, home, instance)
        finally:
            pool.remove(instance)


def _prove(trial: Trial, home: Path, instance: str) -> Iterator[Finding]:
    daemon = Daemon(home, **programs.pool())
    daemon.start()
    clients = Clients(daemon.port, bundle("exit 0"), _fields)
    clients.start(_CLIENTS)
    try:
        kills = _kill(daemon, trial.chance("kills"), lambda: len(clients.told), trial)
    finally:
        clients.stop()
    time.sleep(_REST)
    yield Finding("kills", f"{kills.total()}: {', '.join(f'{count} of the {who}' for who, count in sorted(kills.items()))}")
    yield Finding("requests that were made for them", f"{clients.tries:,}")
    yield none("answers that no client should see", clients.problems)
    listed = [entry["id"] for entry in requests.get(f"{daemon.url}/jobs", timeout=600).json()]
    yield from check(clients.told, pool.clusters(instance), listed)
    yield from _looked_at(daemon, trial.chance("sample").sample(listed, min(_SAMPLE, len(listed))))
    daemon.stop()


def _fields(key: str) -> dict[str, str]:
    """One job in sixteen runs."""
    return {"job-name": key} if key.startswith("0") else {"job-name": key, "request-cpus": "5000"}


def _kill(daemon: Daemon, chance: random.Random, submitted: Callable[[], int], trial: Trial) -> Counter[str]:
    """Kill at random moments, also shortly after a start, until there were enough kills and submissions."""
    kills: Counter[str] = Counter()
    while kills.total() < trial.times(_KILLS) or submitted() < trial.times(_SUBMISSIONS):
        time.sleep(chance.uniform(0, 0.3) if chance.random() < 0.2 else chance.uniform(0.3, _LONGEST_LIFE))
        [victim] = chance.choices(list(_VICTIMS), list(_VICTIMS.values()))
        if _strike(daemon, victim):
            kills[victim] += 1
    return kills


def _strike(daemon: Daemon, victim: str) -> bool:
    assert daemon.process is not None
    if victim == "daemon":
        daemon.stop(signal.SIGKILL)
        daemon.start()
        return True
    pids = pool.children(daemon.process.pid) if victim == "child" else [pool.scheduler()]
    for pid in filter(None, pids):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return any(pids)


def _looked_at(daemon: Daemon, job_ids: list[str]) -> Iterator[Finding]:
    jobs = [daemon.job(job_id) for job_id in job_ids]
    histories = {job["id"]: [JobState(line["job_status"]) for line in job["history"]] for job in jobs}
    yield none(
        "histories that break the rules", [f"{id}: {wrong}" for id, states in histories.items() if (wrong := unlawful(states))]
    )
    unbound = [job["id"] for job in jobs if job["cluster_id"] is None]
    yield exactly("jobs that still wait for the scheduler", len(unbound), 0)
