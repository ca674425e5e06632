"""
One action on many jobs.

Note [Group by group]
=====================
A hundred thousand jobs are not acted on in one breath: neither the scheduler nor whoever else wants something of it should
wait for that.  What was asked for is recorded first, and answered; then a loop takes some hundred jobs at a time, in the order
of their submission, has the queue act on them in one call, and records what became of them together with how far it has come.
After a crash it goes on from there.  The last group may then be acted on twice, which does no harm: what was done already is
told as that.  While the queue is away nothing is lost, the loop tries on.

Note [Which jobs]
=================
Only those whose state allows the action as the store knows it, so that what was told beforehand is what is done; for those that
changed since, the queue has the last word.  Jobs that are submitted after the request are left alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, Final

import msgspec
from msgspec.structs import replace
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from modabatchd.errors import IllegalAction, QueueRefused, UnknownJob, UnknownOperation
from modabatchd.queue.interfaces import ActionResult, IQueue
from modabatchd.queue.job import TRANSITIONS, Action, Job, JobState
from modabatchd.store.interfaces import Bulk, IBulkStore, IStore, Outcome, Page, Place, Progressed, Selection

_REASON: Final = "asked for through the modabatchd API"
#: How many jobs are acted on at once.
_GROUP: Final = 500
_PAGE: Final = 1000
#: How many jobs of which something else became than was asked for are told one by one.
_MOST_TOLD: Final = 100


class Matching(msgspec.Struct, frozen=True):
    """
    The jobs that an action would be taken on.

    @ivar states: how many of them are in each state.
    @ivar first: the ids of the first of them.
    @ivar unfit: how many of the jobs that were named are unknown, or in a state that does not allow it.
    """

    states: dict[JobState, int]
    first: tuple[str, ...]
    unfit: int = 0

    @property
    def count(self) -> int:
        """How many they are."""
        return sum(self.states.values())


class BulkControl:
    """
    Carries actions on many jobs out.  See Note [Group by group].

    @param act_on_array: takes an action on those tasks of a job array whose states allow it; L{Control.act
        <modabatchd.queue.control.Control.act>}.
    @param wake: makes the next look at the queue come soon.
    @param begun: called when there is something to be carried out, so that it begins at once.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        queue: IQueue,
        store: IStore,
        bulks: IBulkStore,
        act_on_array: Callable[[str, Action], Coroutine[Deferred[Any], Any, object]],
        new_id: Callable[[], str],
        wake: Callable[[], None],
        begun: Callable[[], None],
    ) -> None:
        self._clock = clock
        self._queue = queue
        self._store = store
        self._bulks = bulks
        self._act_on_array = act_on_array
        self._new_id = new_id
        self._wake = wake
        self._begun = begun

    async def matching(self, action: Action, wanted: Selection | Sequence[str]) -> Matching:
        """What an action would be taken on now, without taking it.  See Note [Which jobs]."""
        if not isinstance(wanted, Selection):
            return await self._named(action, wanted)
        states: Counter[JobState] = Counter()
        first: list[str] = []
        fit = _fit(wanted, action)
        page = await self._store.page(fit, _PAGE) if fit.states else Page([])
        while True:
            states.update(job.job_status for job in page.jobs)
            first += [job.id for job in page.jobs[: max(0, _MOST_TOLD - len(first))]]
            if page.next is None:
                return Matching(dict(states), tuple(first))
            page = await self._store.page(fit, _PAGE, page.next)

    async def begin(self, action: Action, wanted: Selection | Sequence[str]) -> Bulk:
        """Record an action on many jobs, to be carried out from now on."""
        found = await self.matching(action, wanted)
        newest = await self._store.page(Selection(newest=True), 1)
        bulk = Bulk(
            id=self._new_id(),
            action=action,
            created=self._clock.seconds(),
            count=found.count + found.unfit,
            last=newest.jobs[0].seq if newest.jobs else 0,
            selection=wanted if isinstance(wanted, Selection) else None,
            job_ids=() if isinstance(wanted, Selection) else tuple(wanted),
        )
        await self._bulks.begin(bulk)
        self._log.info("operation {id}: to {action} {count} jobs", id=bulk.id, action=action, count=bulk.count)
        self._begun()
        return bulk

    async def get(self, id: str) -> Progressed:
        """
        How far an operation has come.

        @raise UnknownOperation: there is none of this id.
        """
        found = await self._bulks.get(id)
        if found is None:
            raise UnknownOperation(f"There is no operation {id[:100]!r}.", "POST /jobs/actions tells its id.")
        return found

    async def carry_out(self) -> None:
        """Take a step of every operation that is not over, until all are."""
        while under_way := await self._bulks.under_way():
            for progressed in under_way:
                await self._step(progressed)

    async def _step(self, progressed: Progressed) -> None:
        bulk, outcome = progressed.bulk, progressed.outcome
        jobs, unfit, after = await self._group(bulk, outcome.after)
        results = [*unfit, *await self._act(bulk.action, jobs)]
        new = _grown(outcome, results, after, self._clock.seconds())
        await self._bulks.proceed(bulk.id, new)
        if jobs:
            self._wake()
        if new.ended is not None:
            told = ", ".join(f"{count} {result}" for result, count in new.results.items())
            self._log.info("operation {id} is over: {told}", id=bulk.id, told=told or "no jobs")

    async def _group(self, bulk: Bulk, after: int) -> tuple[Sequence[Job], Sequence[tuple[str, str]], int | None]:
        """The next jobs, those that were named but do not fit, and where the ones after them begin."""
        if bulk.selection is None:
            job_ids = bulk.job_ids[after : after + _GROUP]
            end = after + len(job_ids)
            jobs, unfit = await self._sorted(bulk.action, job_ids)
            return jobs, unfit, end if end < len(bulk.job_ids) else None
        fit = _fit(bulk.selection, bulk.action)
        page = await self._store.jobs(fit, _GROUP, Place(after) if after else None) if fit.states else Page([])
        return _until(page, bulk.last)

    async def _sorted(self, action: Action, job_ids: Iterable[str]) -> tuple[list[Job], list[tuple[str, str]]]:
        """Those of some jobs that fit, and what is wrong with the others."""
        fit: list[Job] = []
        unfit: list[tuple[str, str]] = []
        for job_id in job_ids:
            job = await self._store.get(job_id)
            if job is not None and job.state in TRANSITIONS[action].allowed:
                fit.append(job)
            else:
                unfit.append((job_id, "unknown" if job is None else f"is {job.state}"))
        return fit, unfit

    async def _named(self, action: Action, job_ids: Sequence[str]) -> Matching:
        fit, unfit = await self._sorted(action, job_ids)
        states = Counter(job.state for job in fit)
        return Matching(dict(states), tuple(job.request.id for job in fit[:_MOST_TOLD]), len(unfit))

    async def _act(self, action: Action, jobs: Sequence[Job]) -> Sequence[tuple[str, str]]:
        there = [job for job in jobs if job.backend_id is not None and job.request.array is None]
        results = [(job.request.id, "not at the scheduler yet") for job in jobs if job.backend_id is None]
        numbers = [job.backend_id for job in there if job.backend_id is not None]
        try:
            outcomes = await self._queue.act(action, numbers, _REASON) if numbers else []
        except QueueRefused:
            outcomes = [ActionResult.DENIED] * len(numbers)
        for job in jobs:
            if job.request.array is not None and job.backend_id is not None:
                results.append((job.request.id, await self._array(job.request.id, action)))
        return [*results, *((job.request.id, result.value) for job, result in zip(there, outcomes, strict=True))]

    async def _array(self, job_id: str, action: Action) -> str:
        """What becomes of a job array."""
        try:
            await self._act_on_array(job_id, action)
        except QueueRefused:
            return ActionResult.DENIED.value
        except (IllegalAction, UnknownJob):
            return ActionResult.BAD_STATUS.value
        return ActionResult.DONE.value


def _fit(selection: Selection, action: Action) -> Selection:
    """See Note [Which jobs]."""
    allowed = TRANSITIONS[action].allowed
    return replace(selection, states=tuple(state for state in selection.states or JobState if state in allowed))


def _until(page: Page[Job], last: int) -> tuple[Sequence[Job], Sequence[tuple[str, str]], int | None]:
    jobs = [job for job in page.jobs if job.seq <= last]
    over = page.next is None or page.next.seq >= last
    return jobs, (), None if over or page.next is None else page.next.seq


def _grown(outcome: Outcome, results: Iterable[tuple[str, str]], after: int | None, now: float) -> Outcome:
    counts = Counter(outcome.results)
    told = list(outcome.exceptions)
    for job_id, result in results:
        counts[result] += 1
        if result not in (ActionResult.DONE.value, ActionResult.ALREADY_DONE.value) and len(told) < _MOST_TOLD:
            told.append((job_id, result))
    return Outcome(after or 0, dict(counts), tuple(told), now if after is None else None)
