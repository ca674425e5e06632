"""Scaling at work: a real personal HTCondor without any node, the daemon on it, and twenty jobs.

Usage: python tools/demonstration [--programs FOLDER] [--jobs COUNT] [--idle SECONDS]

Nodes are started because the jobs wait, the jobs run on them, and the nodes are drained and stopped because nothing is left to
do. What happens is printed as it happens. All files lie in a fresh folder /var/tmp/modabatchd-test.*, which is removed at the
end, and no process is left. The exit status is 0 if all jobs ran and all nodes went.
"""

import argparse
import io
import json
import os
import signal
import socket
import subprocess
import sys
import tarfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "services"))

import folders
import processes
from pool import DOMAIN, Pool

TWISTD = Path(sys.executable).with_name("twistd")
LIMIT = 240.0
POLICY = """
[scaling]
idle = {idle}
[scaling.limits]
max_nodes = 4
[[pool]]
name = "here"
driver = "local"
account = {{master = {master}}}
sizes = [
    {{name = "one", cpus = 1, memory = "512M", price = 0.01}},
    {{name = "two", cpus = 2, memory = "1G", price = 0.02}},
    {{name = "four", cpus = 4, memory = "2G", price = 0.04}},
]
boot_timeout = "1m"
"""


class Ended(Exception):
    """A signal told us to end."""


class EmptyPool(Pool):
    """A pool that has no machine."""

    def _configure(self, name: str, told: list[str], *parts: Path) -> None:
        super()._configure(name, told, *parts)
        with (self._state / name).open("a") as file:
            file.write("DAEMON_LIST = MASTER, COLLECTOR, NEGOTIATOR, SCHEDD\n")

    def _is_complete(self) -> bool:
        return "Scheduler" in self._run("condor_status", "-any", "-af", "MyType").split()


