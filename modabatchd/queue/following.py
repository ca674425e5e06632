"""
What a job prints, while it runs and to its end.

Note [One text]
===============
The queue shows what a run prints from its beginning on, and may break off at any time, also some bytes before the end; the
artifact has all of it, once the job is over.  Both are the same bytes, so we count what was passed on, leave that much out when
we have to begin anew, and take from the artifact what is missing at the end.  A run that HTCondor repeats prints anew,
and so do we: what was passed on cannot be taken back.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import Final

import msgspec
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from modabatchd.errors import QueueAway
from modabatchd.queue import files
from modabatchd.queue.interfaces import IQueue, ISpool
from modabatchd.queue.job import Artifact, Job, JobState, Sighting, Task
from modabatchd.queue.job_events import JobEvents
from modabatchd.store.interfaces import IStore
from modabatchd.workers import IWorkers

#: Seconds that a job is given to change before it is looked at again.
_PATIENCE: Final = 2.0
_RUNS: Final = frozenset({JobState.RUNNING, JobState.SUSPENDED})


class _Told(msgspec.Struct):
    """@ivar run: when the run began.  @ivar count: bytes of it that were passed on."""

    run: float | None = None
    count: int = 0

    def of(self, sighting: Sighting | None) -> int:
        """Bytes of the present run that were passed on."""
        run = sighting.current_started if sighting else None
        if run != self.run:
            self.run, self.count = run, 0
        return self.count


class Following:
    """See Note [One text].  @param readers: where files are read."""

    _log = Logger()

    def __init__(
        self, clock: IReactorTime, queue: IQueue, store: IStore, spool: ISpool, events: JobEvents, readers: IWorkers
    ) -> None:
        self._clock = clock
        self._queue = queue
        self._store = store
        self._spool = spool
        self._events = events
        self._readers = readers

    async def printed(self, job_id: str, artifact: Artifact, task: int | None = None) -> AsyncGenerator[bytes, None]:
        """
        What a job prints, as it comes; ends with the job.  An empty piece says that nothing has come for a while.

        @param artifact: C{stdout} or C{stderr}.
        @param task: the index of the task that is followed, in a job array.
        @raise QueueRefused: it cannot be had before the job is over.
        """
        told = _Told()
        while True:
            number = await self._events.latest()
            seen = await (self._store.get(job_id) if task is None else self._store.task(job_id, task))
            if seen is None or seen.state.final:
                break
            async for piece in self._run(seen, artifact, told):
                yield piece
            yield b""
            await self._events.about(job_id, number, _PATIENCE)
        if seen is not None:
            async for piece in self._rest(self._spool.artifact(job_id, artifact, task), told.of(seen.sighting)):
                yield piece

    async def _run(self, seen: Job | Task, artifact: Artifact, told: _Told) -> AsyncGenerator[bytes, None]:
        """What the present run prints, if there is one, without what was told already."""
        sighting = seen.sighting
        if sighting is None or seen.state not in _RUNS:
            return
        known = told.of(sighting)
        try:
            async with aclosing(self._queue.follow(sighting, self._spool.directory(sighting.job_id), artifact)) as pieces:
                async for piece in pieces:
                    fresh = piece[known:]
                    known -= len(piece) - len(fresh)
                    told.count += len(fresh)
                    yield fresh
        except QueueAway as problem:
            self._log.info("job {id} cannot be followed for the moment: {why}", id=sighting.job_id, why=problem.cause)

    async def _rest(self, path: Path, start: int) -> AsyncGenerator[bytes, None]:
        while piece := await self._readers.run(files.piece, path, start):
            start += len(piece)
            yield piece
