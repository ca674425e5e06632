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
    """

    id: str
    job_id: str | None
    url: str
    body: bytes
    created: float


class Delivery(msgspec.Struct, frozen=True):
    """A message that is due, and how often it was tried."""

    message: Message
    attempts: int
