"""
What tells an answer from another one: a number for what the jobs are, and one for each job.

Note [Versions]
===============
Whoever polls has what he asks for already, nearly always.  Every write of the database is ours (Note [One writer] in
L{modabatchd.store.connecting}), so that can be told without asking the database: a version holds until the next write that
touches the job, or any job.  From the moment a write is asked for until it has ended, also when nobody waits for it any more,
what it touches has no version, because it may be read as it was or as it will be.  What was read has the version that there was
before the reading and after it; if that is not the same, it has none.

The numbers of a life begin with its name, so those of an earlier one are never mistaken for them.  Numbers of single jobs are
kept for those that were touched last; all others share the number of the moment when the rest was dropped, which may only make
something look new that is not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import Final

#: What a write may touch: these jobs; L{None}: it cannot be told, so all of them.
Touched = Collection[str] | None

#: What a write touches that has nothing to do with jobs.
NOTHING: Final[Collection[str]] = frozenset()

_MOST: Final = 20_000


class Versions:
    """See Note [Versions].  @param life: the name of this life."""

    def __init__(self, life: str) -> None:
        self._life = life
        self._number = 0
        self._older = 0
        self._jobs: dict[str, int] = {}
        self._under_way: Counter[str] = Counter()
        self._writes = 0
        self._unclear = 0

    def begin(self, touched: Touched) -> None:
        """A write has been asked for."""
        self._writes += touched is None or bool(touched)
        self._unclear += touched is None
        self._under_way.update(touched or ())

    def end(self, touched: Touched) -> None:
        """It has ended."""
        self._writes -= touched is None or bool(touched)
        self._unclear -= touched is None
        self._number += touched is None or bool(touched)
        for job_id in touched or ():
            self._jobs[job_id] = self._number
            self._under_way[job_id] -= 1
            if not self._under_way[job_id]:
                del self._under_way[job_id]
        if touched is None or len(self._jobs) > _MOST:
            self._jobs.clear()
            self._older = self._number

    def version(self, job_id: str | None) -> str | None:
        """The version of a job, or of all of them; L{None} while it is being changed."""
        if self._unclear or (self._writes if job_id is None else job_id in self._under_way):
            return None
        return f"{self._life}-{self._number if job_id is None else self._jobs.get(job_id, self._older):x}"
