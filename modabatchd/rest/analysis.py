"""The operation that tells why a job waits."""

from __future__ import annotations

from typing import Any

import msgspec
from twisted.internet.interfaces import IReactorTime

from modabatchd.infrastructure.analysis import Cause, causes
from modabatchd.infrastructure.node import Capacity
from modabatchd.infrastructure.scaling import Scaling
from modabatchd.queue.job import Job, JobState, Resources
from modabatchd.rest.looking import found
from modabatchd.rest.naming import canonical
from modabatchd.rest.operations import Answer, operation
from modabatchd.store.interfaces import IStore


class AnalysisView(msgspec.Struct, frozen=True, kw_only=True):
    """
    Why a job is where it is.

    @ivar summary: in a sentence.
    @ivar causes: what jobs like it wait for, with their numbers; empty unless it is idle.
    """

    job_id: str
    job_status: JobState
    summary: str
    causes: tuple[Cause, ...] = ()


class Analysis:
    """Jobs, seen from the side of the nodes.  @param clock: tells the time of day."""

    def __init__(self, clock: IReactorTime, store: IStore, scaling: Scaling) -> None:
        self._clock = clock
        self._store = store
        self._scaling = scaling

    @operation("GET", "/jobs/<job_id>/analysis", "Why a job waits", answers={200: AnalysisView}, problems=(404, 503))
    async def analyse_job(self, request: Any, job_id: str) -> Answer:
        """What an idle job waits for, by the last look: a node that boots, a limit, or a size that does not exist."""
        job = await found(self._store, canonical(job_id))
        waits = self._causes(job) if job.state is JobState.IDLE else []
        summary = _summary(job, waits, self._scaling)
        return Answer(AnalysisView(job_id=job.request.id, job_status=job.state, summary=summary, causes=tuple(waits)))

    def outlook(self, asked: Resources) -> str | None:
        """Why a job that asks for this can never run; L{None} if it may.  Nobody is waited for."""
        return self._scaling.outlook(_shape(asked))

    def _causes(self, job: Job) -> list[Cause]:
        last = self._scaling.last
        if last is None:
            return []
        return causes(_shape(job.request.resources), last.snapshot, last.plan, self._clock.seconds())


def _shape(asked: Resources) -> Capacity:
    return Capacity(cpus=asked.cpus, memory=asked.memory, disk=asked.disk or 0, gpus=asked.gpus)


def _summary(job: Job, found: list[Cause], scaling: Scaling) -> str:
    if job.state is not JobState.IDLE:
        return f"It is {job.state.value}, and waits for no node."
    if found:
        return found[0].reason
    if scaling.last is not None and scaling.last.snapshot.stale:
        return f"Nothing is known at the moment, because {scaling.last.snapshot.stale}."
    return "The scheduler has not counted it yet, or is about to start it."
