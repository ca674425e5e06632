"""
Keys by which requests that are sent again are known, after the draft of the IETF on the C{Idempotency-Key} header.

Note [A key and what it made]
=============================
A client whose connection broke does not know whether its request was carried out, so it sends it again, with the same key.
The key of a submission is written in the transaction that makes the job durable: there is no moment in which a crash could
leave one without the other.  The answer is written before it is sent.  Between the two only the job is known, and the answer is
made from it.

What is done twice with the effect of once (hold, pause, pin) needs no record before the answer.  What is not has its key
written down before it begins; a crash then leaves a key without an answer, and nobody can tell how far it got: that is what
the client is told.
"""

from __future__ import annotations

import msgspec
from twisted.internet.defer import Deferred
from zope.interface import Interface


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """
    A key, as it came with a request.

    @ivar scope: what was asked for, as C{"POST /jobs"}; a key counts within it.
    @ivar name: as the client chose it.
    @ivar digest: of what was sent, 32 bytes; the same key with another one is a mistake.
    @ivar at: seconds since the epoch.
    @ivar job_id: the job that was made.
    """

    scope: str
    name: str
    digest: bytes
    at: float
    job_id: str | None = None


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """
    The first answer.

    @ivar location: the header of that name.
    @ivar body: JSON, as it was sent.
    """

    status: int
    location: str | None
    body: bytes


class IKeys(Interface):
    """
    Keeps keys.  Every write is durable once its Deferred fires.

    Every method may fail with L{modabatchd.errors.StoreAway}; a write may or may not be there then.  The keys of submissions
    are added by L{modabatchd.store.interfaces.IStore.add}.
    """

    def find(scope: str, name: str) -> Deferred[tuple[Key, Answered | None] | None]:  # noqa: N805
        """A key, and the answer if there is one yet."""

    def begin(key: Key) -> Deferred[None]:  # noqa: N805
        """Write a key down before anything is done.  One that is there already is an error of the caller."""

    def answer(key: Key, answered: Answered) -> Deferred[None]:  # noqa: N805
        """Write the answer down, with the key if that is not there yet."""

    def drop(key: Key) -> Deferred[None]:  # noqa: N805
        """Nothing was done after all: the key is free again.  Idempotent."""

    def expire(before: float, limit: int) -> Deferred[int]:  # noqa: N805
        """Forget keys from before that time, the oldest first, so many at the most.  @return: how many."""
