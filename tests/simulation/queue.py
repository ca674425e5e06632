"""The queue of the simulation: jobs may vanish from it and come again, and nobody may submit one twice."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.internet.defer import Deferred

from modabatchd.queue.interfaces import Refusal, Ticket
from modabatchd.queue.job import BackendId, Sighting
from tests.queue.memory import MemoryQueue


class Queue(MemoryQueue):
    """@param broken: told of rules that are broken."""

    def __init__(self, seconds: Callable[[], float], broken: Callable[[str], None]) -> None:
        super().__init__(seconds)
        self._broken = broken
        self._lost: dict[tuple[str, int | None], Sighting] = {}

    def submit(self, tickets: Sequence[Ticket]) -> Deferred[Sequence[BackendId | Refusal]]:
        """See L{IQueue.submit}."""
        for job_id in [ticket.request.id for ticket in tickets if ticket.request.id in self.tickets]:
            self._broken(f"{job_id} was submitted twice")
        return super().submit(tickets)

    def shown(self) -> list[Sighting]:
        """All jobs and tasks that it has, acknowledged or not, in the order in which they came."""
        return list(self._jobs.values())

    def unacknowledged(self) -> list[Sighting]:
        """Those that are over, while it was not told that it may forget them."""
        return [job for job in self._jobs.values() if job.state.final and job.backend_id not in self._acknowledged]

    def vanish(self, job_id: str, task: int | None = None) -> None:
        """See L{MemoryQueue.vanish}."""
        self._lost[job_id, task] = self._jobs[job_id, task]
        super().vanish(job_id, task)

    def reappear(self) -> None:
        """What vanished is there again, as it was."""
        self._jobs |= self._lost
        self._lost = {}
