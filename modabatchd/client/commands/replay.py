"""C{modabatch replay}."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from modabatchd.client.commands.policy_file import FILE, many
from modabatchd.client.commands.trace_file import Trace, read_trace
from modabatchd.infrastructure.policies import load_policy
from modabatchd.infrastructure.policy import Policy
from modabatchd.infrastructure.replay.cluster import Placement
from modabatchd.infrastructure.replay.comparing import Replay
from modabatchd.infrastructure.replay.figures import table
from modabatchd.infrastructure.replay.hazards import Hazards
from modabatchd.infrastructure.replay.picture import picture

_PICTURE: Final = click.Path(dir_okay=False, path_type=Path)
_OPTIONS: Final = (
    click.option("--policy", "file", type=FILE, required=True, help="What the cluster is run by."),
    click.option("--peers/--no-peers", default=True, show_default=True, help="Also what other autoscalers' rules would do."),
    click.option("--boot", default=120.0, show_default=True, metavar="SECONDS", help="From the order of a node to the pool."),
    click.option("--first", type=click.IntRange(1), metavar="N", help="Only so many jobs."),
    click.option("--placement", type=click.Choice([*Placement]), default=Placement.OLDEST, help="Which node a job gets."),
    click.option("--spot-losses", type=click.FloatRange(0), default=0.0, metavar="RATE", help="Of each spot node, an hour."),
    click.option("--boot-failures", type=click.FloatRange(0, 1), default=0.0, metavar="PART", help="Of nodes never join."),
    click.option("--seed", default=0, show_default=True, help="Of the dice for these two."),
    click.option("--hourly-cost", type=click.FloatRange(0), metavar="AMOUNT", help="Instead of the policy's max_hourly_cost."),
    click.option("--monthly-budget", type=click.FloatRange(0), metavar="AMOUNT", help="Instead of the policy's."),
    click.option("--picture", "drawn", type=_PICTURE, help="Draw demand, nodes and money there, as SVG."),
)


def _described(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@click.command("replay")
@click.argument("trace", type=FILE)
@_described
def replay(
    trace: Path,
    file: Path,
    peers: bool,
    boot: float,
    first: int | None,
    placement: str,
    spot_losses: float,
    boot_failures: float,
    seed: int,
    hourly_cost: float | None,
    monthly_budget: float | None,
    drawn: Path | None,
) -> None:
    """Run recorded jobs under a policy.

    Prints what that would have cost and how long jobs would have waited, by the shipped planner and by others' rules.
    TRACE is what "modabatch journal" has recorded, or a log in the Standard Workload Format; with .gz or without.
    """
    policy = _limited(load_policy(file), max_hourly_cost=hourly_cost, monthly_budget=monthly_budget)
    hazards = Hazards(boot_failures=boot_failures, spot_losses=spot_losses, seed=seed)
    read = read_trace(trace, policy, first)
    run = Replay(policy, read.log, Placement(placement), boot, hazards)
    about = (
        f"{many(len(run.jobs), 'job')}, {run.work / 3600:.0f} core hours, nodes of {run.cores} cores at most, boot {boot:g} s"
    )
    click.echo(about)
    click.echo("cost: core seconds paid for, by core seconds worked\n")
    _show(run, read, peers, drawn is not None, policy)
    if drawn is not None:
        title = f"{trace.name} under {file.name}"
        drawn.write_text(picture(run.samples, title, about, policy.currency, run.begins, read.log.begins is not None))


def _show(run: Replay, read: Trace, peers: bool, sampled: bool, policy: Policy) -> None:
    rows = [run.ours(sampled)]
    if read.was is not None:
        rows.append(read.was)
    if peers:
        rows += run.peers(sampled)
    click.echo(table(rows, policy.currency))


def _limited(policy: Policy, **limits: float | None) -> Policy:
    given = {name: value for name, value in limits.items() if value is not None}
    return msgspec.structs.replace(policy, limits=msgspec.structs.replace(policy.limits, **given))


COMMANDS: Final = {"replay": replay}
