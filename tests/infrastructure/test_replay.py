"""Logs run again under a policy: reading them, the simulated cluster, the rules of others, and what is told of it."""

from __future__ import annotations

import gzip
from pathlib import Path
from random import Random
from typing import Any
from xml.etree import ElementTree

import msgspec
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from modabatchd.client.command import main
from modabatchd.infrastructure.journal import Written
from modabatchd.infrastructure.node import Capacity, Offering
from modabatchd.infrastructure.planning import StartNode
from modabatchd.infrastructure.policy import Limits, Objective, Policy, Spot
from modabatchd.infrastructure.replay import axes, recording
from modabatchd.infrastructure.replay.cluster import Billing, Cluster, Kind, Placement
from modabatchd.infrastructure.replay.comparing import Replay
from modabatchd.infrastructure.replay.figures import Figures, percentile
from modabatchd.infrastructure.replay.hazards import Hazards
from modabatchd.infrastructure.replay.log import Job, Log, LogProblem, read_swf, split, work
from modabatchd.infrastructure.replay.peers import Formula, Packing, PerMinute, peers
from modabatchd.infrastructure.replay.picture import picture
from modabatchd.infrastructure.replay.planned import Planned
from modabatchd.infrastructure.replay.simulation import Most, Rule, Run, Sample, Simulation
from tests.infrastructure.policies_for_tests import policy, pool

BOOT = 120.0
EIGHT = Kind("c8", 8, 0.16)
FREE = Most()
LOTS = Limits(max_nodes=10_000, starts_per_minute=10_000)


def swf(number: int, arrives: float, runs: float, used: int, asked: int = -1) -> str:
    return f"{number} {arrives} 0 {runs} {used} -1 -1 {asked} -1 -1 1 1 1 -1 1 -1 -1 -1\n"


def day(seed: int, jobs: int = 600, cores: int = 8) -> list[Job]:
    """A synthetic log: bursts and quiet hours, short and long jobs."""
    chance, now, found = Random(seed), 0.0, []
    while len(found) < jobs:
        now += chance.expovariate(1 / chance.choice((20.0, 20.0, 2000.0)))
        found += [
            Job(now, chance.lognormvariate(6, 1.5), chance.choice((1, 1, 1, 2, cores)))
            for _ in range(chance.choice((1, 1, 12)))
        ]
    return found[:jobs]


def run(rule: Rule, jobs: list[Job], most: Most = FREE, sampled: float = 0.0, **hazards: Any) -> Run:
    return Simulation(jobs, rule, Placement.OLDEST, Billing(), BOOT, most, sampled, Hazards(**hazards)).run()


def ours(objective: Objective = Objective.BALANCED, *cores: int, limits: Limits = LOTS) -> Policy:
    return policy(pool(*cores), objective=objective, limits=limits)


def spot_policy() -> Policy:
    one = pool(8)
    sizes = tuple(msgspec.structs.replace(size, spot_price=size.price / 3) for size in one.sizes)
    return policy(msgspec.structs.replace(one, sizes=sizes, spot=Spot.ONLY), limits=LOTS)


# Logs


def test_the_jobs_of_a_log_that_did_run() -> None:
    lines = [
        "; Version: 2\n",
        "\n",
        swf(1, 100, 60, 4),
        swf(2, 90, 30, -1, 2),
        swf(3, 95, 0, 1),
        swf(4, 95, -1, 1),
        swf(5, 99, 5, -1, -1),
    ]
    assert read_swf(lines) == Log([Job(0, 30, 2), Job(10, 60, 4)])
    assert read_swf([]) == Log([])
    assert read_swf(["; UnixStartTime: 1000", *lines]).begins == 1090


@pytest.mark.parametrize(
    ("line", "problem"), [("1 2 3\n", "3 fields, where"), (swf(1, 2, 3, 4).replace(" 3 ", " three "), "could not convert")]
)
def test_a_line_that_is_none_is_told(line: str, problem: str) -> None:
    with pytest.raises(LogProblem, match=problem) as caught:
        read_swf(["; a comment\n", swf(1, 2, 5, 1), line])
    assert caught.value.line == 3


