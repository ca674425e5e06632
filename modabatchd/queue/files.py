"""What the spool does to files and directories.  Blocking; knows nothing of Twisted."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from modabatchd.errors import NoSpace

#: What starts C{run.sh}, and what each task of a job array takes its variables from, in the directory of a job.
LAUNCH: Final = "launch.sh"
PARAMETERS: Final = "parameters"

_PIECE: Final = 1 << 18


def keep(draft: Path, place: Path, own: Mapping[str, bytes]) -> int:
    """
    Make a draft the directory of a job.  See Note [Keeping a draft] in L{modabatchd.queue.spool}.

    @param own: files that are written into it, by name.
    @return: the bytes in it.
    """
    for name, content in own.items():
        (draft / name).write_bytes(content)
    for path in draft.iterdir():
        path.chmod(0o600)
        sync(path)
    sync(draft)
    place.parent.mkdir(exist_ok=True, mode=0o700)
    sync(place.parent.parent)
    draft.rename(place)
    sync(place.parent)
    sync(draft.parent)
    return size(place)


def delete(directory: Path) -> None:
    """Delete a directory with all that is in it, also where its permissions are against it.  Idempotent."""
    try:
        shutil.rmtree(directory)
    except FileNotFoundError:
        pass
    except PermissionError:
        for parent, names, _ in os.walk(directory):
            for path in (Path(parent), *(Path(parent, name) for name in names)):
                if not path.is_symlink():
                    path.chmod(0o700)
        shutil.rmtree(directory)


def delete_all(directories: Mapping[str, Path]) -> Mapping[str, OSError | None]:
    """Delete several directories.  @return: under the same keys, what was in the way of those that are still there."""
    outcomes: dict[str, OSError | None] = {}
    for key, directory in directories.items():
        try:
            delete(directory)
        except OSError as problem:
            outcomes[key] = problem
        else:
            outcomes[key] = None
    return outcomes


def directories(parent: Path) -> list[Path]:
    """The directories in a directory, or none when it is gone."""
    try:
        with os.scandir(parent) as entries:
            return [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []


def size(directory: Path) -> int:
    """Bytes of the files below a directory, links not followed; what vanishes meanwhile or cannot be read counts nothing."""
    total = 0
    with suppress(OSError), os.scandir(directory) as entries:
        for entry in entries:
            with suppress(OSError):
                inner = entry.is_dir(follow_symlinks=False)
                total += size(Path(entry.path)) if inner else entry.stat(follow_symlinks=False).st_size
    return total


def changed(directory: Path) -> float:
    """When something was last added to a directory or deleted from it; never, so to speak, when it is gone."""
    try:
        return directory.stat().st_mtime
    except FileNotFoundError:
        return float("inf")


def piece(path: Path, offset: int, since: float = 0.0) -> bytes:
    """
    Some of a file that may still grow: at most 256 KiB; nothing beyond its end, or where no plain file is.

    @param since: a file that was last written before that time (seconds since the epoch) counts as empty.
    """
    # A job may have put something else in the place of its file: a link, or a FIFO, which must not block us.
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return b""
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_mtime < since:
            return b""
        return os.pread(descriptor, _PIECE, offset)
    finally:
        os.close(descriptor)


def sync(path: Path) -> None:
    """Have a file's content, or a directory's entries, on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def out_of_space() -> Iterator[None]:
    """Tell a full disk as L{NoSpace}."""
    try:
        yield
    except OSError as problem:
        if problem.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NoSpace(
                f"The spool's disk is full ({problem.strerror}).", "Have the operator make room on it; nothing was accepted."
            ) from problem
        raise
