"""SQLStore in real threads."""

import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import gatherResults

from modabatchd.queue.job import JobState
from modabatchd.store.interfaces import Place, Progress, Selection
from modabatchd.store.preparing import prepare
from modabatchd.store.sql import SQLStore
from modabatchd.workers import ThreadWorkers
from tests.store.values import a_request


@pytest_twisted.ensureDeferred
async def test_whoever_follows_the_list_sees_every_job(url: str) -> None:
    writer, readers = ThreadWorkers(reactor, "writer", 1), ThreadWorkers(reactor, "readers", 3)
    store = SQLStore(url, prepare(url), writer, readers)
    for service in (writer, readers, store):
        service.startService()
    requests = [a_request() for _ in range(60)]
    adding = gatherResults([store.add([request]) for request in requests])
    seen: list[str] = []
    after = None
    while len(seen) < len(requests):
        page, *_ = await gatherResults([store.page(Selection(), 7, after), store.live(0, 5), store.due(1.0, 5)])
        seen.extend(line.id for line in page.jobs)
        after = Place(page.jobs[-1].seq) if page.jobs else after
    await adding
    assert seen == [request.id for request in requests]
    late = store.advance([Progress(job_id=seen[0], state=JobState.COMPLETED, at=2.0)])
    await store.stopService()
    assert late.called
    writer.stopService()
    readers.stopService()
