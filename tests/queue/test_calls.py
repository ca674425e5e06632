"""Calls to a child process: turns, deadlines, accidents.  The child is played by the test."""

from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone, ProcessExitedAlready
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from modabatchd.errors import QueueAway, QueueRefused
from modabatchd.gathering import Gathering
from modabatchd.queue.htcondor.calls import PAUSE, RECYCLE, Calls, Denied
from modabatchd.queue.htcondor.frames import Answer, Ping, Problem, Request, Splitter, pack, unpack_request
from modabatchd.queue.htcondor.process import ChildProcess
from tests.deferreds import now


class Pipes:
    """What a child process hears, and how it ends."""

    def __init__(self, protocol: ChildProcess) -> None:
        self.protocol = protocol
        self.heard: list[Request] = []
        self.killed = False
        self.ended = False
        self._splitter = Splitter()
        protocol.transport = self  # type: ignore[assignment]

    def writeToChild(self, descriptor: int, data: bytes) -> None:
        assert descriptor == 0
        self.heard.extend(unpack_request(body) for body in self._splitter.feed(data))

    def closeStdin(self) -> None:
        self.retired = True

    def signalProcess(self, name: str) -> None:
        assert name == "KILL"
        if self.ended:
            raise ProcessExitedAlready
        self.killed = True

    def say(self, answer: Answer) -> None:
        self.protocol.outReceived(pack(answer))

    def end(self) -> None:
        self.ended = True
        self.protocol.processEnded(Failure(ProcessDone(0)))


class Stage:
    def __init__(self, idle: float | None = None) -> None:
        self.clock = Clock()
        self.children: list[Pipes] = []
        self.calls = Calls(self.clock, lambda protocol: self.children.append(Pipes(protocol)), idle)

    @property
    def child(self) -> Pipes:
        return self.children[-1]

    def call(self, deadline: float = 5.0) -> tuple[Deferred[None], list[Any]]:
        parts: list[Any] = []
        return self.calls.call(Ping(), deadline, parts.append), parts

    def ready(self) -> None:
        self.child.say(Answer(0))

    def answer(self, result: Any = None, **more: Any) -> None:
        self.child.say(Answer(self.child.heard[-1].id, result, **more))


def test_no_child_before_the_first_call() -> None:
    assert Stage().children == []


def test_a_call_waits_for_the_child_to_be_ready() -> None:
    stage = Stage()
    done, parts = stage.call()
    assert stage.child.heard == []
    stage.ready()
    stage.answer([1], last=False)
    assert parts == [[1]]
    assert not done.called
    stage.answer([2])
    now(done)
    assert parts == [[1], [2]]


def test_one_at_a_time_and_in_order() -> None:
    stage = Stage()
    first, _ = stage.call()
    second, parts = stage.call()
    stage.ready()
    assert len(stage.child.heard) == 1
    stage.answer("a")
    now(first)
    assert len(stage.child.heard) == 2
    stage.answer("b")
    now(second)
    assert parts == ["b"]
    assert len(stage.children) == 1


def test_a_deadline_ends_the_child_and_all_that_wait() -> None:
    stage = Stage()
    first, _ = stage.call(5)
    second, _ = stage.call(5)
    stage.ready()
    stage.clock.advance(4.9)
    assert not first.called
    stage.clock.advance(0.1)
    assert stage.child.killed
    for done, untouched in ((first, False), (second, True)):
        with pytest.raises(QueueAway, match="within 5 s") as caught:
            now(done)
        assert caught.value.untouched == untouched


def test_the_deadline_runs_only_while_it_is_the_calls_turn() -> None:
    stage = Stage()
    first, _ = stage.call(5)
    second, _ = stage.call(5)
    stage.ready()
    stage.clock.advance(4)
    stage.answer()
    stage.clock.advance(4)
    stage.answer()
    now(first)
    now(second)


def test_after_a_deadline_calls_fail_at_once_for_a_moment() -> None:
    stage = Stage()
    lost, _ = stage.call(5)
    stage.ready()
    stage.clock.advance(5)
    with pytest.raises(QueueAway):
        now(lost)
    refused, _ = stage.call()
    with pytest.raises(QueueAway) as caught:
        now(refused)
    assert caught.value.untouched
    assert len(stage.children) == 1
    stage.clock.advance(PAUSE)
    good, _ = stage.call()
    assert len(stage.children) == 2
    stage.ready()
    stage.answer()
    now(good)


