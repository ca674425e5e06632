"""Work that goes on when nobody waits for it any more."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import LogLevel, globalLogPublisher

from modabatchd.errors import QueueAway
from modabatchd.shielding import shielded
from tests.deferreds import now


@pytest.fixture
def events() -> Iterator[list[dict[str, Any]]]:
    seen: list[dict[str, Any]] = []
    globalLogPublisher.addObserver(seen.append)
    yield seen
    globalLogPublisher.removeObserver(seen.append)


async def work(gate: Deferred[str], done: list[str]) -> str:
    result = await gate
    done.append(result)
    return result


def test_the_result_and_the_failure_come_through() -> None:
    gates: list[Deferred[str]] = [Deferred(), Deferred()]
    first, second = (shielded(work(gate, []), "work") for gate in gates)
    gates[0].callback("well")
    gates[1].errback(QueueAway("Away.", "Wait."))
    assert now(first) == "well"
    with pytest.raises(QueueAway):
        now(second)


def test_to_stop_waiting_does_not_stop_the_work(events: list[dict[str, Any]]) -> None:
    gate: Deferred[str] = Deferred()
    done: list[str] = []
    waiting = shielded(work(gate, done), "work")
    waiting.cancel()
    with pytest.raises(CancelledError):
        now(waiting)
    gate.callback("well")
    assert done == ["well"]
    assert events == []


@pytest.mark.parametrize(("problem", "level"), [(QueueAway("Away.", "Wait."), LogLevel.info), (OSError(), LogLevel.critical)])
def test_what_fails_unseen_is_logged(problem: Exception, level: Any, events: list[dict[str, Any]]) -> None:
    gate: Deferred[str] = Deferred()
    waiting = shielded(work(gate, []), "the work")
    waiting.addErrback(lambda failure: failure.trap(CancelledError))
    waiting.cancel()
    gate.errback(problem)
    assert [(event["log_level"], event["name"]) for event in events] == [(level, "the work")]
