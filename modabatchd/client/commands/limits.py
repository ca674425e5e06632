"""C{modabatch limits}."""

from __future__ import annotations

from typing import Final

import click

from modabatchd.client.commands.connected import connected
from modabatchd.client.commands.showing import console, facts
from modabatchd.client.http import Server
from modabatchd.client.nodes import Nodes

_NAMES: Final = ("max_nodes", "max_cores", "starts_per_minute", "max_hourly_cost", "monthly_budget")


@click.command("limits")
@click.option("--max-nodes", metavar="N")
@click.option("--max-cores", metavar="N|none")
@click.option("--starts-per-minute", metavar="N")
@click.option("--max-hourly-cost", metavar="AMOUNT|none")
@click.option("--monthly-budget", metavar="AMOUNT|none")
@click.option("--reset", is_flag=True, help="Let the policy's limits count again.")
@connected
def limits(server: Server, reset: bool, **given: str | None) -> None:
    """Show the limits, or change them.

    Changes count at once, and are kept across restarts.
    """
    changed = {name: value for name, value in given.items() if value is not None}
    if reset and changed:
        raise click.UsageError("--reset goes alone.")
    nodes = Nodes(server)
    found = nodes.unlimit() if reset else nodes.limit(changed) if changed else nodes.all()["limits"]
    console().print(facts((name, "none" if found[name] is None else found[name]) for name in _NAMES))


COMMANDS: Final = {"limits": limits}