def test_a_late_word_of_a_killed_child_is_not_heard() -> None:
    stage = Stage()
    lost, parts = stage.call(5)
    stage.ready()
    old = stage.child
    stage.clock.advance(5)
    with pytest.raises(QueueAway):
        now(lost)
    stage.clock.advance(PAUSE)
    fresh, fresh_parts = stage.call(5)
    old.say(Answer(old.heard[-1].id, "late"))
    old.end()
    assert not fresh.called
    stage.ready()
    stage.answer("fresh")
    now(fresh)
    assert (parts, fresh_parts) == ([], ["fresh"])


def test_a_child_that_dies_takes_only_its_present_call() -> None:
    stage = Stage()
    lost, _ = stage.call()
    kept, _ = stage.call()
    stage.ready()
    stage.child.end()
    with pytest.raises(QueueAway) as caught:
        now(lost)
    assert not caught.value.untouched
    assert not kept.called
    stage.clock.advance(1)
    assert len(stage.children) == 2
    stage.ready()
    stage.answer()
    now(kept)


def test_a_child_that_cannot_start_is_not_started_in_a_hurry() -> None:
    stage = Stage()
    for _ in range(20):
        done, _ = stage.call()
        done.addErrback(lambda failure: failure.trap(QueueAway))
    for _ in range(100):
        stage.clock.advance(0.1)
        if not stage.child.ended:
            stage.child.end()
    assert len(stage.children) < 10


def test_a_child_that_never_gets_ready() -> None:
    stage = Stage()
    done, _ = stage.call()
    stage.clock.advance(20)
    assert stage.child.killed
    with pytest.raises(QueueAway, match="start"):
        now(done)


def test_recycling() -> None:
    stage = Stage()
    first, _ = stage.call()
    second, _ = stage.call()
    stage.ready()
    stage.answer(submits=RECYCLE)
    now(first)
    assert len(stage.children) == 2
    assert stage.children[0].retired
    stage.ready()
    stage.answer()
    now(second)
    stage.clock.advance(10)
    assert stage.children[0].killed


def test_an_idle_child_is_let_go() -> None:
    stage = Stage(idle=60)
    done, _ = stage.call()
    stage.ready()
    stage.answer()
    now(done)
    stage.clock.advance(60)
    assert stage.child.retired
    stage.child.end()
    stage.call()
    assert len(stage.children) == 2


@pytest.mark.parametrize(("kind", "error"), [("away", QueueAway), ("denied", Denied), ("refused", QueueRefused)])
def test_problems_become_errors(kind: Any, error: type[Exception]) -> None:
    stage = Stage()
    done, _ = stage.call()
    stage.ready()
    stage.answer(problem=Problem(kind, "because"))
    with pytest.raises(error, match="because"):
        now(done)


def test_a_result_that_cannot_be_taken_fails_its_call_alone() -> None:
    stage = Stage()
    done = stage.calls.call(Ping(), 5.0, lambda part: part["no such key"])
    next_one, _ = stage.call()
    stage.ready()
    stage.answer({}, last=False)
    stage.answer({})
    with pytest.raises(KeyError):
        now(done)
    stage.answer()
    now(next_one)


def test_stop() -> None:
    stage = Stage()
    lost, _ = stage.call()
    stage.ready()
    stopped = stage.calls.stop()
    with pytest.raises(QueueAway):
        now(lost)
    assert not stopped.called
    stage.clock.advance(10)
    assert stage.child.killed
    stage.child.end()
    now(stopped)
    assert stage.clock.getDelayedCalls() == []


def test_stop_without_a_child() -> None:
    now(Stage().calls.stop())


def no_process(protocol: ChildProcess) -> None:
    raise BlockingIOError(11, "Resource temporarily unavailable")


def test_a_child_that_cannot_be_started_is_tried_again() -> None:
    stage = Stage()
    works, stage.calls._spawn = stage.calls._spawn, no_process
    for _ in range(3):
        done, _ = stage.call()
        stage.clock.advance(5)
        with pytest.raises(QueueAway, match="temporarily unavailable") as caught:
            now(done)
        assert caught.value.untouched
    stage.calls._spawn = works
    good, _ = stage.call()
    stage.clock.advance(5)
    stage.ready()
    stage.answer()
    now(good)


