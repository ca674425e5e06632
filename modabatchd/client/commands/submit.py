"""C{modabatch submit}."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import click
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from modabatchd.client.bundling import members, pack
from modabatchd.client.commands.connected import connected, in_json, print_json
from modabatchd.client.commands.showing import console, plain
from modabatchd.client.commands.waiting import until_over
from modabatchd.client.http import Server
from modabatchd.client.jobs import Document, Jobs, Submission

_FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)
_EPILOG: Final = """\b
Examples:
  modabatch submit hello/ -- world
  modabatch submit --cpus 4 --memory 8G --label team=blue --wait job.tar.gz

Exit status with --wait or --follow: the job's own; 128 and the signal's number if a signal ended it; 125 if it was removed,
could not be submitted, or could not be waited for.
"""


def _pairs(context: click.Context, parameter: click.Parameter, values: Sequence[str]) -> Mapping[str, str]:
    """NAME=VALUE, several times."""
    for value in values:
        if not value.partition("=")[0] or "=" not in value:
            raise click.BadParameter(f"{value!r} is not NAME=VALUE.")
    return {name: text for name, _, text in (value.partition("=") for value in values)}


_OPTIONS: Final = (
    click.option("--name", default="", help="A name for the job."),
    click.option("--input", type=_FILE, help="An archive for the application; its path is in MODACLOUDS_BATCH_INPUT."),
    click.option("--env", "environment", multiple=True, metavar="NAME=VALUE", callback=_pairs, help="May be repeated."),
    click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", callback=_pairs, help="May be repeated."),
    click.option("--notify", "notification", default="", metavar="URL", help="Gets a POST once the job is over."),
    click.option("--priority", type=int, help="Higher runs first, among the jobs of this queue."),
    click.option("--cpus", type=int, help="How many cores it needs."),
    click.option("--gpus", type=int, help="How many GPUs."),
    click.option("--memory", default="", metavar="SIZE", help="For instance 512M or 2G."),
    click.option("--disk", default="", metavar="SIZE", help="For instance 512M or 2G."),
    click.option("--max-time", "max_wall_time", default="", metavar="TIME", help="How long a run may take: 90s, 15m, 2h, 1d."),
    click.option("--retries", "max_retries", type=int, help="How often a run that fails is repeated."),
)


def _described(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@click.command("submit", epilog=_EPILOG)
@click.argument("bundle", type=click.Path(exists=True, path_type=Path))
@click.argument("arguments", nargs=-1)
@_described
@click.option("--exclude", multiple=True, metavar="PATTERN", help="What of a directory is left out, as *.o; may be repeated.")
@click.option("--wait", is_flag=True, help="Wait until the job is over, and exit with its exit status.")
@click.option("--follow", is_flag=True, help="Also print what it prints, as it does.")
@in_json
@connected
def submit(
    server: Server, bundle: Path, exclude: tuple[str, ...], wait: bool, follow: bool, raw: bool, **described: Any
) -> None:
    """Submit a bundle.  Prints the job's id.

    BUNDLE is a directory with an executable run.sh, or an archive (tar.gz) of one.
    ARGUMENTS are what run.sh gets; put -- before them.
    """
    jobs = Jobs(server)
    with _packed(bundle, exclude) as archive:
        job = _send(jobs, archive, Submission(**described))
    if raw:
        print_json(job)
    elif not follow:
        click.echo(job["job_id"])
    if job.get("warning"):
        click.echo(f"warning: {plain(job['warning'])}", err=True)
    if job["backend_id"] is None and job["job_status"] == "idle":
        click.echo("The scheduler is away at the moment.  The job is stored safely, and goes there later.", err=True)
    if wait or follow:
        until_over(server, jobs, str(job["job_id"]), follow)


def _send(jobs: Jobs, archive: Path, submission: Submission) -> Document:
    total = sum(path.stat().st_size for path in (archive, submission.input) if path is not None)
    with _progress("sending", total) as sent:
        return jobs.submit(archive, submission, sent)


@contextmanager
def _packed(bundle: Path, exclude: Sequence[str]) -> Iterator[Path]:
    """The archive, made if there is none yet."""
    if not bundle.is_dir():
        yield bundle
        return
    found = members(bundle, exclude)
    total = sum(path.lstat().st_size for path in found if path.is_file() and not path.is_symlink())
    with tempfile.TemporaryDirectory(prefix="modabatch-") as directory:
        archive = Path(directory, f"{bundle.resolve().name or 'job'}.tar.gz")
        with archive.open("wb") as into, _progress("packing", total) as packed:
            pack(bundle, found, into, packed)
        yield archive


@contextmanager
def _progress(what: str, total: int) -> Iterator[Callable[[int], object]]:
    """A bar on a terminal; nothing elsewhere."""
    shown = console(err=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=shown, transient=True, disable=not shown.is_terminal) as progress:
        task = progress.add_task(what, total=total)
        yield lambda count: progress.update(task, advance=count)


COMMANDS: Final = {"submit": submit}
