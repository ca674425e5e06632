"""The files in which HTCondor tells of events."""

from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from modabatchd.queue.htcondor.changes import Changes
from modabatchd.queue.htcondor.events import Events, Found, Marks, events
from modabatchd.queue.job import Sighting
from tests.deferreds import now
from tests.run_now import RunNow

RAN = "001 (0123.004.000) 2026-11-25 01:09:31 Job executing on host: <127.0.0.1:9618>\n\tCpus = 1\n...\n"
HELD = "012 (0123.004.000) 2026-11-25 01:09:30 Job was held.\n\tby hand (005)\n\tCode 1 Subcode 0\n...\n"
HOUR = 3600.0


class Shelf:
    """Event files, and the time of day."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "events"
        self.time = 1_700_000_000.0
        self.events = Events(self.directory, RunNow(), lambda: self.time)
        self.marks: Marks = {}

    def newest(self) -> Path:
        return Path(now(self.events.newest()).path)

    def read(self) -> int:
        found = now(self.events.read(self.marks))
        self.marks = found.marks
        return found.count

    def clear_away(self, in_use: set[str]) -> list[str]:
        async def is_in_use(stamp: int) -> bool:
            return str(stamp) in in_use

        now(self.events.clear_away(is_in_use))
        return sorted(path.stem for path in self.directory.iterdir())


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


def append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


@pytest.mark.parametrize(
    ("text", "count", "whole"),
    [
        ("", 0, 0),
        (RAN, 1, len(RAN)),
        (RAN + HELD, 2, len(RAN + HELD)),
        (RAN + "005 (0123.004.000) 2026", 1, len(RAN)),
        ("of its own accord\n..", 0, 18),
    ],
)
def test_events_in_a_text(text: str, count: int, whole: int) -> None:
    assert events(text.encode()) == (count, whole)


def test_each_event_is_read_once(shelf: Shelf) -> None:
    assert shelf.read() == 0
    file = shelf.newest()
    assert shelf.read() == 0
    append(file, RAN + HELD[:20])
    assert shelf.read() == 1
    assert shelf.read() == 0
    append(file, HELD[20:])
    assert shelf.read() == 1
    another = file.with_suffix(".new")
    append(another, RAN * 3)
    another.rename(file)
    assert shelf.read() == 3


def test_much_is_read_in_pieces(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modabatchd.queue.htcondor.events._CHUNK", 100)
    append(shelf.newest(), RAN * 50 + "x" * 250 + "\n" + HELD)
    assert shelf.read() == 51
    assert shelf.read() == 0


def test_a_new_file_is_begun_after_a_day_or_many_events(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    first = shelf.newest()
    shelf.time += 23 * HOUR
    assert shelf.newest() == first
    append(first, RAN)
    shelf.time += 2 * HOUR
    second = shelf.newest()
    append(second, HELD)
    monkeypatch.setattr("modabatchd.queue.htcondor.events._LARGEST", 10)
    third = shelf.newest()
    assert first.name < second.name < third.name
    assert shelf.read() == 2


def test_files_stay_while_jobs_belong_to_them(shelf: Shelf) -> None:
    stamps = []
    for _ in range(3):
        stamps.append(shelf.newest().stem)
        shelf.time += 25 * HOUR
    assert shelf.clear_away({stamps[0]}) == [stamps[0], stamps[2]]
    assert shelf.clear_away(set()) == [stamps[2]]
    latest = shelf.newest().stem
    assert shelf.clear_away(set()) == [stamps[2], latest]
    assert shelf.read() == 0


class Scheduler:
    """Answers questions for changes, and notes how far back they look."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.spans: list[int] = []
        self.events: int | None = 0
        self.changes = Changes(self.clock, self.ask, self.read, 60.0)
        self.until = ""

    async def ask(self, seconds: int) -> list[Sighting]:
        self.spans.append(seconds)
        return []

    async def read(self, marks: Marks) -> Found | None:
        count, self.events = self.events, 0
        return None if count is None else Found(count, {"x": (1, 1)})

    def look(self, seconds: float = 0.0, store: bool = True) -> Any:
        self.clock.advance(seconds)
        news = now(Deferred.fromCoroutine(self.changes.since(self.until)))
        if store:
            self.until = news.until
        return news


def test_an_event_is_asked_after_at_once_and_once_more() -> None:
    scheduler = Scheduler()
    scheduler.look()
    for _ in range(9):
        scheduler.look(0.2)
    assert len(scheduler.spans) == 1
    scheduler.events = 2
    scheduler.look(0.2)
    assert len(scheduler.spans) == 2
    for _ in range(50):
        scheduler.look(0.2)
    assert len(scheduler.spans) == 4
    assert (scheduler.changes.events, scheduler.changes.questions) == (2, 4)


def test_what_was_told_but_not_stored_is_told_again() -> None:
    scheduler = Scheduler()
    scheduler.look()
    scheduler.look(60, store=False)
    scheduler.look(60, store=False)
    scheduler.look(60)
    scheduler.look(60)
    assert scheduler.spans == [3, 63, 123, 183, 63]


@pytest.mark.parametrize("until", ["", "7", "{}", '{"answer": 7}', "other 12"])
def test_news_of_another_life_or_release(until: str) -> None:
    scheduler = Scheduler()
    scheduler.until = until
    scheduler.look()
    assert scheduler.spans == [3]
