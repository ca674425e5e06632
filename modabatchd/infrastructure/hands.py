"""
Everything that is done to clouds and to the pool, with the one switch before it.

Note [Tied hands]
=================
In a dry run all is looked at, decided and told, and nothing is done.  That is decided here and nowhere else: whoever forgets
to ask whether it is a dry run is stopped by this, and nobody else has what changes a cloud or the pool.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from twisted.internet.defer import Deferred, fail, maybeDeferred

from modabatchd.infrastructure.errors import CloudRefused
from modabatchd.infrastructure.interfaces import ICloud, IPoolStatus, Order
from modabatchd.infrastructure.node import Machine
from modabatchd.infrastructure.refusals import DryRun

T = TypeVar("T")


class Hands:
    """
    See Note [Tied hands].

    @param clouds: by pool.
    @ivar tied: whether this is a dry run.  Then every method fails with L{DryRun} and does nothing.
    """

    def __init__(self, pool: IPoolStatus, clouds: Mapping[str, ICloud], tied: bool) -> None:
        self._pool = pool
        self._clouds = clouds
        self.tied = tied

    def start(self, order: Order) -> Deferred[Machine]:
        """See L{ICloud.start}."""
        return self._do(lambda: self._cloud(order.node.offering.pool).start(order))

    def stop(self, pool: str, machine_id: str) -> Deferred[None]:
        """See L{ICloud.stop}."""
        return self._do(lambda: self._cloud(pool).stop(machine_id))

    def drain(self, name: str) -> Deferred[None]:
        """See L{IPoolStatus.drain}."""
        return self._do(lambda: self._pool.drain(name))

    def resume(self, name: str) -> Deferred[None]:
        """See L{IPoolStatus.resume}."""
        return self._do(lambda: self._pool.resume(name))

    def dismiss(self, name: str) -> Deferred[None]:
        """See L{IPoolStatus.dismiss}."""
        return self._do(lambda: self._pool.dismiss(name))

    def revoke(self, name: str) -> Deferred[None]:
        """See L{IPoolStatus.revoke}."""
        return self._do(lambda: self._pool.revoke([name]))

    def token(self, name: str, lifetime: float) -> Deferred[str]:
        """See L{IPoolStatus.token}."""
        return self._do(lambda: self._pool.token(name, lifetime))

    def console(self, pool: str, machine_id: str) -> Deferred[str]:
        """See L{ICloud.console}; it changes nothing."""
        return maybeDeferred(lambda: self._cloud(pool).console(machine_id))

    def _do(self, work: Callable[[], Deferred[T]]) -> Deferred[T]:
        return fail(DryRun()) if self.tied else maybeDeferred(work)

    def _cloud(self, pool: str) -> ICloud:
        if pool not in self._clouds:
            raise CloudRefused(f"Pool {pool} cannot be used.", "See GET /infrastructure for what is wrong with it.")
        return self._clouds[pool]
