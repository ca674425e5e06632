"""C{modabatch replay}."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click

from modabatchd.client.commands.policy_file import FILE, many
from modabatchd.infrastructure.policies import load_policy
from modabatchd.infrastructure.replay.cluster import Placement
from modabatchd.infrastructure.replay.comparing import Replay
from modabatchd.infrastructure.replay.figures import table
from modabatchd.infrastructure.replay.log import Job, LogProblem, read_swf
from modabatchd.infrastructure.replay.picture import picture


@click.command("replay")
@click.argument("trace", type=FILE)
@click.option("--policy", "file", type=FILE, required=True, help="What the cluster is run by.")
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
    """Run recorded jobs under a policy.

    TRACE is a log in the Standard Workload Format (.gz or not).
    """
    policy = load_policy(file)
    run = Replay(policy, _jobs(trace)[:first], Placement(placement), boot)
    click.echo(
        f"{many(len(run.jobs), 'job')}, {run.work / 3600:.0f} core hours, nodes of {run.cores} cores at most, boot {boot:g} s"
    )
    click.echo("cost: core seconds paid for, by core seconds worked\n")
    rows = [run.ours(sampled=drawn is not None)]
    if peers:
        rows += run.peers()
    click.echo(table(rows, policy.currency))
    if drawn is not None:
        drawn.write_text(picture(run.samples, f"{trace.name} under {file.name}", policy.currency))


def _jobs(trace: Path) -> Sequence[Job]:
    try:
        opened = gzip.open if trace.suffix == ".gz" else open
        with opened(trace, "rt", encoding="utf-8", errors="replace") as lines:
            return read_swf(lines)
    except LogProblem as problem:
        raise click.ClickException(f"{trace}:{problem.line}: {problem}") from None
    except OSError as problem:
        raise click.ClickException(f"{trace}: {problem}") from None


COMMANDS: Final = {"replay": replay}