@given(st.lists(st.builds(Job, st.floats(0, 100), st.floats(1, 100), st.integers(1, 100))), st.integers(1, 32))
@settings(max_examples=50, deadline=None)
def test_splitting_wide_jobs_keeps_the_work(jobs: list[Job], cores: int) -> None:
    parts = split(jobs, cores)
    assert work(parts) == pytest.approx(work(jobs))
    assert all(job.cpus <= cores for job in parts)


# The cluster


def test_a_job_runs_once_its_node_has_booted_and_what_was_used_is_paid() -> None:
    found = run(Packing("packing", 10.0, [EIGHT], idle=0.0), [Job(0.0, 1000.0, 1)])
    assert list(found.waits) == [BOOT]
    assert (found.starts, found.core_seconds) == (1, 8 * 1120.0)
    assert found.money == pytest.approx(0.16 * 1120 / 3600)


@pytest.mark.parametrize(
    ("billing", "lived", "seconds"),
    [(Billing(), 59.5, 60), (Billing(), 61.2, 62), (Billing(3600.0), 1, 3600), (Billing(3600.0), 3601, 7200)],
)
def test_what_is_paid_for(billing: Billing, lived: float, seconds: float) -> None:
    assert billing.seconds(lived) == seconds


@pytest.mark.parametrize(("placement", "chosen"), [(Placement.OLDEST, 1), (Placement.FULLEST, 2)])
def test_which_node_a_job_gets(placement: Placement, chosen: int) -> None:
    started = []
    cluster = Cluster(placement, Billing(), lambda job, machine: started.append(machine.id))
    for _ in range(2):
        cluster.join(cluster.order(EIGHT, 0.0, 0.0))
    cluster.machines[2].free = 3
    cluster.submit(Job(0.0, 10.0, 2))
    cluster.place()
    assert started == [chosen]


def test_a_node_with_jobs_cannot_be_stopped() -> None:
    cluster = Cluster(Placement.OLDEST, Billing(), lambda job, machine: None)
    machine = cluster.order(EIGHT, 0.0, 0.0)
    cluster.join(machine)
    cluster.submit(Job(0.0, 10.0, 2))
    cluster.place()
    with pytest.raises(AssertionError, match="with jobs"):
        cluster.stop(machine, 5.0)


@pytest.mark.parametrize("rule", [*peers([Kind("c1", 1, 0.02), EIGHT]), Planned(ours())], ids=lambda rule: rule.name)
def test_every_rule_runs_every_job_and_lets_all_nodes_go(rule: Rule) -> None:
    jobs = day(1)
    found = run(rule, jobs, sampled=600.0)
    assert len(found.waits) == len(jobs)
    assert min(found.waits) >= 0
    assert found.core_seconds >= work(jobs)
    assert found.samples[-1].money <= found.money + 1e-9


def test_what_is_ordered_beyond_the_limits_does_not_come() -> None:
    found = run(
        Packing("packing", 10.0, [EIGHT], idle=0.0), [Job(0.0, 1000.0, 8) for _ in range(4)], Most(nodes=3, cores=16), 100.0
    )
    assert max(sample.nodes for sample in found.samples) == 2


# The rules of others


def test_google_s_rule_ignores_free_cores_of_busy_nodes() -> None:
    assert run(PerMinute("google", EIGHT), [Job(0.0, 5000.0, 1), Job(1000.0, 9.0, 1)]).starts == 1, "the job starts at once"
    assert run(PerMinute("google", EIGHT), [Job(0.0, 5000.0, 5), Job(1000.0, 5000.0, 3), Job(1001.0, 9.0, 4)]).starts == 2


def test_azure_s_formula_looks_every_five_minutes() -> None:
    found = run(Formula("azure", EIGHT), [Job(1.0, 1000.0, 8)])
    assert 120 < found.waits[0] <= 420


def test_a_fixed_time_keeps_nodes_for_the_next_job() -> None:
    jobs = [Job(0.0, 100.0, 1), Job(800.0, 100.0, 1)]
    assert run(Packing("short", 10.0, [EIGHT], idle=300.0), jobs).starts == 2
    assert run(Packing("long", 10.0, [EIGHT], idle=600.0), jobs).starts == 1


