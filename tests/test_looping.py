"""The loop that cannot die."""

from collections.abc import Callable, Iterator

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogLevel, globalLogPublisher

from modabatchd.errors import QueueAway
from modabatchd.looping import Repeating


class Script:
    """A call that does what each test tells it to, and remembers when it was called."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.times: list[float] = []
        self.does: Callable[[], Deferred[None] | None] = lambda: None

    def __call__(self) -> Deferred[None] | None:
        self.times.append(self.clock.seconds())
        return self.does()

    def fails(self) -> None:
        raise RuntimeError("no luck")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def script(clock: Clock) -> Script:
    return Script(clock)


@pytest.fixture
def events() -> Iterator[list[dict]]:
    seen: list[dict] = []
    globalLogPublisher.addObserver(seen.append)
    yield seen
    globalLogPublisher.removeObserver(seen.append)


def started(clock: Clock, script: Script, interval: float = 10, longest: float | None = None) -> Repeating:
    loop = Repeating(clock, interval, script, "looking", longest)
    loop.startService()
    clock.advance(0)
    return loop


def test_it_calls_at_once_and_then_an_interval_after_each_end(clock: Clock, script: Script) -> None:
    started(clock, script)
    clock.pump([9, 1, 10, 10])
    assert script.times == [0, 10, 20, 30]


def test_nothing_is_called_before_the_start_nor_within_it(clock: Clock, script: Script) -> None:
    loop = Repeating(clock, 10, script, "looking")
    loop.wake()
    clock.advance(20)
    loop.startService()
    assert script.times == []


def test_coroutines_are_awaited(clock: Clock) -> None:
    gate: Deferred[None] = Deferred()

    async def wait() -> None:
        await gate

    loop = Repeating(clock, 10, wait, "waiting")
    loop.startService()
    clock.advance(5)
    assert loop.last_success is None
    gate.callback(None)
    assert loop.last_success == 5


def test_it_survives_exceptions_and_failed_deferreds(clock: Clock, script: Script) -> None:
    loop = started(clock, script)
    script.does = script.fails
    clock.advance(10)

    async def fails_later() -> None:
        raise RuntimeError("later")

    script.does = lambda: Deferred.fromCoroutine(fails_later())
    clock.advance(10)
    assert (loop.failures, loop.last_success) == (2, 0)
    script.does = lambda: None
    clock.advance(10)
    assert (loop.failures, loop.last_success) == (0, 30)
    assert script.times == [0, 10, 20, 30]


def test_calls_do_not_overlap(clock: Clock, script: Script) -> None:
    gate: Deferred[None] = Deferred()
    script.does = lambda: gate
    started(clock, script)
    clock.pump([10, 10, 5])
    assert script.times == [0]
    gate.callback(None)
    clock.pump([9, 1])
    assert script.times == [0, 35]


def test_wake_calls_soon_and_moves_the_next_call(clock: Clock, script: Script) -> None:
    loop = started(clock, script)
    clock.advance(3)
    loop.wake()
    loop.wake()
    clock.advance(0)
    clock.pump([9, 1])
    assert script.times == [0, 3, 13]


def test_wake_during_a_call_calls_once_more_right_after_it(clock: Clock, script: Script) -> None:
    gate: Deferred[None] = Deferred()
    script.does = lambda: gate
    loop = started(clock, script)
    loop.wake()
    loop.wake()
    clock.advance(2)
    script.does = lambda: None
    gate.callback(None)
    clock.advance(0)
    assert script.times == [0, 2]
    clock.advance(9)
    assert script.times == [0, 2]


def test_stop_waits_for_the_call_and_calls_no_more(clock: Clock, script: Script) -> None:
    gate: Deferred[None] = Deferred()
    script.does = lambda: gate
    loop = started(clock, script)
    stopped: list[None] = []
    waiting = loop.stopService()
    assert waiting is not None
    waiting.addCallback(stopped.append)
    loop.wake()
    assert stopped == []
    gate.callback(None)
    assert stopped == [None]
    clock.advance(100)
    assert script.times == [0]


def test_stop_between_calls_is_immediate(clock: Clock, script: Script) -> None:
    assert started(clock, script).stopService() is None
    assert clock.getDelayedCalls() == []


def test_it_can_be_started_again_even_while_the_last_call_still_runs(clock: Clock, script: Script) -> None:
    gate: Deferred[None] = Deferred()
    script.does = lambda: gate
    loop = started(clock, script)
    loop.stopService()
    loop.startService()
    clock.advance(1)
    assert script.times == [0]
    script.does = lambda: None
    gate.callback(None)
    clock.advance(0)
    assert script.times == [0, 1]


def test_failures_back_off_up_to_the_longest_interval(clock: Clock, script: Script) -> None:
    script.does = script.fails
    loop = started(clock, script, interval=1, longest=5)
    clock.pump([1] * 18)
    assert script.times == [0, 2, 6, 11, 16]
    script.does = lambda: None
    loop.wake()
    clock.advance(0)
    clock.pump([1, 1])
    assert script.times[-3:] == [18, 19, 20]


def test_very_many_failures_do_not_break_the_arithmetic(clock: Clock, script: Script) -> None:
    script.does = script.fails
    loop = started(clock, script, interval=1, longest=5)
    loop.failures = 10_000
    loop.wake()
    clock.advance(0)
    assert loop.failures == 10_001
    assert len(clock.getDelayedCalls()) == 1


def test_a_streak_of_failures_is_logged_once_with_its_end(clock: Clock, script: Script, events: list[dict]) -> None:
    script.does = script.fails
    started(clock, script)
    clock.pump([10] * 5)
    script.does = lambda: None
    clock.advance(10)
    assert [event["log_level"] for event in events if event["log_level"] > LogLevel.debug] == [LogLevel.critical, LogLevel.info]
    assert events[-1]["failures"] == 6


def test_an_expected_error_is_logged_without_a_traceback(clock: Clock, script: Script, events: list[dict]) -> None:
    def away() -> None:
        raise QueueAway("The scheduler is away.", "Wait.")

    script.does = away
    started(clock, script)
    assert [event["log_level"] for event in events] == [LogLevel.warn]
    assert "log_failure" not in events[0]


def test_a_loop_is_well_as_long_as_its_calls_end_well(clock: Clock, script: Script) -> None:
    loop = started(clock, script)
    assert loop.well
    script.does = script.fails
    clock.advance(10)
    assert not loop.well
    script.does = lambda: None
    clock.advance(10)
    assert loop.well


def test_a_loop_whose_call_hangs_is_not_well(clock: Clock, script: Script) -> None:
    hangs: Deferred[None] = Deferred()
    script.does = lambda: hangs
    loop = started(clock, script)
    clock.advance(100)
    assert loop.well
    clock.advance(1)
    assert not loop.well
    hangs.callback(None)
    assert loop.well
