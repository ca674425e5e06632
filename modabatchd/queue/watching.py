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
from modabatchd.notifications.endpoint import EVENTS
from modabatchd.notifications.endpoints import Endpoints
from modabatchd.queue.absence import Absences, Unreadable
from modabatchd.queue.finishing import Ending, Finishing
from modabatchd.queue.interfaces import IQueue, ISpool
from modabatchd.queue.job import Job, JobRequest, JobState, Sighting, Subject
from modabatchd.queue.telling import told
from modabatchd.store.interfaces import IStore, Progress

P = ParamSpec("P")

#: Seconds that a job must have been missing until it counts as gone.
GRACE: Final = 60.0
#: Seconds between two searches for jobs that are missing.
_SEARCH: Final = GRACE / 3
_GONE: Final = "The scheduler does not know this job any more."
_LIVE: Final = tuple(state for state in JobState if not state.final)
_PAGE: Final = 1000
#: How many sightings are compared in one go, so that nobody waits long.
_PIECE: Final = 500


class Watching:
    """
    Keeps the store in step with the queue.

    @param new_id: makes the ids of messages.
    @param endpoints: are told of what they want to hear.
    @param settled: called when there may be notifications, so that they go out at once.
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
        endpoints: Endpoints,
        new_id: Callable[[], str],
        settled: Callable[[], None],
    ) -> None:
        self._clock = clock
        self._queue = queue
        self._store = store
        self._endpoints = endpoints
        self._new_id = new_id
        self._settled = settled
        self._turn = DeferredLock()
        self._sweeping = DeferredLock()
        self._since = ""
        self._seen: dict[Subject, Sighting | None] = {}
        self._arrays: set[str] = set()
        self._overtaken: set[Subject] = set()
        self._absences = Absences()
        self._missing: Collection[Subject] = ()
        self._searched = clock.seconds()
        self._finishing = Finishing(clock, queue, store, spool, endpoints, new_id, settled, self._forget)
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
            for job in page:
                if job.backend_id is not None:
                    await self._load(job)
        return unbound

    async def _load(self, job: Job) -> None:
        job_id = job.request.id
        if job.request.array is None:
            self._seen[Subject(job_id)] = job.sighting
            return
        self._arrays.add(job_id)
        after = None
        while page := await self._store.tasks(job_id, _LIVE, _PAGE, -1 if after is None else after):
            after = page[-1].index
            self._seen.update((Subject(job_id, task.index), task.sighting) for task in page)
        if after is None:
            await self._finishing.conclude_array(job_id)

    def expect(self, request: JobRequest) -> None:
        """The queue has taken this job: from now on it must show it, or all tasks of the array that it is."""
        if request.array is not None:
            self._arrays.add(request.id)
        for task in (None,) if request.array is None else request.array:
            self._seen.setdefault(Subject(request.id, task), None)

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
        self._forget(Subject(job_id))

    async def _look_at_news(self) -> None:
        news = await self._queue.news(self._since)
        *others, last = list(_pieces(news.sightings)) or [()]
        for piece in others:
            await self._take(piece)
            await deferLater(self._clock, 0)
        await self._take(last, news.until)
        self._since = news.until
        self._finishing.try_again()
        if self._missing and abs(self._clock.seconds() - self._searched) >= _SEARCH:
            await self._search(self._missing)

    async def _look_at_one(self, job_id: str) -> None:
        if job_id in self._arrays:
            await self._take(await self._queue.tasks(job_id))
        else:
            await self._take((await self._queue.find([job_id])).values())

    async def _sweep(self) -> None:
        expected = set(self._seen)
        self._overtaken = set()
        sightings = await self._queue.sightings()
        if self.sweeps:
            # What the queue tells by itself was not missed.
            with suppress(QueueAway):
                await self.look()
        shown = {sighting.subject for sighting in sightings}
        self._strangers &= {sighting.job_id for sighting in sightings}
        for piece in _pieces(sightings):
            await self._turn.run(_started, self._mend, piece)
            if len(sightings) > _PIECE:
                await deferLater(self._clock, 0)
        missing = expected - shown - self._overtaken
        await self._turn.run(_started, self._search, missing)
        self.sweeps += 1

    async def _mend(self, sightings: Sequence[Sighting]) -> None:
        """Take what a sweep shows, but for what is older than what others have seen.  See Note [One look at a time]."""
        valid = [sighting for sighting in sightings if sighting.subject not in self._overtaken]
        missed = sum(self._is_news(sighting) for sighting in valid) if self.sweeps else 0
        await self._take(valid)
        if missed:
            self._log.info("a sweep has repaired {count} states that the queue's news had missed", count=missed)
        self.repaired += missed

    def _is_news(self, sighting: Sighting) -> bool:
        """Whether a job has changed its state unnoticed."""
        seen = self._seen.get(sighting.subject)
        return seen is not None and seen.state is not sighting.state and sighting.subject not in self._finishing

    async def _take(self, sightings: Iterable[Sighting], until: str | None = None) -> None:
        """@param until: how far the news were read that these are."""
        fresh = list(sightings)
        self._overtaken.update(sighting.subject for sighting in fresh)
        changed = [sighting for sighting in fresh if sighting != self._seen.get(sighting.subject)]
        changed = [sighting for sighting in changed if await self._is_known(sighting)]
        now = self._clock.seconds()
        steps = [await self._step(sighting, now) for sighting in changed if not sighting.state.final]
        if steps:
            await self._store.advance(steps, until)
        if any(step.messages for step in steps):
            self._settled()
        for sighting in changed:
            if sighting.state.final:
                self._finishing.begin(sighting)
            else:
                self._seen[sighting.subject] = sighting

    async def _step(self, sighting: Sighting, now: float) -> Progress:
        """What a sighting changes, with the messages about it; of an array nothing is told before its end."""
        step = _step(sighting, now)
        seen = self._seen.get(sighting.subject)
        if sighting.task is not None or (seen is not None and seen.state is step.state):
            return step
        endpoints = await self._endpoints.hearing(EVENTS[step.state])
        job = await self._store.get(step.job_id) if endpoints else None
        return step if job is None else told(step, job, endpoints, self._new_id)

    async def _is_known(self, sighting: Sighting) -> bool:
        """Whether the store has the job.  See Note [Strangers]."""
        job_id, subject = sighting.job_id, sighting.subject
        if subject in self._seen or subject in self._finishing or job_id in self._arrays:
            return True
        if job_id in self._strangers:
            return False
        if await self._store.get(job_id) is not None:
            return True
        self._strangers.add(job_id)
        self._log.warn("the queue has job {job_id}, which the store does not know: left alone", job_id=job_id)
        return False

    async def _search(self, missing: Collection[Subject]) -> None:
        """Look for jobs and tasks that the queue does not show.  See Note [Jobs that vanish]."""
        # Some may have been finished since they were expected.
        absent = {subject for subject in missing if subject in self._seen and subject not in self._finishing}
        self._missing, self._searched = absent, self._clock.seconds()
        self._absences.only(absent)
        if not absent:
            return
        found, unclear = await self._find(absent)
        there = {sighting.subject for sighting in found}
        self._absences.found(there | unclear)
        await self._take(found)
        now = self._clock.seconds()
        self._missing = absent - there - unclear
        for subject in self._missing:
            if self._absences.missed(subject, now, GRACE):
                await self._give_up(subject)
                self._absences.found([subject])

    async def _find(self, absent: Collection[Subject]) -> tuple[Sequence[Sighting], set[Subject]]:
        """What the queue or its history shows of what is missing, and what of it cannot be read."""
        seen, odd = await search(self._queue, {subject.job_id for subject in absent if subject.task is None})
        found, unclear = list(seen.values()), set(map(Subject, odd))
        for job_id in {subject.job_id for subject in absent if subject.task is not None}:
            try:
                tasks = await self._queue.tasks(job_id, history=True)
            except Unreadable:
                unclear.update(subject for subject in absent if subject.job_id == job_id)
            else:
                found.extend(sighting for sighting in tasks if sighting.subject in absent)
        return found, unclear

    async def _give_up(self, subject: Subject) -> None:
        self._log.warn("job {job_id} is neither in the queue nor in its history", job_id=_told(subject))
        job = await self._store.get(subject.job_id)
        if job is not None:
            await self._finishing.conclude([Ending(job, JobState.REMOVED, _GONE, None, subject.task)])
        self._forget(subject)

    def _forget(self, subject: Subject) -> None:
        self._seen.pop(subject, None)
        if subject.task is None:
            self._arrays.discard(subject.job_id)


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
    job_id, task = sighting.subject
    return Progress(job_id=job_id, state=sighting.state, at=now, reason=sighting.reason, sighting=sighting, task=task)


def _told(subject: Subject) -> str:
    return subject.job_id if subject.task is None else f"{subject.job_id} task {subject.task}"
