"""
Which scheduler has the jobs.

Note [The scheduler that has the jobs]
======================================
A collector forgets a scheduler that is down for some minutes, and a search that finds another one instead finds none of our
jobs there: they would all count as gone.  So the name of the first scheduler that was ever asked is remembered, and without a
name in the configuration no other is asked after that.

An administrator can move the service to another scheduler, by its name in the configuration, once no job is live any more.
While there are live ones, the other is accepted only under its exact name, and only if it has jobs of ours: then it is the
same one, renamed.  A machine's name in the configuration is as good as a search, since a machine may have two schedulers.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from twisted.internet.defer import Deferred, DeferredLock
from twisted.logger import Logger

from modabatchd.errors import QueueAway
from modabatchd.queue.htcondor.frames import Whereabouts

#: Tells the name that was remembered last.
Known = Callable[[], Deferred[str | None]]
#: Remembers a name, unless another one is remembered and there are live jobs; tells which is remembered then.
Remember = Callable[[str], Deferred[str]]


class Home:
    """
    Finds the scheduler that has the jobs.  See Note [The scheduler that has the jobs].

    @param ask: asks the scheduler of that name, or if it is empty whichever is configured or found, where it is.
    @param has_jobs: whether the scheduler of that name has any jobs of this installation.
    @param configured: what the configuration says of it: its name, its machine, or nothing.
    """

    _log = Logger()

    def __init__(
        self,
        ask: Callable[[str], Awaitable[Whereabouts]],
        has_jobs: Callable[[str], Awaitable[bool]],
        configured: str,
        known: Known,
        remember: Remember,
    ) -> None:
        self._ask = ask
        self._has_jobs = has_jobs
        self._configured = configured
        self._known = known
        self._remember = remember
        self._turn = DeferredLock()
        self._found: Whereabouts | None = None

    async def find(self) -> Whereabouts:
        """
        Where the scheduler was when it was first asked.

        @raise QueueAway: it cannot be found; nobody else was asked for anything.
        """
        if self._found is None:
            await self._turn.run(lambda: Deferred.fromCoroutine(self._find_first()))
        assert self._found is not None  # noqa: S101 - for the type checker
        return self._found

    @property
    def is_here(self) -> bool:
        """Whether it is known, and on this machine."""
        return self._found is not None and self._found.here

    async def _find_first(self) -> None:
        if self._found is None:
            known = "" if self._configured else await self._known() or ""
            seen = await self._ask(known)
            remembered = await self._remember(seen.name)
            if not _same(remembered, seen.name):
                await self._check(seen.name, remembered)
            self._log.info("the scheduler that has the jobs is {name} at {address}", name=seen.name, address=seen.address)
            self._found = seen

    async def _check(self, name: str, remembered: str) -> None:
        """Whether this scheduler is the one that has the live jobs, under a new name."""
        if _same(name, self._configured) and await self._has_jobs(name):
            self._log.warn("the scheduler {old} is {name} now, and has its jobs", old=remembered, name=name)
            return
        cause = f"Jobs that are not over are with the scheduler {remembered}, and queue.htcondor.schedd leads to {name}."
        cure = f"Set queue.htcondor.schedd to {remembered} until they are over, or to {name} if that is its new name."
        raise QueueAway(cause, cure, untouched=True)


def _same(name: str, other: str) -> bool:
    """HTCondor compares names without regard to case."""
    return name.casefold() == other.casefold()
