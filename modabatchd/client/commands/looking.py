"""C{modabatch list}, C{show} and C{why}."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

import click

from modabatchd.client.commands.connected import connected, in_json, print_json
from modabatchd.client.commands.showing import console, facts, table, told, word
from modabatchd.client.http import Server
from modabatchd.client.jobs import Document, Jobs

_STATES: Final = ("idle", "running", "suspended", "held", "completed", "removed", "submission_error")
_BLOCK: Final = 1000


@click.command("list")
@click.option("--status", "states", multiple=True, type=click.Choice(_STATES), help="Only in this state; may be repeated.")
@click.option("--name", help="Only jobs of this name.")
@click.option("--label", metavar="KEY[=VALUE]", help="Only jobs with this label.")
@click.option("-n", "--limit", type=click.IntRange(1), help="Only so many, the oldest.")
@click.option("-q", "--quiet", is_flag=True, help="Print the ids alone, for other commands.")
@in_json
@connected
def list_jobs(
    server: Server, states: tuple[str, ...], name: str | None, label: str | None, limit: int | None, quiet: bool, raw: bool
) -> None:
    """List jobs, newest last.

    \b
    modabatch list --status running --label team=blue
    modabatch remove $(modabatch list --quiet --status held)
    """
    found = islice(Jobs(server).entries(states, name, label), limit)
    if raw:
        print_json([*found])
        return
    shown = console()
    first = True
    while block := [*islice(found, _BLOCK)]:
        if quiet:
            click.echo("\n".join(str(job["id"]) for job in block))
        else:
            rows = [(job["id"], word(job["job_status"]), job["job_name"]) for job in block]
            shown.print(table(("id", "status", "name"), rows) if first else table(("", "", ""), rows))
        first = False


@click.command("show")
@click.argument("job")
@in_json
@connected
def show(server: Server, job: str, raw: bool) -> None:
    """Show all about JOB."""
    found = Jobs(server).job(job)
    if raw:
        print_json(found)
    else:
        console().print(facts(_about(found)))


@click.command("why")
@click.argument("job")
@in_json
@connected
def why(server: Server, job: str, raw: bool) -> None:
    """Tell why JOB is where it is.

    What it waits for, or that nothing can ever run it; why it is held, or how it ended.
    """
    jobs = Jobs(server)
    about = jobs.job(job)
    if about["job_status"] != "idle" and not raw:
        click.echo(told(about))
        return
    found = jobs.analysis(job)
    if raw:
        print_json(found)
        return
    click.echo(found["summary"])
    for cause in found["causes"][1:]:
        click.echo(f"{cause['count']} like it: {cause['reason']}")


def _about(job: Document) -> Iterator[tuple[str, Any]]:
    resources = job["resources"]
    yield "id", job["id"]
    yield "name", job["job_name"]
    yield "status", word(job["job_status"])
    yield "reason", job["reason"]
    yield "exit status", None if job["exit_by_signal"] else job["exit_status"]
    yield "ended by signal", job["exit_signal"]
    yield "host", job["host"]
    yield "in the scheduler", job["cluster_id"] and f"{job['cluster_id']}.{job['proc_id']} ({job['backend_job_status']})"
    yield "runs", job["job_run_count"]
    yield "arguments", job["arguments"]
    yield "labels", job["labels"]
    yield "asks for", ", ".join(f"{name} {value}{_UNITS[name]}" for name, value in resources.items() if value)
    yield "priority", job["job_priority"]
    yield "CPU time", f"{job['local_user_cpu']} s"
    for change in job["history"]:
        reason = f"  {change['reason']}" if change["reason"] else ""
        yield change["since"], f"{change['job_status']}{reason}"


_UNITS: Final = {"cpus": "", "memory": " MiB", "disk": " KiB", "gpus": ""}

COMMANDS: Final = {"list": list_jobs, "show": show, "why": why}