class Daemon:
    """The daemon, and what is said to it."""

    def __init__(self, state: Path, told: dict[str, str], idle: float) -> None:
        self._url = f"http://127.0.0.1:{_free_port()}"
        self._log = state / "daemon.log"
        policy = state / "policy.toml"
        policy.write_text(POLICY.format(idle=idle, master=json.dumps(told["MODABATCH_TEST_CONDOR_MASTER"])))
        settings = {
            "DAEMON__DIRECTORY": f"{state}/jobs/daemon",
            "HTTP__LISTEN": self._url.rpartition(":")[2],
            "QUEUE__BACKEND": "htcondor",
            "QUEUE__POLL_INTERVAL": "0.5",
            "QUEUE__HTCONDOR__COLLECTOR": told["MODABATCH_TEST_COLLECTOR"],
            "QUEUE__HTCONDOR__SCHEDD": told["MODABATCH_TEST_SCHEDD"],
            "QUEUE__HTCONDOR__TOKEN_DIRECTORY": told["MODABATCH_TEST_TOKEN_DIR"],
            "QUEUE__HTCONDOR__CONFIG_FILE": told["MODABATCH_TEST_CONDOR_CONFIG"],
            "SCALING__POLICY": str(policy),
            "SCALING__SIGNING_KEY": told["MODABATCH_TEST_POOL_KEY"],
            "SCALING__DOMAIN": DOMAIN,
        }
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("MODABATCH_")}
        self._environment = inherited | {f"MODABATCH_{name}": value for name, value in settings.items()}

    def start(self) -> subprocess.Popen[bytes]:
        """Start it, and wait until it answers."""
        with self._log.open("ab") as log:
            process = subprocess.Popen(
                [TWISTD, "--nodaemon", "--pidfile=", "modabatch"],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        processes.until(self._answers, process, "The daemon", self._log)
        return process

    def submit(self, count: int) -> None:
        """Small jobs, each of which says where it ran."""
        body, boundary = _form(_bundle('sleep 3; hostname > "$MODACLOUDS_BATCH_OUTPUT/where"')), "demonstration"
        for _ in range(count):
            self.ask("/jobs", body, {"Content-Type": f"multipart/form-data; boundary={boundary}"})

    def ask(self, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> Any:
        """Ask the API."""
        request = urllib.request.Request(self._url + path, data=body, headers=headers or {})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def _answers(self) -> bool:
        try:
            return bool(self.ask("/health"))
        except urllib.error.URLError:
            return False


def main() -> int:
    """Do what the module's text says."""
    options = _options().parse_args()
    processes.adopt_orphans()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)
    state = folders.fresh()
    status = 1
    try:
        status = _show(state, options)
    except processes.DidNotStart as problem:
        print(problem, file=sys.stderr)
    except Ended:
        status = 130
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    left = _nodes(state)
    processes.end_descendants()
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    if status == 0:
        folders.remove(state)
    else:
        print(f"Its files are in {state}.", file=sys.stderr)
    return status


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tools/demonstration", description="See the text of this module.")
    parser.add_argument("--programs", type=Path, default=Path("/nonexistent"), help="what tools/programs printed")
    parser.add_argument("--jobs", type=int, default=20, help="how many")
    parser.add_argument("--idle", type=float, default=5.0, help="seconds for which a node without work is kept")
    return parser


def _end(number: int, _frame: FrameType | None) -> None:
    raise Ended(number)


def _show(state: Path, options: argparse.Namespace) -> int:
    say = _Teller()
    pool = EmptyPool(state, options.programs)
    say("starting HTCondor, without any node ...")
    services = [pool.start()]
    try:
        daemon = Daemon(state, pool.environment(), options.idle)
        services.append(daemon.start())
        say("the daemon runs; submitting jobs ...")
        daemon.submit(options.jobs)
        return _watch(daemon, say, options.jobs)
    finally:
        for service in reversed(services):
            service.send_signal(signal.SIGTERM)
            processes.stop([service], seconds=20)


class _Teller:
    """Prints with the seconds since it was made."""

    def __init__(self) -> None:
        self._begun = time.monotonic()

    def __call__(self, line: str) -> None:
        print(f"{time.monotonic() - self._begun:6.1f} s  {line}", flush=True)

    @property
    def late(self) -> bool:
        return time.monotonic() - self._begun > LIMIT


def _watch(daemon: Daemon, say: _Teller, count: int) -> int:
    last, seen = "", set()
    while not say.late:
        jobs = Counter(job["job_status"] for job in daemon.ask("/jobs"))
        view = daemon.ask("/infrastructure")
        nodes = Counter(node["state"] for node in view["nodes"])
        line = f"jobs: {_counts(jobs)}   nodes: {_counts(nodes)}"
        if line != last:
            say(line)
            last = line
        for decision in reversed(daemon.ask("/infrastructure/decisions?limit=20")):
            if decision["seq"] not in seen:
                seen.add(decision["seq"])
                for reason in _steps(decision["decision"]):
                    say(f"    {reason}")
        if jobs["completed"] == count and not view["nodes"]:
            say(f"all jobs are done, and no node is left; spent: {view['spent']:.6f}")
            return 0
        time.sleep(0.25)
    say("this takes too long")
    return 1


def _steps(decision: dict[str, Any]) -> Iterator[str]:
    counts: Counter[str] = Counter()
    for step in decision["steps"]:
        if step["step"] != "wait":
            size = f" {step['offering']['size']!r}" if "offering" in step else ""
            counts[f"{step['step']} {{}}{size}: {step['reason']}"] += 1
    for text, number in counts.items():
        yield text.replace("{}", f"{number} node{'' if number == 1 else 's'}", 1)


def _counts(found: Counter[str]) -> str:
    return ", ".join(f"{number} {name}" for name, number in sorted(found.items())) or "none"


def _bundle(script: str) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        member, content = tarfile.TarInfo("run.sh"), f"#!/bin/sh\n{script}\n".encode()
        member.mode, member.size = 0o755, len(content)
        archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def _form(bundle: bytes) -> bytes:
    fields = {"request-memory": "100M", "request-disk": "10M"}
    parts = [
        f'--demonstration\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    head = b'--demonstration\r\nContent-Disposition: form-data; name="job-bundle"; filename="bundle.tar.gz"\r\n\r\n'
    return b"".join([*parts, head, bundle, b"\r\n--demonstration--\r\n"])


def _nodes(state: Path) -> list[int]:
    """Processes of nodes that are left: they are nobody's children."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f"{state}/jobs/daemon/nodes/".encode() in (process / "environ").read_bytes():
                found.append(int(process.name))
        except OSError:
            continue
    return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


sys.exit(main())
