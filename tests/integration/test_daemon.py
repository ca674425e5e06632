"""The daemon as its users start it: C{make run}, C{twistd modabatch}, what goes wrong, and how it ends."""

import json
import os
import re
import signal
import socket
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.integration.daemon import TWISTD, bundle, clean_environment, eventually, free_port, running

PROJECT = Path(__file__).parents[2]
UNKNOWN = "7db1718a-3480-4200-aac5-fdf772c4a149"


class Checkout:
    """A folder that looks like the project's root, where C{make run} may write, and a curl that finds what it starts."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "checkout"
        self.directory.mkdir()
        for entry in PROJECT.iterdir():
            if entry.name not in ("var", "build", ".git"):
                (self.directory / entry.name).symlink_to(entry)
        self.port = free_port()
        # The lines stay as they are written; another port than 5000 lets this run beside a daemon of the developer's own.
        (directory / ".curlrc").write_text(f'connect-to = "localhost:5000:127.0.0.1:{self.port}"\nno-progress-meter\n')
        self.environment = clean_environment({"HTTP__LISTEN": str(self.port)}) | {"CURL_HOME": str(directory)}
        for name in ("ARGS", "MAKEFLAGS", "MAKEOVERRIDES", "MFLAGS"):
            self.environment.pop(name, None)  # "make test ARGS=..." is about us, and not about the make in here

    def shell(self, script: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-c", script],
            cwd=self.directory,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


@pytest.fixture
def made(checkout: Checkout) -> Iterator[Checkout]:
    """What C{make run} starts."""
    make = subprocess.Popen(
        ["make", "run"],
        cwd=checkout.directory,
        env=checkout.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        assert make.stdout is not None
        said = "".join(iter(make.stdout.readline, "") if make.poll() is not None else _until(make.stdout, "Starting reactor"))
        assert "http://127.0.0.1:5000/api/spec.html" in said
        eventually(lambda: checkout.shell("curl -sf localhost:5000/health").returncode == 0)
        yield checkout
    finally:
        os.killpg(make.pid, signal.SIGTERM)
        make.communicate(timeout=60)


def _until(lines: Iterator[str], words: str) -> Iterator[str]:
    for line in lines:
        yield line
        if words in line or "serving" in line.lower() or "starting on" in line:
            return


def test_the_lines_of_the_seed_work_as_they_are_written(made: Checkout) -> None:
    (made.directory / "setup.py").unlink()
    (made.directory / "setup.py").write_bytes(
        bundle('echo "to stdout"; echo "to stderr" >&2; echo x > "$MODACLOUDS_BATCH_OUTPUT/x"')
    )
    submitted = made.shell("curl -v --data-urlencode 'job-bundle@setup.py' -X POST http://localhost:5000/jobs")
    assert "201 Created" in submitted.stderr
    job_id = json.loads(submitted.stdout)["job_id"]
    assert json.loads(submitted.stdout)["backend_id"] == 1
    assert [entry["id"] for entry in json.loads(made.shell("curl http://localhost:5000/jobs").stdout)] == [job_id]

    def completed() -> bool:
        status: str = json.loads(made.shell(f"curl http://localhost:5000/jobs/{job_id}").stdout)["job_status"]
        return status == "completed"

    eventually(completed)
    unknown = made.shell(f"curl http://localhost:5000/jobs/{UNKNOWN}")
    assert json.loads(unknown.stdout)["status"] == 404
    assert made.shell(f"curl http://localhost:5000/jobs/{job_id}/artifacts/stdout").stdout == "to stdout\n"
    assert made.shell(f"curl http://localhost:5000/jobs/{job_id}/artifacts/stderr").stdout == "to stderr\n"
    assert "output/x" in made.shell(f"curl -s http://localhost:5000/jobs/{job_id}/artifacts/output | tar tzf -").stdout
    assert made.shell(f"curl http://localhost:5000/jobs/{job_id}/artifacts/_userlog").stdout.startswith("000 (")
    sleeping = bundle("sleep 60")
    (made.directory / "sleep.tar.gz").write_bytes(sleeping)
    made.shell("curl --data-urlencode 'job-bundle@sleep.tar.gz' -X POST http://localhost:5000/jobs")
    second = json.loads(made.shell("curl http://localhost:5000/jobs").stdout)[1]["id"]

    def state() -> str:
        return str(json.loads(made.shell(f"curl http://localhost:5000/jobs/{second}").stdout)["job_status"])

    eventually(lambda: state() == "running")
    for action, after in {
        "suspend": "suspended",
        "continue": "running",
        "hold": "held",
        "release": "running",
        "remove": "removed",
    }.items():
        answer = made.shell(f"curl http://localhost:5000/jobs/{second}/{action}")
        assert json.loads(answer.stdout) == {"result": [second, action]}
        eventually(lambda after=after: state() == after)


def test_the_session_of_the_readme_works_as_pasted(checkout: Checkout) -> None:
    session = re.search(r"```\n(make run &.*?)```", (PROJECT / "README.md").read_text(), re.DOTALL)
    assert session is not None
    process = subprocess.Popen(
        ["bash", "-c", session[1]],
        cwd=checkout.directory,
        env=checkout.environment,
        stdout=subprocess.PIPE,
        text=True,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        assert process.wait(90) == 0
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        said = process.communicate(timeout=60)[0]
    assert "Hello, world" in said
    assert "output/when" in said


def test_jobs_that_run_when_the_daemon_is_stopped_run_again(tmp_path: Path) -> None:
    with running(tmp_path / "state") as daemon:
        mark = tmp_path / "mark"
        job_id = daemon.submit(f"[ -e {mark} ] || {{ touch {mark}; sleep 600; }}")["job_id"]
        queued = daemon.submit("echo queued", request_cpus="1", job_priority="-1")["job_id"]
        eventually(mark.exists)
        daemon.until(job_id, "running")
        assert daemon.stop() == -signal.SIGTERM
        daemon.start()
        job = daemon.until(job_id, "completed")
        assert job["job_run_count"] == 2
        assert daemon.until(queued, "completed")["exit_status"] == 0


def test_or_are_removed_if_the_owner_says_so(tmp_path: Path) -> None:
    with running(tmp_path / "state", QUEUE__EMBEDDED__ON_SHUTDOWN="remove") as daemon:
        job_id = daemon.submit("sleep 600")["job_id"]
        daemon.until(job_id, "running")
        assert daemon.stop() == -signal.SIGTERM
        daemon.start()
        assert "stopped" in daemon.until(job_id, "removed")["reason"]


def test_nothing_is_lost_when_the_daemon_is_killed(tmp_path: Path) -> None:
    with running(tmp_path / "state") as daemon:
        first = daemon.submit("sleep 2; echo done")["job_id"]
        daemon.until(first, "running")
        second = daemon.submit("echo later")["job_id"]
        daemon.stop(signal.SIGKILL)
        daemon.start()
        for job_id, said in {first: b"done\n", second: b"later\n"}.items():
            daemon.until(job_id, "completed")
            assert daemon.artifact(job_id, "stdout") == said


def test_the_state_is_for_its_owner_alone(tmp_path: Path) -> None:
    with running(tmp_path / "state") as daemon:
        daemon.submit("true", job_environment="SECRET=x")
        paths = [
            daemon.directory,
            *(path for path in daemon.directory.rglob("*") if path.name in ("launch.sh", "modabatchd.sqlite")),
        ]
        assert len(paths) == 3
        assert all(stat.S_IMODE(path.stat().st_mode) & 0o077 == 0 for path in paths)


def test_a_slow_client_is_told_and_a_page_elsewhere_gets_nothing(tmp_path: Path) -> None:
    with running(tmp_path / "state") as daemon:
        foreign = requests.post(
            f"{daemon.url}/jobs", files={"job-bundle": b"x"}, headers={"Origin": "http://evil.example"}, timeout=9
        )
        assert foreign.status_code == 403
        assert not [name for name in foreign.headers if name.lower().startswith("access-control")]
        rebound = requests.get(f"{daemon.url}/jobs", headers={"Host": "evil.example"}, timeout=9)
        assert rebound.status_code == 421


def attempt(directory: Path, *arguments: str, **settings: str) -> tuple[int, str]:
    """Start the daemon where it must fail: exit status, and what it said."""
    environment = clean_environment(
        {"DAEMON__DIRECTORY": str(directory / "state"), "HTTP__LISTEN": str(free_port())} | settings
    )
    ran = subprocess.run(
        [TWISTD, "--nodaemon", "--pidfile=", "modabatch", *arguments],
        env=environment,
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return ran.returncode, ran.stderr + ran.stdout


def test_a_taken_port(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        status, said = attempt(tmp_path, HTTP__LISTEN=str(other.getsockname()[1]))
    assert (status, len(said.splitlines())) == (1, 1)
    assert "Another process listens" in said
    assert not list(tmp_path.iterdir())


def test_a_directory_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    status, said = attempt(tmp_path)
    assert (status, len(said.splitlines())) == (1, 1)
    assert str(tmp_path / "state") in said


def test_a_spool_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    status, said = attempt(tmp_path, SPOOL__DIRECTORY=str(tmp_path / "file"))
    assert (status, len(said.splitlines())) == (1, 1)
    assert "spool.directory" in said


def test_mistakes_in_the_configuration_are_told_together(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('[queue]\nbackend = "pbs"\npoll_intervall = 2\n')
    status, said = attempt(tmp_path, "--config", str(tmp_path / "config.toml"), SPOOL__QUOTA="much")
    assert status == 1
    assert ":2: queue.backend" in said
    assert ":3: queue.poll_intervall" in said
    assert "did you mean queue.poll_interval" in said
    assert "MODABATCH_SPOOL__QUOTA" in said
    assert "Traceback" not in said
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("listen", ["tcp:0", "tcp:0:interface=0.0.0.0", "tcp:0:interface=192.0.2.1", "ssl:0", "tcp6:0"])
def test_it_listens_nowhere_else_as_long_as_nobody_is_asked_for_a_password(tmp_path: Path, listen: str) -> None:
    status, said = attempt(tmp_path, "--port", listen)
    assert status == 1
    assert "--port" in said
    assert "Traceback" not in said


def test_two_daemons_on_one_directory(tmp_path: Path) -> None:
    with running(tmp_path / "state"):
        status, said = attempt(tmp_path)
    assert (status, len(said.splitlines())) == (1, 1)
    assert "Another modabatchd" in said


def test_a_damaged_database(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state/modabatchd.sqlite").write_bytes(b"no database" * 1000)
    status, said = attempt(tmp_path)
    assert (status, len(said.splitlines())) == (1, 1)
    assert "modabatchd.sqlite" in said


def test_a_unix_socket_also_after_a_crash(tmp_path: Path) -> None:
    path = Path(os.environ["MODABATCH_TEST_HOME"]) / "http"  # a short one
    environment = clean_environment({"DAEMON__DIRECTORY": str(tmp_path / "state")})
    for number in (signal.SIGKILL, signal.SIGTERM):
        process = subprocess.Popen(
            [TWISTD, "--nodaemon", "--pidfile=", "modabatch", "--port", f"unix:{path}"], env=environment, cwd=tmp_path
        )
        asked = ["curl", "-sf", "--unix-socket", str(path), "http://localhost/health"]
        eventually(lambda asked=asked: subprocess.run(asked, check=False, capture_output=True).returncode == 0)
        process.send_signal(number)
        process.wait(60)


def test_a_unix_socket_that_cannot_be(tmp_path: Path) -> None:
    for path in (tmp_path / ("x" * 120), tmp_path / "missing/http", tmp_path):
        status, said = attempt(tmp_path, "--port", f"unix:{path}")
        assert (status, len(said.splitlines())) == (1, 1)
        assert "not possible to listen" in said


def test_it_goes_to_the_background(tmp_path: Path) -> None:
    port = free_port()
    environment = clean_environment({"DAEMON__DIRECTORY": str(tmp_path / "state"), "HTTP__LISTEN": str(port)})
    command = [TWISTD, "--pidfile", str(tmp_path / "pid"), "--logfile", str(tmp_path / "log"), "modabatch"]
    subprocess.run(command, env=environment, cwd=tmp_path, check=True, timeout=60)
    pid = int((tmp_path / "pid").read_text())
    try:
        eventually(lambda: subprocess.run(["curl", "-sf", f"http://127.0.0.1:{port}/jobs"], check=False).returncode == 0)
    finally:
        os.kill(pid, signal.SIGTERM)
    eventually(lambda: _has_ended(pid))


def _has_ended(pid: int) -> bool:
    """Nobody may have waited for it yet."""
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z"


def test_help_explains_itself() -> None:
    listed = subprocess.run([TWISTD, "--help"], capture_output=True, text=True, check=True, cwd="/").stdout
    assert re.search(r"^ +modabatch +A batch queue over HTTP", listed, re.MULTILINE)
    told = subprocess.run([TWISTD, "modabatch", "--help"], capture_output=True, text=True, check=True, cwd="/").stdout
    assert "--config=" in told
    assert "--port=" in told
    assert "MODABATCH_QUEUE__BACKEND" in told
    version = subprocess.run([TWISTD, "modabatch", "--version"], capture_output=True, text=True, check=True, cwd="/").stdout
    assert version.startswith("modabatchd ")
