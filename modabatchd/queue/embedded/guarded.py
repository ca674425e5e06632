"""
Files that a job could have put something else in place of.  The standard library only: the runner imports it.

Note [Files within a job's reach]
=================================
A job runs as our own user, so it can put a directory, a link or a FIFO where we write or read, on purpose or by accident.  None
of them may keep us: a FIFO would be waited at for ever, a link would lead us elsewhere, a directory lets nothing be written.
So nothing but a plain file is opened, and what is only ours is cleared away before we write it.
"""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path
from typing import Final

#: Never follows a link, and never waits for somebody at the other end of a FIFO.
CAUTION: Final = os.O_NOFOLLOW | os.O_NONBLOCK


def open_plain(path: Path, flags: int, mode: int = 0o600) -> int:
    """
    A descriptor of a plain file.

    @param flags: as for C{os.open}.
    @raise OSError: there is something else, or it cannot be opened.
    """
    descriptor = os.open(path, flags | CAUTION, mode)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(f"{path} is no plain file")
    return descriptor


def read_plain(path: Path, most: int) -> bytes:
    """
    What a plain file holds, but not more than C{most} bytes of it.

    @raise OSError: there is something else, or it cannot be read.
    """
    with os.fdopen(open_plain(path, os.O_RDONLY), "rb") as file:
        return file.read(most)


def write_anew(path: Path, content: bytes) -> None:
    """
    Make a file that holds C{content}, synced, whatever was there before.

    @raise OSError: it cannot be made.
    """
    clear_away(path)
    with os.fdopen(open_plain(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def clear_away(path: Path) -> None:
    """
    Delete whatever is there.  Idempotent.

    @raise OSError: it cannot be deleted.
    """
    try:
        path.unlink(missing_ok=True)
    except IsADirectoryError:
        shutil.rmtree(path)


def sync(path: Path) -> None:
    """
    See to it that a file or directory is on disk.

    @raise OSError: it is neither, or cannot be synced.
    """
    descriptor = os.open(path, os.O_RDONLY | CAUTION)
    try:
        if not (stat.S_ISREG(kind := os.fstat(descriptor).st_mode) or stat.S_ISDIR(kind)):
            raise OSError(f"{path} is neither a plain file nor a directory")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
