"""What the front knows of those who want the bodies of requests."""

from __future__ import annotations

from collections.abc import Callable

from zope.interface import Interface

from modabatchd.rest.front import Head


class IFlow(Interface):
    """The stream of a body that arrives, seen by the one who takes it."""

    def pause() -> None:
        """Let nothing more come, but for what was read already.  Idempotent."""

    def resume() -> None:
        """Let it come again.  Idempotent, also once all has come or the client has gone."""

    def refuse(error: BaseException) -> None:
        """
        Answer at once and let the client see it, whatever else of the body comes; then close the connection.

        A L{modabatchd.errors.ModabatchError} is told as its problem document, anything else as a defect.  Nothing happens when
        the body has come to its end or has been refused before.
        """


class IBody(Interface):
    """
    One who takes the body of one request.

    L{begin} is called first, then L{write} for each piece, then L{end}.  L{abort} may be called at any time, and nothing is
    called after it.
    """

    def begin(flow: IFlow) -> None:
        """The headers were accepted, and the client may send."""

    def write(data: bytes) -> None:
        """
        Take a piece of the body; never blocks.

        @raise ModabatchError: the request is refused, without waiting for the rest; L{abort} follows.
        """

    def end() -> None:
        """The body is complete, as far as HTTP can tell; whatever is wrong with it is told to the request's handler."""

    def abort() -> None:
        """
        Nobody will use what has come, and no more will: the client has gone, the request was refused, or it was answered.

        Idempotent.  What a handler has taken over already is left alone.
        """


#: Asked about each request once its headers are there and before C{100 Continue}: gives the one who takes its body, or L{None}
#: when no body is wanted; refuses by raising L{modabatchd.errors.ModabatchError}.
Reception = Callable[[Head], IBody | None]
