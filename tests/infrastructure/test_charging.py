"""Which job a node's price is charged to."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modabatchd.infrastructure.charging import Run, charges, share
from modabatchd.infrastructure.node import Capacity, Node, NodeState, Offering

BEGIN = 1_701_381_600.0  # two hours before December 2023
DECEMBER = 1_701_388_800.0
HOUR = 3600.0


def node(stopped: float | None = None) -> Node:
    return Node(
        id="1",
        name="modabatch-1",
        offering=Offering(pool="burst", size="c8"),
        capacity=Capacity(cpus=8, memory=16_000, gpus=2),
        price=0.8,
        state=NodeState.UP,
        requested=BEGIN,
        stopped=stopped,
    )


def run(number: int, started: float, ended: float | None, **asked: int) -> Run:
    return Run(key=(number, 1), node="modabatch-1", started=started, ended=ended, asked=Capacity(**{"cpus": 1, **asked}))


def charged(*runs: Run, begin: float = BEGIN, end: float = BEGIN + HOUR, **more: Any) -> dict[int, float]:
    return {each.run.key[0]: round(each.amount, 9) for each in charges([node(**more)], runs, begin, end)}


@pytest.mark.parametrize(
    ("asked", "part"),
    [({"cpus": 2}, 0.25), ({"cpus": 1, "memory": 8000}, 0.5), ({"cpus": 1, "gpus": 2}, 1.0), ({"cpus": 99}, 1.0)],
)
def test_the_largest_share_counts(asked: dict[str, int], part: float) -> None:
    assert share(Capacity(**asked), node().capacity) == part
    assert share(Capacity(cpus=1, memory=5), Capacity(cpus=4)) == 0.25


def test_a_job_is_charged_for_the_time_that_it_runs() -> None:
    assert charged(run(1, BEGIN + 900, BEGIN + 2700, cpus=4), run(2, BEGIN - 99, None)) == {1: 0.2, 2: 0.1}
    assert charged(run(1, BEGIN, None, cpus=8), stopped=BEGIN + 1800) == {1: 0.4}
    assert charged(run(1, BEGIN + 2 * HOUR, None)) == {}
    assert charged(run(1, BEGIN, BEGIN - 5)) == {}


def test_no_more_than_the_node_is_charged() -> None:
    both = charged(run(1, BEGIN, None, cpus=8), run(2, BEGIN, None, cpus=1, memory=16_000))
    assert both == {1: 0.4, 2: 0.4}


def test_each_month_has_its_own() -> None:
    found = list(charges([node()], [run(1, BEGIN, None, cpus=8)], BEGIN, DECEMBER + HOUR))
    assert [(each.month, each.pool, round(each.amount, 9)) for each in found] == [
        ("2023-11", "burst", 1.6),
        ("2023-12", "burst", 0.8),
    ]


SPANS = st.tuples(st.floats(-100, 4000), st.none() | st.floats(-100, 4000), st.integers(1, 8), st.integers(0, 16_000))


@given(st.lists(SPANS, max_size=12), st.lists(st.floats(0, 3600), max_size=4))
def test_sums_add_up_however_often_one_charges(spans: list[Any], cuts: list[float]) -> None:
    runs = [
        run(number, BEGIN + begin, None if end is None else BEGIN + end, cpus=cpus, memory=memory)
        for number, (begin, end, cpus, memory) in enumerate(spans)
    ]
    whole = sum(each.amount for each in charges([node()], runs, BEGIN, BEGIN + HOUR))
    edges = [BEGIN, *sorted(BEGIN + cut for cut in cuts), BEGIN + HOUR]
    parts = [each.amount for first, last in pairwise(edges) for each in charges([node()], runs, first, last)]
    assert whole <= 0.8 + 1e-9
    assert sum(parts) == pytest.approx(whole)
