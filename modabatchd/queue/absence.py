"""
For how long jobs were looked for in vain.  Pure: the time is an argument.

Note [Clocks that leap]
=======================
The time between two looks is measured by a clock that somebody may set.  So one such span counts for half of what is enough
at most, and for nothing when it is negative: however the clock leaps, a job was looked for three times before it is given up.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Mapping

from modabatchd.errors import QueueAway
from modabatchd.queue.job import Sighting


class Unreadable(QueueAway):
    """
    The queue has some of the jobs that it was asked for, but shows them in a way that cannot be read.

    @ivar job_ids: those; they are neither found nor absent.
    @ivar found: what the queue shows of the others.
    """

    def __init__(self, job_ids: Collection[str], found: Mapping[str, Sighting]) -> None:
        some = ", ".join(sorted(job_ids)[:3])
        super().__init__(
            f"What the scheduler shows of {len(job_ids)} jobs cannot be read, among them {some}.",
            "The log tells what is odd about them; undo what was done to them with condor_qedit, or remove them.",
        )
        self.job_ids = frozenset(job_ids)
        self.found = found


class Absences:
    """Jobs that were missing at the last look."""

    def __init__(self) -> None:
        self._missed: dict[Hashable, tuple[float, float, int]] = {}

    def missed(self, job_id: Hashable, now: float, enough: float) -> bool:
        """
        A look did not find the job.

        @param enough: seconds that it must have been missing to be given up.
        @return: whether it has been missing for long enough.  See Note [Clocks that leap].
        """
        last, waited, looks = self._missed.get(job_id, (now, 0.0, 0))
        waited += min(max(0.0, now - last), enough / 2)
        self._missed[job_id] = (now, waited, looks + 1)
        return looks >= 2 and waited >= enough

    def found(self, job_ids: Iterable[Hashable]) -> None:
        """These are there again, or nobody looks for them any more."""
        for job_id in job_ids:
            self._missed.pop(job_id, None)

    def only(self, job_ids: Collection[Hashable]) -> None:
        """All others are there again."""
        self.found(self._missed.keys() - set(job_ids))
