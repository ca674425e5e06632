"""
Machines for an emulated account: each of its instances that runs boots in a directory of its own, as cloud-init would have it.

A machine has an image with HTCondor inside, and beside that what its user-data says, as it was sent when the instance was
created, and nothing else.  The files of the user-data are written below the machine's directory, and its commands are run,
C{join.sh} first of all.  What these change of a whole system has stand-ins: C{systemctl} starts HTCondor as the service that it
was told of, and the machine goes off when that has ended; C{nft} notes down the rules.  Terminated instances lose their power.
"""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread

import msgspec

from modabatchd.infrastructure import local_processes
from modabatchd.infrastructure.local_node import FOLDERS, image
from modabatchd.infrastructure.node import Capacity
from tests.clouds.ec2 import EC2Account

_LOOK = 0.1
_MARK = "MODABATCH_TEST_MACHINE"
_STAND_INS = {
    "nft": 'cat >>"$ROOT/nft"\n',
    "condor_master": 'exec "$CONDOR_MASTER" "$@"\n',
    "systemctl": """
echo "$*" >>"$ROOT/systemctl"
[ "$*" = "start condor" ] || exit 0
service=$ROOT/etc/systemd/system/condor.service.d/modabatch.conf
grep -qx SuccessAction=poweroff "$service"
for command in $(sed -n s/^ExecStartPre=//p "$service"); do "$ROOT$command"; done
condor_master -f >>"$ROOT/console" 2>&1 &
echo $! >"$ROOT/pid"
""",
}


class _WriteFile(msgspec.Struct):
    path: str
    content: str
    permissions: str = "0644"


class _CloudConfig(msgspec.Struct):
    hostname: str
    write_files: list[_WriteFile]
    runcmd: list[list[str]]


class Machine:
    """One that was told something."""

    def __init__(self, name: str, directory: Path, capacity: Capacity, master: Path) -> None:
        self.directory = directory
        self._mark = f"{_MARK}={directory}"
        self._master = master
        for folder in (*FOLDERS, "bin", "etc/condor"):
            (directory / folder).mkdir(parents=True)
        for command, script in _STAND_INS.items():
            self._write(f"/bin/{command}", f"#!/bin/sh\nset -eu\n{script}", 0o755)
        self._write("/etc/condor/condor_config", image(directory, capacity, master), 0o644)

    @property
    def on(self) -> bool:
        """Whether its HTCondor runs."""
        with suppress(OSError, ValueError):
            return local_processes.marked(int((self.directory / "pid").read_text()), self._mark.encode())
        return False

    def boot(self, user_data: str) -> None:
        """As cloud-init does it.  @raise AssertionError: a command has failed."""
        kind, _, rest = user_data.partition("\n")
        assert kind == "#cloud-config"
        config = msgspec.json.decode(rest, type=_CloudConfig)
        for file in config.write_files:
            self._write(file.path, file.content, int(file.permissions, 8))
        environment = {
            "PATH": f"{self.directory}/bin:/usr/bin:/bin",
            "ROOT": str(self.directory),
            "CONDOR_MASTER": str(self._master),
            "CONDOR_CONFIG": str(self.directory / "etc/condor/condor_config"),
            _MARK: str(self.directory),
        }
        with (self.directory / "console").open("ab") as console:
            for command in config.runcmd:
                words = [f"{self.directory}{word}" if word.startswith("/") else word for word in command]
                ran = subprocess.run(
                    words,
                    env=environment,
                    cwd=self.directory,
                    stdout=console,
                    stderr=console,
                    start_new_session=True,
                    check=False,
                )
                assert ran.returncode == 0, self.console()

    def cut_off(self) -> None:
        """Take its power away."""
        assert local_processes.end(self._mark.encode(), self.directory / "execute")

    def console(self) -> str:
        logs = [self.directory / name for name in ("console", "log/MasterLog", "log/StartLog")]
        return "".join(log.read_text(errors="replace") for log in logs if log.exists())

    def _write(self, path: str, content: str, mode: int) -> None:
        place = Path(f"{self.directory}{path}")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch(mode)
        place.write_text(content)
        place.chmod(mode)


class Machines:
    """
    Those of an account.

    @param capacity: what each of them pretends to have.
    @param boot: seconds that one takes before cloud-init's turn comes.
    @ivar booted: by instance id, also those that are off by now.
    @ivar troubles: what went wrong with one.
    """

    def __init__(self, account: EC2Account, directory: Path, capacity: Capacity, master: Path, boot: float = 0.0) -> None:
        self._account = account
        self._directory = directory
        self._capacity = capacity
        self._master = master
        self._boot = boot
        self._over = Event()
        self.booted: dict[str, Machine] = {}
        self._on: set[str] = set()
        self.troubles: list[str] = []

    @contextmanager
    def running(self) -> Iterator["Machines"]:
        """Look after them meanwhile; all are off in the end."""
        thread = Thread(target=self._run)
        thread.start()
        try:
            yield self
        finally:
            self._over.set()
            thread.join()
            for machine in self.booted.values():
                machine.cut_off()

    def on(self) -> list[str]:
        """Ids of the instances whose HTCondor runs."""
        return [instance_id for instance_id, machine in self.booted.items() if machine.on]

    def _run(self) -> None:
        while not self._over.wait(_LOOK):
            try:
                self._look()
            except Exception as problem:
                self.troubles.append(repr(problem))

    def _look(self) -> None:
        now = time.monotonic()
        for instance_id, state in self._account.states().items():
            ready = now >= self._account.created.get(instance_id, now) + self._boot
            if state == "running" and instance_id in self._account.user_data and instance_id not in self.booted and ready:
                self._start(instance_id)
            elif instance_id in self._on and state != "running":
                self._on.discard(instance_id)
                self.booted[instance_id].cut_off()
            elif instance_id in self._on and not self.booted[instance_id].on:
                # It has turned itself off, and was created with the wish to be terminated then.
                self._account.terminate(instance_id)

    def _start(self, instance_id: str) -> None:
        machine = Machine(instance_id, self._directory / instance_id, self._capacity, self._master)
        self.booted[instance_id] = machine
        machine.boot(self._account.user_data[instance_id])
        self._account.consoles[instance_id] = machine.console()
        self._on.add(instance_id)


def processes(directory: Path) -> list[int]:
    """Of all machines below a directory."""
    trait = f"{_MARK}={directory}".encode()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if process.stat().st_uid == os.getuid() and trait in (process / "environ").read_bytes():
                found.append(int(process.name))
    return found
