"""
Processes, as /proc shows them.  The standard library only: the runner, which is started once for each run, imports it.

Note [Numbers that are used again]
==================================
Between the moment that a process is seen and the moment that it is signalled it may end, and its number may go to a
stranger.  So the number is first pinned with a pidfd; only if the process that has it now was started at the same time
as the one that was seen, the signal is sent, and through the pidfd.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

#: The environment variable that holds the directory of a run, in all processes of that run.
MARK: Final = "MODACLOUDS_BATCH_RUN"
_PROC: Final = Path("/proc")
_PAUSE: Final = 0.02


class Process(NamedTuple):
    """
    One process.

    @ivar state: its letter, for instance C{T} for stopped and C{Z} for a zombie.
    @ivar started: clock ticks since the machine was booted.
    """

    pid: int
    state: str
    parent: int
    session: int
    started: int


def living() -> list[Process]:
    """All processes but zombies."""
    seen = (look(int(entry.name)) for entry in os.scandir(_PROC) if entry.name.isdecimal())
    return [process for process in seen if process is not None and process.state not in "ZX"]


def look(pid: int) -> Process | None:
    """The process of that number; L{None} if there is none."""
    try:
        # Its name, in parentheses, may hold anything.
        fields = (_PROC / str(pid) / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()
    except OSError:
        return None
    return Process(pid, fields[0], int(fields[1]), int(fields[3]), int(fields[19]))


def descendants(ancestor: int, processes: Iterable[Process]) -> list[Process]:
    """The children of a process, their children, and so on.  Pure."""
    children: dict[int, list[Process]] = {}
    for process in processes:
        children.setdefault(process.parent, []).append(process)
    found: list[Process] = []
    todo = [ancestor]
    while todo:
        below = children.pop(todo.pop(), [])
        found += below
        todo += [process.pid for process in below]
    return found


def kin(marked: Collection[int], processes: Collection[Process]) -> list[Process]:
    """
    Marked processes, the sessions that they lead, and all their descendants.  Pure.

    A runner that has not begun its own session yet is still in that of the daemon, which may be a terminal's: so a session
    counts only if its leader is marked.
    """
    sessions = {process.session for process in processes if process.pid in marked and process.pid == process.session}
    family = {process.pid: process for process in processes if process.pid in marked or process.session in sessions}
    for pid in list(family):
        family.update((process.pid, process) for process in descendants(pid, processes))
    return list(family.values())


def marked(prefix: str, processes: Iterable[Process]) -> set[int]:
    """Those whose mark begins with C{prefix}."""
    wanted = f"\0{MARK}={prefix}".encode()
    return {process.pid for process in processes if wanted in b"\0" + _environment(process.pid)}


def send(process: Process, number: int) -> None:
    """Signal a process, if it is still the one that was seen.  See Note [Numbers that are used again]."""
    with suppress(OSError):
        pinned = os.pidfd_open(process.pid)
        try:
            now = look(process.pid)
            if now is not None and now.started == process.started:
                signal.pidfd_send_signal(pinned, number)
        finally:
            os.close(pinned)


def send_all(number: int, targets: Callable[[], Iterable[Process]]) -> None:
    """Signal processes, and those that they started meanwhile, until a look shows no further ones."""
    done: set[tuple[int, int]] = set()
    while fresh := [process for process in targets() if (process.pid, process.started) not in done]:
        for process in fresh:
            send(process, number)
            done.add((process.pid, process.started))


def end(targets: Callable[[], Collection[Process]], patience: float) -> bool:
    """
    Kill processes and wait until they are gone.  Blocking.

    @param patience: seconds; a process that the kernel does not let go may take longer.
    @return: whether all are gone.
    """
    until = time.monotonic() + patience
    send_all(signal.SIGKILL, targets)
    while targets():
        if time.monotonic() > until:
            return False
        time.sleep(_PAUSE)
        send_all(signal.SIGKILL, targets)
    return True


def end_marked(prefix: str, patience: float) -> bool:
    """The same for all processes whose mark begins with C{prefix}, and their kin."""

    def targets() -> list[Process]:
        processes = living()
        ours = marked(prefix, processes)
        return [process for process in kin(ours, processes) if process.pid != os.getpid()] if ours else []

    return end(targets, patience)


def _environment(pid: int) -> bytes:
    try:
        return (_PROC / str(pid) / "environ").read_bytes()
    except OSError:
        return b""
