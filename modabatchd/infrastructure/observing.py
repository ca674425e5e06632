"""
One look at everything: the pool, and each provider's machines.

Note [What is not believed]
===========================
If the pool or a provider has not answered, or not completely, nothing is done on that look.  But a provider that refuses us,
or has been away for minutes, must not stop all the others for ever: it counts as I{broken}.  What it has is left alone and
counts as recorded, and the others go on.

A collector that was started a moment ago knows only those nodes that have reported since.  If one is missing that had joined,
its answer is not complete.  And a node that has not joined yet, as far as we know, may have done so while nobody looked, and
run jobs: if it is older than the collector, it is I{unseen}, and not stopped.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from modabatchd.errors import ModabatchError
from modabatchd.infrastructure.errors import CloudRefused
from modabatchd.infrastructure.interfaces import ICloud, IPoolStatus
from modabatchd.infrastructure.look import PoolLook, Presence
from modabatchd.infrastructure.node import Machine, NodeState
from modabatchd.infrastructure.register import Entry

#: Seconds for which a provider may be away before it counts as broken.
PATIENCE: Final = 300.0
#: Seconds after its start in which a collector may not know all nodes.
SETTLE: Final = 300.0
#: Seconds that a look may be old.
_OLD: Final = 60.0


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """
    What was seen.

    @ivar at: when the look began.
    @ivar machines: ours, by pool, of the providers that have answered.
    @ivar broken: pools that cannot be used, each with the reason.
    @ivar stale: why none of it is to be believed, as half a sentence; empty when it is.
    """

    at: float
    look: PoolLook = PoolLook(at=0.0)
    machines: Mapping[str, tuple[Machine, ...]] = {}
    broken: Mapping[str, str] = {}
    stale: str = ""

    @property
    def presences(self) -> Mapping[str, Presence]:
        """The pool's nodes by name."""
        return self.look.by_name


class Observer:
    """
    Looks.  See Note [What is not believed].

    @param clouds: by pool.
    @param broken: pools for which no cloud could be made, each with the reason.
    """

    _log = Logger()

    def __init__(
        self, clock: IReactorTime, pool: IPoolStatus, clouds: Mapping[str, ICloud], broken: Mapping[str, str] = {}
    ) -> None:
        self._clock = clock
        self._pool = pool
        self._clouds = clouds
        self._broken = broken
        self._away: dict[str, float] = {}

    async def observe(self) -> Observation:
        """Look at everything; never fails."""
        at = self._clock.seconds()
        names = list(self._clouds)
        asked: list[Deferred[Any]] = [
            maybeDeferred(self._pool.look),
            *(maybeDeferred(self._clouds[name].machines) for name in names),
        ]
        results: list[tuple[bool, Any]] = await DeferredList(asked, consumeErrors=True)
        (look, *lists) = [result for _, result in results]
        machines: dict[str, tuple[Machine, ...]] = {}
        broken, stale = dict(self._broken), list[str]()
        for name, result in zip(names, lists, strict=True):
            if isinstance(result, Failure):
                self._failed(name, result, broken, stale)
            else:
                self._away.pop(name, None)
                machines[name] = tuple(result)
        if isinstance(look, Failure):
            stale.insert(0, f"the HTCondor pool does not answer: {_told(look)}")
            look = PoolLook(at=at)
        elif abs(self._clock.seconds() - look.at) > _OLD:
            stale.insert(0, "what the HTCondor pool has shown is too old")
        return Observation(at=at, look=look, machines=machines, broken=broken, stale="; and ".join(stale))

    async def look_again(self) -> PoolLook:
        """
        The pool as it is now.

        @raise QueueAway: it does not answer.
        """
        return await self._pool.look()

    def _failed(self, name: str, failure: Failure, broken: dict[str, str], stale: list[str]) -> None:
        if not failure.check(ModabatchError):
            self._log.failure("looking at the machines of pool {name}", failure, name=name)
        now = self._clock.seconds()
        since = self._away.setdefault(name, now)
        if failure.check(CloudRefused):
            broken[name] = _told(failure, cure=True)
        elif now - since >= PATIENCE:
            broken[name] = f"its provider has been away for {now - since:.0f} s: {_told(failure)}"
        else:
            stale.append(f"the provider of pool {name} does not answer: {_told(failure)}")


def unseen(entry: Entry, look: PoolLook, now: float) -> bool:
    """Whether a node that the pool does not show may be in it all the same.  See Note [What is not believed]."""
    # Of one that is to go before it has joined we know its tag alone, and not how old it is.
    older = entry.retiring or entry.node.requested < look.collector_since
    return older and _fresh(look, now) and entry.node.name not in look.by_name


def doubt(observation: Observation, entries: Iterable[Entry], now: float) -> str:
    """Why an observation is not to be believed, given what we know; empty if it is."""
    if observation.stale or not _fresh(observation.look, now):
        return observation.stale
    shown = observation.presences
    unheard = [entry.node.name for entry in entries if _joined(entry) and entry.node.name not in shown]
    if not unheard:
        return ""
    return f"the pool's collector was started a moment ago, and does not know {_some(unheard)} yet"


def _fresh(look: PoolLook, now: float) -> bool:
    """Whether the collector may not know all nodes yet."""
    return now - look.collector_since < SETTLE


def _joined(entry: Entry) -> bool:
    return entry.node.state in (NodeState.UP, NodeState.DRAINING)


def _some(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more nodes"


def _told(failure: Failure, cure: bool = False) -> str:
    problem = failure.value
    if isinstance(problem, ModabatchError):
        return f"{problem.cause} {problem.cure}" if cure else problem.cause
    return type(problem).__name__
