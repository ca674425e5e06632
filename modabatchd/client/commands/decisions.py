"""C{modabatch plan} and C{decisions}."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

import click

from modabatchd.client.commands.connected import connected, in_json, print_json
from modabatchd.client.http import Server
from modabatchd.client.jobs import Document
from modabatchd.client.nodes import Nodes


@click.command("plan")
@in_json
@connected
def plan(server: Server, raw: bool) -> None:
    """Show what would be done about the nodes now, and why."""
    found = Nodes(server).plan()
    if raw:
        print_json(found)
        return
    if found["stale"]:
        click.echo(f"Nothing: {found['stale']}.")
        return
    lines = [*_lines(found)]
    click.echo("\n".join(lines) if lines else f"Nothing{': ' + found['reason'] if found['reason'] else ''}.")
    click.echo(f"Looks again within {found['again']:.0f} s.")


@click.command("decisions")
@click.option("-n", "--limit", type=click.IntRange(1), default=20, show_default=True, help="How many, the newest.")
@in_json
@connected
def decisions(server: Server, limit: int, raw: bool) -> None:
    """Show what was done about the nodes, and why; the newest last."""
    found = [*islice(Nodes(server).decisions(), limit)]
    if raw:
        print_json(found)
        return
    for line in reversed(found):
        made = line["decision"]
        who = " by hand" if made["by_hand"] else ""
        click.echo(click.style(f"{line['at']}{who}", bold=True))
        click.echo("\n".join(f"  {text}" for text in [*_lines(made)] or [made["reason"] or "nothing to do"]))


def _lines(made: Document) -> Iterator[str]:
    """A line for each step, and for what can never be run."""
    for step in made["steps"]:
        yield _line(step)
    for each in made["unsatisfiable"]:
        yield f"never   {_jobs(each['count'])}: {each['reason']}"


def _line(step: Document) -> str:
    kind: str = step["step"]
    if kind == "wait":
        return f"wait    {_jobs(step['count'])}: {step['reason']}"
    if kind != "start":
        return f"{kind:7} {step['node']}: {step['reason']}"
    offering: Any = step["offering"]
    served = sum(served["count"] for served in step["serves"])
    where = "".join(f" {offering[name]}" for name in ("zone", "market") if offering.get(name) not in (None, "", "on_demand"))
    return f"start   {offering['pool']}/{offering['size']}{where} for {_jobs(served)}: {step['reason']}"


def _jobs(count: int) -> str:
    return f"{count} job" if count == 1 else f"{count} jobs"


COMMANDS: Final = {"plan": plan, "decisions": decisions}
