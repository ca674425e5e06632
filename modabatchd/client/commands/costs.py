"""C{modabatch costs}."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import click

from modabatchd.client.commands.connected import connected, in_json, print_json
from modabatchd.client.commands.showing import console, money, table
from modabatchd.client.http import Server
from modabatchd.client.jobs import Document
from modabatchd.client.nodes import Nodes


@click.command("costs")
@click.option("--month", metavar="YYYY-MM", help="By default this one.")
@click.option("--label", metavar="KEY", help="Also what was for jobs with each value of it.")
@in_json
@connected
def costs(server: Server, month: str | None, label: str | None, raw: bool) -> None:
    """Show what a month has cost, and for whom."""
    found = Nodes(server).costs(month, label)
    if raw:
        print_json(found)
        return
    shown = console()
    columns = (found["month"], *(f" {name} {found['currency']}".rstrip() for name in ("spent", "for jobs", "for nobody")))
    shown.print(table(columns, [*_sums(found)]))
    if found["label"] is not None:
        shown.print()
        shown.print(table((found["label"], f" for jobs {found['currency']}".rstrip()), [*_values(found)]))


def _sums(found: Document) -> Iterator[tuple[Any, ...]]:
    for name, each in (*found["pools"].items(), ("all", found)):
        yield (name, money(each["spent"]), money(each["jobs"]), money(each["rest"]))


def _values(found: Document) -> Iterator[tuple[Any, ...]]:
    for value, amount in found["values"].items():
        yield value, money(amount)
    yield "(without it)", money(found["unlabelled"])


COMMANDS: Final = {"costs": costs}
