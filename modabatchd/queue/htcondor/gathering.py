"""Submissions that come while one is under way, gathered into the next."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

T = TypeVar("T")
R = TypeVar("R")


class Gathering(Generic[T, R]):
    """
    Sends what waits in as few rounds as possible; one round costs about the same for one and for a thousand.

    @param send: sends up to C{limit} things of one kind, and answers with one result for each, in their order.
    @param kind: things of different kinds cannot be sent together.
    """

    def __init__(self, send: Callable[[Sequence[T]], Deferred[Sequence[R]]], kind: Callable[[T], object], limit: int) -> None:
        self._send = send
        self._kind = kind
        self._limit = limit
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
            except BaseException:
                problem = Failure()
                for _, done in batch:
                    done.errback(problem)
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
