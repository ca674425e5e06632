"""Values to put into a store, and short ways of doing so."""

import uuid
from collections.abc import Sequence

from hypothesis import strategies as st

from modabatchd.notifications.endpoint import Event
from modabatchd.notifications.message import Message
from modabatchd.queue.job import BackendId, Job, JobRequest, JobState, Resources, Sighting
from modabatchd.store.interfaces import IStore, Listed, Place, Progress, Selection
from tests.deferreds import now

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30)
NUMBERS = st.integers(-(2**63), 2**63 - 1)
TIMES = st.floats(0, 1e11)
REQUESTS = st.builds(
    JobRequest,
    id=st.uuids().map(str),
    submitted=TIMES,
    name=TEXT,
    arguments=st.lists(TEXT, max_size=4).map(tuple),
    labels=st.dictionaries(TEXT, TEXT, max_size=4),
    resources=st.builds(Resources, cpus=NUMBERS, memory=NUMBERS, disk=st.none() | NUMBERS, gpus=NUMBERS),
    priority=NUMBERS,
    max_retries=NUMBERS,
    max_wall_time=st.none() | NUMBERS,
    notification=st.none() | TEXT,
    has_input=st.booleans(),
)
SIGHTINGS = st.builds(
    Sighting,
    job_id=st.just(""),
    backend_id=st.builds(BackendId, NUMBERS, NUMBERS),
    state=st.sampled_from(JobState),
    backend_state=TEXT,
    global_job_id=TEXT,
    universe=TEXT,
    priority=NUMBERS,
    run_count=NUMBERS,
    started=st.none() | TIMES,
    current_started=st.none() | TIMES,
    completed=st.none() | TIMES,
    exit_status=st.none() | NUMBERS,
    exit_signal=st.none() | NUMBERS,
    image_size=NUMBERS,
    user_cpu=TIMES,
    host=st.none() | TEXT,
    reason=st.none() | TEXT,
)


def a_request(**fields: object) -> JobRequest:
    return JobRequest(**{"id": str(uuid.uuid4()), "submitted": 1.25, **fields})


def a_sighting(job_id: str, state: JobState = JobState.RUNNING, **fields: object) -> Sighting:
    known = {"backend_id": BackendId(7, 1), "backend_state": "2", "global_job_id": "schedd#7.1", **fields}
    return Sighting(job_id=job_id, state=state, **known)


def a_message(job_id: str, created: float = 3.5, **fields: object) -> Message:
    known = {"id": str(uuid.uuid4()), "url": "http://host/path", "body": b'{"a":\xff\x00}', "event": Event.COMPLETED, **fields}
    return Message(job_id=job_id, created=created, **known)


def add(store: IStore, count: int = 1, **fields: object) -> list[str]:
    return [job.request.id for job in now(store.add([a_request(**fields) for _ in range(count)]))]


def step(store: IStore, job_id: str, state: JobState, at: float = 2.5, **fields: object) -> None:
    now(store.advance([Progress(job_id=job_id, state=state, at=at, **fields)]))


def end(store: IStore, job_id: str, at: float = 3.0, state: JobState = JobState.COMPLETED) -> Message:
    """Bring a job to a final state; the message that is told of it."""
    message = a_message(job_id, at)
    step(store, job_id, state, at, messages=(message,))
    return message


def get(store: IStore, job_id: str) -> Job:
    job = now(store.get(job_id))
    assert job is not None
    return job


def ids(listed: Sequence[Listed]) -> list[str]:
    return [line.id for line in listed]


def page(store: IStore, limit: int = 100, after: Place | None = None, **selection: object) -> list[str]:
    return ids(now(store.page(Selection(**selection), limit, after)).jobs)


def pages(store: IStore, limit: int = 100, **selection: object) -> list[str]:
    """A whole list, page by page."""
    found = now(store.page(Selection(**selection), limit))
    lines = list(found.jobs)
    while found.next is not None:
        assert len(found.jobs) <= limit
        found = now(store.page(Selection(**selection), limit, found.next))
        lines += found.jobs
    return ids(lines)
