"""What commands that ask a server have in common."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click
import msgspec

from modabatchd.client.http import Server

_DEFAULT = "http://127.0.0.1:5000"


def connected(command: Callable[..., Any]) -> Callable[..., Any]:
    """Gives a command the option --server, and the server as its first argument."""

    @click.option(
        "--server",
        "url",
        envvar="MODABATCH_SERVER",
        default=_DEFAULT,
        show_default=True,
        show_envvar=True,
        metavar="URL",
        help="The daemon: http://HOST:PORT, https://HOST:PORT or unix:PATH.",
    )
    @functools.wraps(command)
    def wrapped(*, url: str, **options: Any) -> Any:
        # Tests give the transport; people have the network.
        transport = click.get_current_context().find_root().obj
        with Server(url, transport) as server:
            return command(server, **options)

    return wrapped


def in_json(command: Callable[..., Any]) -> Callable[..., Any]:
    """Gives a command the option --json."""
    return click.option("--json", "raw", is_flag=True, help="Print the server's own document, for programs.")(command)


def print_json(document: Any) -> None:
    """For programs, and for people as well."""
    click.echo(msgspec.json.format(msgspec.json.encode(document), indent=2).decode())
