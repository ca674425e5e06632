"""
What the queue reports, brought into the store.

Note [News and sweeps]
======================
Most looks ask the queue only for what has changed, which costs little however many jobs there are.  What it tells is a hint:
a change may be missed, because a node died, a disk was full, or somebody edited a job by hand.  So now and then a sweep
compares everything, mends what was missed, and counts it.  How far the news were read is stored together with what they
changed, so that the next life goes on there.

Note [One look at a time]
=========================
A report is older than the moment it is written.  If an action's own look and the regular one overlapped, the older of the
two could be written last and a held job would be seen running again.  So looks take turns: ask, compare, write, next.  A sweep
would make them wait for seconds, so it asks while they go on; whatever a look was shown meanwhile is newer than the
sweep's answer, which is not heeded for those jobs.  And it is compared in pieces, between which others have their turn.

Note [Jobs that vanish]
=======================
A job that the queue does not show may have gone to the queue's history, or its submission may be so fresh that this sweep
missed it.  Only what is in neither queue nor history, at several looks over a grace time, is gone.  A job that the queue has,
but shows in a way that cannot be read, is left as it is.

Note [Strangers]
================
A queue may show jobs of this installation that the store does not know, for instance after the store came back from a
backup.  They are told to the log, once, and otherwise left alone: neither do we know what was promised, nor must the queue
forget them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, ParamSpec

from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from modabatchd.errors import QueueAway
from modabatchd.queue.absence import Absences, Unreadable
from modabatchd.queue.finishing import Ending, Finishing
from modabatchd.queue.interfaces import IQueue, ISpool
from modabatchd.queue.job import Job, JobState, Sighting
from modabatchd.store.interfaces import IStore, Progress

P = ParamSpec("P")

#: Seconds that a job must have been missing until it counts as gone.
GRACE: Final = 60.0
#: Seconds between two searches for jobs that are missing.
_SEARCH: Final = GRACE / 3
_PAGE: Final = 1000
_PIECE: Final = 1000


class Watching:
    """
    Keeps the store in step with the queue.

    @param new_id: makes the ids of messages.
    @param settled: called when jobs reached their final state, so that their notifications go out at once.
    @ivar sweeps: how many there were in this life.
    @ivar repaired: how many changes of a job's state the queue's news had missed; see Note [News and sweeps].
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        queue: IQueue,
        store: IStore,
        spool: ISpool,
        new_id: Callable[[], str],
        settled: Callable[[], None],
    ) -> None:
        self._clock = clock
        self._queue = queue
        self._store = store
        self._turn = DeferredLock()
        self._sweeping = DeferredLock()
        self._since = ""
        self._seen: dict[str, Sighting | None] = {}
        self._overtaken: set[str] = set()
        self._absences = Absences()
        self._missing: Collection[str] = ()
        self._searched = clock.seconds()
        self._finishing = Finishing(clock, queue, store, spool, new_id, settled, self._forget)
        self._strangers: set[str] = set()
        self.sweeps = 0
        self.repaired = 0

    async def load(self) -> Sequence[Job]:
        """
        Learn which jobs the store holds as live.  Call it once, before anything else.

        @return: those without a backend id.
        """
        self._since = await self._store.news_until()
        unbound: list[Job] = []
        after = 0
        while page := await self._store.live(after, _PAGE):
            after = page[-1].seq
            unbound.extend(job for job in page if job.backend_id is None)
            self._seen.update((job.request.id, job.sighting) for job in page if job.backend_id is not None)
        return unbound

    def expect(self, job_id: str) -> None:
        """The queue has taken this job: from now on it must show it."""
        self._seen.setdefault(job_id, None)

    async def look(self) -> None:
        """Bring into the store what the queue tells of changes, and go on with what was left undone."""
        await self._turn.run(_started, self._look_at_news)

    async def sweep(self) -> None:
        """Compare all that the queue shows with what the store holds.  See Note [News and sweeps]."""
        await self._sweeping.run(_started, self._sweep)

    async def look_at(self, job_id: str) -> None:
        """Look at one job; if it has finished, returns when its finishing is done as well, or takes long."""
        await self._turn.run(_started, self._look_at_one, job_id)
        await self._finishing.wait_for(job_id)

    async def idle(self) -> None:
        """Wait until no job is being finished, but not for long: a large result may take an hour to come."""
        await self._finishing.idle()

    async def conclude(self, job_id: str, state: JobState, reason: str | None) -> None:
        """Write the final state of a job of which the queue knows nothing, and the message about it."""
        job = await self._store.get(job_id)
        if job is not None:
            await self._finishing.conclude([Ending(job, state, reason, None)])
        self._forget(job_id)

    async def _look_at_news(self) -> None:
        news = await self._queue.news(self._since)
        await self._take(news.sightings, news.until)
        self._since = news.until
        self._finishing.try_again()
        if self._missing and abs(self._clock.seconds() - self._searched) >= _SEARCH:
            await self._search(self._missing)

    async def _look_at_one(self, job_id: str) -> None:
        await self._take((await self._queue.find([job_id])).values())

    async def _sweep(self) -> None:
        expected = set(self._seen)
        self._overtaken = set()
        sightings = await self._queue.sightings()
        if self.sweeps:
            # What the queue tells by itself was not missed.
            with suppress(QueueAway):
                await self.look()
        shown = {sighting.job_id for sighting in sightings}
        self._strangers &= shown
        for piece in _pieces(sightings):
            await self._turn.run(_started, self._mend, piece)
            if len(sightings) > _PIECE:
                await deferLater(self._clock, 0)
        missing = expected - shown - self._overtaken
        await self._turn.run(_started, self._search, missing)
        self.sweeps += 1

    async def _mend(self, sightings: Sequence[Sighting]) -> None:
        """Take what a sweep shows, but for what is older than what others have seen.  See Note [One look at a time]."""
        valid = [sighting for sighting in sightings if sighting.job_id not in self._overtaken]
        missed = sum(self._is_news(sighting) for sighting in valid) if self.sweeps else 0
        await self._take(valid)
        if missed:
            self._log.info("a sweep has repaired {count} states that the queue's news had missed", count=missed)
        self.repaired += missed

    def _is_news(self, sighting: Sighting) -> bool:
        """Whether a job has changed its state unnoticed."""
        seen = self._seen.get(sighting.job_id)
        return seen is not None and seen.state is not sighting.state and sighting.job_id not in self._finishing

    async def _take(self, sightings: Iterable[Sighting], until: str | None = None) -> None:
        """@param until: how far the news were read that these are."""
        fresh = list(sightings)
        self._overtaken.update(sighting.job_id for sighting in fresh)
        changed = [sighting for sighting in fresh if sighting != self._seen.get(sighting.job_id)]
        changed = [sighting for sighting in changed if await self._is_known(sighting)]
        now = self._clock.seconds()
        steps = [_step(sighting, now) for sighting in changed if not sighting.state.final]
        if steps:
            await self._store.advance(steps, until)
        for sighting in changed:
            if sighting.state.final:
                self._finishing.begin(sighting)
            else:
                self._seen[sighting.job_id] = sighting

    async def _is_known(self, sighting: Sighting) -> bool:
        """Whether the store has the job.  See Note [Strangers]."""
        job_id = sighting.job_id
        if job_id in self._seen or job_id in self._finishing:
            return True
        if job_id in self._strangers:
            return False
        if await self._store.get(job_id) is not None:
            return True
        self._strangers.add(job_id)
        self._log.warn("the queue has job {job_id}, which the store does not know: left alone", job_id=job_id)
        return False

    async def _search(self, missing: Collection[str]) -> None:
        """Look for jobs that the queue does not show.  See Note [Jobs that vanish]."""
        # Some may have been finished since they were expected.
        absent = {job_id for job_id in missing if job_id in self._seen and job_id not in self._finishing}
        self._missing, self._searched = absent, self._clock.seconds()
        self._absences.only(absent)
        if not absent:
            return
        found, unclear = await search(self._queue, absent)
        self._absences.found([*found, *unclear])
        await self._take(found.values())
        now = self._clock.seconds()
        self._missing = absent.difference(found, unclear)
        for job_id in self._missing:
            if self._absences.missed(job_id, now, GRACE):
                self._log.warn("job {job_id} is neither in the queue nor in its history", job_id=job_id)
                await self.conclude(job_id, JobState.REMOVED, "The scheduler does not know this job any more.")
                self._absences.found([job_id])

    def _forget(self, job_id: str) -> None:
        self._seen.pop(job_id, None)


async def search(queue: IQueue, job_ids: Collection[str]) -> tuple[Mapping[str, Sighting], Collection[str]]:
    """What a queue shows of jobs, and which it has, but shows in a way that cannot be read; all others are absent."""
    try:
        return await queue.find(job_ids), ()
    except Unreadable as problem:
        return problem.found, problem.job_ids


def _started(work: Callable[P, Coroutine[Deferred[Any], Any, None]], *args: P.args, **kwargs: P.kwargs) -> Deferred[None]:
    return Deferred.fromCoroutine(work(*args, **kwargs))


def _pieces(sightings: Sequence[Sighting]) -> Iterator[Sequence[Sighting]]:
    for start in range(0, len(sightings), _PIECE):
        yield sightings[start : start + _PIECE]


def _step(sighting: Sighting, now: float) -> Progress:
    return Progress(job_id=sighting.job_id, state=sighting.state, at=now, reason=sighting.reason, sighting=sighting)
