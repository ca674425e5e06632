"""C{modabatch fetch}."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import Final

import click

from modabatchd.client.commands.connected import connected
from modabatchd.client.errors import ServerRefused, Unusable
from modabatchd.client.fetching import FILES, Fetching
from modabatchd.client.http import Server

_BY_DEFAULT: Final = ("output", "stdout", "stderr")
_MISSING: Final = 404


@click.command("fetch")
@click.argument("job")
@click.argument("artifacts", nargs=-1, type=click.Choice([*FILES]), metavar="[output|stdout|stderr|_userlog]...")
@click.option("-o", "--to", type=click.Path(file_okay=False, path_type=Path), help="The directory; by default one named JOB.")
@click.option("--unpack", is_flag=True, help="Unpack the output there as well.")
@connected
def fetch(server: Server, job: str, artifacts: tuple[str, ...], to: Path | None, unpack: bool) -> None:
    """Fetch what JOB has left.

    Its output directory (output.tar.gz), and what it printed (stdout.txt, stderr.txt), unless artifacts are named.
    What is there already is not fetched again, and what was broken off goes on where it stopped.
    """
    directory = to or Path(job)
    if job in ("", ".", "..") or "/" in job:
        raise Unusable(f"{job!r} is no id of a job.", "List the jobs with modabatch list.")
    fetching = Fetching(server, job, directory)
    for artifact in artifacts or _BY_DEFAULT:
        try:
            path = fetching.fetch(artifact)
        except ServerRefused as problem:
            # Not everything is there of every job; whoever has asked for it by name wants to know.
            if artifacts or problem.status != _MISSING or problem.type != "unknown-artifact":
                raise
            continue
        click.echo(str(path))
        if unpack and artifact == "output":
            _unpack(path, directory)


def _unpack(archive: Path, into: Path) -> None:
    """Nothing that would come to lie outside."""
    try:
        with tarfile.open(archive, "r:gz") as opened:
            opened.extractall(into, filter="data")
    except (tarfile.TarError, OSError) as problem:
        raise Unusable(f"{archive} cannot be unpacked: {problem}.", "Look at it with tar tvzf.") from None
    click.echo(f"{into}/output/")


COMMANDS: Final = {"fetch": fetch}