def test_all_sizes_are_used_where_a_rule_has_them() -> None:
    kinds = [Kind("c1", 1, 0.02), Kind("c4", 4, 0.08), EIGHT]
    found = run(Packing("sizes", 10.0, kinds, idle=0.0), [Job(0.0, 1000.0, 1) for _ in range(9)])
    assert found.core_seconds == 1120 * 9


# Ours


def test_the_shipped_planner_uses_small_nodes_for_few_jobs() -> None:
    found = run(Planned(ours(Objective.COST)), [Job(0.0, 10_000.0, 1) for _ in range(9)])
    assert found.starts == 2
    assert found.core_seconds < 1.1 * 9 * 10_120


def test_it_keeps_the_limits_of_its_policy() -> None:
    found = run(
        Planned(ours(Objective.COST, 8, limits=Limits(max_nodes=3))), [Job(0.0, 1000.0, 8) for _ in range(9)], sampled=100.0
    )
    assert max(sample.nodes for sample in found.samples) == 3
    assert len(found.waits) == 9


def test_it_learns_from_the_gaps_it_has_seen() -> None:
    """A job every ten minutes: worth a wait of ten minutes to the impatient, not to the thrifty."""
    jobs = [Job(600.0 * number, 60.0, 1) for number in range(100)]
    thrifty, patient = (run(Planned(ours(objective, 8)), jobs) for objective in (Objective.COST, Objective.LATENCY))
    assert (thrifty.starts, patient.starts) == (100, 1)


@pytest.mark.parametrize("seed", [2, 3, 4])
def test_objectives_trade_money_for_waits(seed: int) -> None:
    jobs = day(seed, 400)
    found = [Replay(ours(objective), Log(jobs), Placement.OLDEST, BOOT).ours() for objective in Objective]
    assert [one.cost for one in found] == sorted(one.cost for one in found)
    assert [one.wait for one in found] == sorted((one.wait for one in found), reverse=True)


@pytest.mark.parametrize("seed", [5, 6])
def test_no_rule_of_others_with_one_size_is_better_in_everything(seed: int) -> None:
    replay = Replay(ours(Objective.BALANCED, 8), Log(day(seed, 1500)), Placement.OLDEST, BOOT)
    mine = replay.ours()
    assert not [peer.rule for peer in replay.peers() if peer.dominates(mine)]


def test_the_same_log_gives_the_same_figures() -> None:
    first, second = (Replay(ours(), Log(day(7, 300)), Placement.OLDEST, BOOT).ours() for _ in range(2))
    assert first == second


# What goes wrong

ALL = [*peers([EIGHT]), Planned(ours(Objective.BALANCED, 8))]


@pytest.mark.parametrize("rule", [*peers([Kind("s8", 8, 0.05, spot=True)]), Planned(spot_policy())], ids=lambda rule: rule.name)
def test_what_a_lost_spot_node_ran_runs_again(rule: Rule) -> None:
    jobs = day(9, 200)
    found = run(rule, jobs, spot_losses=0.2, seed=1)
    assert (len(found.waits), found.never) == (len(jobs), 0)
    assert found.again > 0
    assert found.core_seconds > work(jobs)
    assert run(rule, jobs).again == 0


def test_nodes_that_are_no_spot_nodes_are_not_taken_back() -> None:
    assert run(Packing("packing", 10.0, [EIGHT], idle=0.0), day(9, 100), spot_losses=5.0).again == 0


@pytest.mark.parametrize("rule", ALL, ids=lambda rule: rule.name)
def test_nodes_that_never_join_are_replaced(rule: Rule) -> None:
    jobs = day(10, 100)
    found = run(rule, jobs, boot_failures=0.2, seed=2)
    assert (len(found.waits), found.never) == (len(jobs), 0)
    assert found.core_seconds > work(jobs)


def test_a_pool_whose_nodes_never_join_is_closed_in_the_end() -> None:
    found = run(Planned(ours(Objective.BALANCED, 8)), [Job(0.0, 10.0, 1)], boot_failures=1.0)
    assert (found.waits, found.never) == ([], 1)
    assert 10 <= found.starts < 50


