"""Figures for Prometheus."""

from __future__ import annotations

from typing import Any

from prometheus_client.parser import text_string_to_metric_families
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock

from modabatchd.errors import StoreAway
from modabatchd.figures import counter, gauge
from modabatchd.lag import Lag
from modabatchd.looping import Repeating
from modabatchd.queue.job import JobState
from modabatchd.rest.metrics import Metrics
from tests.deferreds import now


class Counts:
    """A store that counts jobs, or is away."""

    def __init__(self) -> None:
        self.away = False

    def counts(self) -> Deferred[Any]:
        return fail(StoreAway("It is away.", "Wait.")) if self.away else succeed({JobState.IDLE: 3, JobState.HELD: 1})


def values(metrics: Metrics) -> dict[str, float]:
    answer = now(metrics.metrics(None))
    assert answer.media.startswith("text/plain; version=0.0.4")
    samples = (sample for family in text_string_to_metric_families(answer.body.decode()) for sample in family.samples)
    return {" ".join([sample.name, *sample.labels.values()]): sample.value for sample in samples}


def test_all_figures_are_told() -> None:
    clock, store = Clock(), Counts()
    lag = Lag(clock)
    lag.startService()
    loop = Repeating(clock, 10, lambda: None, "watching")
    loop.startService()
    clock.advance(0)
    clock.advance(0.5)
    clock.advance(0.7)
    figures = [
        counter("sweeps", "Sweeps.", lambda: 7),
        counter("notifications", "Tries.", lambda: {"delivered": 2, "failed": 1}, "result"),
        gauge("spool_bytes", "Bytes.", lambda: 12.5),
    ]
    metrics = Metrics(lambda: clock.seconds() + 2, store, {"watching": loop}, lag, figures)  # type: ignore[arg-type]
    told = values(metrics)
    assert told["modabatch_sweeps_total"] == 7
    assert told["modabatch_notifications_total delivered"] == 2
    assert told["modabatch_spool_bytes"] == 12.5
    assert (told["modabatch_jobs idle"], told["modabatch_jobs held"]) == (3, 1)
    assert told["modabatch_loop_age_seconds watching"] == 3.2
    assert told["modabatch_loop_failures watching"] == 0
    assert told["modabatch_reactor_lag_seconds_bucket 0.005"] == 1
    assert told["modabatch_reactor_lag_seconds_bucket 0.25"] == 2
    assert told["modabatch_reactor_lag_seconds_count"] == 2
    store.away = True
    told = values(metrics)
    assert "modabatch_jobs idle" not in told
    assert told["modabatch_sweeps_total"] == 7
    lag.stopService()
    now_stopped = loop.stopService()
    assert now_stopped is None
    assert clock.getDelayedCalls() == []
