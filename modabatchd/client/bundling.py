"""From a directory to a bundle."""

from __future__ import annotations

import gzip
import os
import tarfile
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import IO, Final

from modabatchd.client.errors import Unusable

_RUN: Final = "run.sh"


def members(directory: Path, exclude: Sequence[str] = ()) -> list[Path]:
    """
    What a bundle of a directory holds, in order.

    @param exclude: patterns of names, or of paths within the directory, that it does not hold.
    @raise Unusable: there is no executable run.sh, or something in it that no bundle can hold.
    """
    run = directory / _RUN
    if not run.is_file():
        raise Unusable(f"{directory} has no {_RUN}.", "Write one: it is what the node runs.")
    if not os.access(run, os.X_OK):
        raise Unusable(f"{run} is not executable.", f"Run chmod +x {run}.")
    return sorted(_found(directory, directory, exclude))


def _found(directory: Path, root: Path, exclude: Sequence[str]) -> Iterator[Path]:
    for path in directory.iterdir():
        within = str(path.relative_to(root))
        if any(fnmatch(path.name, pattern) or fnmatch(within, pattern) for pattern in exclude):
            continue
        if not (path.is_symlink() or path.is_file() or path.is_dir()):
            raise Unusable(f"{path} is no file, directory or link.", "Leave it out with --exclude.")
        yield path
        if path.is_dir() and not path.is_symlink():
            yield from _found(path, root, exclude)


def pack(directory: Path, found: Sequence[Path], into: IO[bytes], packed: Callable[[int], object] = lambda count: None) -> None:
    """
    Write a bundle.  The same files give the same bytes.

    @param found: see L{members}.
    @param packed: is told of so many bytes more, again and again.
    """
    with (
        gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=into, mtime=0) as compressed,
        tarfile.open(fileobj=compressed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for path in found:
            about = _anonymous(archive.gettarinfo(path, str(path.relative_to(directory))), path.lstat().st_size)
            if about.isreg():
                with path.open("rb") as content:
                    archive.addfile(about, _Counted(content, packed))  # type: ignore[arg-type]
            else:
                archive.addfile(about)


def _anonymous(about: tarfile.TarInfo, size: int) -> tarfile.TarInfo:
    """Who made it is nobody's business on the node.  A second name of a file is a file."""
    about.uid = about.gid = 0
    about.uname = about.gname = ""
    about.mtime = int(about.mtime)
    if about.islnk():
        about.type, about.linkname, about.size = tarfile.REGTYPE, "", size
    return about


class _Counted:
    def __init__(self, content: IO[bytes], packed: Callable[[int], object]) -> None:
        self._content = content
        self._packed = packed

    def read(self, size: int) -> bytes:
        found = self._content.read(size)
        self._packed(len(found))
        return found
