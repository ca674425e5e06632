"""The daemon on a real HTCondor pool, from the form to the artifact."""

import contextlib
import io
import json
import os
import signal
import subprocess
import tarfile
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.integration.daemon import Daemon, bundle, eventually, running

pytestmark = pytest.mark.pool


def pool_settings(**more: str) -> dict[str, str]:
    return {
        "QUEUE__BACKEND": "htcondor",
        "QUEUE__POLL_INTERVAL": "0.5",
        "QUEUE__HTCONDOR__COLLECTOR": os.environ["MODABATCH_TEST_COLLECTOR"],
        "QUEUE__HTCONDOR__SCHEDD": os.environ["MODABATCH_TEST_SCHEDD"],
        "QUEUE__HTCONDOR__TOKEN_DIRECTORY": os.environ["MODABATCH_TEST_TOKEN_DIR"],
        "QUEUE__HTCONDOR__CONFIG_FILE": os.environ["MODABATCH_TEST_CONDOR_CONFIG"],
    } | more


@pytest.fixture(scope="module", params=["direct", "spool"])
def daemon(request: pytest.FixtureRequest) -> Iterator[Daemon]:
    """With the files of jobs where the schedd reads them, and with a schedd that they are sent to."""
    directory = Path(os.environ["MODABATCH_TEST_POOL_DIR"]) / uuid4().hex
    with running(directory, **pool_settings(QUEUE__HTCONDOR__TRANSFER=request.param)) as daemon:
        yield daemon
        for entry in daemon.get("/jobs").json():
            requests.delete(f"{daemon.url}/jobs/{entry['id']}", timeout=60)


def tool(name: str, *arguments: str) -> str:
    """Run one of HTCondor's own tools, as an administrator would."""
    return subprocess.run(
        [os.environ["MODABATCH_TEST_CONDOR"], name, *arguments], check=True, capture_output=True, text=True, timeout=60
    ).stdout


def act(daemon: Daemon, job_id: str, action: str) -> None:
    assert daemon.get(f"/jobs/{job_id}/{action}").json() == {"result": [job_id, action]}


def test_output_and_exit_status_come_back(daemon: Daemon) -> None:
    script = """
    echo "to stdout: $1 $GREETING"; echo "to stderr" >&2
    cat "$MODACLOUDS_BATCH_INPUT" > "$MODACLOUDS_BATCH_OUTPUT/copy"
    mkdir "$MODACLOUDS_BATCH_OUTPUT/deep" && pwd > "$MODACLOUDS_BATCH_OUTPUT/deep/where"
    touch "$MODACLOUDS_BATCH_SCRATCH_DIRECTORY/x"
    exit 7
    """
    fields = {"job_name": "first", "job_arguments": "'a b'", "job_environment": "GREETING=hello"}
    accepted = daemon.submit(script, job_input=b"the input\0", **fields)
    job = daemon.until(accepted["job_id"], "completed")
    assert job["cluster_id"] == accepted["backend_id"]
    assert (job["exit_status"], job["exit_by_signal"]) == (7, False)
    assert job["job_completion_date"] is not None
    assert job["host"]
    assert job["history"][0]["job_status"] == "idle"
    assert job["history"][-1]["job_status"] == "completed"
    assert daemon.artifact(job["id"], "stdout") == b"to stdout: a b hello\n"
    assert daemon.artifact(job["id"], "stderr") == b"to stderr\n"
    output = daemon.output(job["id"])
    assert output["output/copy"] == b"the input\0"
    assert "output/deep/where" in output
    assert b"Job terminated" in daemon.artifact(job["id"], "_userlog")


def test_a_signal_and_a_wall_time_limit(daemon: Daemon) -> None:
    killed = daemon.submit("kill -9 $$")["job_id"]
    late = daemon.submit("sleep 600", max_wall_time="1s")["job_id"]
    job = daemon.until(killed, "completed")
    assert (job["exit_status"], job["exit_by_signal"], job["exit_signal"]) == (None, True, 9)
    assert daemon.until(late, "completed")["exit_signal"] == 24


def test_every_action(daemon: Daemon) -> None:
    job_id = daemon.submit("trap 'exit 5' USR1; while :; do date +%s%N; sleep 0.1; done")["job_id"]
    daemon.until(job_id, "running")
    act(daemon, job_id, "suspend")
    daemon.until(job_id, "suspended")
    act(daemon, job_id, "continue")
    daemon.until(job_id, "running")
    act(daemon, job_id, "hold")
    held = daemon.until(job_id, "held")
    assert "modabatchd" in held["hold_reason"]
    assert requests.get(f"{daemon.url}/jobs/{job_id}/suspend", timeout=60).status_code == 409
    act(daemon, job_id, "release")
    daemon.until(job_id, "running")
    assert daemon.job(job_id)["job_run_count"] == 2
    assert requests.delete(f"{daemon.url}/jobs/{job_id}", timeout=60).ok
    daemon.until(job_id, "removed")
    assert requests.get(f"{daemon.url}/jobs/{job_id}/hold", timeout=60).json()["state"] == "removed"


