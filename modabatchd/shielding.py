"""
Work that goes on when nobody waits for it any more.

A client that disconnects cancels whatever its request waits for, in the middle of any step.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from modabatchd.errors import ModabatchError

T = TypeVar("T")
_log = Logger()


def shielded(work: Coroutine[Deferred[Any], Any, T], name: str) -> Deferred[T]:
    """
    Run a coroutine to its end, whatever becomes of the result.

    @param name: says what it was in the log, when it fails and nobody waits for it any more.
    @return: fires as the coroutine ends; cancelling it ends the waiting, not the work.
    """
    waiting: Deferred[T] = Deferred()

    def tell(result: T | Failure) -> None:
        if not waiting.called:
            waiting.callback(result)
        elif isinstance(result, Failure):
            _tell_log(result, name)

    Deferred.fromCoroutine(work).addBoth(tell)
    return waiting


def _tell_log(failure: Failure, name: str) -> None:
    if isinstance(failure.value, ModabatchError):
        _log.info("{name}, for which nobody waits: {problem}", name=name, problem=failure.value.cause)
    else:
        _log.failure("{name}, for which nobody waits", failure, name=name)
