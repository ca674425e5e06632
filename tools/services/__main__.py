"""Run a command beside a real HTCondor pool and a real PostgreSQL, and stop both when it has ended.

Usage: python tools/services [--without-pool] [--programs FOLDER] [COMMAND ARGUMENT...]

The command finds in its environment:

  MODABATCH_TEST_COLLECTOR      address of the pool's collector, 127.0.0.1:PORT
  MODABATCH_TEST_SCHEDD         name of the one schedd
  MODABATCH_TEST_POOL_DIR       folder for the files of jobs
  MODABATCH_TEST_TOKEN_DIR      folder (mode 0700) with one IDTOKEN, of the user who owns the jobs
  MODABATCH_TEST_CONDOR_CONFIG  a condor_config for clients of the pool, to be used as CONDOR_CONFIG
  MODABATCH_TEST_CONDOR         runs a tool of HTCondor as the pool's administrator: "$MODABATCH_TEST_CONDOR condor_q"
  MODABATCH_TEST_POOL_KEY       the signing key, called MODABATCH, that makes tokens of nodes named modabatch-...
  MODABATCH_TEST_CONDOR_MASTER  the program condor_master, for nodes that a test starts
  MODABATCH_TEST_POSTGRESQL     SQLAlchemy URL of an empty database
  MODABATCH_TEST_HOME           an empty folder, also HOME; what programs like to write without being asked goes below it

Those of the pool are missing with --without-pool. Without a command, the variables are printed as lines for a shell, and the
services run until SIGTERM. They belong to the user who runs this. All their files lie in a fresh folder
/var/tmp/modabatchd-test.*, which is removed at the end; after a failure it stays until the next run.
"""

import argparse
import contextlib
import os
import pwd
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType

import folders
import processes
from pool import Pool
from postgresql import PostgreSQL


class Ended(Exception):
    """A signal told us to end; its number is the argument."""


def main() -> int:
    """Do what the module's text says; the command's exit status is ours."""
    options = _options().parse_args()
    processes.adopt_orphans()
    _on_signals(_end)
    state = folders.fresh()
    failed, status = True, 1
    try:
        with _services(state, options.programs, options.without_pool) as told:
            status = _run(options.command, told) if options.command else _wait(told)
        failed = status != 0
    except processes.DidNotStart as problem:
        print(f"{problem}\nIts files are in {state}.", file=sys.stderr)
    except Ended as ended:
        failed, status = False, 128 + ended.args[0]
    _on_signals(lambda *_: None)
    processes.end_descendants()
    if not failed:
        folders.remove(state)
    return status


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tools/services", description="See the text of this module.")
    parser.add_argument("--without-pool", action="store_true", help="PostgreSQL only")
    parser.add_argument("--programs", type=Path, default=Path("/nonexistent"), help="what tools/programs printed")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    return parser


def _on_signals(handler: signal.Handlers | object) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, handler)  # type: ignore[arg-type]


def _end(number: int, _frame: FrameType | None) -> None:
    raise Ended(number)


@contextlib.contextmanager
def _services(state: Path, tree: Path, without_pool: bool) -> Iterator[dict[str, str]]:
    services: list[Pool | PostgreSQL] = [PostgreSQL(state, tree)]
    if not without_pool:
        services.append(Pool(state, tree))
    told = _surroundings(state)
    running = []
    try:
        for service in services:
            running.append(service.start())
            told |= service.environment()
        yield told
    finally:
        processes.stop(running, seconds=10)


def _surroundings(state: Path) -> dict[str, str]:
    home, owner = state / "home", pwd.getpwuid(os.getuid()).pw_name
    (home / "tmp").mkdir(parents=True)
    return {
        "MODABATCH_TEST_HOME": str(home),
        "HOME": str(home),
        "TMPDIR": str(home / "tmp"),
        "USER": owner,
        "LOGNAME": owner,
        "HYPOTHESIS_STORAGE_DIRECTORY": str(home / "hypothesis"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def _run(command: Sequence[str], told: dict[str, str]) -> int:
    # Ctrl-C reaches the command by itself: it is in the terminal's foreground as we are.
    signal.signal(signal.SIGINT, lambda *_: None)
    process = processes.start_command(command, os.environ | told)
    try:
        status = process.wait()
    except Ended:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        raise
    return status if status >= 0 else 128 - status


def _wait(told: dict[str, str]) -> int:
    for name, value in told.items():
        if name.startswith("MODABATCH_TEST_"):
            print(f"export {name}={shlex.quote(value)}")
    print("# The services are up.", flush=True)
    signal.pause()
    return 0


sys.exit(main())
