"""What reads cost must not grow with the number of jobs; counted in steps of SQLite's machine, not in time."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Executable, text

from modabatchd.queue.job import JobState
from modabatchd.store import statements, statements_webhooks
from modabatchd.store import statements_lists as lists
from modabatchd.store.connecting import read_url, to_read
from modabatchd.store.interfaces import Progress, Selection, Span
from modabatchd.store.statements_lists import parameters, shape
from tests.deferreds import now
from tests.store import databases
from tests.store.values import a_message, a_request

SELECTIONS = [
    Selection(),
    Selection(states=(JobState.COMPLETED,)),
    Selection(states=(JobState.REMOVED,)),
    Selection(states=(JobState.IDLE, JobState.RUNNING, JobState.COMPLETED)),
    Selection(name="even"),
    Selection(name="none"),
    Selection(name="none", labels=(("team", "red"),)),
    Selection(name="even", states=(JobState.REMOVED, JobState.IDLE)),
    Selection(labels=(("team", "red"),)),
    Selection(labels=(("team", "none"),)),
    Selection(labels=(("team", None),)),
    Selection(labels=(("none", None),)),
    Selection(labels=(("team", "red"),), states=(JobState.IDLE,)),
    Selection(labels=(("team", None),), states=(JobState.REMOVED, JobState.HELD)),
    Selection(newest=True),
    Selection(name="even", newest=True),
    Selection(labels=(("team", "red"),), states=(JobState.IDLE,), newest=True),
    Selection(ended=Span(3.0)),
    Selection(ended=Span(3.0, 4.0), newest=True),
]
READS: list[tuple[Executable, dict[str, Any]]] = [
    *(
        (make(shape(selection)), parameters(selection, 10, None))
        for selection in SELECTIONS
        for make in (lists.page, lists.whole)
    ),
    (lists.page(shape(Selection(name="even"))), parameters(Selection(name="even"), 10, None, 20, 100)),
    (lists.FIRST_SINCE, {"time": 1.0}),
    (lists.FIRST_SINCE, {"time": 2.0}),
    (lists.LIVE, lists.live(0, 10)),
    (statements.COUNTS, {}),
    (statements.LATEST, {}),
    (statements.EXPIRED, {"before": 1e9, "limit": 10}),
    (statements.DUE, {"now": 1e9, "limit": 10}),
    (statements.DUE, {"now": 0.0, "limit": 10}),
    (statements.GET, {"id": "none"}),
    (statements_webhooks.TOLD, {"job_id": "none"}),
    (statements_webhooks.TOLD_TO, {"to": "e", "before": 1e9, "limit": 10}),
    (statements_webhooks.TOLD_TO, {"to": "none", "before": 1e9, "limit": 10}),
    (statements_webhooks.DEAD, {"before": 1e9, "limit": 10}),
]


class Counted:
    """A database that counts what reading costs."""

    def __init__(self, url: str) -> None:
        self._engine = to_read(read_url(url))
        self._connection = self._engine.connect()
        self._steps = 0
        driver: Any = self._connection.connection.driver_connection
        driver.set_progress_handler(self._count, 1)

    def cost(self, statement: Executable, values: dict[str, Any]) -> int:
        """Steps of a read that was made before, so that no part of the schema must be read."""
        self._connection.execute(statement, values).all()
        self._steps = 0
        self._connection.execute(statement, values).all()
        return self._steps

    def close(self) -> None:
        self._connection.close()
        self._engine.dispose()

    def _count(self) -> int:
        self._steps += 1
        return 0


@contextmanager
def filled(directory: Path, size: int) -> Iterator[Counted]:
    """Jobs of which one in ten is idle and the others are over; of those some have a message that waits."""
    url = databases.sqlite(directory)
    store = databases.opened(url)
    requests = [
        a_request(name=("even", "odd")[number % 2], labels={"team": ("red", "blue")[number // 2 % 2]}) for number in range(size)
    ]
    now(store.add(requests))
    now(store.advance([_end(number, request.id) for number, request in enumerate(requests) if number % 10]))
    now(store.stopService())
    counted = Counted(url)
    yield counted
    counted.close()


def _end(number: int, job_id: str) -> Progress:
    # The waiting ones are those that were over last.
    messages = (a_message(job_id, endpoint="e"),) if number % 10 == 9 else ()
    return Progress(job_id=job_id, state=JobState.COMPLETED, at=number % 10, messages=messages)


@pytest.fixture(scope="module")
def sizes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Counted, Counted]]:
    """A few jobs, and ten times as many."""
    with (
        filled(tmp_path_factory.mktemp("small"), 300) as small,
        filled(tmp_path_factory.mktemp("large"), 3000) as large,
    ):
        yield small, large


@pytest.mark.parametrize(("statement", "values"), READS)
def test_cost_does_not_grow(sizes: tuple[Counted, Counted], statement: Executable, values: dict[str, Any]) -> None:
    small, large = (counted.cost(statement, values) for counted in sizes)
    assert large <= small * 1.1 + 5


def test_cost_that_grows_is_noticed(sizes: tuple[Counted, Counted]) -> None:
    small, large = (counted.cost(text("SELECT count(*) FROM changes WHERE at = 7"), {}) for counted in sizes)
    assert large > small * 5


def test_each_statement_is_built_once() -> None:
    one, other = (
        Selection(name="a", states=(JobState.IDLE, JobState.HELD)),
        Selection(name="b", states=(JobState.HELD, JobState.IDLE)),
    )
    assert lists.page(shape(one)) is lists.page(shape(other))
    assert lists.page(shape(Selection())) is lists.page(shape(Selection(states=tuple(JobState))))
