"""
Processes of this machine, found by a mark in their environment, and ended together.

Note [Between two programs]
===========================
A process that is just about to run another program has no environment for a moment.  So an empty one is looked at again.

Note [All of a tree]
====================
A job may fork faster than its processes can be listed, and its parent's death would hide the child from us.  So a tree is
frozen first, again and again until two looks find nobody new, and only then killed.  Whoever descends from a marked process
belongs to it, and so does whoever works in its scratch directory, for HTCondor gives jobs an environment of their own.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")
_LOOK: Final = 0.02
#: Looks in a row that must find nobody new.
_QUIET: Final = 2


def marked(pid: int, mark: bytes, looks: int = 10) -> bool:
    """
    Whether a process is alive and has C{mark} (C{NAME=value}) in its environment.  A zombie is not.

    @param looks: how often an empty environment is looked at.  See Note [Between two programs].
    """
    with suppress(OSError):
        for _ in range(looks):
            environment = (_PROC / str(pid) / "environ").read_bytes()
            if environment or not _alive(pid):
                return mark in environment.split(b"\0")
            time.sleep(_LOOK)
    return False


def end(mark: bytes, scratch: Path, patience: float = 10.0) -> bool:
    """
    Kill all processes with a mark, their descendants, and those that work in a directory.  See Note [All of a tree].

    @param patience: seconds that they may take to go.
    @return: whether they are gone; a process that waits for a broken device may take longer.
    """
    frozen: set[int] = set()
    quiet = 0
    while quiet < _QUIET:
        found = _members(mark, scratch, frozen) - frozen
        _signal(found, signal.SIGSTOP)
        frozen |= found
        quiet = 0 if found else quiet + 1
        time.sleep(_LOOK)
    _signal(frozen, signal.SIGKILL)
    until = time.monotonic() + patience
    while any(map(_alive, frozen)):
        if time.monotonic() > until:
            return False
        time.sleep(_LOOK)
    return True


def _members(mark: bytes, scratch: Path, known: set[int]) -> set[int]:
    parents = dict(_parents())
    found = {pid for pid in parents if pid in known or marked(pid, mark, looks=1) or _works_in(pid, scratch)}
    while born := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= born
    return found - {os.getpid()}


def _parents() -> Iterator[tuple[int, int]]:
    """All processes of ours with their parents."""
    for entry in _PROC.glob("[0-9]*"):
        with suppress(OSError):
            if entry.stat().st_uid == os.getuid():
                state, parent = _status(int(entry.name))
                if state != "Z":
                    yield int(entry.name), parent


def _status(pid: int) -> tuple[str, int]:
    """State and parent.  The program's name before them, in parentheses, may hold anything."""
    state, parent = (_PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()[:2]
    return state, int(parent)


def _works_in(pid: int, directory: Path) -> bool:
    with suppress(OSError):
        return (_PROC / str(pid) / "cwd").readlink().is_relative_to(directory)
    return False


def _alive(pid: int) -> bool:
    with suppress(OSError):
        return _status(pid)[0] not in "ZX"
    return False


def _signal(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