def test_suspend_stops_the_process_on_the_node_and_continue_resumes_it(daemon: Daemon) -> None:
    mark = daemon.directory.with_name(f"{uuid4().hex}.mark")
    job_id = daemon.submit(f"while :; do echo x >> {mark}; sleep 0.05; done")["job_id"]
    daemon.until(job_id, "running")
    eventually(mark.exists)

    def grows() -> bool:
        before = mark.stat().st_size
        time.sleep(0.5)
        return mark.stat().st_size > before

    assert eventually(grows)
    act(daemon, job_id, "suspend")
    eventually(lambda: not grows())
    assert not grows()
    act(daemon, job_id, "continue")
    eventually(grows)
    act(daemon, job_id, "remove")
    mark.unlink()


def test_what_an_administrator_does_shows(daemon: Daemon) -> None:
    job_id = daemon.submit("sleep 600", request_cpus="5000")["job_id"]
    number = str(daemon.job(job_id)["cluster_id"])
    assert f"modabatch-{job_id}" in tool("condor_q", number, "-af", "JobBatchName")
    tool("condor_hold", number, "-reason", "by hand")
    assert "by hand" in daemon.until(job_id, "held")["hold_reason"]
    tool("condor_release", number)
    daemon.until(job_id, "idle")
    tool("condor_rm", number, "-reason", "no more")
    assert "no more" in daemon.until(job_id, "removed")["reason"]


def test_large_output_and_none(daemon: Daemon) -> None:
    large = daemon.submit(
        'head -c 50000000 /dev/urandom > "$MODACLOUDS_BATCH_OUTPUT/x"; sha256sum "$MODACLOUDS_BATCH_OUTPUT/x"'
    )
    gone = daemon.submit('rmdir "$MODACLOUDS_BATCH_OUTPUT"')
    daemon.until(large["job_id"], "completed")
    assert len(daemon.output(large["job_id"])["output/x"]) == 50_000_000
    whole = daemon.artifact(large["job_id"], "output")
    part = requests.get(
        f"{daemon.url}/jobs/{large['job_id']}/artifacts/output", headers={"Range": "bytes=40000000-"}, timeout=60
    )
    assert part.status_code == 206
    assert whole[40_000_000:] == part.content
    assert daemon.until(gone["job_id"], "completed")["exit_status"] == 0
    assert daemon.output(gone["job_id"]) == {}


def test_a_run_that_fails_is_repeated(daemon: Daemon) -> None:
    mark = daemon.directory.with_name(f"{uuid4().hex}.mark")
    job_id = daemon.submit(f"[ -e {mark} ] || {{ touch {mark}; exit 1; }}", max_retries="2")["job_id"]
    job = daemon.until(job_id, "completed")
    assert (job["exit_status"], job["job_run_count"]) == (0, 2)
    mark.unlink()


def test_jobs_go_on_while_the_daemon_is_down(daemon: Daemon) -> None:
    over, runs = daemon.submit("echo over")["job_id"], daemon.submit("sleep 6; echo ran")["job_id"]
    daemon.until(runs, "running")
    assert daemon.stop() == -signal.SIGTERM
    time.sleep(3)
    daemon.start()
    assert daemon.until(over, "completed")["job_run_count"] == 1
    assert daemon.until(runs, "completed")["job_run_count"] == 1
    assert daemon.artifact(runs, "stdout") == b"ran\n"


