"""
The files of the embedded queue.  Everything here blocks.

Note [What lies where]
======================
C{jobs/<cluster>.json}: one job; replaced as a whole by rename, and synced before anybody is told of the change.
C{runs/<cluster>.<run>/}: where a run works; its outcome appears there.  Removed once that is in the job's file.  Of a task
it is C{runs/<cluster>.<proc>.<run>/}.
C{jobs/<cluster>.<proc>.json}: one task of a job array that has changed since it came; see Note [Arrays in a few files].
C{jobs/<cluster>.forgotten}: the procs of the array's tasks that were acknowledged, one a line.
C{last}: a number that no job may have any more, nor any below it; written before the file of an acknowledged job goes.
Together with the jobs that are there it tells the highest number ever given.
C{lock}: locked while a daemon uses the directory: a second one would take the runs of the first for orphans.

Note [Arrays in a few files]
============================
An array comes as one file, C{jobs/<cluster>.json}, which is there or is not, so that no crash leaves a part of it.  A task has
a file of its own once it has changed.  When the last task is forgotten, the array's file goes first; whatever files of tasks
are left without it belong to nobody, and are cleared away by the next life.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from modabatchd.errors import StartupError
from modabatchd.queue.embedded.guarded import open_plain, read_plain, sync
from modabatchd.queue.embedded.record import Outcome, Record, tasks
from modabatchd.queue.embedded.runner import OUTCOME
from modabatchd.queue.job import Sighting

_PART: Final = ".part"
_FORGOTTEN: Final = ".forgotten"
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
        self._forgotten: dict[int, set[int]] = {}
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
            records = self._records()
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
        """Record jobs that are new, arrays with all their tasks: all of them or, if that fails, none."""
        heads = {self._head(each): each for each in records if each.sighting.backend_id.proc == 0}
        try:
            self._write(heads)
        except OSError:
            for path in heads:
                path.unlink(missing_ok=True)
            raise

    def write(self, records: Iterable[Record]) -> None:
        """Replace what is recorded of jobs.  Durable when it returns."""
        self._write({self._path(each): each for each in records})

    def forget(self, records: Collection[Record]) -> None:
        """Delete jobs for good.  Idempotent."""
        highest = max((each.sighting.backend_id.cluster for each in records), default=0)
        if highest > self._counted():
            _replace(self._directory / "last", b"%d\n" % highest)
            sync(self._directory)
        arrays: dict[Path, list[Record]] = {}
        for each in records:
            if each.sighting.task is not None:
                arrays.setdefault(self._head(each), []).append(each)
        for head, some in arrays.items():
            self._note_forgotten(head, some)
        for each in records:
            self._path(each).unlink(missing_ok=True)

    def run(self, seen: Sighting) -> Path:
        """The directory of the latest run of a job."""
        number = seen.backend_id.cluster if seen.task is None else seen.backend_id
        return self._runs / f"{number}.{seen.run_count}"

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

    def _head(self, record: Record) -> Path:
        return self._jobs / f"{record.sighting.backend_id.cluster}.json"

    def _path(self, record: Record) -> Path:
        return self._head(record) if record.sighting.task is None else self._jobs / f"{record.sighting.backend_id}.json"

    def _write(self, records: Mapping[Path, Record]) -> None:
        for path, record in records.items():
            _replace(path, msgspec.json.encode(record))
        sync(self._jobs)

    def _note_forgotten(self, head: Path, some: Sequence[Record]) -> None:
        """See Note [Arrays in a few files]."""
        array, number = some[0].request.array, some[0].sighting.backend_id
        gone = self._forgotten.setdefault(number.cluster, set())
        procs = {each.sighting.backend_id.proc for each in some} - gone
        list_of_gone = head.with_suffix(_FORGOTTEN)
        with list_of_gone.open("ab") as file:
            file.writelines(b"%d\n" % proc for proc in procs)
            file.flush()
            os.fsync(file.fileno())
        gone |= procs
        if array is not None and len(gone) == array.count:
            head.unlink(missing_ok=True)
            sync(self._jobs)
            list_of_gone.unlink()
            del self._forgotten[number.cluster]
        else:
            sync(self._jobs)

    def _records(self) -> list[Record]:
        """All jobs, and of arrays the tasks that are not forgotten."""
        heads = {path.stem: _decode(path) for path in self._jobs.glob("*.json") if path.stem.isdecimal()}
        changed: dict[str, Path] = {}
        for path in (*self._jobs.glob("*.*.json"), *self._jobs.glob(f"*{_FORGOTTEN}")):
            if path.name.partition(".")[0] in heads:
                changed[path.stem] = path
            else:
                path.unlink()
        return [each for head in heads.values() for each in self._left(head, changed)]

    def _left(self, head: Record, changed: Mapping[str, Path]) -> Iterator[Record]:
        """A job, or what is left of a job array."""
        if head.request.array is None:
            yield head
            return
        gone = self._forgotten[head.sighting.backend_id.cluster] = _numbers(self._head(head).with_suffix(_FORGOTTEN))
        for each in tasks(head):
            number = each.sighting.backend_id
            if number.proc not in gone:
                yield _decode(changed[str(number)]) if str(number) in changed else each

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


def append(path: Path, text: str) -> None:
    """
    Add to a job's event log.

    @raise OSError: it cannot be written, for instance because the job has put something else in its place.
    """
    if text:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        with os.fdopen(open_plain(path, flags, 0o644), "ab") as log:
            log.write(text.encode())


def lack(directory: Path, names: Iterable[str]) -> str | None:
    """What is missing of a job's files."""
    for name in names:
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


def _numbers(path: Path) -> set[int]:
    """The numbers in the lines of a file; a line that a crash has cut off is taken out of it."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return set()
    *lines, cut_off = content.split(b"\n")
    if cut_off:
        _replace(path, content.removesuffix(cut_off))
    return {int(line) for line in lines}


def _replace(path: Path, content: bytes) -> None:
    partial = path.with_name(path.name + _PART)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.rename(path)
