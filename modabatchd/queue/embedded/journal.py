"""
The files of the embedded queue.  Everything here blocks.

Note [What lies where]
======================
C{jobs/<cluster>.json}: one job; replaced as a whole by rename, and synced before anybody is told of the change.
C{runs/<cluster>.<run>/}: where a run works; its outcome appears there.  Removed once that is in the job's file.
C{last}: a number that no job may have any more, nor any below it; written before the file of an acknowledged job goes.
Together with the jobs that are there it tells the highest number ever given.
C{lock}: locked while a daemon uses the directory: a second one would take the runs of the first for orphans.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from modabatchd.errors import StartupError
from modabatchd.queue.embedded.guarded import open_plain, read_plain, sync
from modabatchd.queue.embedded.record import Outcome, Record
from modabatchd.queue.embedded.runner import OUTCOME
from modabatchd.queue.job import BackendId, Sighting

_PART: Final = ".part"
_MOST_WORDS: Final = 65536


class Journal:
    """
    Keeps the jobs of the queue.  See Note [What lies where].

    @ivar last: no job has this number or one below it, but those that L{open} returned.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._jobs = directory / "jobs"
        self._runs = directory / "runs"
        self._lock: int | None = None
        self.last = 0

    @property
    def runs(self) -> Path:
        """The directory of all runs."""
        return self._runs

    def open(self) -> list[Record]:
        """
        Take possession of the directory.

        @return: the jobs that are there.
        @raise StartupError: it cannot be used, or another daemon uses it.
        """
        try:
            for directory in (self._jobs, self._runs):
                directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._take_lock()
            for directory in (self._directory, self._directory.parent):
                sync(directory)
            for partial in self._jobs.glob(f"*{_PART}"):
                partial.unlink()
            records = [_decode(path) for path in sorted(self._jobs.glob("*.json"))]
            clusters = [record.sighting.backend_id.cluster for record in records]
            self.last = max([*clusters, self._counted()])
        except OSError as problem:
            raise StartupError(
                f"The embedded queue cannot use {self._directory}: {problem}.",
                "Make it a directory that the daemon's user may write.",
            ) from problem
        return records

    def close(self) -> None:
        """Let others have the directory."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def add(self, records: Sequence[Record]) -> None:
        """Record jobs that are new: all of them or, if that fails, none."""
        try:
            self.write(records)
        except OSError:
            for record in records:
                self._path(record.sighting.backend_id.cluster).unlink(missing_ok=True)
            raise

    def write(self, records: Iterable[Record]) -> None:
        """Replace what is recorded of jobs.  Durable when it returns."""
        for record in records:
            _replace(self._path(record.sighting.backend_id.cluster), msgspec.json.encode(record))
        sync(self._jobs)

    def forget(self, numbers: Iterable[BackendId]) -> None:
        """Delete jobs for good.  Idempotent."""
        clusters = [number.cluster for number in numbers]
        if clusters and max(clusters) > self._counted():
            _replace(self._directory / "last", b"%d\n" % max(clusters))
            sync(self._directory)
        for cluster in clusters:
            self._path(cluster).unlink(missing_ok=True)

    def run(self, seen: Sighting) -> Path:
        """The directory of the latest run of a job."""
        return self._runs / f"{seen.backend_id.cluster}.{seen.run_count}"

    def outcome(self, seen: Sighting) -> Outcome | None:
        """
        How the latest run of a job ended; L{None} while that is not known.

        If there is something that cannot be read, the run has failed for that reason.
        """
        try:
            return msgspec.json.decode(read_plain(self.run(seen) / OUTCOME, _MOST_WORDS), type=Outcome)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError) as problem:
            return Outcome(ended=0.0, problem=f"How the job ended was written down, but cannot be read: {problem}.")

    def clear(self, run: Path) -> None:
        """Delete the directory of a run.  Idempotent."""
        try:
            shutil.rmtree(run)
        except FileNotFoundError:
            return
        except (OSError, RecursionError):
            # Directories that may not be written, or so deep that Python gives up.
            for command in (["chmod", "-R", "u+rwX"], ["rm", "-rf"]):
                subprocess.run([*command, "--", str(run)], check=False, capture_output=True)  # noqa: S603 - no user's words

    def clear_all(self) -> None:
        """Delete the directories of all runs."""
        for run in self._runs.iterdir():
            self.clear(run)

    def _path(self, cluster: int) -> Path:
        return self._jobs / f"{cluster}.json"

    def _counted(self) -> int:
        try:
            return int((self._directory / "last").read_bytes())
        except FileNotFoundError:
            return 0

    def _take_lock(self) -> None:
        lock = os.open(self._directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise StartupError(
                f"Another daemon uses {self._directory} for its embedded queue.",
                "Stop it, or give this one another daemon.directory.",
            ) from None
        self._lock = lock


def append(directory: str, text: str) -> None:
    """
    Add to a job's event log.

    @raise OSError: it cannot be written, for instance because the job has put something else in its place.
    """
    if text:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        with os.fdopen(open_plain(Path(directory, "_userlog"), flags, 0o644), "ab") as log:
            log.write(text.encode())


def lack(directory: Path, has_input: bool) -> str | None:
    """What is missing of a job's files."""
    for name in ("bundle.tar.gz", "launch.sh", *(["input"] if has_input else [])):
        if not os.access(directory / name, os.R_OK):
            return f"The job's file {name} is missing or cannot be read."
    return None if os.access(directory, os.W_OK | os.X_OK) else "The job's directory cannot be written."


def _decode(path: Path) -> Record:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Record)
    except msgspec.DecodeError as problem:
        raise StartupError(
            f"The embedded queue's file {path} cannot be read: {problem}.",
            "Move it away (its job is lost then), or start the version of modabatchd that wrote it.",
        ) from problem


def _replace(path: Path, content: bytes) -> None:
    partial = path.with_name(path.name + _PART)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.rename(path)
