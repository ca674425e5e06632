"""The daemon as its users start it, and what they say to it."""

import io
import os
import signal
import socket
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import requests

T = TypeVar("T")

TWISTD = Path(sys.executable).with_name("twistd")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def clean_environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Ours without any MODABATCH_... variable, and these settings, C{queue.backend} written as C{QUEUE__BACKEND}."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MODABATCH_")}
    return inherited | {f"MODABATCH_{name}": value for name, value in settings.items()}


def eventually(look: Callable[[], T | None], within: float = 60.0) -> T:
    """The first result of C{look} that is true."""
    until = time.monotonic() + within
    while not (result := look()):
        assert time.monotonic() < until, f"not within {within} s"
        time.sleep(0.05)
    return result


def bundle(script: str, files: Mapping[str, bytes] | None = None) -> bytes:
    """A bundle whose run.sh is a shell script."""
    packed = io.BytesIO()
    contents = {"run.sh": f"#!/bin/sh\n{script}\n".encode(), **(files or {})}
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, content in contents.items():
            member = tarfile.TarInfo(name)
            member.mode, member.size = 0o755, len(content)
            archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


class Daemon:
    """
    One life of the daemon after the other on the same directory and port.

    @ivar settings: as for L{clean_environment}.
    """

    def __init__(self, directory: Path, **settings: str) -> None:
        self.directory = directory
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.settings = {"DAEMON__DIRECTORY": str(directory), "HTTP__LISTEN": str(self.port)} | settings
        self.log = directory.with_name(directory.name + ".log")
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [TWISTD, "--nodaemon", "--pidfile=", "modabatch"],
                env=clean_environment(self.settings),
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                cwd=self.directory.parent,
            )
        eventually(self._answers)

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text()
        try:
            return requests.get(f"{self.url}/health", timeout=5).ok
        except requests.ConnectionError:
            return False

    def stop(self, number: int = signal.SIGTERM) -> int:
        """@return: the exit status."""
        assert self.process is not None
        self.process.send_signal(number)
        status = self.process.wait(60)
        self.process = None
        return status

    def submit(self, script: str, **fields: Any) -> dict[str, Any]:
        return self.submit_bundle(bundle(script), **fields)

    def submit_bundle(self, content: bytes, **fields: Any) -> dict[str, Any]:
        """Fields are named with underscores; bytes are files."""
        named = {name.replace("_", "-"): value for name, value in fields.items()}
        files = {name: value for name, value in named.items() if isinstance(value, bytes)}
        answer = requests.post(
            f"{self.url}/jobs",
            files={"job-bundle": content, **files},
            data={name: value for name, value in named.items() if name not in files},
            timeout=60,
        )
        assert answer.status_code in (201, 202), answer.text
        accepted: dict[str, Any] = answer.json()
        return accepted

    def get(self, path: str, expected: int = 200) -> requests.Response:
        answer = requests.get(f"{self.url}{path}", timeout=60)
        assert answer.status_code == expected, answer.text
        return answer

    def job(self, job_id: str) -> dict[str, Any]:
        job: dict[str, Any] = self.get(f"/jobs/{job_id}").json()
        return job

    def artifact(self, job_id: str, name: str) -> bytes:
        return self.get(f"/jobs/{job_id}/artifacts/{name}").content

    def output(self, job_id: str) -> dict[str, bytes]:
        """The files of a job's output."""
        with tarfile.open(fileobj=io.BytesIO(self.artifact(job_id, "output")), mode="r:gz") as archive:
            members = [member for member in archive if member.isfile()]
            return {member.name: (archive.extractfile(member) or io.BytesIO()).read() for member in members}

    def until(self, job_id: str, *states: str, within: float = 90.0) -> dict[str, Any]:
        """The job, once it is in one of these states."""

        def look() -> dict[str, Any] | None:
            job = self.job(job_id)
            final = job["job_status"] in ("completed", "removed", "submission_error")
            assert not final or job["job_status"] in states, job
            return job if job["job_status"] in states else None

        return eventually(look, within)


@contextmanager
def running(directory: Path, **settings: str) -> Iterator[Daemon]:
    """A daemon that runs, and is gone in the end."""
    daemon = Daemon(directory, **settings)
    daemon.start()
    try:
        yield daemon
    finally:
        if daemon.process is not None:
            daemon.stop()
