"""Responses of unknown length, written as fast as the client reads them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from types import MappingProxyType
from typing import Any, Final

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

#: The headers of what nobody between us and the client should hold back; the second is for nginx.
AS_IT_COMES: Final = MappingProxyType({"Cache-Control": "no-store", "X-Accel-Buffering": "no"})


async def stream(
    request: Any, media: str, pieces: AsyncGenerator[bytes, None], headers: Mapping[str, str] = MappingProxyType({})
) -> None:
    """
    Write a response piece by piece and finish it; a client that leaves ends it early, at the next piece, be it empty.

    @param media: its content type.
    @param pieces: are closed in the end.
    @raise Exception: whatever C{pieces} raises; the response is cut off then, and must not be finished.
    """
    if request.gone:
        return
    for name, value in {**headers, "Content-Type": media}.items():
        request.setHeader(name.encode("ascii"), value.encode("ascii"))
    flow = _Flow()
    request.registerProducer(flow, True)
    try:
        async with aclosing(pieces):
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
