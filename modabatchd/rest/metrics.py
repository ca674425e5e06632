"""Figures of the service for Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from modabatchd.errors import ModabatchError
from modabatchd.figures import Figure, gauge
from modabatchd.lag import Lag
from modabatchd.looping import Repeating
from modabatchd.rest.operations import Answer, operation
from modabatchd.store.interfaces import IStore

_PREFIX: Final = "modabatch_"
_KINDS: Final[Mapping[str, type[CounterMetricFamily | GaugeMetricFamily]]] = {
    "counter": CounterMetricFamily,
    "gauge": GaugeMetricFamily,
}


class Metrics:
    """
    The operation; its registry lives for one answer, so that nothing is shared with anybody else in the process.

    @param seconds: the time of day.
    @param loops: by name.
    @param figures: of the parts of the service.
    """

    def __init__(
        self,
        seconds: Callable[[], float],
        store: IStore,
        loops: Mapping[str, Repeating],
        lag: Lag,
        figures: Sequence[Figure],
    ) -> None:
        self._seconds = seconds
        self._store = store
        self._loops = loops
        self._lag = lag
        self._figures = (*figures, *self._of_loops())

    @operation("GET", "/metrics", "Figures for Prometheus", tag="service", answers={200: ("text/plain",)})
    async def metrics(self, request: Any) -> Answer:
        """In Prometheus' text format.  While the database is away, the figures that it has are missing."""
        families = [_family(figure) for figure in self._figures]
        with suppress(ModabatchError):
            jobs = {state.value: count for state, count in (await self._store.counts()).items()}
            families.append(_family(gauge("jobs", "Jobs that are stored, by state.", lambda: jobs, "state")))
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Once([*families, self._reactor()]))
        return Answer(generate_latest(registry), media=CONTENT_TYPE_PLAIN_0_0_4)

    def _of_loops(self) -> Iterator[Figure]:
        yield gauge("loop_age_seconds", "Time since a loop's last round that ended well.", self._ages, "loop")
        yield gauge("loop_failures", "Rounds of a loop that have failed in a row.", self._failures, "loop")

    def _ages(self) -> Mapping[str, float]:
        now = self._seconds()
        return {name: now - loop.last_success for name, loop in self._loops.items() if loop.last_success is not None}

    def _failures(self) -> Mapping[str, float]:
        return {name: loop.failures for name, loop in self._loops.items()}

    def _reactor(self) -> Metric:
        family = HistogramMetricFamily(f"{_PREFIX}reactor_lag_seconds", "By how much the reactor was late, twice a second.")
        buckets = [("+Inf" if bound == float("inf") else f"{bound:g}", count) for bound, count in self._lag.cumulated()]
        family.add_metric([], buckets, sum_value=self._lag.total)
        return family


class _Once(Collector):
    """Families that were collected already."""

    def __init__(self, families: Sequence[Metric]) -> None:
        self._families = families

    def collect(self) -> Sequence[Metric]:
        """See L{Collector.collect}."""
        return self._families


def _family(figure: Figure) -> Metric:
    family = _KINDS[figure.kind](_PREFIX + figure.name, figure.about, labels=[figure.label] if figure.label else [])
    value = figure.read()
    for label, each in value.items() if isinstance(value, Mapping) else [("", value)]:
        family.add_metric([label] if figure.label else [], each)
    return family
