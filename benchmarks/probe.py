"""
Watches the reactor of a program from within: for how long did it not get its turn?

Usage: python -m benchmarks.probe FILE MODULE ARGUMENT...

MODULE is run as a program (C{twistd} is Twisted's).  Every 5 ms its reactor should call us; when it is late by 10 ms or
more, a line goes to FILE: the time at which it came (seconds of CLOCK_MONOTONIC, the same in all processes), by how many
seconds it was late, and for how many of these the reactor's thread could have run, but had no core.
"""

from __future__ import annotations

import os
import runpy
import sys
import time
from pathlib import Path
from typing import Any, Final

import msgspec

_INTERVAL: Final = 0.005
_NOTABLE: Final = 0.010


class Stall(msgspec.Struct, frozen=True):
    """
    The reactor was late.  All in seconds.

    @ivar at: when it was back.
    @ivar late: by how much.
    @ivar without_core: for how much of that the machine had no core for it.
    """

    at: float
    late: float
    without_core: float

    @property
    def own(self) -> float:
        """For how long it was late although it had a core, which is its own doing."""
        return max(self.late - self.without_core, 0.0)


class Probe:
    """To be started with the reactor."""

    def __init__(self, reactor: Any, path: Path) -> None:
        self._reactor = reactor
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._last = 0.0
        self._waited = 0.0

    def start(self) -> None:
        """Call it from the reactor's thread."""
        self._schedule = os.open("/proc/thread-self/schedstat", os.O_RDONLY)
        self._last, self._waited = time.monotonic(), self._without_core()
        self._reactor.callLater(_INTERVAL, self._tick)

    def _tick(self) -> None:
        now, waited = time.monotonic(), self._without_core()
        late = now - self._last - _INTERVAL
        if late >= _NOTABLE:
            os.write(self._file, f"{now:.6f} {late:.6f} {waited - self._waited:.6f}\n".encode())
        self._last, self._waited = now, waited
        self._reactor.callLater(_INTERVAL, self._tick)

    def _without_core(self) -> float:
        return int(os.pread(self._schedule, 100, 0).split()[1]) / 1e9


def worst(path: Path, since: float) -> Stall:
    """The longest stall since a time; one of 0 seconds when none was worth noting."""
    stalls = [Stall(*map(float, line.split())) for line in path.read_text().splitlines()] if path.exists() else []
    return max((stall for stall in stalls if stall.at >= since), key=lambda stall: stall.own, default=Stall(since, 0.0, 0.0))


def main() -> None:
    """Do what the module's text says."""
    from twisted.internet import reactor

    _, path, module, *arguments = sys.argv
    probe = Probe(reactor, Path(path))
    reactor.callWhenRunning(probe.start)
    sys.argv = [module, *arguments]
    if module == "twistd":
        from twisted.scripts.twistd import run

        run()
    else:
        runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
