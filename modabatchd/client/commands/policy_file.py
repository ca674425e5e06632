"""The file of a policy, as an argument."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)


def many(count: int, what: str) -> str:
    """C{1 node}, C{2 nodes}."""
    return f"{count} {what}" + ("" if count == 1 else "s")
