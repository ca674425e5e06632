"""
IQueue on a real HTCondor pool.

Note [Submissions of unknown outcome]
=====================================
When a submission misses its deadline, its child is killed, and nobody knows whether the scheduler has the jobs.  What can still
happen?  The scheduler speaks with one submitter from the first word to the last, and does nothing else meanwhile; a
transaction whose connection closes is dropped, unless the word "commit" had arrived.  A frozen scheduler that wakes thus
reads what it was sent, commits or drops, and only then answers anybody else.  So a look that was I{asked after} the child's
death and was answered is final, as far as the scheduler's machine is concerned; bytes may still be under way in the network.
C{find} promises exactly this: it asks anew, never out of a memory, and fails when there is no answer.  Whoever wants to
submit again should have looks find nothing over a minute; on one machine nothing is under way for long, and some seconds do.
The child dies with the daemon, so the same holds after a restart.

Note [Five children]
====================
Sending and fetching files takes as long as it takes, and so does searching a long history or showing a long queue; questions
for changes and the submissions of others must not wait for any of them, nor a submission for a download.  So each has a child
of its own, and all but that for submissions and changes are let go when they have nothing to do.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.logger import Logger
from zope.interface import implementer

from modabatchd.errors import ConfigurationError, QueueAway
from modabatchd.gathering import Gathering
from modabatchd.queue.htcondor import classads, frames
from modabatchd.queue.htcondor.acting import Acting, pieces
from modabatchd.queue.htcondor.calls import Calls, Taker, converted, ignore, refused
from modabatchd.queue.htcondor.changes import Changes
from modabatchd.queue.htcondor.deadlines import Deadlines
from modabatchd.queue.htcondor.environment import Access, child_environment
from modabatchd.queue.htcondor.events import Events, Found, Marks
from modabatchd.queue.htcondor.finding import Finding
from modabatchd.queue.htcondor.following import Tails
from modabatchd.queue.htcondor.home import Home, Known, Remember
from modabatchd.queue.htcondor.reading import Reading
from modabatchd.queue.htcondor.spawning import Spawn
from modabatchd.queue.interfaces import ActionResult, IQueue, News, Refusal, Ticket
from modabatchd.queue.job import Action, Artifact, BackendId, JobState, Sighting

T = TypeVar("T")

_IDLE: Final = 60.0
_MOST_ROWS: Final = 1000
#: So many the scheduler takes at least, once it takes any.
_ROWS_A_SECOND: Final = 1000
_MOST_TRANSFERS: Final = 50
_PIECE: Final = 500
#: See L{HTCondorQueue.settling}.
_SETTLING: Final = 60.0
_SETTLING_HERE: Final = 10.0
#: Seconds that calls may still take once the service is about to stop.
_HURRY: Final = 5.0


@implementer(IQueue)
class HTCondorQueue(Service):
    """
    See L{IQueue}.

    @param reactor: provides L{twisted.internet.interfaces.IReactorProcess} and L{twisted.internet.interfaces.IReactorTime}.
    @param instance: the UUID of this installation, which tells its jobs from others in the same queue.
    @param wrapper: the program that runs a bundle on the node.
    @param spool: the directory under which the directories of all jobs lie.
    @param environment: what the child processes inherit.
    @param transfer: C{"direct"}: the scheduler reads and writes the jobs' directories; C{"spool"}: their files are sent to
        it and fetched from it; C{"auto"}: direct if the scheduler is on this machine.
    @param known: tells the name of the scheduler that has the jobs; L{None} before C{remember} was ever called.
    @param remember: keeps that name over restarts.  See L{home} and Note [The scheduler that has the jobs].
    @param interval: seconds between two questions for changes, when no event calls for one.
    @param events: where the scheduler tells of events, if it is on this machine; L{None} does without.
    @ivar changes: what it tells of changes.
    @raise ConfigurationError: a path cannot be told to HTCondor.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        instance: str,
        wrapper: Path,
        spool: Path,
        environment: Mapping[str, str],
        access: Access = Access(),  # noqa: B008 - frozen
        transfer: Literal["auto", "direct", "spool"] = "auto",
        deadlines: Deadlines = Deadlines(),  # noqa: B008 - frozen
        known: Known = lambda: succeed(None),
        remember: Remember = succeed,
        interval: float = 2.0,
        events: Events | None = None,
    ) -> None:
        self.name = "htcondor"
        _check(wrapper, spool)
        self._reactor = reactor
        self._instance = classads.canonical(instance)
        self._wrapper = wrapper
        self._deadlines = deadlines
        self._transfer = transfer
        self._reading = Reading()
        self._sending: set[str] = set()
        surroundings = child_environment(environment, access)
        spawn = Spawn(reactor, surroundings)
        self._tails = Tails(reactor, surroundings)
        self._calls = Calls(reactor, spawn)
        self._sender = Calls(reactor, spawn, _IDLE)
        self._fetcher = Calls(reactor, spawn, _IDLE)
        self._history = Calls(reactor, spawn, _IDLE)
        self._sweeper = Calls(reactor, spawn, _IDLE)
        self._all_calls = (self._calls, self._sender, self._fetcher, self._history, self._sweeper)
        self._home = Home(self._ask_for_home, self._has_jobs, access.schedd or "", known, remember)
        self._finding = Finding(self._instance, self._reading, self._sending, self._ask, self._search)
        self._acting = Acting(reactor, self._ask)
        self._direct = Gathering(self._submit_direct, _MOST_ROWS, _shape)
        self._sent = Gathering(self._submit_sent, _MOST_TRANSFERS, _shape)
        self._fetched = Gathering(self._retrieve, _MOST_TRANSFERS)
        self._events = events
        self.changes = Changes(reactor, self._changed, self._read_events, interval)

    @property
    def settling(self) -> float:
        """See L{IQueue.settling} and Note [Submissions of unknown outcome]."""
        return _SETTLING_HERE if self._home.is_here else _SETTLING

    def hurry(self) -> None:
        """The service is about to stop: whatever is under way ends within some seconds, if need be without a result."""
        for calls in self._all_calls:
            calls.hurry(_HURRY)

    def stopService(self) -> Deferred[None]:
        """Fires when all child processes are gone."""
        super().stopService()
        self._tails.stop()
        gone = DeferredList([calls.stop() for calls in self._all_calls])
        return gone.addCallback(lambda _: None)

    def scheduler(self) -> Deferred[str]:
        """
        The name of the scheduler that has the jobs, once it is known.  See Note [The scheduler that has the jobs] in L{home}.

        Fails with L{QueueAway} as long as it cannot be found.
        """

        async def name() -> str:
            return (await self._home.find()).name

        return Deferred.fromCoroutine(name())

    def submit(self, tickets: Sequence[Ticket]) -> Deferred[Sequence[BackendId | Refusal]]:
        """See L{IQueue.submit} and Note [Submissions of unknown outcome]."""
        return Deferred.fromCoroutine(self._submit(tickets))

    def sightings(self) -> Deferred[Sequence[Sighting]]:
        """See L{IQueue.sightings}."""
        return Deferred.fromCoroutine(self._sightings())

    def news(self, since: str) -> Deferred[News]:
        """See L{IQueue.news}."""
        return Deferred.fromCoroutine(self.changes.since(since))

    def find(self, job_ids: Collection[str]) -> Deferred[Mapping[str, Sighting]]:
        """
        See L{IQueue.find}, Note [Submissions of unknown outcome] and Note [Half-made jobs] in L{finding}.

        Fails with L{Unreadable} when some of the jobs are neither found nor absent.
        """
        return Deferred.fromCoroutine(self._finding.find(job_ids))

    def tasks(self, job_id: str, history: bool = False) -> Deferred[Sequence[Sighting]]:
        """See L{IQueue.tasks}."""
        return Deferred.fromCoroutine(self._finding.tasks(job_id, history))

    def act(self, action: Action, backend_ids: Sequence[BackendId], reason: str) -> Deferred[Sequence[ActionResult]]:
        """See L{IQueue.act}."""
        return Deferred.fromCoroutine(self._acting.act(action, backend_ids, reason))

    async def follow(self, sighting: Sighting, directory: Path, artifact: Artifact) -> AsyncGenerator[bytes, None]:
        """See L{IQueue.follow}."""
        home = await self._home.find()
        async with aclosing(self._tails.follow(home.name, home.programs, sighting.backend_id, artifact)) as pieces:
            async for piece in pieces:
                yield piece

    def fetch(self, sighting: Sighting, directory: Path) -> Deferred[None]:
        """
        See L{IQueue.fetch}.

        The scheduler knows the directory that a job was submitted from, and its files come back there: C{directory} is
        where they go only as long as the jobs' directories were not moved.
        """
        return Deferred.fromCoroutine(self._fetch(sighting))

    def acknowledge(self, backend_ids: Sequence[BackendId]) -> Deferred[None]:
        """See L{IQueue.acknowledge}."""
        return Deferred.fromCoroutine(self._acknowledge(backend_ids))

    async def _submit(self, tickets: Sequence[Ticket]) -> Sequence[BackendId | Refusal]:
        gathering = await self._gathering()
        for ticket in tickets:
            classads.canonical(ticket.request.id)
        refusals = [_refusal(ticket) for ticket in tickets]
        under_way = gathering.add(ticket for ticket, no in zip(tickets, refusals, strict=True) if no is None)
        # Wait for all, also when one fails: nothing may be under way once the caller knows.
        outcomes: list[tuple[bool, Any]] = await DeferredList(under_way, consumeErrors=True)
        _raise_failure(outcomes)
        results = (outcome for _, outcome in outcomes)
        return [next(results) if no is None else no for no in refusals]

    def _submit_direct(self, tickets: Sequence[Ticket]) -> Deferred[Sequence[BackendId | Refusal]]:
        return Deferred.fromCoroutine(self._submit_group(tickets, spool=False))

    async def _submit_sent_group(self, tickets: Sequence[Ticket]) -> Sequence[BackendId | Refusal]:
        job_ids = {ticket.request.id for ticket in tickets}
        self._sending |= job_ids
        try:
            return await self._submit_group(tickets, spool=True)
        finally:
            self._sending -= job_ids

    def _submit_sent(self, tickets: Sequence[Ticket]) -> Deferred[Sequence[BackendId | Refusal]]:
        return Deferred.fromCoroutine(self._submit_sent_group(tickets))

    async def _submit_group(self, tickets: Sequence[Ticket], spool: bool) -> Sequence[BackendId | Refusal]:
        log = None if spool or self._events is None else await self._events.newest()
        group = self._group(tickets, spool, log)
        results: list[BackendId | Refusal] = []

        def take(part: list[Any]) -> None:
            results.extend(Refusal(item) if isinstance(item, str) else BackendId(*item) for item in part)

        deadline = self._deadlines.submit + (len(group.rows) / _ROWS_A_SECOND if group.array else 0)
        operation, calls = frames.Submit(group, spool), self._sender if spool else None
        await self._call(operation, deadline, take, calls, self._deadlines.transfer)
        return results

    def _group(self, tickets: Sequence[Ticket], spool: bool, log: classads.EventLog | None) -> classads.Group:
        """Jobs of one shape, or a single array."""
        request, directory = tickets[0].request, tickets[0].directory
        if request.array is not None:
            return classads.array(request, request.array, directory, self._instance, self._wrapper, spool, log)
        jobs = [(ticket.request, ticket.directory) for ticket in tickets]
        return classads.group(jobs, self._instance, self._wrapper, spool, log)

    async def _call(
        self,
        operation: frames.Operation,
        deadline: float,
        take: Callable[[Any], None],
        calls: Calls | None = None,
        sending: float | None = None,
    ) -> None:
        """See L{Calls.call}: only the scheduler that has the jobs is asked."""
        home = await self._home.find()
        await (calls or self._calls).call(operation, deadline, take, home.name, sending)

    async def _ask_for_home(self, name: str) -> frames.Whereabouts:
        seen: list[frames.Whereabouts] = []
        await self._calls.call(frames.Ping(), self._deadlines.query, converted(seen, frames.Whereabouts), name)
        return seen[0]

    async def _has_jobs(self, name: str) -> bool:
        return await self._has_any(classads.of_instance(self._instance), name)

    async def _gathering(self) -> Gathering[Ticket, BackendId | Refusal]:
        try:
            return self._sent if await self._is_spooling() else self._direct
        except QueueAway as problem:
            raise QueueAway(problem.cause, problem.cure, untouched=True) from problem

    async def _is_spooling(self) -> bool:
        home = await self._home.find()
        return not home.here if self._transfer == "auto" else self._transfer == "spool"

    async def _sightings(self) -> Sequence[Sighting]:
        shown = await self._show(classads.of_instance(self._instance), self._sweeper, self._deadlines.submit)
        if self._events is not None:
            await self._events.clear_away(self._has_events)
        return shown

    async def _read_events(self, marks: Marks) -> Found | None:
        return None if self._events is None or await self._is_spooling() else await self._events.read(marks)

    async def _has_events(self, stamp: int) -> bool:
        return await self._has_any(classads.of_events(self._instance, stamp), (await self._home.find()).name)

    async def _has_any(self, constraint: str, name: str) -> bool:
        ads: list[Any] = []
        await self._calls.call(frames.Query(constraint, ("ClusterId",), 1), self._deadlines.query, ads.extend, name)
        return bool(ads)

    async def _changed(self, seconds: int) -> Sequence[Sighting]:
        return await self._show(classads.changed(self._instance, seconds), self._calls, self._deadlines.query)

    async def _show(self, constraint: str, calls: Calls, deadline: float) -> Sequence[Sighting]:
        result: list[Sighting] = []

        def take(ads: list[dict[str, Any]]) -> None:
            result.extend(self._reading.read(ads, set()))

        await self._call(frames.Query(constraint, classads.PROJECTION), deadline, take, calls)
        return result

    async def _ask(self, operation: frames.Operation, take: Taker) -> None:
        deadlines = self._deadlines
        await self._call(operation, deadlines.query if isinstance(operation, frames.Query) else deadlines.submit, take)

    async def _search(self, operation: frames.Operation, take: Taker) -> None:
        await self._call(operation, self._deadlines.submit, take, self._history)

    async def _fetch(self, sighting: Sighting) -> None:
        if sighting.backend_id not in self._reading.remote:
            return
        [retrieving] = self._fetched.add([sighting.backend_id])
        refusal = await retrieving
        # A job that was removed before its end has no output; what else there is of it was brought.
        if refusal is not None and sighting.state is not JobState.REMOVED:
            raise refused(refusal)

    def _retrieve(self, backend_ids: Sequence[BackendId]) -> Deferred[Sequence[str | None]]:
        results: list[str | None] = []
        operation = frames.Retrieve([frames.number(backend_id) for backend_id in backend_ids])
        done = Deferred.fromCoroutine(self._call(operation, self._deadlines.transfer, results.extend, self._fetcher))
        return done.addCallback(lambda _: results)

    async def _acknowledge(self, backend_ids: Sequence[BackendId]) -> None:
        for piece in pieces(backend_ids, _PIECE):
            operation = frames.Acknowledge([frames.number(backend_id) for backend_id in piece])
            await self._call(operation, self._deadlines.submit, ignore)
            self._reading.remote.difference_update(piece)


