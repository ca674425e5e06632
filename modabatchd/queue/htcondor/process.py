"""One child process, as the daemon sees it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from twisted.internet.error import ProcessExitedAlready
from twisted.internet.interfaces import IProcessTransport
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from modabatchd.queue.htcondor.frames import Answer, Request, Splitter, pack, unpack_answer


class ChildProcess(ProcessProtocol):
    """
    Passes messages to and from a child process.

    @param answered: called with every answer, or part of one.
    @param ended: called once, when the process is gone, with the reason in words.
    """

    _log = Logger()
    transport: IProcessTransport | None = None

    def __init__(self, answered: Callable[[Answer], None], ended: Callable[[str], None]) -> None:
        self._answered = answered
        self._ended = ended
        self._splitter = Splitter()

    def send(self, request: Request) -> None:
        """Pass a request on.  It is there: it has said that it is ready."""
        assert self.transport is not None  # noqa: S101 - for the type checker
        self.transport.writeToChild(0, pack(request))

    def retire(self) -> None:
        """Let it end, once it has answered what it was asked; nothing to do if it never was."""
        if self.transport is not None:
            self.transport.closeStdin()

    def kill(self) -> None:
        """End it at once, whatever it is waiting for; nothing to do if it never was."""
        if self.transport is not None:
            with suppress(ProcessExitedAlready):
                self.transport.signalProcess("KILL")

    def outReceived(self, data: bytes) -> None:
        """Frames, or pieces of them."""
        for body in self._splitter.feed(data):
            self._answered(unpack_answer(body))

    def errReceived(self, data: bytes) -> None:
        """What HTCondor's library has to say."""
        for line in data.decode("utf-8", "replace").splitlines():
            self._log.info("HTCondor: {line}", line=line)

    def processEnded(self, reason: Failure) -> None:
        """The process is gone and all its output was read."""
        self._ended(reason.getErrorMessage())
