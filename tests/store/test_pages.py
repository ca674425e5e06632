"""Pages of the list that are remembered until the store changes."""

from pathlib import Path
from uuid import uuid4

from twisted.internet.defer import Deferred
from zope.interface import implementer

from modabatchd.queue.job import JobRequest, JobState
from modabatchd.store.interfaces import Listed, Progress, Selection
from modabatchd.store.pages import Pages
from modabatchd.store.preparing import prepare
from modabatchd.store.sql import SQLStore
from modabatchd.workers import IWorkers
from tests.deferreds import now
from tests.run_now import RunNow

KEY = (Selection(), 10, 0)
PAGE = [Listed(1, "id", JobState.IDLE, "")]


@implementer(IWorkers)
class Counting(RunNow):
    """@ivar calls: how often it was asked."""

    def __init__(self) -> None:
        self.calls = 0

    def run(self, work, *args, **kwargs) -> Deferred:
        self.calls += 1
        return super().run(work, *args, **kwargs)


def test_a_page_is_remembered_until_the_store_changes() -> None:
    pages = Pages()
    assert pages.get(KEY) is None
    pages.remember(KEY, PAGE, pages.generation)
    assert pages.get(KEY) == PAGE
    pages.forget()
    assert pages.get(KEY) is None


def test_a_page_whose_reading_began_before_a_change_is_not_remembered() -> None:
    pages = Pages()
    generation = pages.generation
    pages.forget()
    assert pages.remember(KEY, PAGE, generation) == PAGE
    assert pages.get(KEY) is None


def test_neither_long_pages_nor_many_are_remembered() -> None:
    pages = Pages()
    pages.remember(KEY, PAGE * 102, pages.generation)
    assert pages.get(KEY) is None
    for after in range(1000):
        pages.remember((Selection(), 10, after), PAGE, pages.generation)
    assert len(pages._pages) <= 100


def test_a_store_reads_a_page_once_and_again_after_every_write(tmp_path: Path) -> None:
    url, readers = f"sqlite:///{tmp_path}/store.sqlite", Counting()
    store = SQLStore(url, prepare(url), RunNow(), readers)
    store.startService()
    job_id = str(uuid4())
    assert now(store.page(Selection(), 10)) == now(store.page(Selection(), 10)) == []
    assert readers.calls == 1
    now(store.add([JobRequest(id=job_id, submitted=1.0)]))
    assert [listed.job_status for listed in now(store.page(Selection(), 10))] == [JobState.IDLE]
    now(store.advance([Progress(job_id=job_id, state=JobState.RUNNING, at=2.0)]))
    assert [listed.job_status for listed in now(store.page(Selection(), 10))] == [JobState.RUNNING]
    now(store.forget([job_id]))
    assert now(store.page(Selection(), 10)) == []
    assert readers.calls == 4
    now(store.stopService())
