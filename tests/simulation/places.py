"""Where a story takes place."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

#: In memory, where there is such a place: nothing here is about disks, and each story syncs dozens of times.
_MEMORY: Final = "/dev/shm"


@contextmanager
def quick_place() -> Iterator[Path]:
    """An empty directory, for as long as it is used."""
    parent = _MEMORY if os.access(_MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="modabatchd-simulation.", dir=parent) as directory:
        yield Path(directory)
