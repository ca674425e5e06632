"""What can go wrong with a server, each with its cause and its cure."""

from __future__ import annotations

from typing import Final

from modabatchd.errors import ModabatchError

_LATER: Final = (429, 503, 504)


class ServerAway(ModabatchError):
    """Nobody answered, or not in time; what was asked for may have happened or not."""

    code = "server-away"


class ServerRefused(ModabatchError):
    """
    The server answered that it does not do that.

    @ivar status: of HTTP.
    @ivar type: the stable name of the problem; empty if the answer was no problem document.
    """

    code = "server-refused"

    def __init__(self, status: int, type: str, cause: str, cure: str) -> None:
        super().__init__(cause, cure)
        self.status = status
        self.type = type

    @property
    def later(self) -> bool:
        """Whether the same may go well a little later."""
        return self.status in _LATER


class Unusable(ModabatchError):
    """What the user has given cannot be used here, so the server was not asked."""

    code = "unusable"
