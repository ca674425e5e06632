"""
Submissions of a small bundle over HTTP to the real scheduler, against C{condor_submit}.

The jobs ask for more cores than any machine has, so they stay idle, and are removed at the end.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Final
from uuid import uuid4

from benchmarks.apart import apart
from benchmarks.bundles import form, write_bundle
from benchmarks.load import load
from benchmarks.peers import condor_submit
from benchmarks.places import place
from benchmarks.programs import daemon, pool
from benchmarks.report import Result, at_least, spread
from benchmarks.rounds import interleaved, ratios
from modabatchd.store.preparing import prepare

BAR: Final = 2.0
CLIENTS: Final = 16
_CORES: Final = 5000
_NOISE: Final = 10_000
_REMOVAL: Final = 30.0
_WRAPPER: Final = Path(__file__).parents[1] / "modabatchd/queue/wrapper.sh"


def measure(quick: bool) -> Iterator[Result]:
    """The peer is the better one of condor_submit after condor_submit, and of as many at once as we have clients."""
    ours, theirs, rounds = (32, 16, 2) if quick else (320, 80, 5)
    instance = str(uuid4())
    with place("submit") as directory, ExitStack() as stack:
        bundle = directory / "job.tar.gz"
        write_bundle(bundle, _NOISE)
        url = f"sqlite:///{_made(directory / 'daemon') / 'modabatchd.sqlite'}"
        stack.callback(_remove, [instance, prepare(url)])
        program = stack.enter_context(daemon(directory / "daemon", pool()))
        client = stack.enter_context(apart())
        peer = _Peer(directory / "peer", instance, bundle)
        head, tail = form({"request-cpus": str(_CORES)}, bundle.stat().st_size)
        request = head + bundle.read_bytes() + tail

        def submissions(connections: int, count: int) -> Callable[[], float]:
            return lambda: client.call(load, program.port, [request], 201, connections, count=count).rate

        submissions(CLIENTS, CLIENTS)()
        many, single, one, several = interleaved(
            rounds,
            submissions(CLIENTS, ours),
            submissions(1, ours // 8),
            lambda: peer.rate(theirs // 2, 1),
            lambda: peer.rate(theirs, CLIENTS),
        )
    best = max(one, several, key=median)
    words = f"condor_submit {median(one):.0f}/s, {CLIENTS} at once {median(several):.0f}/s"
    size = f"{_NOISE / 1000:.0f} KB"
    yield at_least(f"submissions of {size}, {CLIENTS} clients", f"{median(many):.0f}/s", words, ratios(many, best), BAR)
    yield Result(f"submissions of {size}, one client", f"{median(single):.0f}/s", words, spread(ratios(single, one)))


class _Peer:
    """Makes jobs for condor_submit, each with a directory of its own, as ours have."""

    def __init__(self, directory: Path, instance: str, bundle: Path) -> None:
        self._directory = _made(directory)
        self._instance = instance
        self._bundle = bundle

    def rate(self, count: int, at_once: int) -> float:
        """How many a second, with what they need made before."""
        return condor_submit.rate([self._job() for _ in range(count)], at_once)

    def _job(self) -> Path:
        job_id = str(uuid4())
        place = _made(self._directory / job_id)
        (place / "bundle.tar.gz").write_bytes(self._bundle.read_bytes())
        (place / "launch.sh").write_text(":\n")
        submit = place / "submit"
        submit.write_text(condor_submit.description(job_id, self._instance, _WRAPPER, place, _CORES))
        return submit


def _made(directory: Path) -> Path:
    directory.mkdir(mode=0o700)
    return directory


def _remove(instances: list[str]) -> None:
    """Take the jobs out of the queue, where they would wait to be acknowledged."""
    constraint = " || ".join(f'ModabatchInstance == "{instance}"' for instance in instances)
    if not _left(constraint):
        return
    condor_submit.tool("condor_qedit", "-constraint", constraint, "ModabatchAcknowledged", "true")
    condor_submit.tool("condor_rm", "-constraint", constraint)
    until = time.monotonic() + _REMOVAL
    # The scheduler writes to the directories of the jobs until they are gone.
    while _left(constraint) and time.monotonic() < until:
        time.sleep(0.2)


def _left(constraint: str) -> int:
    return len(condor_submit.tool("condor_q", "-allusers", "-constraint", constraint, "-af", "ClusterId").split())
