"""The messages of the outbox.  Values only."""

from __future__ import annotations

import msgspec


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """
    One notification, as it will be posted.

    @ivar id: stable over all tries, so that a receiver can tell a repetition.
    @ivar job_id: the job that it is about; L{None} if it is about none.
    @ivar body: the JSON document.
    @ivar created: seconds since the epoch.
    @ivar event: what it tells of, in a word.
    @ivar endpoint: the registered receiver that it goes to, whatever its URL is by then; L{None}: to C{url}.
    """

    id: str
    job_id: str | None
    url: str
    body: bytes
    created: float
    event: str
    endpoint: str | None = None


class Delivery(msgspec.Struct, frozen=True):
    """A message that is due, and how often it was tried."""

    message: Message
    attempts: int


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """
    One try to deliver a message.

    @ivar at: when it ended, in seconds since the epoch.
    @ivar status: of the receiver's answer; L{None} when there was none.
    @ivar problem: why it did not succeed.
    """

    at: float
    status: int | None = None
    problem: str | None = None


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """
    A message, and what became of it.

    @ivar seq: its place among all messages.
    @ivar due: when it is tried next; L{None}: not any more.
    @ivar delivered: when a receiver took it.
    @ivar abandoned: when it was given up.
    @ivar attempts: each try, the first one first.
    """

    seq: int
    message: Message
    due: float | None
    delivered: float | None
    abandoned: float | None
    attempts: tuple[Attempt, ...]
