"""Looking into Deferreds without a reactor."""

from collections.abc import Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

T = TypeVar("T")


def now(waiting: Deferred[T] | Coroutine[Deferred[Any], Any, T]) -> T:
    """The result that a Deferred or coroutine has already; raises its failure, or AssertionError when it has none yet."""
    deferred = waiting if isinstance(waiting, Deferred) else Deferred.fromCoroutine(waiting)
    results: list[T | Failure] = []
    deferred.addBoth(results.append)
    assert results, "the Deferred has not fired yet"
    if isinstance(results[0], Failure):
        results[0].raiseException()
    return results[0]
