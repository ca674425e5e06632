"""A node that runs bundles by wrapper.sh, with any of the shells that are here and just the programs it needs."""

from __future__ import annotations

import io
import os
import shutil
import signal
import subprocess
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from uuid import uuid4

import modabatchd.queue
from modabatchd.queue.launch import launch_script

WRAPPER = Path(modabatchd.queue.__file__).with_name("wrapper.sh")
PATIENCE = 30.0

#: How sh is called, and what it is then.
SHELLS = {
    name: command
    for name, command in {
        "dash": ["/bin/dash"],
        "bash": ["/bin/bash", "--posix"],
        "busybox": [shutil.which("busybox") or "", "sh"],
    }.items()
    if os.access(command[0], os.X_OK)
}
#: What the node needs, and what it may have.
NEEDED = ("awk", "cat", "chmod", "gzip", "kill", "mkdir", "mv", "rm", "sleep", "tar", "true")
GNU = ("env", "timeout")
#: What the tests' own scripts call.
FOR_TESTS = ("id", "ln", "python3", "seq", "touch", "tr", "wc")


class Node:
    """A place where a bundle is run, and how."""

    def __init__(self, directory: Path, shell: str, programs: Path) -> None:
        self.directory = directory
        self.shell = shell
        self.mark = f"MARK_{uuid4().hex}"
        self.environment = {"PATH": str(programs), self.mark: "x"}

    @property
    def has_gnu(self) -> bool:
        return self.shell != "busybox" and (Path(self.environment["PATH"]) / "timeout").exists()

    def ended_by(self, name: str) -> int:
        """What it looks like when a signal has ended C{run.sh}."""
        number = signal.Signals[f"SIG{name}"]
        return 128 + number if self.shell == "busybox" else -number

    def give(self, script: str | bytes, *more: tuple[str, bytes], input: bytes | None = None) -> None:
        """Put a bundle there whose C{run.sh} is that script."""
        content = script if isinstance(script, bytes) else f"#!/bin/sh\n{script}\n".encode()
        (self.directory / "bundle.tar.gz").write_bytes(pack(("run.sh", content), *more))
        if input is not None:
            (self.directory / "input").write_bytes(input)

    def begin(
        self, arguments: Sequence[str] = (), variables: Mapping[str, str] = {}, limit: int = 0, task: int | None = None
    ) -> subprocess.Popen[bytes]:
        has_parameters = (self.directory / "parameters").exists()
        (self.directory / "launch.sh").write_bytes(launch_script(arguments, variables, has_parameters))
        shutil.copy(WRAPPER, self.directory / "wrapper.sh")
        return subprocess.Popen(
            [*SHELLS[self.shell], "./wrapper.sh", str(limit), *([] if task is None else [str(task)])],
            cwd=self.directory,
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def run(
        self, arguments: Sequence[str] = (), variables: Mapping[str, str] = {}, limit: int = 0, task: int | None = None
    ) -> tuple[int, bytes, bytes]:
        """Run the bundle; its exit status (or minus its signal), and what it wrote."""
        process = self.begin(arguments, variables, limit, task)
        told, complained = process.communicate(timeout=PATIENCE)
        return process.returncode, told, complained

    def left(self) -> set[str]:
        """The files that are there and were not brought."""
        brought = {"bundle.tar.gz", "launch.sh", "wrapper.sh", "input", "parameters"}
        return {path.name for path in self.directory.iterdir()} - brought

    def output(self, archive_name: str = "output.tar.gz") -> dict[str, bytes | None]:
        """What is in the output archive; L{None} for what is no file."""
        with tarfile.open(self.directory / archive_name) as archive:
            members = {member.name: archive.extractfile(member) for member in archive if not member.issym()}
            return {name: None if file is None else file.read() for name, file in members.items()}

    def processes(self) -> list[int]:
        """What still runs of the job, the wrapper included."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if self.mark.encode() in (process / "environ").read_bytes():
                    found.append(int(process.name))
            except OSError:
                continue
        return found


def pack(*files: tuple[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, content in files:
            member = tarfile.TarInfo(name)
            member.mode, member.size = 0o755, len(content)
            archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def install(directory: Path, shell: str, gnu: bool) -> Path:
    """A directory with the programs of a node, and with the shell under test as its sh."""
    directory.mkdir(exist_ok=True)
    names = (*NEEDED, *FOR_TESTS, *(GNU if gnu else ()))
    applets = (*NEEDED, *GNU, "id", "ln", "seq", "touch", "tr", "wc") if shell == "busybox" else ()
    for name in {*names, *applets}:
        target = SHELLS[shell][0] if name in applets else shutil.which(name)
        if target is not None:
            (directory / name).symlink_to(target)
    (directory / "sh").symlink_to(SHELLS[shell][0])
    return directory