def test_stop_after_a_child_that_could_not_be_started() -> None:
    stage = Stage()
    stage.calls._spawn = no_process
    done, _ = stage.call()
    done.addErrback(lambda failure: failure.trap(QueueAway))
    now(stage.calls.stop())
    assert stage.clock.getDelayedCalls() == []


def test_a_process_that_never_was_can_be_ended() -> None:
    never = ChildProcess(lambda answer: None, lambda reason: None)
    never.kill()
    never.retire()


def test_calls_hear_of_a_deadline_even_if_the_child_cannot_be_killed() -> None:
    stage = Stage()
    done, _ = stage.call(5)
    stage.ready()

    def deny(name: str) -> None:
        raise PermissionError(name)

    stage.child.signalProcess = deny  # type: ignore[method-assign]
    with pytest.raises(PermissionError):
        stage.clock.advance(5)
    with pytest.raises(QueueAway):
        now(done)


def test_sending_files_may_take_longer_than_the_rest() -> None:
    stage = Stage()
    parts: list[Any] = []
    done = stage.calls.call(Ping(), 5, parts.append, sending=100)
    stage.ready()
    stage.clock.advance(4)
    stage.child.say(Answer(0, last=False, sending=True))
    stage.clock.advance(99)
    assert not done.called
    stage.child.say(Answer(0, last=False, sending=False))
    stage.clock.advance(4)
    assert not done.called
    stage.clock.advance(1)
    with pytest.raises(QueueAway, match="within 5 s"):
        now(done)
    assert parts == []


def test_files_that_are_not_sent_in_time() -> None:
    stage = Stage()
    done = stage.calls.call(Ping(), 5, lambda part: None, sending=100)
    stage.ready()
    stage.child.say(Answer(0, last=False, sending=True))
    stage.clock.advance(100)
    with pytest.raises(QueueAway, match="within 100 s"):
        now(done)


def test_a_call_names_the_scheduler() -> None:
    stage = Stage()
    stage.calls.call(Ping(), 5, lambda part: None, "main@host")
    stage.ready()
    assert [request.schedd for request in stage.child.heard] == ["main@host"]


def test_in_a_hurry_calls_end_soon() -> None:
    stage = Stage()
    long, waiting = stage.call(3600)[0], stage.call(3600)[0]
    stage.ready()
    stage.clock.advance(1)
    stage.calls.hurry(5)
    stage.clock.advance(4)
    late, _ = stage.call(3600)
    assert not long.called
    stage.clock.advance(1)
    for done in (long, waiting, late, stage.call()[0]):
        with pytest.raises(QueueAway, match="being stopped"):
            now(done)
    stage.clock.advance(PAUSE)
    with pytest.raises(QueueAway, match="being stopped"):
        now(stage.call()[0])
    assert len(stage.children) == 1


def test_in_a_hurry_what_ends_in_time_ends_well() -> None:
    stage = Stage()
    first, _ = stage.call(2)
    stage.ready()
    stage.calls.hurry(5)
    stage.answer()
    now(first)
    second, _ = stage.call(2)
    stage.clock.advance(2)
    with pytest.raises(QueueAway, match="within 2 s"):
        now(second)


class Rounds:
    def __init__(self) -> None:
        self.sent: list[tuple[list[int], Deferred[Any]]] = []

    def send(self, things: Any) -> Deferred[Any]:
        done: Deferred[Any] = Deferred()
        self.sent.append((list(things), done))
        return done


def test_what_waits_goes_with_the_next_round() -> None:
    rounds = Rounds()
    gathering = Gathering(rounds.send, 3, lambda number: number % 2)
    [first] = gathering.add([0])
    rest = gathering.add([1, 2, 3, 4, 6, 8])
    assert [things for things, _ in rounds.sent] == [[0]]
    rounds.sent[0][1].callback(["zero"])
    assert now(first) == "zero"
    assert rounds.sent[1][0] == [1, 3]
    rounds.sent[1][1].errback(QueueAway("away", "wait"))
    assert rounds.sent[2][0] == [2, 4, 6]
    rounds.sent[2][1].callback(["two", "four", "six"])
    assert rounds.sent[3][0] == [8]
    rounds.sent[3][1].callback(["eight"])
    assert [now(done) for done in (rest[1], rest[3], rest[4], rest[5])] == ["two", "four", "six", "eight"]
    for done in (rest[0], rest[2]):
        with pytest.raises(QueueAway):
            now(done)
    [again] = gathering.add([5])
    rounds.sent[4][1].callback(["five"])
    assert now(again) == "five"
