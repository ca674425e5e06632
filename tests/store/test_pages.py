"""Pages of the list that are remembered until the store changes."""

from pathlib import Path
from uuid import uuid4

from twisted.internet.defer import Deferred
from zope.interface import implementer

from modabatchd.queue.job import JobRequest, JobState
from modabatchd.store.interfaces import Listed, Page, Place, Progress, Selection
from modabatchd.store.pages import Pages
from modabatchd.store.preparing import prepare
from modabatchd.store.sql import SQLStore
from modabatchd.workers import IWorkers
from tests.deferreds import now
from tests.run_now import RunNow

KEY = (Selection(), 10, None)
PAGE = Page([Listed(1, "id", JobState.IDLE, "")])


@implementer(IWorkers)
class Counting(RunNow):
    """@ivar calls: how often it was asked."""

    def __init__(self) -> None:
        self.calls = 0

    def run(self, work, *args, **kwargs) -> Deferred:
        self.calls += 1
        return super().run(work, *args, **kwargs)


def test_a_page_is_remembered_with_its_version() -> None:
    pages = Pages()
    assert pages.get(KEY, "1") is None
    pages.remember(KEY, PAGE, "1")
    assert pages.get(KEY, "1") == PAGE
    assert pages.get(KEY, "2") is None
    assert pages.get(KEY, None) is None


def test_a_page_without_a_version_is_not_remembered() -> None:
    pages = Pages()
    assert pages.remember(KEY, PAGE, None) == PAGE
    assert pages.get(KEY, None) is None


def test_neither_long_pages_nor_many_are_remembered() -> None:
    pages = Pages()
    pages.remember(KEY, Page(PAGE.jobs * 102), "1")
    assert pages.get(KEY, "1") is None
    for after in range(1000):
        pages.remember((Selection(), 10, Place(after)), PAGE, "1")
    assert len(pages._pages) <= 100


def test_a_store_reads_a_page_once_and_again_after_every_write(tmp_path: Path) -> None:
    url, readers = f"sqlite:///{tmp_path}/store.sqlite", Counting()
    store = SQLStore(url, prepare(url), RunNow(), readers)
    store.startService()
    job_id = str(uuid4())
    assert now(store.page(Selection(), 10)) == now(store.page(Selection(), 10)) == Page([])
    assert readers.calls == 1
    now(store.add([JobRequest(id=job_id, submitted=1.0)]))
    assert [listed.job_status for listed in now(store.page(Selection(), 10)).jobs] == [JobState.IDLE]
    now(store.advance([Progress(job_id=job_id, state=JobState.RUNNING, at=2.0)]))
    assert [listed.job_status for listed in now(store.page(Selection(), 10)).jobs] == [JobState.RUNNING]
    now(store.forget([job_id]))
    assert now(store.page(Selection(), 10)) == Page([])
    assert readers.calls == 4
    now(store.stopService())
