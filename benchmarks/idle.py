"""Daemons that have nothing to do, with many jobs in their past."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Final

import msgspec

from benchmarks import resources
from benchmarks.filling import fill
from benchmarks.places import place
from benchmarks.programs import Program, daemon, pool
from benchmarks.report import Result, below

MEMORY: Final = 150.0
PROCESSOR: Final = 1.0


class Idling(msgspec.Struct, frozen=True):
    """
    What a daemon took while it was left alone.

    @ivar own: MiB of memory of the daemon itself, at the end.
    @ivar others: the same of its child processes, together.
    @ivar own_load: percent of a core.
    @ivar others_load: the same of its child processes.
    """

    own: float
    others: float
    own_load: float
    others_load: float


def measure(quick: bool) -> Iterator[Result]:
    """All at the same time: they do not stand in each other's way, or else they would not be idle."""
    count, settling, seconds = (100, 5.0, 5.0) if quick else (10_000, 30.0, 60.0)
    backends = {"embedded": {}, "htcondor": pool()} if "MODABATCH_TEST_COLLECTOR" in os.environ else {"embedded": {}}
    with place("idle") as directory, ExitStack() as stack:
        programs = {}
        for name, settings in backends.items():
            fill(directory / name, count, with_files=True)
            programs[name] = stack.enter_context(daemon(directory / name, settings))
        fill(directory / "empty", 0)
        programs["empty"] = stack.enter_context(daemon(directory / "empty"))
        time.sleep(settling)
        idling = _watch(programs, seconds)
    for name in backends:
        yield from _told(name, count, idling[name], idling["empty"])


def _told(name: str, count: int, idling: Idling, empty: Idling) -> Iterator[Result]:
    memory, load = idling.own + idling.others, idling.own_load + idling.others_load
    what = f"idle, {name}, {count} finished jobs"
    ours = f"daemon {idling.own:.0f} MiB, children {idling.others:.0f} MiB"
    yield below(f"{what}: memory", memory, MEMORY, "MiB", ours, f"no jobs, embedded: {empty.own:.0f} MiB")
    ours = f"daemon {idling.own_load:.2f} %, children {idling.others_load:.2f} %"
    yield below(f"{what}: CPU", load, PROCESSOR, "% of a core", ours, f"no jobs, embedded: {empty.own_load:.2f} %")


def _watch(programs: dict[str, Program], seconds: float) -> dict[str, Idling]:
    start = time.monotonic()
    families = {name: (program.pid, resources.children(program.pid)) for name, program in programs.items()}
    used = {pid: resources.processor(pid) for pid in _pids(families)}
    time.sleep(seconds)
    took = time.monotonic() - start
    load = {pid: 100 * (resources.processor(pid) - before) / took for pid, before in used.items()}
    memory = {pid: resources.resident(pid) for pid in used}
    return {
        name: Idling(memory[pid], sum(memory[child] for child in others), load[pid], sum(load[child] for child in others))
        for name, (pid, others) in families.items()
    }


def _pids(families: dict[str, tuple[int, list[int]]]) -> Iterator[int]:
    for pid, others in families.values():
        yield from (pid, *others)