class Receiver(BaseHTTPRequestHandler):
    """Takes notifications at the second try."""

    tries: list[dict[str, Any]] = []

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.tries.append({"id": self.headers["webhook-id"], **body})
        self.send_response(200 if len(self.tries) > 1 else 503)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Be silent."""


def test_the_owner_is_told(daemon: Daemon) -> None:
    Receiver.tries = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_address[1]}/done"
        job_id = daemon.submit("exit 3", job_notification=url)["job_id"]
        eventually(lambda: len(Receiver.tries) >= 2)
    finally:
        server.shutdown()
        server.server_close()
    first, second = Receiver.tries
    assert first == second
    assert (first["job-uuid"], first["retcode"]) == (job_id, 3)


@contextlib.contextmanager
def schedd_off() -> Iterator[None]:
    tool("condor_off", "-schedd")
    try:
        eventually(lambda: "Scheduler" not in tool("condor_status", "-any", "-af", "MyType").split())
        yield
    finally:
        tool("condor_on", "-schedd")
        eventually(lambda: "Scheduler" in tool("condor_status", "-any", "-af", "MyType").split())


def test_while_the_schedd_is_away(daemon: Daemon) -> None:
    before = daemon.submit("echo before")["job_id"]
    daemon.until(before, "completed")
    with schedd_off():
        accepted = daemon.submit("echo after")
        assert accepted["backend_id"] is None
        assert daemon.job(accepted["job_id"])["job_status"] == "idle"
        assert daemon.artifact(before, "stdout") == b"before\n"
        assert len(daemon.get("/jobs").json()) >= 2
        assert requests.get(f"{daemon.url}/jobs/{accepted['job_id']}/hold", timeout=60).status_code == 503
        eventually(lambda: daemon.get("/health").json()["status"] == "degraded")
    job = daemon.until(accepted["job_id"], "completed", within=150)
    assert daemon.artifact(job["id"], "stdout") == b"after\n"
    eventually(lambda: daemon.get("/health").json()["status"] == "ok")


ECHO = r"""
printf '%s\0' "$@" > "$MODACLOUDS_BATCH_OUTPUT/arguments"
env -0 > "$MODACLOUDS_BATCH_OUTPUT/environment"
ls -1b > "$MODACLOUDS_BATCH_OUTPUT/files"
"""
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30) | st.sampled_from(
    [
        "$(touch /tmp/x)",
        "`id`",
        "$ENV(HOME)",
        "$(ModabatchId)",
        "a\nexecutable = /bin/false",
        "'\"\\",
        "😀",
        ";",
        "include command : id",
        "",
    ]
)


def quoted(word: str) -> str:
    return "'" + word.replace("'", "'\\''") + "'"


def test_what_users_write_arrives_byte_for_byte(daemon: Daemon) -> None:
    # Each example is eight jobs; sending files back and forth takes its time.
    examples = 3 if daemon.settings["QUEUE__HTCONDOR__TRANSFER"] == "spool" else 12

    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(st.tuples(TEXT, TEXT, TEXT, TEXT), min_size=8, max_size=8))
    def arrives(cases: list[tuple[str, str, str, str]]) -> None:
        sent = {submit_echo(daemon, *case): case for case in cases}
        for job_id, (first, second, value, name) in sent.items():
            job = daemon.until(job_id, "completed")
            assert job["job_name"] == name
            assert job["labels"] == {"key": value}
            output = daemon.output(job_id)
            assert output["output/arguments"] == f"{first}\0{second}\0".encode()
            assert f"VALUE={value}".encode() in output["output/environment"].split(b"\0")

    arrives()


def submit_echo(daemon: Daemon, first: str, second: str, value: str, name: str) -> str:
    fields = {
        "job_arguments": f"{quoted(first)} {quoted(second)}",
        "job_environment": f"VALUE={value}",
        "job_name": name,
        "job_label": f"key={value}",
    }
    job_id: str = daemon.submit(ECHO, **fields)["job_id"]
    return job_id


def test_names_of_files_arrive_byte_for_byte(daemon: Daemon) -> None:
    names = [b"new\nline", b"$(id)", b"quote'\"", "😀".encode(), b"\xff\xfe", b" blank ", b"-rf", b"*"]
    packed = io.BytesIO(bundle('mv .named "$MODACLOUDS_BATCH_OUTPUT/named"'))
    with tarfile.open(fileobj=packed, mode="r:gz") as archive:
        run = archive.extractfile("run.sh")
        assert run is not None
        script = run.read()
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz", encoding="utf-8", errors="surrogateescape") as archive:
        for name, content in [(b"run.sh", script), *((b".named/" + name, name) for name in names)]:
            member = tarfile.TarInfo(name.decode("utf-8", "surrogateescape"))
            member.mode, member.size = 0o755, len(content)
            archive.addfile(member, io.BytesIO(content))
    job_id = daemon.submit_bundle(made.getvalue())["job_id"]
    daemon.until(job_id, "completed")
    with tarfile.open(fileobj=io.BytesIO(daemon.artifact(job_id, "output")), mode="r:gz", errors="surrogateescape") as archive:
        members = [member for member in archive if member.isfile()]
        found = {
            member.name.encode("utf-8", "surrogateescape").rpartition(b"/")[2]: (
                archive.extractfile(member) or io.BytesIO()
            ).read()
            for member in members
        }
    assert found == {name: name for name in names}
