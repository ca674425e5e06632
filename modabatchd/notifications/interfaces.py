"""What the services know of the record of receivers and of what they were told."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import Deferred
from zope.interface import Interface

from modabatchd.notifications.endpoint import Endpoint
from modabatchd.notifications.message import Told


class IWebhooks(Interface):
    """
    Keeps receivers, and tells what became of messages.  Every write is durable and atomic once its Deferred fires.

    Every method may fail with L{modabatchd.errors.StoreAway}; a write may or may not be there then.
    """

    def endpoints() -> Deferred[Sequence[Endpoint]]:
        """All of them, in the order of their making."""

    def write(endpoint: Endpoint) -> Deferred[None]:
        """A new one, or an old one that has changed."""

    def delete(endpoint_id: str) -> Deferred[None]:
        """Forget an endpoint with all messages to it.  Idempotent."""

    def told(job_id: str) -> Deferred[Sequence[Told]]:
        """The messages about a job, oldest first."""

    def told_to(endpoint_id: str, limit: int, before: int) -> Deferred[Sequence[Told]]:
        """The messages to an endpoint with a C{seq} below C{before}, newest first.  Cost does not grow with their number."""

    def dead(limit: int, before: int) -> Deferred[Sequence[Told]]:
        """The messages that were given up, in the same way."""

    def revive(message_id: str, at: float) -> Deferred[bool]:
        """Let a message that was given up be due at that time, as if it were new.  @return: whether there is such a one."""
