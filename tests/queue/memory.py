"""A queue in memory, for tests of what stands on IQueue: nothing runs, the test moves the jobs along."""

import time
from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred
from zope.interface import implementer

from modabatchd.errors import QueueAway
from modabatchd.queue.absence import Unreadable
from modabatchd.queue.interfaces import ActionResult, IQueue, News, Refusal, Ticket
from modabatchd.queue.job import TRANSITIONS, Action, Artifact, BackendId, JobState, Sighting

T = TypeVar("T")
SETTLING = 60.0


@implementer(IQueue)
class MemoryQueue(Service):
    """
    See L{IQueue}.  Every Deferred has fired when it is returned.

    @ivar away: while it is true, every method of IQueue fails with L{QueueAway}, and does nothing.
    @ivar untouched: whether it says so then.
    @ivar silent: while it is true, changes are missing in its news.
    @ivar refuse: asked for every ticket: why the queue refuses it, or L{None} to take it.
    @ivar odd: ids of jobs that the queue shows in a way that cannot be read.
    @ivar printing: what a run shows of its output, by job id.
    @ivar tickets: what was submitted and taken, by job id.
    @ivar acts: every action that was asked for, as C{(action, backend ids, reason)}.

    Of a job array the test names a task by its index.
    """

    def __init__(self, seconds: Callable[[], float] = time.time) -> None:
        self.name = "memory"
        self.settling = SETTLING
        self.away = False
        self.untouched = False
        self.silent = False
        self.odd: set[str] = set()
        self.printing: dict[str, list[bytes]] = {}
        self.refuse: Callable[[Ticket], str | None] = lambda ticket: None
        self.tickets: dict[str, Ticket] = {}
        self.acts: list[tuple[Action, Sequence[BackendId], str]] = []
        self._seconds = seconds
        self._jobs: dict[tuple[str, int | None], Sighting] = {}
        self._acknowledged: set[BackendId] = set()
        # The job of each change, in their order.
        self._changes: list[tuple[str, int | None]] = []

    def submit(self, tickets: Sequence[Ticket]) -> Deferred[Sequence[BackendId | Refusal]]:
        return self._answer(lambda: [self._take(ticket) for ticket in tickets])

    def sightings(self) -> Deferred[Sequence[Sighting]]:
        waiting = [job for job in self._jobs.values() if job.backend_id not in self._acknowledged]
        return self._answer(lambda: [job for job in waiting if job.job_id not in self.odd])

    def news(self, since: str) -> Deferred[News]:
        def news() -> News:
            changed = dict.fromkeys(reversed(self._changes[int(since or 0) :]))
            there = [self._jobs[key] for key in changed if key in self._jobs and key[0] not in self.odd]
            return News([job for job in there if job.backend_id not in self._acknowledged], str(len(self._changes)))

        return self._answer(news)

    def find(self, job_ids: Collection[str]) -> Deferred[Mapping[str, Sighting]]:
        def find() -> Mapping[str, Sighting]:
            there = {job.job_id: job for job in self._jobs.values() if job.job_id in job_ids}
            if self.odd & there.keys():
                raise Unreadable(self.odd & there.keys(), {job_id: there[job_id] for job_id in there.keys() - self.odd})
            return there

        return self._answer(find)

    def tasks(self, job_id: str, history: bool = False) -> Deferred[Sequence[Sighting]]:
        def look() -> Sequence[Sighting]:
            there = [job for job in self._jobs.values() if job.job_id == job_id]
            return [job for job in there if history or job.backend_id not in self._acknowledged]

        return self._answer(look)

    def act(self, action: Action, backend_ids: Sequence[BackendId], reason: str) -> Deferred[Sequence[ActionResult]]:
        def act() -> Sequence[ActionResult]:
            self.acts.append((action, list(backend_ids), reason))
            return [self._act(action, backend_id, reason) for backend_id in backend_ids]

        return self._answer(act)

    async def follow(self, sighting: Sighting, directory: Path, artifact: Artifact) -> AsyncGenerator[bytes, None]:
        for piece in self.printing.get(sighting.job_id, ()):
            yield piece

    def fetch(self, sighting: Sighting, directory: Path) -> Deferred[None]:
        return self._answer(lambda: None)

    def acknowledge(self, backend_ids: Sequence[BackendId]) -> Deferred[None]:
        def acknowledge() -> None:
            over = {job.backend_id for job in self._jobs.values() if job.state.final}
            self._acknowledged |= over.intersection(backend_ids)

        return self._answer(acknowledge)

    def start(self, job_id: str, host: str = "node.example.org", task: int | None = None) -> None:
        """The job runs now."""
        job = self._jobs[job_id, task]
        assert job.state is JobState.IDLE, job
        now = self._seconds()
        self._change(
            (job_id, task),
            state=JobState.RUNNING,
            run_count=job.run_count + 1,
            started=job.started or now,
            current_started=now,
            host=host,
        )

    def finish(
        self,
        job_id: str,
        exit_status: int | None = 0,
        exit_signal: int | None = None,
        stdout: bytes = b"",
        stderr: bytes = b"",
        output: bytes | None = None,
        task: int | None = None,
    ) -> None:
        """
        The job has run to its end.

        @param output: the whole C{output.tar.gz}; L{None} for no such file.
        """
        directory = self.tickets[job_id].directory
        files = {"stdout": stdout, "stderr": stderr, "_userlog": b"000 to 005\n", "output.tar.gz": output}
        for name, content in files.items():
            if content is not None:
                (directory / (name if task is None else f"{name}.{task}")).write_bytes(content)
        if self._jobs[job_id, task].state is JobState.IDLE:
            self.start(job_id, task=task)
        self._change(
            (job_id, task),
            state=JobState.COMPLETED,
            completed=self._seconds(),
            exit_status=exit_status if exit_signal is None else None,
            exit_signal=exit_signal,
        )

    def number(self, job_id: str) -> BackendId:
        return self._jobs[job_id, None].backend_id

    def hold(self, job_id: str, reason: str, task: int | None = None) -> None:
        """As if an administrator had held the job."""
        self._change((job_id, task), state=JobState.HELD, reason=reason)

    def remove(self, job_id: str, reason: str, task: int | None = None) -> None:
        """As if an administrator had removed the job."""
        self._change((job_id, task), state=JobState.REMOVED, reason=reason)

    def vanish(self, job_id: str, task: int | None = None) -> None:
        """The queue loses the job, and every trace of it."""
        del self._jobs[job_id, task]

    def acknowledged(self, job_id: str) -> bool:
        """Whether the queue was told that it may forget the job, or all tasks of the array."""
        return all(job.backend_id in self._acknowledged for job in self._jobs.values() if job.job_id == job_id)

    def _answer(self, work: Callable[[], T]) -> Deferred[T]:
        def answer() -> T:
            if self.away:
                raise QueueAway("The queue in memory is away.", "Set its attribute away to False.", self.untouched)
            return work()

        return maybeDeferred(answer)

    def _take(self, ticket: Ticket) -> BackendId | Refusal:
        reason = self.refuse(ticket)
        if reason is not None:
            return Refusal(reason)
        request = ticket.request
        number = BackendId(len(self.tickets) + 1)
        assert request.id not in self.tickets, "submitted twice"
        self.tickets[request.id] = ticket
        for place, task in enumerate([None] if request.array is None else request.array):
            self._changes.append((request.id, task))
            self._jobs[request.id, task] = Sighting(
                job_id=request.id,
                task=task,
                backend_id=BackendId(number.cluster, place),
                state=JobState.IDLE,
                backend_state="idle",
                global_job_id=f"memory#{number.cluster}.{place}#{int(self._seconds())}",
                priority=request.priority,
            )
        return number

    def _act(self, action: Action, backend_id: BackendId, reason: str) -> ActionResult:
        job = next((job for job in self._jobs.values() if job.backend_id == backend_id), None)
        if job is None:
            return ActionResult.NOT_FOUND
        transition = TRANSITIONS[action]
        if job.state is transition.to and action in (Action.HOLD, Action.REMOVE):
            return ActionResult.ALREADY_DONE
        if job.state not in transition.allowed:
            return ActionResult.BAD_STATUS
        self._change(
            (job.job_id, job.task), state=transition.to, reason=reason if action in (Action.HOLD, Action.REMOVE) else None
        )
        return ActionResult.DONE

    def _change(self, key: tuple[str, int | None], state: JobState, **changes: Any) -> None:
        changed = {"state": state, "backend_state": state.value, "reason": None} | changes
        self._jobs[key] = msgspec.structs.replace(self._jobs[key], **changed)
        if not self.silent:
            self._changes.append(key)
