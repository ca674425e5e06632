"""
Nodes, while the daemon is killed around everything that it does to them.

Once in memory: the daemon dies before and after each of its steps, by name.  And once for real: its process gets SIGKILL while
it speaks to an emulated EC2 account over HTTP, whose machines join a real pool by their user-data, run jobs, are drained and
are terminated.  Machines of others live in the same account, some of them named or tagged nearly as ours are.
"""

from __future__ import annotations

import os
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final
from uuid import uuid4

from modabatchd.store.preparing import prepare
from tests.clouds.ec2 import EC2Account
from tests.clouds.loopback import served
from tests.clouds.machines import Machines, processes
from tests.infrastructure.crashing import PATIENCE, POINTS, Point, story
from tests.integration import cloud_pool
from tests.integration.daemon import Daemon
from tests.queue.world import template
from trust import pool
from trust.bursts import Bursts
from trust.findings import Finding, Trial, below, exactly, none
from trust.strikes import MOMENTS, Strikes

_STORIES: Final = 20
_TRIES: Final = 20
_KILLS: Final = 200
_LOOK: Final = 0.5


def prove(trial: Trial) -> Iterator[Finding]:
    """Each named point 20 times, and 200 kills for real: no machine leaked, none of others touched, no job killed."""
    yield from _named(trial)
    yield from _real(trial)


def _named(trial: Trial) -> Iterator[Finding]:
    crashes: Counter[str] = Counter()
    broken: list[str] = []
    with tempfile.TemporaryDirectory(prefix="modabatchd-nodes.") as directory:
        database = template(Path(directory))
        for point in POINTS:
            for number in range(trial.times(_STORIES)):
                try:
                    crashes[str(point)] += _story(trial, database, point, number)
                except AssertionError as problem:
                    broken.append(f"{point}, story {number}: {problem}")
    yield Finding("in memory: crashes", f"{crashes.total():,} at {len(POINTS)} named points")
    yield none("in memory: points at which nothing crashed", [point for point in map(str, POINTS) if not crashes[point]])
    yield none("in memory: stories that broke a rule, or left something", broken)


def _story(trial: Trial, database: tuple[Path, str], point: Point, number: int) -> int:
    """One in which the point was reached.  @return: how many crashes there were."""
    for again in range(_TRIES):
        with tempfile.TemporaryDirectory(prefix="modabatchd-nodes.") as directory:
            crashes = story(Path(directory), database, point, trial.chance(str(point), number, again))
        if crashes:
            return crashes
    return 0


def _real(trial: Trial) -> Iterator[Finding]:
    # libcloud and moto read dates with functions that Python has deprecated.
    warnings.filterwarnings("ignore", "datetime.datetime.utc", DeprecationWarning)
    place = Path(os.environ["MODABATCH_TEST_POOL_DIR"]) / f"nodes-{uuid4().hex}"
    account = EC2Account()
    foreign = cloud_pool.foreigners(account)
    strikes = Strikes(account, trial.chance("moments"))
    master = Path(os.environ["MODABATCH_TEST_CONDOR_MASTER"])
    machines = Machines(account, place / "machines", cloud_pool.CAPACITY, master, boot=1.0)
    with served(strikes.answer) as port, machines.running():
        daemon = cloud_pool.daemon(place, port, boot_timeout="1m")
        daemon.directory.mkdir(mode=0o700)
        instance = prepare(f"sqlite:///{daemon.directory / 'modabatchd.sqlite'}")
        jobs = Bursts(daemon.url, trial.chance("jobs"))
        try:
            yield from _struck(trial, strikes, daemon, jobs)
            yield from _left(account, foreign, jobs)
            yield none(
                "jobs whose node was taken from them", [job for job, count in pool.starts(instance).items() if count > 1]
            )
        finally:
            if daemon.process is not None:
                daemon.stop()
            pool.remove(instance)
        yield Finding("machines that were created", f"{account.creates:,}; {len(machines.booted):,} of them booted")
        yield none("what went wrong with the emulation itself", machines.troubles)
        yield exactly("processes of machines that are left", len(processes(place / "machines")), 0)


def _struck(trial: Trial, strikes: Strikes, daemon: Daemon, jobs: Bursts) -> Iterator[Finding]:
    chance = trial.chance("order")
    kills: Counter[str] = Counter()
    daemon.start()
    jobs.start()
    moments: list[str] = []
    for _ in range(trial.times(_KILLS)):
        moments = moments or chance.sample(MOMENTS, len(MOMENTS))
        kills[strikes.strike(daemon, moments.pop())] += 1
        daemon.start()
    jobs.stop()
    yield Finding("kills", f"{kills.total()}: {', '.join(f'{count} at {moment}' for moment, count in sorted(kills.items()))}")
    yield none("answers that no client should see", jobs.problems)


def _left(account: EC2Account, foreign: Sequence[str], jobs: Bursts) -> Iterator[Finding]:
    began = time.monotonic()
    while time.monotonic() < began + PATIENCE and (jobs.unfinished() or _alive(account, foreign)):
        time.sleep(_LOOK)
    yield below("until all jobs were done and all machines gone", time.monotonic() - began, PATIENCE, "s")
    yield Finding("jobs that were accepted", f"{jobs.accepted:,}")
    yield none("jobs that did not end", jobs.unfinished())
    yield none("machines that are left", _alive(account, foreign))
    named = [value for request in account.requests for value in request.form.values() if value in foreign]
    states = account.states()
    yield none("machines of others that were touched", [*named, *(each for each in foreign if states[each] != "running")])


def _alive(account: EC2Account, foreign: Sequence[str]) -> list[str]:
    return [each for each, state in account.states().items() if each not in foreign and state != "terminated"]