def test_the_same_seed_gives_the_same_luck() -> None:
    first, second, other = (
        run(Planned(spot_policy()), day(11, 200), spot_losses=0.3, boot_failures=0.1, seed=seed) for seed in (3, 3, 4)
    )
    assert first == second
    assert first != other


def test_a_budget_ends_starts_until_the_next_month() -> None:
    limited = ours(Objective.COST, 8, limits=Limits(max_nodes=100, monthly_budget=1.0))
    jobs = [Job(3600.0 * hour, 3000.0, 8) for hour in range(100)]
    month = 30 * 86400.0
    found = run(Planned(limited), [*jobs, Job(month, 60.0, 1)])
    assert found.never == 0
    assert max(found.waits) > 15 * 86400
    at_once = sum(wait < 86400 for wait in found.waits)
    assert 5 <= at_once <= 8, "1 EUR is six hours of a node"


# What was recorded


def test_a_recording_becomes_a_log(tmp_path: Path) -> None:
    lines = [
        recording.encode(recording.Recorded(0.0, 10_000.0)),
        recorded_job("b", 700.0, 900.0, 1000.0, 1500.0, memory=8 * 1024),
        recorded_job("a", 500.0, 520.0, 520.0, None),
        recorded_job("a", 500.0, 520.0, 520.0, 530.0),
        decision(510.0, 3.0, StartNode(offering=Offering(pool="burst", size="c8"), capacity=Capacity(), price=0.1, reason="x")),
        decision(600.0, 5.0),
        decision(700.0, 1.0),
    ]
    found = recording.read_recording([line.decode() + "\n" for line in lines])
    log = recording.to_log(found, ours(Objective.COST, 8))
    assert log == Log([Job(0.0, 10.0, 1), Job(200.0, 500.0, 4)], 500.0)
    was = recording.as_it_was(found)
    assert (was.wait, was.starts, was.money, was.cost) == (110.0, 1, 3.0, None)


@pytest.mark.parametrize("line", ["{}", '{"kind": "job"}', '{"kind": "what"}', "nonsense"])
def test_a_recording_that_is_none(line: str) -> None:
    with pytest.raises(LogProblem) as caught:
        recording.read_recording([recording.encode(recording.Recorded(0.0, 1.0)).decode(), line])
    assert caught.value.line == 2
    with pytest.raises(LogProblem, match="missing"):
        recording.read_recording([])


def recorded_job(name: str, submitted: float, first: float, started: float, ended: float | None, memory: int = 128) -> bytes:
    return recording.encode(
        recording.RecordedJob(
            id=name, submitted=submitted, first=first, started=started, ended=ended, cpus=1, memory=memory, gpus=0
        )
    )


def decision(at: float, spent: float, *steps: Any) -> bytes:
    return recording.encode(recording.RecordedDecision(at, Written(spent=spent, steps=steps)))


# What is told


def test_dominating() -> None:
    one = Figures(rule="a", cost=1.0, wait=2.0, p95=3.0, starts=1, money=0.0)
    same, worse, other = (
        Figures(rule="b", cost=cost, wait=wait, p95=3.0, starts=1, money=0.0)
        for cost, wait in ((1.0, 2.0), (1.1, 2.0), (0.9, 2.1))
    )
    assert one.dominates(worse)
    assert not any((one.dominates(same), one.dominates(other), other.dominates(one), worse.dominates(one)))


def test_percentiles() -> None:
    assert percentile([], 0.95) == 0.0
    assert percentile([1.0], 0.95) == 1.0
    assert percentile([float(number) for number in range(100)], 0.95) == 95.0


@pytest.mark.parametrize("count", [0, 1, 50, 5000])
@pytest.mark.parametrize("dated", [True, False])
def test_the_picture_is_svg_of_a_bounded_size(count: int, dated: bool) -> None:
    samples = [Sample(60.0 * at, at % 7, at % 5, 8, 1, at / 10) for at in range(count)]
    drawn = picture({"ours": samples, "<theirs>": samples}, "a <log> & more", "under it", "EUR", 1_700_000_000.0, dated)
    texts = [element.text for element in ElementTree.fromstring(drawn).iter("{http://www.w3.org/2000/svg}text")]
    assert texts[:2] == ["a <log> & more", "under it"]
    assert "money spent, EUR" in texts
    assert [text for text in texts if text and "<theirs>" in text] or not count
    assert len(drawn) < 400_000


