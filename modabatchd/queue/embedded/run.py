"""One run of a job, as the daemon sees it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.error import AlreadyCalled, AlreadyCancelled, ProcessExitedAlready
from twisted.internet.interfaces import IDelayedCall, IProcessTransport
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

import modabatchd
from modabatchd.queue.embedded import runner, watch
from modabatchd.queue.embedded.processes import MARK

#: Seconds that a runner may take for its own, beyond the grace of its run, before it is killed.
SLACK: Final = 2.0
_MOST_WORDS: Final = 4000
_PACKAGES: Final = Path(modabatchd.__file__).parent.parent


def environment(run: Path, user: str) -> dict[str, str]:
    """
    What a job finds in its environment, besides the variables that the wrapper and the user set.

    Nothing of the daemon's own comes in: there are secrets in it.
    """
    home = str(run / "home")
    named = {"USER": user, "LOGNAME": user} if user else {}
    return {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LANG": "C.UTF-8",
        "HOME": home,
        "TMPDIR": home,
        MARK: str(run),
        **named,
    }


class Run(ProcessProtocol):
    """
    A run that has been started.

    @param user: the name of the user we are.
    @param ended: called when its processes are gone.
    @ivar directory: where it works.
    @ivar over: fires when its processes are gone.
    @ivar told: whether we have told it to end.
    @ivar complaint: the last line that the runner had to say, which is nothing if all went well.
    """

    _log = Logger()
    transport: IProcessTransport

    def __init__(self, reactor: Any, assignment: runner.Assignment, user: str, ended: Callable[[], None]) -> None:
        self._reactor = reactor
        self._grace = assignment.grace
        self._ended = ended
        self._listening = True
        self._killing: IDelayedCall | None = None
        self.directory = Path(assignment.run)
        self.over: Deferred[None] = Deferred()
        self.told = False
        self.complaint = self._said = ""
        # -S and -s: the runner needs the standard library only, and starts in half the time.
        command = [sys.executable, "-P", "-S", "-s", "-m", runner.__name__, msgspec.json.encode(assignment._asdict()).decode()]
        variables = environment(self.directory, user) | {"PYTHONPATH": str(_PACKAGES)}
        reactor.spawnProcess(self, sys.executable, command, env=variables)

    def suspend(self) -> None:
        """Stop all its processes where they are."""
        self._order(watch.SUSPEND)

    def resume(self) -> None:
        """Let them go on."""
        self._order(watch.CONTINUE)

    def end(self) -> None:
        """Let it end: SIGTERM now, SIGKILL when its grace is over.  Idempotent."""
        if not self.told:
            self.told = True
            self._order(watch.END)
            self._killing = self._reactor.callLater(self._grace + SLACK, self._kill)

    def inConnectionLost(self) -> None:
        """The runner takes no more orders: it is about to end."""
        self._listening = False

    def errReceived(self, data: bytes) -> None:
        """The runner complains."""
        self._said = (self._said + data.decode("utf-8", "replace"))[-_MOST_WORDS:]

    def processEnded(self, reason: Failure) -> None:
        """The runner has ended; unless it was killed, nothing of the run is left."""
        if self._killing is not None:
            with suppress(AlreadyCalled, AlreadyCancelled):
                self._killing.cancel()
        if self._said:
            self._log.error("a runner of the embedded queue failed: {said}", said=self._said)
            self.complaint = self._said.splitlines()[-1]
        self.over.callback(None)
        self._ended()

    def _order(self, order: bytes) -> None:
        if self._listening:
            self.transport.writeToChild(0, order)

    def _kill(self) -> None:
        with suppress(ProcessExitedAlready):
            self.transport.signalProcess("KILL")
