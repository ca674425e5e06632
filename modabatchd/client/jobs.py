"""The operations on jobs."""

from __future__ import annotations

import io
import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from modabatchd.client.errors import ServerRefused
from modabatchd.client.http import CHECKING, Server

#: The states that a job does not leave any more.
OVER: Final = frozenset({"completed", "removed", "submission_error"})
_PAGE: Final = 1000
#: Seconds between two looks at a job, the first and the longest.
_SOON: Final = 0.2
_SELDOM: Final = 3.0

Document = Mapping[str, Any]


class Submission(msgspec.Struct, frozen=True, kw_only=True):
    """
    How a bundle is to be run; what is empty or L{None} is left to the server.

    @ivar arguments: the words that run.sh gets.
    @ivar input: an archive for the application.
    @ivar memory, disk: with a unit, as C{2G}.
    @ivar max_wall_time: with a unit, as C{90s}, C{2h}.
    """

    name: str = ""
    arguments: tuple[str, ...] = ()
    input: Path | None = None
    environment: Mapping[str, str] = {}
    labels: Mapping[str, str] = {}
    notification: str = ""
    priority: int | None = None
    cpus: int | None = None
    gpus: int | None = None
    memory: str = ""
    disk: str = ""
    max_wall_time: str = ""
    max_retries: int | None = None

    def fields(self) -> dict[str, str | list[str]]:
        """As the form has them."""
        given: dict[str, Any] = {
            "job-name": self.name,
            "job-arguments": shlex.join(self.arguments),
            "job-environment": [f"{name}={value}" for name, value in self.environment.items()],
            "job-label": [f"{key}={value}" for key, value in self.labels.items()],
            "job-notification": self.notification,
            "job-priority": self.priority,
            "request-cpus": self.cpus,
            "request-gpus": self.gpus,
            "request-memory": self.memory,
            "request-disk": self.disk,
            "max-wall-time": self.max_wall_time,
            "max-retries": self.max_retries,
        }
        kept = {name: value for name, value in given.items() if value or value == 0}
        return {name: str(value) if isinstance(value, int) else value for name, value in kept.items()}


class _Told(io.FileIO):
    """A file that tells how much of it has been read."""

    def __init__(self, path: Path, told: Callable[[int], object]) -> None:
        super().__init__(path)
        self._told = told

    def read(self, size: int | None = -1, /) -> bytes:
        """See L{io.RawIOBase.read}."""
        found = super().read(-1 if size is None else size)
        self._told(len(found))
        return found


class Jobs:
    """
    The queue of a server.  Every method fails with L{modabatchd.client.errors.ServerAway} or C{ServerRefused}.

    @param pause: waits for so many seconds.
    """

    def __init__(self, server: Server, pause: Callable[[float], object] = time.sleep) -> None:
        self._server = server
        self._pause = pause

    def submit(self, bundle: Path, submission: Submission, sent: Callable[[int], object] = lambda count: None) -> Document:
        """
        Send a bundle.

        @param sent: is told of so many bytes more, again and again.
        @return: C{job_id}, C{backend_id} and C{job_status}.
        """
        with _Told(bundle, sent) as content:
            files: dict[str, Any] = {"job-bundle": (bundle.name, content, "application/gzip")}
            if submission.input is None:
                return self._post(files, submission)
            with _Told(submission.input, sent) as given:
                return self._post(files | {"job-input": (submission.input.name, given, "application/octet-stream")}, submission)

    def _post(self, files: Mapping[str, Any], submission: Submission) -> Document:
        answer: Document = self._server.ask("POST", "/jobs", timeout=CHECKING, files=files, data=submission.fields())
        return answer

    def entries(self, states: Sequence[str] = (), name: str | None = None, label: str | None = None) -> Iterator[Document]:
        """
        The list, oldest first.

        @param states: only those in one of these; empty for all.
        @param label: C{KEY} or C{KEY=VALUE}.
        """
        asked = {"status": [*states], "name": name, "label": label}
        params = {key: value for key, value in asked.items() if value} | {"limit": _PAGE}
        for page in self._server.pages("/jobs", params):
            yield from page

    def job(self, job_id: str) -> Document:
        """All about one."""
        found: Document = self._server.ask("GET", _path(job_id))
        return found

    def act(self, job_id: str, action: str) -> None:
        """@param action: C{hold}, C{release}, C{suspend}, C{continue} or C{remove}."""
        self._server.ask("POST", f"{_path(job_id)}/{action}")

    def analysis(self, job_id: str) -> Document:
        """Why it waits: C{summary}, and the C{causes} of jobs like it."""
        try:
            found: Document = self._server.ask("GET", f"{_path(job_id)}/analysis")
        except ServerRefused as problem:
            # Only a server that has nodes come and go can say more.
            if problem.type != "unknown-action":
                raise
            found = {"summary": "It waits until the scheduler has room for it.", "causes": []}
        return found

    def watch(self, job_id: str) -> Iterator[Document]:
        """The job as it is, and again whenever its state has changed, until it is over."""
        seen, delay = None, _SOON
        while True:
            job = self.job(job_id)
            if job["job_status"] != seen:
                seen, delay = job["job_status"], _SOON
                yield job
            if seen in OVER:
                return
            self.rest(delay)
            delay = min(_SELDOM, delay * 1.5)

    def rest(self, seconds: float) -> None:
        """Wait a little before the next look."""
        self._pause(seconds)


def _path(job_id: str) -> str:
    # A slash in it must not lead elsewhere.
    return f"/jobs/{job_id.replace('/', '%2F')}"


def exit_status(job: Document) -> int:
    """As a shell has it: the application's own, or 128 and the signal that ended it; 125 if it never ended by itself."""
    if job["job_status"] != "completed":
        return 125
    if job["exit_by_signal"]:
        return 128 + int(job["exit_signal"])
    return 125 if job["exit_status"] is None else int(job["exit_status"])
