"""Child processes, started."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from twisted.internet.interfaces import IReactorProcess

from modabatchd.queue.htcondor.process import ChildProcess


class Spawn:
    """
    Starts child processes.

    @param environment: all that they find in theirs.
    """

    def __init__(self, reactor: IReactorProcess, environment: Mapping[str, str]) -> None:
        self._reactor = reactor
        self._environment = dict(environment)

    def __call__(self, protocol: ChildProcess) -> None:
        """Start one.  @raise OSError: there is no room for it."""
        # -P: the daemon's working directory is no place to import from.
        command = [sys.executable, "-P", "-m", "modabatchd.queue.htcondor.child"]
        self._reactor.spawnProcess(protocol, sys.executable, command, env=self._environment)
