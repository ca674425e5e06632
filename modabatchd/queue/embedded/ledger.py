"""
The jobs of the embedded queue, in memory and on disk.

Note [What is durable when]
===========================
A change of a job is written and synced first, then it can be seen, then it has an effect on processes.  Changes take turns, so
that each is made from what the one before has left.  A crash between writing and doing is mended by the next life: it ends
whatever still runs, takes the outcomes that it finds, and makes everything else that was running idle.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from modabatchd.errors import QueueAway, StartupError
from modabatchd.queue.embedded import journal, record, userlog
from modabatchd.queue.embedded.machine import Machine
from modabatchd.queue.embedded.processes import end_marked
from modabatchd.queue.embedded.record import Outcome, Record
from modabatchd.queue.interfaces import News
from modabatchd.queue.job import BackendId, Sighting
from modabatchd.workers import IWorkers

#: What a job was, L{None} if it has just come, and what it is now.
Change = tuple[Record | None, Record]

_PATIENCE: Final = 5.0
_REMEMBERED: Final = 1000
_CURE: Final = "See that its disk has space and can be written."


class Ledger:
    """
    Keeps the jobs.  See Note [What is durable when].

    @ivar records: the jobs that are not acknowledged, in the order of their submission.
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime, directory: Path, workers: IWorkers, machine: Machine) -> None:
        self._clock = clock
        self._journal = journal.Journal(directory)
        self._workers = workers
        self._machine = machine
        self._last = 0
        self._acknowledged: dict[BackendId, Sighting] = {}
        # The number of each job's last change, in the order of the changes, and what tells this life's numbers from others'.
        self._changed: dict[BackendId, int] = {}
        self._changes = 0
        self._life = secrets.token_hex(8)
        self.records: dict[BackendId, Record] = {}

    def open(self) -> None:
        """
        Take over what an earlier life has left: end its runs, learn how they ended.  Blocking.

        @raise StartupError: the directory cannot be used, or another daemon uses it.
        """
        before = self._journal.open()
        if not end_marked(f"{self._journal.runs}/", _PATIENCE):
            self._log.warn("processes that an earlier life has left cannot be killed")
        after = [self._taken_over(each) for each in before]
        try:
            self._write([(old, new) for old, new in zip(before, after, strict=True) if old != new], self._clock.seconds())
        except OSError as problem:
            raise StartupError(f"The embedded queue cannot write its files: {problem}.", _CURE) from problem
        self._journal.clear_all()
        self._last = self._journal.last
        self.records = {each.sighting.backend_id: each for each in sorted(after, key=lambda each: each.sighting.backend_id)}

    def close(self) -> None:
        """Let others have the directory."""
        self._journal.close()

    def numbers(self, count: int) -> list[BackendId]:
        """Numbers for new jobs; they are used up once a job that has one is recorded."""
        return [BackendId(self._last + 1 + index) for index in range(count)]

    def find(self, job_ids: Collection[str]) -> Mapping[str, Sighting]:
        """Look jobs up by our own id, also those that were acknowledged last."""
        wanted = set(job_ids)
        return {seen.job_id: seen for seen in self._known() if seen.job_id in wanted}

    def tasks(self, job_id: str, acknowledged: bool) -> Sequence[Sighting]:
        """The tasks of a job array; with those that were acknowledged last, if that is asked for."""
        return [seen for seen in self._known(acknowledged) if seen.job_id == job_id]

    def news(self, since: str) -> News:
        """The jobs that were changed since; if that was in another life, all."""
        life, _, number = since.partition(" ")
        until = f"{self._life} {self._changes}"
        if life != self._life:
            return News([each.sighting for each in self.records.values()], until)
        changed = takewhile(lambda job: self._changed[job] > int(number), reversed(self._changed))
        return News([self.records[job].sighting for job in changed], until)

    async def change(self, changes: Sequence[Change]) -> None:
        """
        Change jobs; what has not changed may be among them.

        @raise QueueAway: it could not be written; new jobs are not there then.
        """
        real = [(before, after) for before, after in changes if before != after]
        if real:
            await self._durably(self._write, real, self._clock.seconds())
            self.records.update((after.sighting.backend_id, after) for _, after in real)
            self._count(after.sighting.backend_id for _, after in real)
            self._last = max(self._last, *(after.sighting.backend_id.cluster for _, after in real))

    async def forget(self, numbers: Iterable[BackendId]) -> None:
        """
        Forget those of these jobs that are over.

        @raise QueueAway: it could not be written.
        """
        over = {number for number in numbers if number in self.records and self.records[number].sighting.state.final}
        await self._durably(self._journal.forget, [self.records[number] for number in over])
        for number in over:
            if number in self.records:
                seen = self.records.pop(number).sighting
                self._changed.pop(number, None)
                self._acknowledged[number] = seen
        while len(self._acknowledged) > _REMEMBERED:
            del self._acknowledged[next(iter(self._acknowledged))]

    def run_directory(self, each: Record) -> Path:
        """Where the latest run of a job works."""
        return self._journal.run(each.sighting)

    def outcome(self, each: Record) -> Deferred[Outcome | None]:
        """How the latest run of a job ended; L{None} while that is not known."""
        return self._workers.run(self._journal.outcome, each.sighting)

    async def clear(self, run: Path) -> None:
        """Delete the directory of a run."""
        await self._workers.run(self._journal.clear, run)

    async def end(self, run: Path) -> None:
        """Kill what is left of a run whose runner did not do it."""
        if not await self._workers.run(end_marked, str(run), _PATIENCE):
            self._log.warn("processes of {run} cannot be killed", run=run)

    def _count(self, numbers: Iterable[BackendId]) -> None:
        for number in numbers:
            self._changes += 1
            self._changed.pop(number, None)
            self._changed[number] = self._changes

    def _known(self, acknowledged: bool = True) -> Iterator[Sighting]:
        if acknowledged:
            yield from self._acknowledged.values()
        for each in self.records.values():
            yield each.sighting

    def _taken_over(self, each: Record) -> Record:
        outcome = self._journal.outcome(each.sighting)
        return record.interrupted(each) if outcome is None else record.ended(each, outcome)

    def _write(self, changes: Sequence[Change], now: float) -> None:
        new = all(before is None for before, _ in changes)
        (self._journal.add if new else self._journal.write)([after for _, after in changes])
        for before, after in changes:
            self._tell_owner(before, after, now)

    def _tell_owner(self, before: Record | None, after: Record, now: float) -> None:
        """Whatever becomes of the event log: the change is recorded already."""
        try:
            journal.append(
                Path(after.directory, f"_userlog{after.suffix}"), userlog.told(before, after, self._machine.host, now)
            )
        except FileNotFoundError:
            pass  # The job's directory is gone, so nobody will miss it.
        except OSError as problem:
            number = after.sighting.backend_id
            self._log.warn("the event log of job {number} cannot be written: {problem}", number=number, problem=problem)

    def _durably(self, work: Callable[..., None], *args: Any) -> Deferred[None]:
        def written() -> None:
            try:
                work(*args)
            except OSError as problem:
                raise QueueAway(f"The embedded queue cannot write its files: {problem}.", _CURE) from problem

        return self._workers.run(written)
