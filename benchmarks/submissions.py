"""
Submissions of a small bundle over HTTP to the real scheduler, against HTCondor's library without HTTP, and C{condor_submit}.

The jobs ask for more cores than any machine has, so they stay idle, and are removed at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Final
from uuid import uuid4

from benchmarks import waiting
from benchmarks.apart import Apart, apart
from benchmarks.bundles import form, write_bundle
from benchmarks.load import load
from benchmarks.peers import condor_submit, schedd_submit
from benchmarks.places import place
from benchmarks.programs import Program, daemon, pool
from benchmarks.report import Result, at_least, spread
from benchmarks.rounds import interleaved, ratios
from modabatchd.store.preparing import prepare

CLIENTS: Final = 32
#: Ratios to Schedd.submit, and to condor_submit.
BAR: Final = 1.0
BAR_TOOL: Final = 6.0
#: How much of the ratio at the shortest queue must be left at the longest one.
FLAT: Final = 0.8
_CORES: Final = 5000
_NOISE: Final = 10_000
_WRAPPER: Final = Path(__file__).parents[1] / "modabatchd/queue/wrapper.sh"


def measure(quick: bool) -> Iterator[Result]:
    """Every submission has a bundle of its own, but for those that are told as equal ones."""
    lengths, count, rounds = ((100,), 64, 2) if quick else ((1000, 10_000, 100_000), 640, 5)
    mark = str(uuid4())
    with place("submit") as directory, ExitStack() as stack:
        url = f"sqlite:///{_made(directory / 'daemon') / 'modabatchd.sqlite'}"
        stack.callback(waiting.remove, [mark, prepare(url)])
        program = stack.enter_context(daemon(directory / "daemon", pool()))
        ours = _Ours(stack.enter_context(apart()), program, directory, count)
        peers = _Peers(directory / "peers", mark)
        ours.distinct()
        flat: list[float] = []
        for length in lengths:
            waiting.fill(directory / f"queued{length}", mark, _WRAPPER, _CORES, length)
            many, calls = interleaved(rounds, ours.distinct, lambda: peers.calls(count // 4))
            what = f"submissions of {_NOISE / 1000:.0f} KB, {CLIENTS} clients, {length} jobs queued"
            words = f"Schedd.submit {median(calls):.0f}/s"
            flat.append(median(ratios(many, calls)))
            yield at_least(what, f"{median(many):.0f}/s", words, ratios(many, calls), BAR)
            if length == lengths[0]:
                yield from _others(ours, peers, rounds, count)
        if len(flat) > 1:
            value = flat[-1] / flat[0]
            what = f"submissions, {lengths[-1]} jobs queued, against {lengths[0]}"
            yield Result(what, "", "the ratios above", f"{value:.3g}", f">= {FLAT:g}", value >= FLAT)


def _others(ours: _Ours, peers: _Peers, rounds: int, count: int) -> Iterator[Result]:
    """What is measured once, at the shortest queue.  The tool is taken at its best: one by one, or many at once."""
    measures: Sequence[Callable[[], float]] = (
        ours.distinct,
        ours.equal,
        ours.single,
        lambda: peers.tool(count // 16, 1),
        lambda: peers.tool(count // 8, CLIENTS // 2),
        lambda: peers.calls(count // 4),
    )
    many, equal, single, one, several, calls = interleaved(rounds, *measures)
    best = max(one, several, key=median)
    words = f"condor_submit {median(one):.0f}/s, {CLIENTS // 2} at once {median(several):.0f}/s"
    what = f"submissions of {_NOISE / 1000:.0f} KB"
    yield at_least(f"{what}, {CLIENTS} clients", f"{median(many):.0f}/s", words, ratios(many, best), BAR_TOOL)
    words = f"Schedd.submit {median(calls):.0f}/s"
    yield Result(f"{what}, all equal, {CLIENTS} clients", f"{median(equal):.0f}/s", words, spread(ratios(equal, calls)))
    yield Result(f"{what}, one client", f"{median(single):.0f}/s", words, spread(ratios(single, calls)))


class _Ours:
    """Submissions over HTTP."""

    def __init__(self, client: Apart, program: Program, directory: Path, count: int) -> None:
        self._client = client
        self._port = program.port
        self._directory = directory
        self._count = count

    def distinct(self) -> float:
        """How many a second, each with a bundle of its own."""
        return self._rate([self._request() for _ in range(self._count)], CLIENTS)

    def equal(self) -> float:
        """How many a second, all with the same bundle."""
        return self._rate([self._request()] * self._count, CLIENTS)

    def single(self) -> float:
        """How many a second by one client."""
        return self._rate([self._request() for _ in range(self._count // 8)], 1)

    def _rate(self, requests: Sequence[bytes], clients: int) -> float:
        return self._client.call(load, self._port, requests, 201, clients, count=len(requests)).rate

    def _request(self) -> bytes:
        bundle = self._directory / "job.tar.gz"
        write_bundle(bundle, _NOISE)
        head, tail = form({"request-cpus": str(_CORES)}, bundle.stat().st_size)
        return head + bundle.read_bytes() + tail


class _Peers:
    """Makes jobs for the peers, each with a directory of its own, as ours have."""

    def __init__(self, directory: Path, mark: str) -> None:
        self._directory = _made(directory)
        self._mark = mark

    def tool(self, count: int, at_once: int) -> float:
        """How many a second with condor_submit, with what it needs made before."""
        jobs = [self._job() for _ in range(count)]
        for job_id, job in jobs:
            (job / "submit").write_text(condor_submit.description(job_id, self._mark, _WRAPPER, job, _CORES))
        return condor_submit.rate([job / "submit" for _, job in jobs], at_once)

    def calls(self, count: int) -> float:
        """The same with one call of Schedd.submit after the other."""
        jobs = [self._job() for _ in range(count)]
        return schedd_submit.rate(
            schedd_submit.Work([(job_id, str(job)) for job_id, job in jobs], self._mark, str(_WRAPPER), _CORES), pool()
        )

    def _job(self) -> tuple[str, Path]:
        job_id = str(uuid4())
        job = _made(self._directory / job_id)
        write_bundle(job / "bundle.tar.gz", _NOISE)
        (job / "launch.sh").write_text(":\n")
        return job_id, job


def _made(directory: Path) -> Path:
    directory.mkdir(mode=0o700)
    return directory
