"""When a notification is tried again, and when it is given up.  Pure."""

from __future__ import annotations

from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import Final

import msgspec

#: Seconds from each failed try to the next, after Standard Webhooks; the first try is made at once.
WAITS: Final = (5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400)

_JITTER: Final = 0.2
_LONGEST_WISH: Final = 86400.0
_GONE: Final = 410


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """
    What came of one try.

    @ivar status: of the HTTP response; L{None} when there was none.
    @ivar retry_after: the header of that name.
    @ivar problem: why there was no response.
    @ivar hopeless: whether no later try can do better.
    """

    status: int | None = None
    retry_after: str | None = None
    problem: str = ""
    hopeless: bool = False


class Delivered(msgspec.Struct, frozen=True):
    """The receiver took the message."""


class Postponed(msgspec.Struct, frozen=True):
    """It is tried again.  @ivar until: seconds since the epoch."""

    until: float
    problem: str


class Abandoned(msgspec.Struct, frozen=True):
    """
    It is given up.

    @ivar gone: whether the receiver wants no messages any more at all.
    """

    problem: str
    gone: bool = False


def judge(reply: Reply, attempts: int, now: float, random: Callable[[], float]) -> Delivered | Postponed | Abandoned:
    """
    Decide what becomes of a message after a try.

    @param attempts: how many tries were made, this one included.
    @param random: gives numbers from 0 to 1.
    """
    if reply.status is not None and 200 <= reply.status < 300:
        return Delivered()
    problem = reply.problem or f"The receiver answered with status {reply.status}."
    again = next_try(attempts, now, random)
    if again is None or reply.status == _GONE or reply.hopeless:
        return Abandoned(problem, gone=reply.status == _GONE)
    return Postponed(max(again, wished(reply.retry_after, now)), problem)


def next_try(attempts: int, now: float, random: Callable[[], float]) -> float | None:
    """
    When to try again, in seconds since the epoch; L{None}: not any more.

    Up to a fifth is added to each wait, so that what failed together does not come back together.

    @param attempts: how many tries were made, 1 or more.
    """
    if attempts > len(WAITS):
        return None
    return now + WAITS[attempts - 1] * (1 + _JITTER * random())


def wished(retry_after: str | None, now: float) -> float:
    """The time that a Retry-After header asks for, at most a day ahead; 0 when it asks for none that can be understood."""
    if retry_after is None:
        return 0.0
    try:
        wait = float(retry_after) if retry_after.isdecimal() else parsedate_to_datetime(retry_after).timestamp() - now
    except (ValueError, OverflowError):
        return 0.0
    return now + min(wait, _LONGEST_WISH)
