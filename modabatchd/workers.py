"""Threads for blocking work: named, bounded, started and stopped with the service that owns them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool
from zope.interface import Interface, implementer

P = ParamSpec("P")
R = TypeVar("R")


class IWorkers(Interface):
    """A place where blocking work is done without holding up the reactor."""

    def run(work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> Deferred[R]:
        """
        Call C{work} there.

        @return: fires on the reactor's thread with what C{work} returned or raised.
        """


@implementer(IWorkers)
class ThreadWorkers(Service):
    """
    A thread pool of its own, so that slow work of one kind cannot starve another kind.

    @ivar size: how many calls run at once; further ones wait in line.
    """

    def __init__(self, reactor: IReactorFromThreads, name: str, size: int) -> None:
        self.setName(name)
        self._reactor = reactor
        self._pool = ThreadPool(minthreads=0, maxthreads=size, name=name)

    def startService(self) -> None:
        """Take work; threads come as they are needed."""
        super().startService()
        self._pool.start()

    def stopService(self) -> None:
        """Finish the calls that run, then end the threads."""
        super().stopService()
        self._pool.stop()

    def run(self, work: Callable[..., R], *args: Any, **kwargs: Any) -> Deferred[R]:
        """See L{IWorkers.run}."""
        return deferToThreadPool(self._reactor, self._pool, work, *args, **kwargs)
