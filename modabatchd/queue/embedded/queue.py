"""
IQueue on this machine alone.

Note [What is promised of resources]
====================================
A job takes up a slot for each core that it asks for, and is not stopped from using more.  Memory and disk are not
watched at all; only a job that asks for more memory than the machine has is refused.  Jobs run as the daemon's own user, in
their own directories but not shut off from each other or from the daemon: this queue is for trying out and for development.

Note [Not now]
==============
When the machine is short of memory, processes or descriptors, a job that cannot be started stays idle; to hold it would be to
make it pay for that.  All jobs then wait for some seconds, since whatever happens to one would happen to the next.

Note [Processes that a run leaves behind]
=========================================
They are killed, however they were detached (L{modabatchd.queue.embedded.runner} tells how they are found).  After a
C{kill -9} of both daemon and runner, they are found by their environment; a process that was orphaned and has cleared its
environment, too, goes on.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Collection, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredLock, gatherResults, maybeDeferred, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from modabatchd.errors import QueueAway
from modabatchd.looping import Repeating
from modabatchd.queue.embedded import journal, record
from modabatchd.queue.embedded.following import growing
from modabatchd.queue.embedded.ledger import Ledger
from modabatchd.queue.embedded.machine import Machine
from modabatchd.queue.embedded.record import Record
from modabatchd.queue.embedded.run import Run
from modabatchd.queue.embedded.runner import SHORTAGES, Assignment
from modabatchd.queue.interfaces import ActionResult, IQueue, News, Refusal, Ticket
from modabatchd.queue.job import Action, Artifact, BackendId, Sighting
from modabatchd.shielding import shielded
from modabatchd.workers import IWorkers

T = TypeVar("T")

_RETRY: Final = 5.0
_CURE: Final = "Give the service more memory, processes or open files (ulimit -a), or fewer slots (queue.embedded.slots)."
_STOPPED: Final = "The daemon was stopped, and is configured to remove the jobs that run then."


@implementer(IQueue)
class EmbeddedQueue(Service):
    """
    See L{IQueue}, Note [What is promised of resources] and Note [Processes that a run leaves behind].

    C{user_cpu} and C{image_size} (the largest resident set of one process) are known when a run has ended; a rerun
    writes C{stdout} and C{stderr} anew.

    @ivar loop: starts what is due, and takes account of what has ended.
    @param reactor: provides L{twisted.internet.interfaces.IReactorProcess} and L{twisted.internet.interfaces.IReactorTime}.
    @param directory: what the queue must not lose, and where jobs work; nobody else's.
    @param wrapper: the program that runs a bundle.
    @param workers: where files are written and processes are searched; must run from before our start until after our stop.
    @param slots: how many cores the jobs may ask for together; 0 for all that the machine has.
    @param on_shutdown: what becomes of the jobs that run when the service stops: C{"rerun"} makes them idle, and they start
        again with the next life; C{"remove"} removes them.
    @param grace: seconds that a run has between SIGTERM and SIGKILL when it is to end.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        directory: Path,
        wrapper: Path,
        workers: IWorkers,
        machine: Machine,
        slots: int = 0,
        on_shutdown: Literal["rerun", "remove"] = "rerun",
        grace: float = 10.0,
    ) -> None:
        self.name = "embedded"
        self.settling = 0.0
        self._reactor = reactor
        self._wrapper = wrapper
        self._workers = workers
        self._machine = machine
        self._slots = slots or machine.cores
        self._on_shutdown = on_shutdown
        self._grace = grace
        self._ledger = Ledger(reactor, directory, workers, machine)
        self._runs: dict[BackendId, Run] = {}
        self._turn = DeferredLock()
        self._prepared = False
        self._shortage = ""
        self._pause: IDelayedCall | None = None
        self.loop = Repeating(reactor, _RETRY, self._look, "the embedded queue")

    def prepare(self) -> None:
        """
        Take over what an earlier life has left: end its runs, learn how they ended.  Blocking.

        @raise StartupError: the directory cannot be used, or another daemon uses it.
        """
        self._ledger.open()
        self._prepared = True

    def startService(self) -> None:
        """Prepare, unless that was done, and start what is due."""
        super().startService()
        if not self._prepared:
            self.prepare()
        self.loop.startService()

    def hurry(self) -> None:
        """The service is about to stop: nothing that others wait for takes long here."""

    def stopService(self) -> Deferred[None]:
        """Fires when no process is left, which takes no longer than the grace and a little."""
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    def submit(self, tickets: Sequence[Ticket]) -> Deferred[Sequence[BackendId | Refusal]]:
        """See L{IQueue.submit}; after L{QueueAway} the jobs are not there."""
        return self._in_turn(self._submit(tickets), "a submission to the embedded queue")

    def sightings(self) -> Deferred[Sequence[Sighting]]:
        """See L{IQueue.sightings}."""
        return succeed([each.sighting for each in self._ledger.records.values()])

    def news(self, since: str) -> Deferred[News]:
        """See L{IQueue.news}; nothing is missed."""
        return succeed(self._ledger.news(since))

    def find(self, job_ids: Collection[str]) -> Deferred[Mapping[str, Sighting]]:
        """
        See L{IQueue.find}.

        The history is what was acknowledged last in this life.  That is enough: whoever acknowledges a job has stored how
        it ended, and does not ask for it in another life.
        """
        return succeed(self._ledger.find(job_ids))

    def tasks(self, job_id: str, history: bool = False) -> Deferred[Sequence[Sighting]]:
        """See L{IQueue.tasks}, and L{find} for what the history is."""
        return succeed(self._ledger.tasks(job_id, history))

    def act(self, action: Action, backend_ids: Sequence[BackendId], reason: str) -> Deferred[Sequence[ActionResult]]:
        """
        See L{IQueue.act}.

        The processes of a job that is held or removed may take their grace to end; it shows its new state meanwhile.
        """
        return self._in_turn(self._act(action, backend_ids, reason), "an action on the embedded queue")

    def follow(self, sighting: Sighting, directory: Path, artifact: Artifact) -> AsyncGenerator[bytes, None]:
        """See L{IQueue.follow}."""

        def runs() -> bool:
            now = self._ledger.records.get(sighting.backend_id)
            return now is not None and now.sighting.state in record.OCCUPYING and now.sighting.current_started == began

        began = sighting.current_started
        suffix = "" if sighting.task is None else f".{sighting.task}"
        return growing(self._reactor, self._workers, directory / f"{artifact}{suffix}", began or 0.0, runs)

    def fetch(self, sighting: Sighting, directory: Path) -> Deferred[None]:
        """See L{IQueue.fetch}: they are there already, in the directory that the job was submitted with."""
        return succeed(None)

    def acknowledge(self, backend_ids: Sequence[BackendId]) -> Deferred[None]:
        """See L{IQueue.acknowledge}."""
        return self._in_turn(self._ledger.forget(list(backend_ids)), "an acknowledgement to the embedded queue")

    def _in_turn(self, work: Coroutine[Deferred[Any], Any, T], name: str) -> Deferred[T]:
        """Work whose turn comes when what was begun before has ended."""

        async def wait_and_work() -> T:
            return await self._turn.run(lambda: Deferred.fromCoroutine(work))

        return shielded(wait_and_work(), name)

    async def _submit(self, tickets: Sequence[Ticket]) -> Sequence[BackendId | Refusal]:
        refusals = await self._workers.run(lambda: [self._refusal(ticket) for ticket in tickets])
        now, numbers = self._reactor.seconds(), iter(self._ledger.numbers(len(tickets)))
        results = [next(numbers) if reason is None else Refusal(reason) for reason in refusals]
        await self._change(
            [
                (None, each)
                for ticket, result in zip(tickets, results, strict=True)
                if isinstance(result, BackendId)
                for each in record.submitted(ticket, result, self._machine, now)
            ]
        )
        return results

    def _refusal(self, ticket: Ticket) -> str | None:
        reason = record.refusal(ticket, self._slots, self._machine)
        return reason or journal.lack(ticket.directory, ticket.request.files)

    async def _act(self, action: Action, backend_ids: Sequence[BackendId], reason: str) -> Sequence[ActionResult]:
        results: list[ActionResult] = []
        before, after = self._ledger.records, dict(self._ledger.records)
        for number in backend_ids:
            if number in after:
                result, after[number] = record.acted(after[number], action, reason)
                results.append(result)
            else:
                results.append(ActionResult.NOT_FOUND)
        changed = [number for number in after if after[number] is not before[number]]
        await self._change([(before[number], after[number]) for number in changed])
        for number in changed:
            if number in self._runs:
                _ORDERS[action](self._runs[number])
        return results

    async def _look(self) -> None:
        await self._in_turn(self._settle_and_start(), "a look at the embedded queue")

    async def _settle_and_start(self) -> None:
        problems = await self._settle()
        for each in record.due(self._ledger.records.values(), self._runs, self._slots):
            if self.running and self._pause is None:
                try:
                    await self._start(each)
                except Exception as problem:
                    problems.append(problem)
        if self._pause is not None:
            problems.append(QueueAway(self._shortage, _CURE))
        if problems:
            raise problems[0]

    def _wait_for_better_times(self, problem: str) -> None:
        """See Note [Not now]."""
        if self._pause is None and self.running:
            self._shortage = problem
            self._pause = self._reactor.callLater(_RETRY, self._go_on)

    def _go_on(self) -> None:
        self._pause = None
        self.loop.wake()

    async def _start(self, each: Record) -> None:
        started = record.started(each, self._machine, self._reactor.seconds())
        await self._change([(each, started)])
        assignment = Assignment(
            run=str(self._ledger.run_directory(started)),
            files=each.directory,
            wrapper=str(self._wrapper),
            limit=each.request.max_wall_time or 0,
            grace=self._grace,
            inputs=each.request.files,
            suffix=each.suffix,
            task=each.sighting.task,
        )
        try:
            self._runs[each.sighting.backend_id] = Run(self._reactor, assignment, self._machine.user, self.loop.wake)
        except OSError as problem:
            cause = f"The job could not be started: {problem}."
            short = problem.errno in SHORTAGES
            if short:
                self._wait_for_better_times(cause)
            await self._change([(started, record.interrupted(started) if short else record.lost(started, cause))])

    async def _settle(self) -> list[Exception]:
        """Take account of the runs that have ended.  @return: why that was not possible; the next look tries again."""
        problems: list[Exception] = []
        for number, run in list(self._runs.items()):
            if run.over.called:
                try:
                    await self._settle_run(self._ledger.records.get(number), run)
                except Exception as problem:
                    problems.append(problem)
                else:
                    del self._runs[number]
        return problems

    async def _settle_run(self, current: Record | None, run: Run) -> None:
        """@param current: the job; L{None} if it was removed and acknowledged while its processes were ending."""
        outcome = None if current is None else await self._ledger.outcome(current)
        if outcome is None:
            await self._ledger.end(run.directory)
        elif outcome.transient:
            self._wait_for_better_times(outcome.problem or "")
        if current is not None:
            after = self._without_outcome(current, run) if outcome is None else record.ended(current, outcome)
            await self._change([(current, after)])
        await self._ledger.clear(run.directory)

    def _without_outcome(self, current: Record, run: Run) -> Record:
        if not run.told:
            return record.lost(current, f"The program that watches over the job was killed or failed. {run.complaint}".strip())
        if self._on_shutdown == "remove":
            return record.removed(current, _STOPPED)
        return record.interrupted(current)

    async def _change(self, changes: Sequence[tuple[Record | None, Record]]) -> None:
        await self._ledger.change(changes)
        if changes and self.running:
            self.loop.wake()

    async def _stop(self) -> None:
        await maybeDeferred(self.loop.stopService)
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
        # Whatever had its turn before us is done then, and nothing starts any more.
        await self._in_turn(self._end_all(), "the end of the embedded queue")
        await gatherResults([run.over for run in self._runs.values()])
        try:
            problems = await self._in_turn(self._settle(), "the end of the embedded queue")
        except Exception as problem:
            problems = [problem]
        for each in problems:
            self._log.failure("what became of the last runs cannot be written; the next life will find out", Failure(each))
        self._ledger.close()
        self._prepared = False

    async def _end_all(self) -> None:
        for run in self._runs.values():
            run.end()


_ORDERS: Final[Mapping[Action, Callable[[Run], None]]] = {
    Action.HOLD: Run.end,
    Action.REMOVE: Run.end,
    Action.SUSPEND: Run.suspend,
    Action.CONTINUE: Run.resume,
    Action.RELEASE: lambda run: None,
}
