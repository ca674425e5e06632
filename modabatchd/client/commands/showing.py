"""Answers, put so that people can read them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

_COLOURS: Final[Mapping[str, str]] = {
    "running": "green",
    "up": "green",
    "open": "green",
    "completed": "blue",
    "held": "yellow",
    "suspended": "yellow",
    "draining": "yellow",
    "closed": "red",
    "broken": "red",
    "submission_error": "red",
    "removed": "bright_black",
    "gone": "bright_black",
}
_UNITS: Final = ((86400.0, "d"), (3600.0, "h"), (60.0, "m"))


def console(err: bool = False) -> Console:
    """Where it is shown; what goes into a pipe or a file has no colours, and lines as long as they are."""
    found = Console(stderr=err, highlight=False, soft_wrap=True)
    if not found.is_terminal:
        found.width = 10_000
    return found


def word(state: str) -> Text:
    """A state, in its colour."""
    return Text(state, style=_COLOURS.get(state, ""))


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    """In columns; what begins with a digit is aligned as numbers are if the column's name begins with a blank."""
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        shown.add_column(column.strip().upper(), justify="right" if column.startswith(" ") else "left", no_wrap=True)
    for row in rows:
        shown.add_row(*(cell if isinstance(cell, Text) else Text(_cell(cell)) for cell in row))
    return shown


def facts(pairs: Iterable[tuple[str, object]]) -> Table:
    """Names and values, those without a value left out."""
    shown = Table(box=None, pad_edge=False, show_header=False)
    shown.add_column(style="bold", no_wrap=True)
    shown.add_column(overflow="fold")
    for name, value in pairs:
        if value not in (None, "", (), [], {}):
            shown.add_row(name, value if isinstance(value, Text) else Text(_cell(value)))
    return shown


def told(job: Mapping[str, Any]) -> str:
    """The state of a job, in a line."""
    line = f"{job['id']} {job['job_status']}"
    if job["job_status"] == "running" and job["host"]:
        return f"{line} on {job['host']}"
    if job["job_status"] == "completed":
        how = f"signal {job['exit_signal']}" if job["exit_by_signal"] else f"exit status {job['exit_status']}"
        return f"{line}, {how}"
    return f"{line}: {plain(job['reason'])}" if job["reason"] else line


def money(amount: float) -> str:
    """Two digits of cents, or more where there would be nothing left."""
    return f"{amount:.2f}" if amount >= 1 or not amount else f"{amount:.4f}"


def duration(seconds: float) -> str:
    """In the largest unit that leaves more than one of it, as C{90s} or C{3h}."""
    for size, unit in _UNITS:
        if seconds >= 2 * size:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:.0f}s"


def plain(text: str) -> str:
    """What somebody else has written, without anything that a terminal would obey."""
    return "".join(letter if letter.isprintable() or letter == "\n" else "?" for letter in text)


def _cell(value: Any) -> str:
    if isinstance(value, Mapping):
        return plain(" ".join(f"{key}={item}" for key, item in value.items()))
    if isinstance(value, list | tuple):
        return plain(" ".join(map(str, value)))
    return "-" if value is None else plain(str(value))
