"""Fresh folders for a run's files, and the removal of those that earlier runs left behind."""

import contextlib
import fcntl
import os
import shutil
import tempfile
from pathlib import Path

# Not /tmp: it may be small, or empty itself while the services run. The path is short because sockets lie below it.
PARENT = Path("/var/tmp")
PREFIX = "modabatchd-test."


def fresh() -> Path:
    """Make a folder that no other run touches while this process lives."""
    _remove_leftovers()
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=PARENT))
    # Locked before it gets its name, so nobody ever sees it unlocked while we live; the descriptor stays open until then.
    descriptor = os.open(folder / "new", os.O_CREAT | os.O_RDWR)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    (folder / "new").rename(folder / "lock")
    return folder


def remove(folder: Path) -> None:
    """Remove a folder and everything in it, as far as that is possible."""
    shutil.rmtree(folder, ignore_errors=True)


def _remove_leftovers() -> None:
    for folder in PARENT.glob(PREFIX + "*"):
        with contextlib.suppress(OSError), (folder / "lock").open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            remove(folder)
