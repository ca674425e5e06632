"""What an owner does to nodes by hand: C{modabatch pause}, C{resume}, C{start}, C{drain}, C{stop}, C{pin} and C{open}."""

from __future__ import annotations

from typing import Final

import click

from modabatchd.client.commands.connected import connected
from modabatchd.client.http import Server
from modabatchd.client.jobs import Document
from modabatchd.client.nodes import Nodes


@click.command("pause")
@connected
def pause(server: Server) -> None:
    """Stop all scaling; outlives a restart.  What is done by hand is done all the same."""
    Nodes(server).pause()
    click.echo("Scaling is paused.")


@click.command("resume")
@connected
def resume(server: Server) -> None:
    """Let scaling go on."""
    Nodes(server).resume()
    click.echo("Scaling goes on.")


@click.command("start")
@click.argument("pool")
@click.option("-n", "--count", type=click.IntRange(1, 1000), default=1, show_default=True, help="How many.")
@connected
def start(server: Server, pool: str, count: int) -> None:
    """Start nodes of POOL, within its limits.  Without work they go as others do: pin them to stay."""
    for node in Nodes(server).start(pool, count)["nodes"]:
        _tell(node)


@click.command("drain")
@click.argument("node")
@click.option("--undo", is_flag=True, help="Let it take jobs again.")
@connected
def drain(server: Server, node: str, undo: bool) -> None:
    """Let NODE take no new jobs, and go when the last one is done."""
    _tell(Nodes(server).drain(node, undo))


@click.command("stop")
@click.argument("node")
@connected
def stop(server: Server, node: str) -> None:
    """End NODE at once; refused if it runs a job: drain it."""
    _tell(Nodes(server).stop(node))


@click.command("pin")
@click.argument("node")
@click.option("--undo", is_flag=True, help="Let it be stopped again.")
@connected
def pin(server: Server, node: str, undo: bool) -> None:
    """Never stop NODE."""
    _tell(Nodes(server).pin(node, undo))


@click.command("open")
@click.argument("pool")
@connected
def open_pool(server: Server, pool: str) -> None:
    """Use POOL again.

    For one that was closed because its nodes never joined.
    """
    Nodes(server).open(pool)
    click.echo(f"{pool} is used again.")


def _tell(node: Document) -> None:
    more = "".join(f", {name}" for name in ("pinned", "retiring") if node[name])
    click.echo(f"{node['name']} {node['state']}{more}")


COMMANDS: Final = {
    "pause": pause,
    "resume": resume,
    "start": start,
    "drain": drain,
    "stop": stop,
    "pin": pin,
    "open": open_pool,
}
