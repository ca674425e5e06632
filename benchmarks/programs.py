"""The programs that are measured, started for it and stopped after it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Final

import msgspec

_NONE: Final[Mapping[str, str]] = MappingProxyType({})
_START: Final = 60.0
_STOP: Final = 30.0
_HEALTH: Final = b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


class Program(msgspec.Struct, frozen=True):
    """
    A program that runs.

    @ivar port: of 127.0.0.1, where it listens.
    @ivar probe: where L{benchmarks.probe} notes when it stalled; only of those that are watched.
    """

    pid: int
    port: int
    probe: Path


@contextmanager
def daemon(directory: Path, settings: Mapping[str, str] = _NONE, watched: bool = False) -> Iterator[Program]:
    """
    modabatchd as C{twistd modabatch} starts it.

    @param directory: what it must not lose; its log is beside it.
    @param watched: whether L{benchmarks.probe} runs in it.
    @param settings: as in the environment, without the prefix.
    """
    port = _free_port()
    wanted = {"DAEMON__DIRECTORY": str(directory), "HTTP__LISTEN": str(port), **settings}
    arguments = ["--nodaemon", "--pidfile=", "modabatch"]
    twistd = [str(Path(sys.executable).with_name("twistd"))]
    command = ["twistd", *arguments] if watched else [*twistd, *arguments]
    environment = {f"MODABATCH_{name}": value for name, value in wanted.items()}
    with _running(command, port, directory, watched, environment, _HEALTH) as program:
        yield program


@contextmanager
def peer(name: str, directory: Path, *arguments: str, watched: bool = False) -> Iterator[Program]:
    """A program of L{benchmarks.peers}, which is told a port and further arguments."""
    port = _free_port()
    module = f"benchmarks.peers.{name}"
    command = [module, str(port), *arguments] if watched else [sys.executable, "-m", module, str(port), *arguments]
    with _running(command, port, directory / name, watched, {}, b"") as program:
        yield program


def pool() -> dict[str, str]:
    """The settings that lead a daemon to the HTCondor pool that the environment tells of."""
    variables = {"COLLECTOR": "COLLECTOR", "SCHEDD": "SCHEDD", "TOKEN_DIRECTORY": "TOKEN_DIR", "CONFIG_FILE": "CONDOR_CONFIG"}
    told = {f"QUEUE__HTCONDOR__{key}": os.environ[f"MODABATCH_TEST_{name}"] for key, name in variables.items()}
    return {"QUEUE__BACKEND": "htcondor", **told}


@contextmanager
def _running(
    command: Sequence[str], port: int, place: Path, watched: bool, environment: Mapping[str, str], question: bytes
) -> Iterator[Program]:
    probe = place.with_name(f"{place.name}.probe")
    log = place.with_name(f"{place.name}.log")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MODABATCH_")}
    whole = [sys.executable, "-m", "benchmarks.probe", str(probe), *command] if watched else command
    with log.open("ab") as output:
        process = subprocess.Popen(
            whole, env={**inherited, **environment}, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    try:
        _wait(process, port, question, log)
        yield Program(process.pid, port, probe)
    finally:
        _stop(process)


def _wait(process: subprocess.Popen[bytes], port: int, question: bytes, log: Path) -> None:
    until = time.monotonic() + _START
    while not _answers(port, question):
        if process.poll() is not None or time.monotonic() > until:
            raise RuntimeError(f"{process.args!r} did not start:\n{log.read_text()[-4000:]}")
        time.sleep(0.05)


def _answers(port: int, question: bytes) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(question)
            return not question or connection.recv(12).endswith(b"200")
    except OSError:
        return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
