"""C{modabatch journal}."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime
from typing import Any, BinaryIO, Final

import click

from modabatchd.client.commands.connected import connected
from modabatchd.client.http import Server
from modabatchd.client.jobs import Jobs
from modabatchd.client.nodes import Nodes
from modabatchd.client.recording import recorded
from modabatchd.config.kinds import duration


class _Since(click.ParamType[float]):
    """A date, or how long ago."""

    name = "since"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """@return: seconds since the epoch."""
        if isinstance(value, float):
            return value
        try:
            return time.time() - float(duration().read(value))
        except ValueError:
            pass
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is neither a date, as 2026-01-31, nor a time, as 7d or 12h.", param, ctx)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


_SINCE: Final = _Since()


@click.command("journal")
@click.option(
    "--since", type=_SINCE, default="7d", show_default=True, metavar="DATE|TIME", help="For instance 2026-01-31, 12h."
)
@click.option("-o", "--output", type=click.File("ab"), help="Add it to this file, instead of printing it.")
@connected
def journal(server: Server, since: float, output: BinaryIO | None) -> None:
    """Record jobs and decisions, for replay.

    Prints the jobs that came since then and have run, and what was decided about nodes: a line of JSON for each.
    Jobs that the server has forgotten (spool.retention) are not among them; recordings that overlap can go to one file.
    """
    into = sys.stdout.buffer if output is None else output
    for line in recorded(Jobs(server), Nodes(server), since, time.time()):
        into.write(line + b"\n")


COMMANDS: Final = {"journal": journal}
