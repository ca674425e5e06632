"""
What comes while something is under way, gathered into the next.

Note [Group commit]
===================
To make one job durable costs a sync of the disk, to make a hundred durable costs little more, and so it is with a transaction
of the database and with a submission to the scheduler.  So whoever comes while a round is under way waits for the next one
together with all others who wait.  Nobody waits for company: where one comes alone, its round begins at once, and the busier
it gets, the larger the rounds.  What goes wrong with one thing must not be the fault of the others in its round: who sends it
finds out whose fault it is, and gives that one a failure for its result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

T = TypeVar("T")
R = TypeVar("R")


def _alike(thing: object) -> None:
    """All things are of one kind."""


def _alone(problem: BaseException) -> bool:
    """No failure says anything about the next round."""
    return False


class Gathering(Generic[T, R]):
    """
    Sends what waits in as few rounds as possible; one round costs about the same for one and for a thousand.

    @param send: sends up to C{limit} things of one kind, and answers with one result for each, in their order; the result of
        one that failed, and of that one alone, is a L{Failure}.
    @param kind: things of different kinds cannot be sent together.
    @param hopeless: whether the failure of a round tells that the next one would fail as well, so that those who wait for it
        fail at once.
    """

    def __init__(
        self,
        send: Callable[[Sequence[T]], Deferred[Sequence[R]]],
        limit: int,
        kind: Callable[[T], object] = _alike,
        hopeless: Callable[[BaseException], bool] = _alone,
    ) -> None:
        self._send = send
        self._kind = kind
        self._limit = limit
        self._hopeless = hopeless
        self._waiting: list[tuple[T, Deferred[R]]] = []
        self._sending = False

    def add(self, things: Iterable[T]) -> list[Deferred[R]]:
        """Send them with the next rounds; each fires with its own result, or fails as its whole round did."""
        items: list[tuple[T, Deferred[R]]] = [(thing, Deferred()) for thing in things]
        self._waiting.extend(items)
        if not self._sending:
            self._sending = True
            Deferred.fromCoroutine(self._send_all())
        return [done for _, done in items]

    async def _send_all(self) -> None:
        while self._waiting:
            batch = self._next()
            try:
                results = await self._send([thing for thing, _ in batch])
            except Exception as problem:
                failure = Failure()
                if self._hopeless(problem):
                    batch, self._waiting = batch + self._waiting, []
                for _, done in batch:
                    done.errback(failure)
            else:
                for (_, done), result in zip(batch, results, strict=True):
                    done.callback(result)
        self._sending = False

    def _next(self) -> list[tuple[T, Deferred[R]]]:
        kind = self._kind(self._waiting[0][0])
        batch = [item for item in self._waiting if self._kind(item[0]) == kind][: self._limit]
        taken = set(map(id, batch))
        self._waiting = [item for item in self._waiting if id(item) not in taken]
        return batch
