"""
Job arrays of a thousand tasks over HTTP to the real scheduler, against HTCondor's library without HTTP.

The tasks ask for more cores than any machine has, so they stay idle, and are removed at the end.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Final
from uuid import uuid4

from benchmarks import waiting
from benchmarks.apart import Apart, apart
from benchmarks.bundles import form, write_bundle
from benchmarks.load import load
from benchmarks.peers import schedd_submit
from benchmarks.places import place
from benchmarks.programs import Program, daemon, pool
from benchmarks.report import Result, at_least, spread
from benchmarks.rounds import interleaved, ratios
from benchmarks.upload import stalled
from modabatchd.store.preparing import prepare

TASKS: Final = 1000
#: Ratio to the bare submission of as many rows.
BAR: Final = 0.7
_CLIENTS: Final = 4
_CORES: Final = 5000
_NOISE: Final = 10_000
_WRAPPER: Final = Path(__file__).parents[1] / "modabatchd/queue/wrapper.sh"


def measure(quick: bool) -> Iterator[Result]:
    """The peer is given the very description and rows that modabatchd makes of an array, and files that lie ready."""
    count, rounds = (4, 2) if quick else (8, 5)
    mark = str(uuid4())
    with place("arrays") as directory, ExitStack() as stack:
        (directory / "daemon").mkdir(mode=0o700)
        url = f"sqlite:///{directory / 'daemon' / 'modabatchd.sqlite'}"
        stack.callback(waiting.remove, [mark, prepare(url)])
        program = stack.enter_context(daemon(directory / "daemon", pool(), watched=True))
        client = stack.enter_context(apart())
        request = _request(directory / "job.tar.gz")
        several, single, bare = interleaved(
            rounds,
            lambda: _accepted(client, program, request, count, _CLIENTS),
            lambda: _accepted(client, program, request, count, 1),
            lambda: _submitted(directory, mark, count),
        )
        words = f"itemdata submit {median(bare):.0f} tasks/s"
        what = f"arrays of {TASKS} tasks"
        yield at_least(f"{what}, {_CLIENTS} clients", f"{median(several):.0f} tasks/s", words, ratios(several, bare), BAR)
        yield Result(f"{what}, one client", f"{median(single):.0f} tasks/s", words, spread(ratios(single, bare)))
        yield stalled(what, program)


def _accepted(client: Apart, program: Program, request: bytes, count: int, clients: int) -> float:
    """How many tasks a second over HTTP."""
    return client.call(load, program.port, [request] * count, 201, clients, count=count).rate * TASKS


def _submitted(directory: Path, mark: str, count: int) -> float:
    """How many tasks a second without."""
    jobs = []
    for _ in range(count):
        job_id = str(uuid4())
        job = directory / job_id
        job.mkdir(mode=0o700)
        (job / "bundle.tar.gz").write_bytes((directory / "job.tar.gz").read_bytes())
        (job / "launch.sh").write_text(":\n")
        jobs.append((job_id, str(job)))
    return schedd_submit.rate(schedd_submit.Work(jobs, mark, str(_WRAPPER), _CORES, tasks=TASKS), pool())


def _request(bundle: Path) -> bytes:
    write_bundle(bundle, _NOISE)
    head, tail = form({"request-cpus": str(_CORES), "job-array": f"1-{TASKS}"}, bundle.stat().st_size)
    return head + bundle.read_bytes() + tail
