"""A real HTCondor pool of the user who starts it: one submit host and one machine of eight cores, on loopback only."""

import base64
import os
import pwd
import shlex
import socket
import subprocess
from pathlib import Path

import processes
import programs

HERE = Path(__file__).parent
#: What lets nodes of ours join: the drop-in that we ship.
NODES = HERE.parent.parent / "conf/htcondor-central-manager.conf"
DOMAIN = "modabatchd.test"
TOOL = """#!/bin/sh
# Usage: condor condor_q ARGUMENT...: one of HTCondor's tools, on the pool of these tests.
tool=$1
shift
export CONDOR_CONFIG={config}
for folder in {bin} {sbin}; do
    [ -x "$folder/$tool" ] && exec "$folder/$tool" "$@"
done
echo "HTCondor has no tool $tool" >&2
exit 127
"""


class Pool:
    """An HTCondor pool whose files lie below a folder of their own.

    @param state: the folder.
    @param tree: where C{tools/programs} unpacked HTCondor, if it did.
    """

    def __init__(self, state: Path, tree: Path) -> None:
        self._state = state
        self._folders = programs.condor(tree)
        self._owner = pwd.getpwuid(os.getuid()).pw_name
        self._port = _free_port()
        self._tool = state / "bin/condor"

    def start(self) -> subprocess.Popen[bytes]:
        """Start the daemons and wait until the submit host and the machine have reported.

        @raise processes.DidNotStart: they did not.
        """
        self._write()
        log = self._state / "condor/log/MasterLog"
        environment = {"PATH": os.defpath, "CONDOR_CONFIG": str(self._state / "pool.conf")}
        master = processes.start([self._folders["SBIN"] / "condor_master", "-f"], environment, self._state / "condor/output")
        processes.until(self._is_complete, master, "The HTCondor pool", log)
        (self._state / "tokens/owner").write_text(self._run("condor_token_create", "-identity", f"{self._owner}@{DOMAIN}"))
        (self._state / "tokens/owner").chmod(0o600)
        return master

    def environment(self) -> dict[str, str]:
        """What the tests are told of the pool."""
        return {
            "MODABATCH_TEST_COLLECTOR": f"127.0.0.1:{self._port}",
            "MODABATCH_TEST_SCHEDD": "test@",
            "MODABATCH_TEST_POOL_DIR": str(self._state / "jobs"),
            "MODABATCH_TEST_TOKEN_DIR": str(self._state / "tokens"),
            "MODABATCH_TEST_CONDOR_CONFIG": str(self._state / "client.conf"),
            "MODABATCH_TEST_CONDOR": str(self._tool),
            "MODABATCH_TEST_POOL_KEY": str(self._state / "condor/keys/MODABATCH"),
            "MODABATCH_TEST_CONDOR_MASTER": str(self._folders["SBIN"] / "condor_master"),
        }

    def _write(self) -> None:
        for folder in ("bin", "jobs", *(f"condor/{name}" for name in ("run", "log", "lock", "spool", "execute"))):
            (self._state / folder).mkdir(parents=True)
        for secret in ("tokens", "condor/tokens", "condor/keys"):
            (self._state / secret).mkdir(mode=0o700)
        for name in ("POOL", "MODABATCH"):
            key = self._state / "condor/keys" / name
            key.touch(mode=0o600)
            key.write_bytes(base64.b64encode(os.urandom(48)))
        known = {"STATE": self._state, "PORT": self._port, "OWNER": self._owner, **self._folders}
        told = [f"{name} = {value}" for name, value in known.items()]
        self._configure("client.conf", [*told, f"LOCAL_DIR = {self._state}/client"], HERE / "client.conf")
        self._configure("pool.conf", told, HERE / "client.conf", HERE / "pool.conf", NODES)
        places = {"config": self._state / "pool.conf", "bin": self._folders["BIN"], "sbin": self._folders["SBIN"]}
        self._tool.write_text(TOOL.format(**{name: shlex.quote(str(place)) for name, place in places.items()}))
        self._tool.chmod(0o755)

    def _configure(self, name: str, told: list[str], *parts: Path) -> None:
        # Copied, not included: the checkout may lie where the daemons, without our capabilities, cannot read.
        (self._state / name).write_text("\n".join(told) + "\n" + "\n".join(part.read_text() for part in parts))

    def _is_complete(self) -> bool:
        reported = self._run("condor_status", "-any", "-af", "MyType").split()
        return "Scheduler" in reported and "Machine" in reported

    def _run(self, *command: str) -> str:
        ran = subprocess.run([self._tool, *command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
        return ran.stdout


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
