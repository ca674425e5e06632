"""C{modabatch}: what people type."""

from __future__ import annotations

import gzip
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from modabatchd.errors import ConfigurationError
from modabatchd.infrastructure.policies import load_policy, warnings
from modabatchd.infrastructure.policy import Policy
from modabatchd.infrastructure.replay.cluster import Placement
from modabatchd.infrastructure.replay.comparing import Replay
from modabatchd.infrastructure.replay.figures import table
from modabatchd.infrastructure.replay.log import Job, LogProblem, read_swf
from modabatchd.infrastructure.replay.picture import picture

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Batch jobs over HTTP, and a cluster that grows and shrinks with them."""


@main.command("check-policy")
@click.argument("file", type=_FILE)
def check_policy(file: Path) -> None:
    """Tell everything that is wrong with the policy FILE, and what can hardly be meant."""
    policy = _policy(file)
    for warning in warnings(policy):
        click.echo(f"{file}: warning: {warning}", err=True)
    sizes = sum(len(pool.sizes) for pool in policy.pools)
    click.echo(f"{file}: {_many(len(policy.pools), 'pool')}, {_many(sizes, 'size')}, objective {policy.objective}")


@main.command()
@click.argument("trace", type=_FILE)
@click.option("--policy", "file", type=_FILE, required=True, help="What the cluster is run by.")
@click.option("--peers", is_flag=True, help="Show what other autoscalers' rules would have done as well.")
@click.option("--boot", default=120.0, show_default=True, help="Seconds from the order of a node to its first job.")
@click.option("--first", type=click.IntRange(1), help="Only so many jobs of the log.")
@click.option(
    "--placement", type=click.Choice([*Placement]), default=Placement.OLDEST, show_default=True, help="Which node a job gets."
)
@click.option(
    "--picture", "drawn", type=click.Path(dir_okay=False, path_type=Path), help="Draw demand, nodes and money there, as SVG."
)
def replay(trace: Path, file: Path, peers: bool, boot: float, first: int | None, placement: str, drawn: Path | None) -> None:
    """Run the jobs of TRACE, a log in the Standard Workload Format (.gz or not), under a policy."""
    policy = _policy(file)
    run = Replay(policy, _jobs(trace)[:first], Placement(placement), boot)
    click.echo(
        f"{_many(len(run.jobs), 'job')}, {run.work / 3600:.0f} core hours, nodes of {run.cores} cores at most, boot {boot:g} s"
    )
    click.echo("cost: core seconds paid for, by core seconds worked\n")
    rows = [run.ours(sampled=drawn is not None)]
    if peers:
        rows += run.peers()
    click.echo(table(rows, policy.currency))
    if drawn is not None:
        drawn.write_text(picture(run.samples, f"{trace.name} under {file.name}", policy.currency))


def _policy(file: Path) -> Policy:
    try:
        return load_policy(file)
    except ConfigurationError as error:
        click.echo(error.cause, err=True)
        click.echo(error.cure, err=True)
        sys.exit(1)


def _jobs(trace: Path) -> Sequence[Job]:
    try:
        opened = gzip.open if trace.suffix == ".gz" else open
        with opened(trace, "rt", encoding="utf-8", errors="replace") as lines:
            return read_swf(lines)
    except LogProblem as problem:
        raise click.ClickException(f"{trace}:{problem.line}: {problem}") from None
    except OSError as problem:
        raise click.ClickException(f"{trace}: {problem}") from None


def _many(count: int, what: str) -> str:
    return f"{count} {what}" + ("" if count == 1 else "s")