@given(st.floats(0, 1e12))
@settings(max_examples=200, deadline=None)
def test_marks_of_an_axis_hold_all_values(most: float) -> None:
    marks = axes.values(most)
    assert marks[0] == 0
    assert marks[-1] >= most * (1 - 1e-9)
    assert 2 <= len(marks) <= 6


@given(st.floats(1, 3e9), st.floats(1, 3e9))
@settings(max_examples=200, deadline=None)
def test_marks_of_time_are_between_its_ends_and_not_too_many(begin: float, span: float) -> None:
    moments = [moment for moment, _ in axes.times(begin, begin + span)]
    assert all(begin <= moment <= begin + span for moment in moments)
    assert len(moments) <= 13 or span > 12 * 364 * 86400


# The command


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "policy.toml").write_text(
        "[scaling.limits]\nmax_nodes = 50\n"
        '[[pool]]\nname = "burst"\ndriver = "local"\n'
        'sizes = [{name = "s", cpus = 1, memory = "1G", price = "0.02 EUR"}, {name = "l", cpus = 8, memory = "8G", price = "0.16 EUR"}]\n'  # noqa: E501
    )
    lines = ["; a log\n", *(swf(number, job.arrives, job.runs, job.cpus) for number, job in enumerate(day(8, 100)))]
    (tmp_path / "log.swf").write_text("".join(lines))
    (tmp_path / "log.swf.gz").write_bytes(gzip.compress("".join(lines).encode()))
    return tmp_path


def command(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    return result.exit_code, result.output


def test_check_policy(place: Path) -> None:
    assert command("check-policy", place / "policy.toml") == (0, f"{place}/policy.toml: 1 pool, 2 sizes, objective balanced\n")
    (place / "policy.toml").write_text("[scaling]\nobjectiv = 3\n")
    status, output = command("check-policy", place / "policy.toml")
    assert status == 1
    assert f"{place}/policy.toml:2: scaling.objectiv: there is no such key (did you mean objective?)\n" in output


def test_replay_with_peers_and_a_picture(place: Path) -> None:
    status, output = command("replay", "--policy", place / "policy.toml", place / "log.swf", "--picture", place / "p.svg")
    assert status == 0, output
    assert [
        rule in output for rule in ("modabatchd", "Google cluster-toolkit", "AWS ParallelCluster", "Karpenter, all sizes")
    ] == [True] * 4
    assert ElementTree.parse(place / "p.svg").getroot().tag.endswith("svg")
    assert command("replay", "--policy", place / "policy.toml", place / "log.swf.gz", "--first", 10)[1].startswith("10 jobs, ")


def test_replay_with_everything_that_goes_wrong(place: Path) -> None:
    trouble = ("--boot-failures", 0.1, "--spot-losses", 0.1, "--seed", 3, "--monthly-budget", 0.01, "--hourly-cost", 1)
    status, output = command("replay", "--policy", place / "policy.toml", place / "log.swf", "--no-peers", *trouble)
    assert status == 0, output
    waited = float(output.split("modabatchd")[1].split()[1])
    assert waited > 100_000, "the budget was spent, and the next month had to come"


def test_replay_of_a_recording(place: Path) -> None:
    lines = [recording.encode(recording.Recorded(0.0, 1e6)), recorded_job("a", 3590.0, 3600.0, 3600.0, 3700.0)]
    (place / "week.jsonl").write_bytes(b"\n".join(lines))
    status, output = command("replay", "--policy", place / "policy.toml", place / "week.jsonl", "--picture", place / "p.svg")
    assert status == 0, output
    assert "as it was" in output
    assert ">01:00<" in (place / "p.svg").read_text()


def test_a_log_that_is_none(place: Path) -> None:
    (place / "log.swf").write_text("hello\n")
    status, output = command("replay", "--policy", place / "policy.toml", place / "log.swf")
    assert status == 1
    assert f"{place}/log.swf:1: 1 fields, where" in output
    (place / "log.swf.gz").write_text("hello\n")
    assert command("replay", "--policy", place / "policy.toml", place / "log.swf.gz")[0] == 1
