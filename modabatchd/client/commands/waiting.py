"""C{modabatch wait} and C{logs}: jobs that are not over yet."""

from __future__ import annotations

import sys
from typing import Final, NoReturn

import click

from modabatchd.client.commands.connected import connected
from modabatchd.client.commands.showing import told
from modabatchd.client.following import follow as following
from modabatchd.client.http import Server
from modabatchd.client.jobs import Document, Jobs, exit_status
from modabatchd.errors import ModabatchError

#: For a job without an exit status of its own.
NO_STATUS: Final = 125
_INTERRUPTED: Final = 130


def until_over(server: Server, jobs: Jobs, job_id: str, follow: bool) -> NoReturn:
    """Wait for the end of a job, and exit with its status."""
    try:
        job = _followed(server, jobs, job_id) if follow else _watched(jobs, job_id)
    except KeyboardInterrupt:
        click.echo(f"\nThe job goes on; wait for it again with: modabatch wait {job_id}", err=True)
        sys.exit(_INTERRUPTED)
    except ModabatchError as problem:
        click.echo(f"error: {problem.cause}\n cure: {problem.cure}", err=True)
        click.echo(f"The job goes on; wait for it again with: modabatch wait {job_id}", err=True)
        sys.exit(NO_STATUS)
    sys.exit(exit_status(job))


@click.command("wait")
@click.argument("job")
@connected
def wait(server: Server, job: str) -> None:
    """Wait until JOB is over, and exit with its exit status.

    128 and the signal's number if a signal ended it; 125 if it was removed or could not be submitted.
    """
    until_over(server, Jobs(server), job, follow=False)


@click.command("logs")
@click.argument("job")
@click.option("-f", "--follow", is_flag=True, help="Go on until the job is over.")
@click.option("--stderr", is_flag=True, help="What it printed to its standard error instead.")
@connected
def logs(server: Server, job: str, follow: bool, stderr: bool) -> None:
    """Print what JOB has printed."""
    for block in following(server, Jobs(server), job, "stderr" if stderr else "stdout", until_over=follow):
        _out(block)


def _watched(jobs: Jobs, job_id: str) -> Document:
    for job in jobs.watch(job_id):
        click.echo(told(job), err=True)
    return job


def _followed(server: Server, jobs: Jobs, job_id: str) -> Document:
    for block in following(server, jobs, job_id, "stdout", until_over=True):
        _out(block)
    job = jobs.job(job_id)
    click.echo(told(job), err=True)
    return job


def _out(block: bytes) -> None:
    sys.stdout.buffer.write(block)
    sys.stdout.buffer.flush()


COMMANDS: Final = {"wait": wait, "logs": logs}
