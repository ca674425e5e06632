"""Responses of unknown length, written as fast as the client reads them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer


async def stream(request: Any, media: str, pieces: AsyncIterator[bytes]) -> None:
    """
    Write a response piece by piece and finish it; a client that leaves ends it early.

    @param media: its content type.
    @raise Exception: whatever C{pieces} raises; the response is cut off then, and must not be finished.
    """
    request.setHeader(b"content-type", media.encode("ascii"))
    flow = _Flow()
    request.registerProducer(flow, True)
    try:
        async for piece in pieces:
            await flow.open()
            if flow.stopped:
                return
            request.write(piece)
    finally:
        if not flow.stopped:
            request.unregisterProducer()
    request.finish()


@implementer(IPushProducer)
class _Flow:
    """Tells when more may be written."""

    def __init__(self) -> None:
        self._paused: Deferred[None] | None = None
        self.stopped = False

    def open(self) -> Deferred[None]:
        """Fires when more may be written, or nobody wants it any more."""
        if self._paused is None:
            return succeed(None)
        return self._paused

    def pauseProducing(self) -> None:
        """See L{IPushProducer.pauseProducing}."""
        if self._paused is None:
            self._paused = Deferred()

    def resumeProducing(self) -> None:
        """See L{IPushProducer.resumeProducing}."""
        paused, self._paused = self._paused, None
        if paused is not None:
            paused.callback(None)

    def stopProducing(self) -> None:
        """See L{IProducer.stopProducing}."""
        self.stopped = True
        self.resumeProducing()
