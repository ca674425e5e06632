"""Processes that cannot outlive this one: children that hear of its death, and an end to whatever they left behind."""

import contextlib
import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 1, 36, 47, 4
_libc = ctypes.CDLL(None, use_errno=True)


class DidNotStart(Exception):
    """A service did not come up; the text tells which, and what it wrote."""


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends, so that L{end_descendants} finds it."""
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def start(command: Sequence[str | Path], environment: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
    """Start a service in a session of its own (Ctrl-C is not for it), without our capabilities; SIGQUIT ends it when we die."""

    def prepare() -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGQUIT, 0, 0, 0)
        _libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)

    with log.open("ab") as output:
        return subprocess.Popen(
            [str(word) for word in command],
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd="/",
            start_new_session=True,
            preexec_fn=prepare,
        )


def start_command(command: Sequence[str], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start a command in our own place: same terminal, same capabilities; SIGTERM ends it when we die."""
    return subprocess.Popen(
        command,
        env=dict(environment),
        preexec_fn=lambda: _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0),
    )


def stop(services: Sequence[subprocess.Popen[bytes]], seconds: float) -> None:
    """End services started with L{start} and wait for it, killing those that take longer than so many seconds."""
    deadline = time.monotonic() + seconds
    for service in services:
        service.send_signal(signal.SIGQUIT)
    for service in services:
        try:
            service.wait(max(0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            service.kill()
            service.wait()


def until(ready: Callable[[], bool], process: subprocess.Popen[bytes], what: str, log: Path, seconds: float = 60) -> None:
    """Wait until a service is ready.

    @raise DidNotStart: it has ended instead, or the seconds are over.
    """
    deadline = time.monotonic() + seconds
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            raise DidNotStart(f"{what} did not start. The end of {log}:\n{_end_of(log)}")
        time.sleep(0.1)


def _end_of(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-40:]) if log.exists() else "(nothing)"


def end_descendants() -> None:
    """Kill every process that descends from this one, however it was left behind, and wait until the last has gone."""
    while descendants := _descendants(os.getpid()):
        for pid in descendants:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        time.sleep(0.02)


def _descendants(ancestor: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # The program's name, in parentheses, may hold blanks; state and parent come after it.
            parent = int(status.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(status.parent.name))
    found, look_at = [], [ancestor]
    while look_at:
        born = children.get(look_at.pop(), [])
        found += born
        look_at += born
    return found