def _check(wrapper: Path, spool: Path) -> None:
    for path, what in ((spool, "the spool's directory"), (wrapper, "the service's own programs")):
        if not classads.usable(path):
            raise ConfigurationError(
                f"HTCondor cannot be told the path of {what}, {str(path)!r}.",
                "Use an absolute path without quotes, backslashes, semicolons, dollar signs and control characters.",
            )


def _raise_failure(outcomes: Sequence[tuple[bool, Any]]) -> None:
    """Raise the first failure, if there is one; what succeeded beside it is found by its id later."""
    failures = [outcome.value for success, outcome in outcomes if not success]
    away = [failure for failure in failures if isinstance(failure, QueueAway)]
    if away and len(away) == len(failures):
        untouched = len(away) == len(outcomes) and all(failure.untouched for failure in away)
        raise QueueAway(away[0].cause, away[0].cure, untouched) from away[0]
    if failures:
        raise failures[0]


def _refusal(ticket: Ticket) -> Refusal | None:
    if classads.usable(ticket.directory):
        return None
    return Refusal(f"HTCondor cannot be told the path of the job's directory, {str(ticket.directory)!r}.")


def _shape(ticket: Ticket) -> object:
    return classads.shape(ticket.request) if ticket.request.array is None else ticket.request.id
