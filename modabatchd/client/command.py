"""
C{modabatch}: what people type.

Note [Commands that are not loaded]
===================================
Each command lives in a module of its own, which is imported when it is used: a list of jobs is not to wait for libcloud, and
whoever has only the extra C{client} installed can use all commands that need no more.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, Final

import click

from modabatchd.client.errors import ServerAway, ServerRefused
from modabatchd.errors import ModabatchError

#: Exit statuses beside 0, and 2 for wrong usage, which is click's.
REFUSED: Final = 1
AWAY: Final = 3

_EPILOG: Final = """\b
Exit status:
  0  done
  1  refused, or something is wrong with what was given
  2  wrong usage
  3  the server cannot be reached, or wants to be asked later
"modabatch submit --wait" and "modabatch wait" exit with the job's own.
"""

#: By section, the commands with the extra and the module of each; the module has a command of that name.
SECTIONS: Final[Mapping[str, Mapping[str, tuple[str, str]]]] = {
    "Jobs": {
        "submit": ("client", "submit"),
        "list": ("client", "looking"),
        "show": ("client", "looking"),
        "why": ("client", "looking"),
        "wait": ("client", "waiting"),
        "logs": ("client", "waiting"),
        "fetch": ("client", "fetch"),
        "hold": ("client", "acting"),
        "release": ("client", "acting"),
        "suspend": ("client", "acting"),
        "continue": ("client", "acting"),
        "remove": ("client", "acting"),
    },
    "Nodes": {
        "nodes": ("client", "nodes"),
        "plan": ("client", "decisions"),
        "decisions": ("client", "decisions"),
        "costs": ("client", "costs"),
        "pause": ("client", "by_hand"),
        "resume": ("client", "by_hand"),
        "start": ("client", "by_hand"),
        "drain": ("client", "by_hand"),
        "stop": ("client", "by_hand"),
        "pin": ("client", "by_hand"),
        "open": ("client", "by_hand"),
        "limits": ("client", "limits"),
    },
    "Policies": {
        "check-policy": ("scaling", "check_policy"),
        "journal": ("client", "journal"),
        "replay": ("scaling", "replay"),
    },
}
_COMMANDS: Final = {name: place for section in SECTIONS.values() for name, place in section.items()}


class Commands(click.Group):
    """See Note [Commands that are not loaded]."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """See L{click.Group.list_commands}."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """See L{click.Group.get_command}."""
        if cmd_name not in _COMMANDS:
            return None
        extra, module = _COMMANDS[cmd_name]
        try:
            loaded = importlib.import_module(f"modabatchd.client.commands.{module}")
        except ModuleNotFoundError as problem:
            return _missing(cmd_name, extra, problem.name or "")
        command: click.Command = loaded.COMMANDS[cmd_name]
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """See L{click.Group.format_commands}."""
        for title, names in SECTIONS.items():
            found = [(name, self.get_command(ctx, name)) for name in names]
            with formatter.section(title):
                formatter.write_dl([(name, command.get_short_help_str(70)) for name, command in found if command])

    def invoke(self, ctx: click.Context) -> Any:
        """Tell errors by cause and cure."""
        try:
            return super().invoke(ctx)
        except ModabatchError as problem:
            tell(problem)
            ctx.exit(status_of(problem))


def tell(problem: ModabatchError) -> None:
    """For whoever has typed the command."""
    click.echo(f"{click.style('error:', fg='red', bold=True)} {problem.cause}", err=True)
    click.echo(f"{click.style(' cure:', bold=True)} {problem.cure}", err=True)


def status_of(problem: ModabatchError) -> int:
    """The exit status for an error."""
    away = isinstance(problem, ServerAway) or (isinstance(problem, ServerRefused) and problem.later)
    return AWAY if away else REFUSED


def _missing(name: str, extra: str, module: str) -> click.Command:
    @click.command(name, short_help=f"(needs modabatchd[{extra}])", context_settings={"ignore_unknown_options": True})
    @click.argument("anything", nargs=-1, type=click.UNPROCESSED)
    def missing(anything: tuple[str, ...]) -> None:
        raise ModabatchError(f"{name} needs the module {module}.", f"Run pip install 'modabatchd[{extra}]'.")

    return missing


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]}, epilog=_EPILOG)
@click.version_option(package_name="modabatchd")
def main() -> None:
    """Batch jobs over HTTP, and a cluster that grows and shrinks with them.

    Commands on jobs and nodes ask the server that --server or MODABATCH_SERVER names, http://127.0.0.1:5000 by default.
    """
