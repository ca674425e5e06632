"""Blocking work done at once, on the thread of the caller."""

from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, execute
from zope.interface import implementer

from modabatchd.workers import IWorkers

R = TypeVar("R")


@implementer(IWorkers)
class RunNow:
    """Needs neither threads nor a reactor: every Deferred has fired when it is returned."""

    def run(self, work: Callable[..., R], *args: Any, **kwargs: Any) -> Deferred[R]:
        return execute(work, *args, **kwargs)
