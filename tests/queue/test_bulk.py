"""One action on many jobs: all of them, once, whatever comes between."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modabatchd.errors import QueueAway, UnknownOperation
from modabatchd.queue.bulk import BulkControl
from modabatchd.queue.job import Action, JobState
from modabatchd.store.bulk import bulk_in
from modabatchd.store.interfaces import Outcome, Selection
from tests.deferreds import now
from tests.queue.memory import MemoryQueue
from tests.queue.world import Broken, Interposed, World, template
from tests.store.values import add

NOBODY = "e0e7e44a-6cda-4e41-96e1-30d10540637f"


class Many(World):
    """A world in which groups have three jobs."""

    real_queue: MemoryQueue

    def start(self) -> None:
        super().start()
        self.bulks: Any = Interposed(bulk_in(self.store.part))
        self.begun = 0
        self.bulk = BulkControl(
            self.clock, self.queue, self.store, self.bulks, self.control.act, self.new_id, self._wake, self._count_begun
        )

    def _count_begun(self) -> None:
        self.begun += 1

    def jobs(self, *names: str) -> list[str]:
        return [self.accept(name=name).request.id for name in names]

    def outcome(self, id: str) -> Outcome:
        return now(self.bulk.get(id)).outcome


@pytest.fixture
def many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Many]:
    monkeypatch.setattr("modabatchd.queue.bulk._GROUP", 3)
    monkeypatch.setattr("modabatchd.queue.bulk._PAGE", 2)
    world = Many(tmp_path, template(tmp_path))
    yield world
    world.stop()


def test_what_fits_is_acted_on_group_by_group(many: Many) -> None:
    wanted, other = many.jobs(*"a" * 7), many.jobs("b")
    found = now(many.bulk.matching(Action.REMOVE, Selection(name="a")))
    assert (found.count, found.states, list(found.first)) == (7, {JobState.IDLE: 7}, wanted)
    bulk = now(many.bulk.begin(Action.REMOVE, Selection(name="a")))
    assert (bulk.count, many.begun) == (7, 1)
    assert many.outcome(bulk.id) == Outcome()
    [late] = many.jobs("a")
    now(many.bulk.carry_out())
    assert [len(numbers) for _, numbers, _ in many.real_queue.acts] == [3, 3, 1]
    outcome = many.outcome(bulk.id)
    assert outcome.results == {"done": 7}
    assert outcome.ended == many.clock.seconds()
    assert many.woken == 3
    many.look()
    assert {many.state(job_id) for job_id in wanted} == {JobState.REMOVED}
    assert {many.state(job_id) for job_id in (*other, late)} == {JobState.IDLE}
    now(many.bulk.carry_out())
    assert len(many.real_queue.acts) == 3


def test_named_jobs(many: Many) -> None:
    one, two, gone = many.jobs(*"abc")
    many.real_queue.finish(gone)
    many.look()
    found = now(many.bulk.matching(Action.HOLD, [two, NOBODY, one, gone]))
    assert (found.count, found.first, found.unfit) == (2, (two, one), 2)
    bulk = now(many.bulk.begin(Action.HOLD, [two, NOBODY, one, gone]))
    now(many.bulk.carry_out())
    outcome = many.outcome(bulk.id)
    assert outcome.results == {"unknown": 1, "done": 2, "is completed": 1}
    assert outcome.exceptions == ((NOBODY, "unknown"), (gone, "is completed"))


def test_states_that_do_not_allow_it_are_left_alone(many: Many) -> None:
    many.jobs(*"abc")
    for selection in (Selection(states=(JobState.IDLE,)), Selection(states=(JobState.COMPLETED,)), Selection()):
        assert now(many.bulk.matching(Action.RELEASE, selection)).count == 0
        bulk = now(many.bulk.begin(Action.RELEASE, selection))
        now(many.bulk.carry_out())
        assert many.outcome(bulk.id).ended is not None
    assert many.real_queue.acts == []


def test_what_the_queue_says_is_told(many: Many) -> None:
    one, two = many.jobs("a", "a")
    many.real_queue.finish(one)
    [unbound] = add(many.store.part, name="a")
    bulk = now(many.bulk.begin(Action.HOLD, Selection(name="a")))
    now(many.bulk.carry_out())
    outcome = many.outcome(bulk.id)
    assert outcome.results == {"not at the scheduler yet": 1, "bad status": 1, "done": 1}
    assert dict(outcome.exceptions) == {unbound: "not at the scheduler yet", one: "bad status"}
    many.look()
    assert many.state(two) is JobState.HELD


def test_it_goes_on_after_a_crash_and_while_the_queue_is_away(many: Many) -> None:
    wanted = many.jobs(*"a" * 5)
    bulk = now(many.bulk.begin(Action.REMOVE, Selection(name="a")))
    many.real_queue.away = True
    with pytest.raises(QueueAway):
        now(many.bulk.carry_out())
    assert many.outcome(bulk.id) == Outcome()
    many.real_queue.away = False
    many.bulks.before.add("proceed")
    with pytest.raises(Broken):
        now(many.bulk.carry_out())
    many.restart()
    now(many.bulk.carry_out())
    assert many.outcome(bulk.id).results == {"already done": 3, "done": 2}
    many.look()
    assert {many.state(job_id) for job_id in wanted} == {JobState.REMOVED}


def test_operations_are_forgotten_a_week_after_their_end(many: Many) -> None:
    old = now(many.bulk.begin(Action.HOLD, Selection()))
    now(many.bulk.carry_out())
    many.clock.advance(8 * 86400)
    running = now(many.bulk.begin(Action.HOLD, Selection()))
    with pytest.raises(UnknownOperation):
        now(many.bulk.get(old.id))
    assert many.outcome(running.id).ended is None
