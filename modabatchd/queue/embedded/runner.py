"""
The program between the daemon and the wrapper: it runs one bundle, once.

C{python -m modabatchd.queue.embedded.runner ASSIGNMENT} brings the job's files into a fresh directory, runs wrapper.sh
there, puts the output beside the job's other files, and writes down how the run ended.  It needs the standard library only.
The daemon sends it orders, one byte each, over its standard input.

Note [Why a runner]
===================
 - How a run ended is on disk, synced, before the daemon hears of it.  Whatever becomes of the daemon, a run that
   has come to its end is not repeated.
 - The daemon holds the other end of our standard input.  When that closes, the daemon is dead, and we kill the run.
 - The kernel tells how much time all processes of the run used only to the process that waits for them.
 - It is a "subreaper": what is orphaned below it becomes its child.  So all processes of a run can be found, also those
   that have left their session and their parents.  The one way out is to kill the runner, which the job may, because it
   runs under the same user; the daemon then finds the rest of the run by its mark (C{processes.MARK}).
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import shutil
import signal
import stat
import sys
import time
from pathlib import Path
from typing import Any, Final, NamedTuple

from modabatchd.queue.embedded.guarded import CAUTION, clear_away, sync, write_anew
from modabatchd.queue.embedded.watch import Watch

#: How a run ended, in its directory.
OUTCOME: Final = "outcome"
#: What keeps a run from being started for the moment, and not because of the job: too many files or processes, no memory.
SHORTAGES: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM})

_OUTPUT: Final = "output.tar.gz"
_SHELL: Final = "/bin/sh"
_PR_SET_CHILD_SUBREAPER: Final = 36


class Assignment(NamedTuple):
    """
    What to run.

    @ivar run: the directory of this run; it holds nothing yet.
    @ivar files: the directory of the job's files.
    @ivar inputs: the names of those that the run needs.
    @ivar suffix: what the names of those that it leaves there end in.
    @ivar limit: seconds, 0 for none.
    @ivar grace: seconds between SIGTERM and SIGKILL when the run is to end.
    @ivar task: the index of the task, if it is one of a job array.
    """

    run: str
    files: str
    wrapper: str
    limit: int
    grace: float
    inputs: tuple[str, ...]
    suffix: str = ""
    task: int | None = None


def main() -> None:
    """Run one bundle."""
    assignment = Assignment(**json.loads(sys.argv[1]))
    os.setsid()
    os.umask(0o022)
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    alarms = _alarms()
    try:
        node = _prepare(assignment)
        wrapper = _start(assignment, node)
    except OSError as problem:
        short = problem.errno in SHORTAGES
        _write_outcome(assignment, problem=f"The job could not be started: {problem}.", transient=short)
        return
    watch = Watch(wrapper, 0, alarms, assignment.grace, assignment.limit)
    watch.until_the_end()
    if not watch.told:
        _conclude(assignment, watch, node)


def _alarms() -> int:
    """A descriptor that can be read whenever a signal has come."""
    readable, writable = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(writable, warn_on_full_buffer=False)
    # Caught, not ignored: what is ignored stays so in the wrapper, which could not catch it any more.  The daemon ends us
    # by an order; a service manager's SIGTERM goes to all processes and is the daemon's business.
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda number, frame: None)
    return readable


def _prepare(assignment: Assignment) -> Path:
    run, files = Path(assignment.run), Path(assignment.files)
    node = run / "node"
    (run / "home").mkdir(parents=True, mode=0o700)
    node.mkdir(mode=0o700)
    for name in assignment.inputs:
        _link_or_copy(files / name, node / name)
    return node


def _link_or_copy(source: Path, target: Path) -> None:
    if source.exists() and not source.is_file():
        raise OSError(f"{source} is no plain file")
    # A link would let the job write into what we keep: only for the bundle, which the job gets unpacked.
    if source.name == "bundle.tar.gz":
        try:
            os.link(source, target)
        except OSError:
            shutil.copyfile(source, target)
    else:
        shutil.copyfile(source, target)


def _start(assignment: Assignment, node: Path) -> int:
    os.chdir(node)
    # An earlier run may have put something else there.  See Note [Files within a job's reach].
    write = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | CAUTION
    streams = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, _left(assignment, "stdout"), write, 0o600),
        (os.POSIX_SPAWN_OPEN, 2, _left(assignment, "stderr"), write, 0o600),
    ]
    command = [_SHELL, assignment.wrapper, str(assignment.limit)]
    command += [] if assignment.task is None else [str(assignment.task)]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    # A group of its own: what it sends to its whole group must not reach us.
    ignored = [signal.SIGPIPE, signal.SIGXFSZ]
    return os.posix_spawn(_SHELL, command, environment, file_actions=streams, setpgroup=0, setsigdef=ignored)


def _left(assignment: Assignment, name: str) -> str:
    """The path of a file that the run leaves."""
    return str(Path(assignment.files, f"{name}{assignment.suffix}"))


def _conclude(assignment: Assignment, watch: Watch, node: Path) -> None:
    status = watch.status or 0
    by_signal = os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
    try:
        _keep_results(node, assignment)
        problem = None
    except OSError as error:
        problem = f"The job's output cannot be kept: {error}."
    _write_outcome(
        assignment,
        exit_status=None if by_signal or watch.exceeded else os.WEXITSTATUS(status),
        exit_signal=int(signal.SIGXCPU) if watch.exceeded else by_signal,
        user_cpu=watch.user_cpu,
        image_size=watch.image_size,
        problem=problem,
    )


def _keep_results(node: Path, assignment: Assignment) -> None:
    target = Path(_left(assignment, _OUTPUT))
    packed = node / target.name
    if not stat.S_ISREG(packed.lstat().st_mode):
        raise OSError(f"{_OUTPUT} is no plain file")
    clear_away(target)
    try:
        packed.rename(target)
    except OSError:
        # It is on another file system.
        partial = target.with_name(f"{target.name}.part")
        clear_away(partial)
        shutil.copyfile(packed, partial)
        partial.rename(target)
    for path in (_left(assignment, "stdout"), _left(assignment, "stderr"), target, assignment.files):
        sync(Path(path))


def _write_outcome(assignment: Assignment, **outcome: Any) -> None:
    path = Path(assignment.run, OUTCOME)
    partial = path.with_name(f"{OUTCOME}.part")
    write_anew(partial, json.dumps({"ended": time.time(), **outcome}).encode())
    clear_away(path)
    partial.rename(path)
    sync(path.parent)


if __name__ == "__main__":
    main()
