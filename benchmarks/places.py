"""Where the files of a run lie."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def place(name: str) -> Iterator[Path]:
    """A directory of its own on the disk that TMPDIR, or else /var/tmp, is on (/tmp may be memory); gone afterwards."""
    parent = None if tempfile.gettempdir() != "/tmp" else "/var/tmp"
    with tempfile.TemporaryDirectory(prefix=f"modabatchd-bench-{name}.", dir=parent, ignore_cleanup_errors=True) as directory:
        yield Path(directory)
