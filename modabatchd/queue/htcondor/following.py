"""
What a running job prints, by way of HTCondor's C{condor_tail}.

It asks the scheduler where the job runs, and the node for what the job has printed: that needs no file system in common, and
works with a remote scheduler as well.  The Python bindings have no such call.

Note [How much is shown]
========================
C{condor_tail} begins so many bytes before the end of what is there when it starts.  We always want all of it, so that what
comes is the same text as the artifact will be, byte by byte; hence a number that no output reaches.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncGenerator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from modabatchd.errors import QueueRefused
from modabatchd.queue.job import Artifact, BackendId

_ALL: Final = "1000000000000"
#: Bytes that may wait to be passed on.
_MOST: Final = 1 << 20
#: Seconds after which an empty piece says that nothing came.
_PATIENCE: Final = 2.0
_TOOL: Final = "condor_tail"
_STREAMS: Final = {Artifact.STDOUT: (), Artifact.STDERR: ("-no-stdout", "-stderr")}


class Tails:
    """
    Follows jobs, each by a process of its own.

    @param reactor: provides L{twisted.internet.interfaces.IReactorProcess} and L{twisted.internet.interfaces.IReactorTime}.
    @param environment: what the processes find in theirs.
    """

    def __init__(self, reactor: Any, environment: Mapping[str, str]) -> None:
        self._reactor = reactor
        self._environment = dict(environment)
        self._running: set[_Tail] = set()

    async def follow(self, schedd: str, programs: str, job: BackendId, artifact: Artifact) -> AsyncGenerator[bytes, None]:
        """
        See L{modabatchd.queue.interfaces.IQueue.follow}.

        @param schedd: the scheduler's name.
        @param programs: the directory of HTCondor's programs; where it has none, they are searched for.
        @raise QueueRefused: there is no C{condor_tail} on this machine.
        """
        tail = _Tail(self._reactor)
        command = [_TOOL, "-name", schedd, "-maxbytes", _ALL, "-follow", *_STREAMS[artifact], str(job)]
        self._reactor.spawnProcess(tail, _program(programs), command, env=self._environment)
        self._running.add(tail)
        try:
            while (piece := await tail.piece()) is not None:
                yield piece
        finally:
            self._running.discard(tail)
            tail.kill()

    def stop(self) -> None:
        """Follow no job any more."""
        for tail in self._running:
            tail.kill()


def _program(directory: str) -> str:
    path = Path(directory, _TOOL)
    found = str(path) if directory and os.access(path, os.X_OK) else shutil.which(_TOOL)
    if found is None:
        raise QueueRefused(
            f"HTCondor's program {_TOOL}, which shows what running jobs print, is not on the daemon's machine.",
            "Have the operator install HTCondor's command-line tools there, or wait until the job is over.",
        )
    return found


class _Tail(ProcessProtocol):
    """One process, and what it has printed."""

    transport: Any

    def __init__(self, clock: Any) -> None:
        self._clock = clock
        self._pending = bytearray()
        self._ended = False
        self._waiting: Deferred[None] | None = None

    async def piece(self) -> bytes | None:
        """What has come since it was last asked; L{None} after the end."""
        if not self._pending and not self._ended:
            self._waiting = Deferred()
            with suppress(TimeoutError):
                await self._waiting.addTimeout(_PATIENCE, self._clock)
        piece = bytes(self._pending)
        self._pending.clear()
        if self._ended:
            return piece or None
        self.transport.resumeProducing()
        return piece

    def kill(self) -> None:
        """End it.  Idempotent."""
        with suppress(ProcessExitedAlready):
            self.transport.signalProcess("KILL")

    def outReceived(self, data: bytes) -> None:
        """What the job has printed."""
        self._pending += data
        if len(self._pending) > _MOST:
            self.transport.pauseProducing()
        self._tell()

    def processEnded(self, reason: Failure) -> None:
        """All was read."""
        self._ended = True
        self._tell()

    def _tell(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.called:
            waiting.callback(None)
