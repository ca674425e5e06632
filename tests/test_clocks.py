"""The clock that nobody sets, and the time of day."""

import time

from twisted.internet.posixbase import PosixReactorBase
from twisted.internet.selectreactor import SelectReactor
from twisted.internet.task import Clock

from modabatchd.clocks import TimeOfDay, go_steadily


def test_timers_go_by_a_clock_that_nobody_sets(monkeypatch) -> None:
    reactor: PosixReactorBase = SelectReactor()
    try:
        go_steadily(reactor)
        called: list[int] = []
        reactor.callLater(0, called.append, 1)
        real = time.time
        monkeypatch.setattr(time, "time", lambda: real() - 3600)
        reactor.runUntilCurrent()
        assert called == [1]
    finally:
        reactor.removeAll()
        for descriptor in reactor._internalReaders:
            descriptor.connectionLost(None)


def test_the_time_of_day_with_the_reactors_own_timers() -> None:
    clock, seconds = Clock(), [1e9]
    day = TimeOfDay(clock, lambda: seconds[0])
    called: list[float] = []
    day.callLater(5, lambda: called.append(day.seconds()))
    seconds[0] += 86400
    assert called == []
    clock.advance(5)
    assert called == [1e9 + 86400]
