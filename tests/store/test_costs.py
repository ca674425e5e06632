"""What jobs have cost, on both databases."""

from collections.abc import Iterator
from typing import Any

import pytest
from zope.interface.verify import verifyObject

from modabatchd.infrastructure.costs import Charged, ICosts
from modabatchd.infrastructure.node import NodeState
from modabatchd.infrastructure.register import Change, Spent
from modabatchd.queue.job import JobState, Resources
from modabatchd.store.costs import SQLCosts
from modabatchd.store.register import in_store
from modabatchd.store.sql import SQLStore
from tests.deferreds import now
from tests.store.databases import opened
from tests.store.test_register import an_entry
from tests.store.values import a_sighting, add, get, step

NODE = "modabatch-0000000000000001"
T = 1_700_000_000.0
MONTH = "2023-11"


class Ledger:
    def __init__(self, url: str) -> None:
        self.url = url
        self.store: SQLStore = opened(url)
        self.costs = SQLCosts(self.store)
        self.charge(T)
        # Two cores for 0.25 an hour.
        now(in_store(self.store).write(Change(entries=(an_entry(NODE, requested=T, state=NodeState.UP),))))

    def charge(self, until: float) -> None:
        now(self.costs.charge(until + 20, until))

    def run(self, job_id: str, at: float, state: JobState = JobState.RUNNING, **seen: Any) -> None:
        facts = {"run_count": 1, "current_started": T, "host": f"{NODE}.example.org", **seen}
        step(self.store, job_id, state, at, sighting=a_sighting(job_id, state, **facts))

    def cost(self, job_id: str) -> float:
        return round(sum(run.cost for run in now(self.costs.runs(get(self.store, job_id).seq))), 6)


@pytest.fixture
def ledger(url: str) -> Iterator[Ledger]:
    ledger = Ledger(url)
    yield ledger
    now(ledger.store.stopService())


def test_interface(ledger: Ledger) -> None:
    assert verifyObject(ICosts, ledger.costs)


def test_a_job_is_charged_while_it_runs_and_after_a_restart(ledger: Ledger) -> None:
    [job] = add(ledger.store, labels={"team": "blue"}, resources=Resources(cpus=1, memory=100))
    ledger.run(job, T + 1)
    ledger.charge(T + 720)
    assert ledger.cost(job) == 0.025
    now(ledger.store.stopService())
    ledger.store = opened(ledger.url)
    ledger.costs = SQLCosts(ledger.store)
    ledger.charge(T + 600)
    assert ledger.cost(job) == 0.025
    ledger.run(job, T + 1500, JobState.COMPLETED, completed=T + 1440)
    ledger.charge(T + 7200)
    assert ledger.cost(job) == 0.05
    [run] = now(ledger.costs.runs(get(ledger.store, job).seq))
    assert (run.number, run.node, run.started, run.ended) == (1, NODE, T, T + 1440)
    charged = now(ledger.costs.charged(MONTH, "team"))
    assert charged.pools == {"burst": pytest.approx(0.05)}
    assert charged.values == {"blue": pytest.approx(0.05)}
    assert now(ledger.costs.until()) == T + 7200


def test_sums_outlive_the_jobs(ledger: Ledger) -> None:
    jobs = add(ledger.store, 2, labels={"team": "blue"}) + add(ledger.store, resources=Resources(cpus=1, memory=0))
    for job in jobs:
        ledger.run(job, T + 1)
    ledger.charge(T + 3600)
    now(ledger.store.forget(jobs))
    now(in_store(ledger.store).write(Change(spent=(Spent(MONTH, "burst", 0.5),))))
    charged = now(ledger.costs.charged(MONTH, "team"))
    # Three jobs want a core each, and there are two.
    assert charged.pools == {"burst": pytest.approx(0.25)}
    assert charged.values == {"blue": pytest.approx(0.25 * 2 / 3)}
    assert charged.spent == {"burst": 0.5}
    assert now(ledger.costs.charged(MONTH, "")).values == {}
    assert now(ledger.costs.charged("2024-01", "team")) == Charged()
    assert now(ledger.costs.months()) == [MONTH]


def test_a_job_that_runs_again_is_charged_for_both(ledger: Ledger) -> None:
    [job] = add(ledger.store)
    ledger.run(job, T + 1)
    ledger.charge(T + 100)
    ledger.run(job, T + 360, JobState.IDLE)
    ledger.charge(T + 400)
    ledger.run(job, T + 800, run_count=2, current_started=T + 720)
    ledger.charge(T + 1000)
    ledger.run(job, T + 1000, run_count=3, current_started=T + 1080)
    ledger.charge(T + 1440)
    found = now(ledger.costs.runs(get(ledger.store, job).seq))
    assert [(run.number, run.started, run.ended) for run in found] == [
        (1, T, T + 420),
        (2, T + 720, T + 1080),
        (3, T + 1080, None),
    ]
    # The end of the first one was noticed a little late.
    assert ledger.cost(job) == round(0.125 * (420 + 720) / 3600, 6)


def test_what_ran_elsewhere_costs_nothing(ledger: Ledger) -> None:
    [job, removed] = add(ledger.store, 2)
    ledger.run(job, T + 1, host="somewhere.example.org")
    ledger.run(removed, T + 1)
    step(ledger.store, removed, JobState.REMOVED, T + 1800)
    ledger.charge(T + 3600)
    assert ledger.cost(job) == 0
    assert ledger.cost(removed) == 0.0625
    now(in_store(ledger.store).write(Change(entries=(an_entry(NODE, requested=T, state=NodeState.GONE, stopped=T + 3700),))))
    ledger.charge(T + 7200)
    assert ledger.cost(removed) == 0.0625
