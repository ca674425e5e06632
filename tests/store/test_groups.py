"""Jobs that come one by one while the database is busy: recorded together, refused alone."""

from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError
from twisted.internet.defer import Deferred

from modabatchd.errors import StoreAway
from modabatchd.queue.job import BackendId
from modabatchd.store.connecting import read_url, soon, to_write
from modabatchd.store.interfaces import Selection
from modabatchd.store.preparing import prepare
from modabatchd.store.sql import SQLStore
from tests.deferreds import now
from tests.rest.places import Held
from tests.run_now import RunNow
from tests.store.values import a_request


class Busy:
    """A store whose first transaction is under way, so that what comes waits."""

    def __init__(self, url: str) -> None:
        self.writer = Held()
        self.allowed = True
        self.store = SQLStore(url, prepare(url), self.writer, RunNow(), None, lambda: self.allowed)
        self.first = self.store.add([a_request()])

    def ids(self) -> list[str]:
        return [line.id for line in now(self.store.page(Selection(), 1000)).jobs]

    def stop(self) -> None:
        stopped: Deferred[Any] = self.store.stopService()
        self.writer.all()
        now(stopped)


def test_what_waits_is_recorded_in_one_transaction(url: str) -> None:
    busy = Busy(url)
    requests = [a_request() for _ in range(50)]
    adding = [busy.store.add([request]) for request in requests]
    several = busy.store.add([a_request(), a_request()])
    busy.writer.one()
    [first] = now(busy.first)
    assert len(busy.writer.work) == 1
    busy.writer.one()
    added = [job for each in adding for job in now(each)]
    assert [job.request for job in added] == requests
    assert busy.ids() == [job.request.id for job in (first, *added, *now(several))]
    binding = [busy.store.bind(request.id, BackendId(7, number)) for number, request in enumerate(requests)]
    busy.writer.all()
    assert all(each.called for each in binding)
    stored = [now(busy.store.get(request.id)) for request in requests]
    assert [job and job.backend_id for job in stored] == [BackendId(7, number) for number in range(50)]
    busy.stop()


@pytest.mark.parametrize("place", [0, 3, 9])
def test_one_that_cannot_be_recorded_is_alone_refused(url: str, place: int) -> None:
    busy = Busy(url)
    requests = [a_request() for _ in range(10)]
    busy.writer.one()
    known = now(busy.first)[0].request
    requests[place] = known
    hold = busy.store.add([a_request()])
    adding = [busy.store.add([request]) for request in requests]
    busy.writer.all()
    now(hold)
    with pytest.raises(IntegrityError):
        now(adding.pop(place))
    added = [job for each in adding for job in now(each)]
    assert [job.request for job in added] == [request for request in requests if request != known]
    assert busy.ids()[2:] == [job.request.id for job in added]
    busy.stop()


def test_while_the_database_is_away_all_are_told_at_once(url: str) -> None:
    busy = Busy(url)
    adding = [busy.store.add([a_request()]) for _ in range(10)]
    busy.allowed = False
    busy.writer.one()
    assert not busy.writer.work
    for each in (busy.first, *adding):
        with pytest.raises(StoreAway):
            now(each)
    busy.allowed = True
    again = busy.store.add([a_request()])
    busy.writer.all()
    assert now(again)
    busy.stop()


def test_only_what_is_soon_durable_is_not_synced_at_once(url: str) -> None:
    prepare(url)
    engine = to_write(read_url(url))
    question, at_once, later = (
        ("PRAGMA synchronous", 2, 1) if engine.dialect.name == "sqlite" else ("SHOW synchronous_commit", "on", "off")
    )
    for each, answer in ((engine, at_once), (soon(engine), later), (engine, at_once)):
        with each.begin() as connection:
            assert connection.exec_driver_sql(question).scalar() == answer
    engine.dispose()
