"""
One node of the local provider: a directory with all its files, and the processes that live in it.

The directory is the record: what is not in it is not known.  It comes into being complete, by a rename, and its removal is the
last act of a node's end, so whoever looks after a crash finds a whole node, with or without processes.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Final

import msgspec

from modabatchd.infrastructure import local_processes
from modabatchd.infrastructure.bootstrap import CONDOR, File, files
from modabatchd.infrastructure.node import Capacity

#: Of all nodes' ids, which are the names of their directories.
PREFIX: Final = "local-"
_MARK: Final = "MODABATCH_LOCAL_NODE"
#: Of a machine, for HTCondor to work in.
FOLDERS: Final = ("run", "log", "lock", "spool", "execute")
_CONSOLE: Final = 64 * 1024
_BOOT: Final = 'sleep "$1" && exec "$2" -f'
#: A process of its own starts the node and writes down its number, so that a crash of ours cannot come between.
_LAUNCH: Final = '/bin/sh -c "$0" boot "$1" "$2" & echo $! >pid.part && mv pid.part pid'


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """
    What was asked for.

    @ivar token: the client's token; the same one never makes a second node.
    @ivar ready: when it has booted, in seconds since the epoch.
    """

    id: str
    name: str
    size: str
    token: str
    tags: dict[str, str]
    created: float
    ready: float


class LocalNode:
    """A node that is, or was, in a directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.record = msgspec.json.decode((directory / "record.json").read_bytes(), type=Record)

    @property
    def launched(self) -> bool:
        """Whether its processes were ever started."""
        return (self.directory / "pid").exists()

    @property
    def alive(self) -> bool:
        """Whether its first process is there."""
        with suppress(OSError, ValueError):
            return local_processes.marked(int((self.directory / "pid").read_text()), self._mark)
        return False

    @property
    def _mark(self) -> bytes:
        return _mark(self.record.id).encode()

    def launch(self, master: Path, delay: float) -> None:
        """Start its processes, on their own: they outlive us, and are nobody's children."""
        environment = {"PATH": os.defpath, "CONDOR_CONFIG": str(self.directory / "condor_config")}
        name, _, value = _mark(self.record.id).partition("=")
        command = ["/bin/sh", "-c", _LAUNCH, _BOOT, f"{delay:f}", str(master)]
        with (self.directory / "log" / "console").open("ab") as console:
            subprocess.run(  # noqa: S603 - our own words only
                command,
                check=True,
                cwd=self.directory,
                env=environment | {name: value},
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
            )

    def console(self) -> str:
        """The end of what its processes had to say."""
        return "".join(f"== {name} ==\n{_end(self.directory / 'log' / name)}" for name in ("console", "MasterLog", "StartLog"))

    def destroy(self) -> bool:
        """Power off: nobody is asked.  @return: whether nothing is left of it."""
        if not local_processes.end(self._mark, self.directory / "execute"):
            return False
        # Out of sight at once: a half removed node would be none, but fill the disk.
        gone = self.directory.with_name(f".{self.directory.name}")
        self.directory.rename(gone)
        shutil.rmtree(gone)
        return True


def prepare(
    draft: Path, directory: Path, record: Record, user_data: str, capacity: Capacity, master: Path, settings: Mapping[str, str]
) -> None:
    """
    Lay out a node.

    @param draft: the directory to make.
    @param directory: where it will be moved to.
    @raise ValueError: the user-data is not what L{modabatchd.infrastructure.bootstrap} writes.
    """
    for folder in FOLDERS:
        (draft / folder).mkdir(parents=True)
    for file in files(user_data):
        if file.path.startswith(CONDOR):
            _write(draft, file)
    (draft / "condor_config").write_text(image(directory, capacity, master, settings))
    (draft / "record.json").write_bytes(msgspec.json.encode(record))


def image(directory: Path, capacity: Capacity, master: Path, settings: Mapping[str, str] = {}) -> str:
    """HTCondor's configuration of a machine that lies in a directory, before it is told anything."""
    hardware = {**_hardware(directory, capacity, master), **settings}
    return "".join(f"{name} = {value}\n" for name, value in hardware.items())


def found(directory: Path) -> Iterator[LocalNode]:
    """All nodes below a directory."""
    for entry in sorted(directory.glob(f"{PREFIX}*/record.json")):
        with suppress(OSError):
            yield LocalNode(entry.parent)


def _mark(node_id: str) -> str:
    return f"{_MARK}={node_id}"


def _write(directory: Path, file: File) -> None:
    path = PurePosixPath(file.path)
    if ".." in path.parts:
        raise ValueError(f"{file.path} leads out of the node")
    place = directory / path.relative_to("/")
    place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, int(file.permissions, 8))
    with os.fdopen(descriptor, "w") as output:
        output.write(file.content)


def _hardware(directory: Path, capacity: Capacity, master: Path) -> dict[str, str]:
    """What another machine would have by its nature: HTCondor's programs, places for files, so many cores."""
    return {
        **_programs(master),
        "LOCAL_DIR": str(directory),
        **{folder.upper(): f"$(LOCAL_DIR)/{folder}" for folder in FOLDERS},
        "LOCAL_CONFIG_FILE": "",
        "LOCAL_CONFIG_DIR": "$(LOCAL_DIR)/etc/condor/config.d",
        "MODABATCH": "$(LOCAL_DIR)/etc/condor/modabatch",
        "NUM_CPUS": f"{capacity.cpus:d}",
        "MEMORY": f"{capacity.memory:d}",
        "NETWORK_INTERFACE": "127.0.0.1",
        "BIND_ALL_INTERFACES": "false",
        "ENABLE_IPV6": "false",
        "NO_DNS": "true",
        "USE_SHARED_PORT": "false",
        # Or it takes the collector, being on the same machine, for a relative of its own.
        "SEC_USE_FAMILY_SESSION": "false",
        "RUNBENCHMARKS": "0",
    }


def _programs(master: Path) -> dict[str, str]:
    prefix = master.parent.parent
    libraries = next((path for path in (prefix / "lib64/condor", prefix / "lib/condor") if path.is_dir()), prefix / "lib")
    programs = next((path for path in (prefix / "libexec/condor", libraries / "libexec") if path.is_dir()), prefix / "libexec")
    places = {"RELEASE_DIR": prefix, "BIN": prefix / "bin", "SBIN": master.parent, "LIB": libraries, "LIBEXEC": programs}
    return {name: str(place) for name, place in (places | {"SHARE": prefix / "share/condor"}).items()}


def _end(path: Path) -> str:
    try:
        with path.open("rb") as log:
            log.seek(max(0, path.stat().st_size - _CONSOLE))
            return log.read().decode("utf-8", "replace")
    except OSError:
        return ""
