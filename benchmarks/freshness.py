"""
How soon a change in the scheduler shows, and what it costs to look for changes, at several lengths of the queue.

The jobs that fill the queue ask for more cores than any machine has.  Some of them are held, others removed, as an
administrator would do it.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median, quantiles
from typing import Final

from benchmarks import resources
from benchmarks.apart import apart
from benchmarks.peers.schedd import act, remove_all
from benchmarks.places import place
from benchmarks.programs import Program, daemon, pool
from benchmarks.queueing import fill
from benchmarks.report import Result, below

FRESH: Final = 1000.0
OURS: Final = 10.0
SCHEDDS: Final = 5.0
_START: Final = 300.0
_SEEN: Final = 60.0
_TICKS: Final = os.sysconf("SC_CLK_TCK")


def measure(quick: bool) -> Iterator[Result]:
    """One length after the other."""
    lengths, changes, seconds = ((100,), 10, 5.0) if quick else ((1_000, 10_000, 100_000), 100, 60.0)
    for length in lengths:
        yield from _at(length, changes, seconds)


def _at(length: int, changes: int, seconds: float) -> Iterator[Result]:
    with place("freshness") as directory, apart() as client:
        home = directory / "daemon"
        instance, jobs = client.call(fill, home, length)
        try:
            alone = _load(_schedd(), seconds)
            # A sweep belongs to each measurement, five times as often as by default.
            settings = {"QUEUE__SWEEP_INTERVAL": str(seconds)}
            with daemon(home, {**pool(), **settings}) as program:
                _until_swept(program.port)
                delays = client.call(watch, program.port, jobs, changes)
                time.sleep(min(10.0, seconds))
                ours, together = _idle(program, seconds)
                repaired = _metric(program.port, "modabatch_sweep_repairs_total")
        finally:
            client.call(remove_all, instance)
    what = f"{length} jobs queued"
    told = f"median {median(delays):.0f} ms, longest {max(delays):.0f} ms"
    p99 = quantiles(delays, n=100, method="inclusive")[98]
    swept = f"{repaired:.0f} found by sweeps"
    yield below(f"{what}: change to API and outbox, p99 of {changes}", p99, FRESH, "ms", told, swept)
    yield below(f"{what}, nothing changes: CPU of the daemon and its children", ours, OURS, "% of a core", f"{ours:.2f} %")
    caused = max(0.0, together - alone)
    words = f"schedd {together:.2f} %", f"without the daemon {alone:.2f} %"
    yield below(f"{what}, nothing changes: CPU that it causes in the schedd", caused, SCHEDDS, "% of a core", *words)


def watch(port: int, jobs: list[tuple[str, str]], changes: int) -> list[float]:
    """
    Change jobs, one after the other, and see when that shows.

    @param jobs: ids, each with its number in the queue.
    @return: milliseconds from the scheduler's word that it is done until the API shows it; a final state and its row in the
        outbox are one transaction.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    delays = []
    for index, (job_id, number) in enumerate(random.sample(jobs, changes)):
        action, state = ("hold", "held") if index % 2 else ("remove", "removed")
        act(action, number)
        done = time.monotonic()
        while _state(connection, job_id) != state:
            if time.monotonic() - done > _SEEN:
                raise RuntimeError(f"job {job_id} does not show as {state}")
            time.sleep(0.005)
        delays.append(1000 * (time.monotonic() - done))
        # Not in step with the daemon's beat.
        time.sleep(random.uniform(0.0, 0.5))
    return delays


def _state(connection: http.client.HTTPConnection, job_id: str) -> str:
    connection.request("GET", f"/jobs/{job_id}")
    return str(json.loads(connection.getresponse().read())["job_status"])


def _until_swept(port: int) -> None:
    until = time.monotonic() + _START
    while not _metric(port, "modabatch_sweeps_total"):
        if time.monotonic() > until:
            raise RuntimeError("the first sweep does not end")
        time.sleep(0.5)


def _metric(port: int, name: str) -> float:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", "/metrics")
    lines = connection.getresponse().read().decode().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(f"{name} "))


def _idle(program: Program, seconds: float) -> tuple[float, float]:
    """Percent of a core that daemon and children take, and that the schedd takes meanwhile."""
    before, schedd = _used(program.pid), _processor(_schedd())
    start = time.monotonic()
    time.sleep(seconds)
    took = time.monotonic() - start
    return 100 * (_used(program.pid) - before) / took, 100 * (_processor(_schedd()) - schedd) / took


def _used(pid: int) -> float:
    return _processor(pid) + sum(resources.processor(child) for child in resources.children(pid))


def _load(pid: int, seconds: float) -> float:
    before, start = _processor(pid), time.monotonic()
    time.sleep(seconds)
    return 100 * (_processor(pid) - before) / (time.monotonic() - start)


def _processor(pid: int) -> float:
    """Seconds of a process and of its children that have ended: the schedd answers questions in children."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / _TICKS


def _schedd() -> int:
    """The process of the schedd of the pool under test: it works in the pool's log directory."""
    logs = Path(os.environ["MODABATCH_TEST_POOL_DIR"]).parent / "condor/log"
    for process in Path("/proc").iterdir():
        try:
            if (process / "comm").read_text().strip() == "condor_schedd" and (process / "cwd").resolve() == logs.resolve():
                return int(process.name)
        except OSError:
            continue
    raise RuntimeError("the schedd of the pool is not to be found")
