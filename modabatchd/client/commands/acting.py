"""C{modabatch hold}, C{release}, C{suspend}, C{continue} and C{remove}."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import click

from modabatchd.client.command import status_of, tell
from modabatchd.client.commands.connected import connected
from modabatchd.client.errors import ServerAway, ServerRefused
from modabatchd.client.http import Server
from modabatchd.client.jobs import Jobs

_ACTIONS: Final = {
    "hold": "Keep jobs from running until they are released.",
    "release": "Let jobs that are held run again, from their beginning.",
    "suspend": "Freeze jobs that run.",
    "continue": "Let jobs that are suspended go on.",
    "remove": "End jobs for good.",
}


def _command(action: str, about: str) -> click.Command:
    @click.command(action, help=f"{about}\n\nAll JOBS are tried; the exit status is that of the first that it failed for.")
    @click.argument("jobs", nargs=-1, required=True, metavar="JOB...")
    @connected
    def act(server: Server, jobs: tuple[str, ...]) -> None:
        statuses = [_act(Jobs(server), job, action) for job in jobs]
        click.get_current_context().exit(next((status for status in statuses if status), 0))

    return act


def _act(jobs: Jobs, job: str, action: str) -> int:
    """@return: the exit status for it."""
    try:
        jobs.act(job, action)
    except (ServerRefused, ServerAway) as problem:
        click.echo(f"{job}:", err=True)
        tell(problem)
        return status_of(problem)
    click.echo(f"{job} {action}")
    return 0


COMMANDS: Final[Mapping[str, click.Command]] = {action: _command(action, about) for action, about in _ACTIONS.items()}
