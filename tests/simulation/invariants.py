"""What must hold when all faults are over and everything has come to rest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from modabatchd.queue.job import Job, JobState
from tests.deferreds import now
from tests.simulation.world import World
from trust.histories import unlawful


def violations(world: World, told: Mapping[str, Sequence[str]]) -> list[str]:
    """@param told: by the URL of its notification, the ids that the clients of a submission were told."""
    jobs = {job_id: _job(world, job_id) for job_id in world.job_ids()}
    return [*world.broken, *_of_clients(jobs, told), *_of_jobs(world, jobs), *_of_messages(world, jobs), *_of_rest(world, jobs)]


def _job(world: World, job_id: str) -> Job:
    job = now(world.real_store.get(job_id))
    assert job is not None
    return job


def _of_clients(jobs: Mapping[str, Job], told: Mapping[str, Sequence[str]]) -> Iterator[str]:
    for url, ids in told.items():
        if len(set(ids)) != 1:
            yield f"the submission {url} made several jobs: {ids}"
        for job_id in ids:
            if job_id not in jobs:
                yield f"{job_id}, of which a client was told, is lost"
            elif jobs[job_id].request.notification != url:
                yield f"{job_id} is another submission's"


def _of_jobs(world: World, jobs: Mapping[str, Job]) -> Iterator[str]:
    for job_id, job in jobs.items():
        if wrong := unlawful([change.state for change in job.history]):
            yield f"{job_id}: {wrong}"
        if not job.state.final:
            yield f"{job_id} is still {job.state}"
        if job_id not in world.queue.tickets and job.state is not JobState.SUBMISSION_ERROR:
            yield f"{job_id} never came into the queue"
        tally = job.tally
        if job.request.array is not None and (tally is None or tally.completed + tally.removed != job.request.array.count):
            yield f"{job_id} does not count all its tasks as over: {tally}"
    if strangers := sorted(world.queue.tickets.keys() - jobs.keys()):
        yield f"the store does not know {strangers}"


def _of_messages(world: World, jobs: Mapping[str, Job]) -> Iterator[str]:
    for job_id, job in jobs.items():
        ids = world.receivers.taken.get(str(job.request.notification), [])
        if len(set(ids)) != 1:
            yield f"the owner of {job_id} was told with the ids {ids}"
    if waiting := now(world.real_store.due(float("inf"), 1000)):
        yield f"{len(waiting)} messages still wait"


def _of_rest(world: World, jobs: Mapping[str, Job]) -> Iterator[str]:
    kept = set(now(world.real_spool.unchanged(float("inf"))))
    if kept != jobs.keys():
        yield f"files without a job, or jobs without files: {sorted(kept ^ jobs.keys())}"
    if left := world.queue.unacknowledged():
        yield f"not acknowledged: {[job.subject for job in left]}"
    if drafts := len(world.real_spool._receiving):
        yield f"{drafts} drafts are left"
