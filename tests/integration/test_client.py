"""The command and a daemon with the embedded queue: what the README's session shows, and what goes wrong."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from click.testing import Result

from modabatchd.client.fetching import Fetching
from modabatchd.client.http import Server
from tests.client.asking import command
from tests.integration.daemon import Daemon, bundle, clean_environment, eventually, running

MODABATCH = Path(sys.executable).with_name("modabatch")


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with running(tmp_path_factory.mktemp("client") / "state", QUEUE__POLL_INTERVAL="0.2") as daemon:
        yield daemon


@pytest.fixture
def hello(tmp_path: Path) -> Path:
    made = tmp_path / "hello"
    made.mkdir()
    (made / "run.sh").write_text(
        '#!/bin/sh\necho "Hello, $1"\necho oh >&2\necho "$2" >"$MODACLOUDS_BATCH_OUTPUT/said"\nexit 3\n'
    )
    (made / "run.sh").chmod(0o755)
    return made


def ask(daemon: Daemon, *arguments: object, expected: int = 0) -> Result:
    result = command(*arguments, server=daemon.url)
    assert result.exit_code == expected, result.output
    return result


def submitted(daemon: Daemon, script: str, *options: object) -> str:
    archive = daemon.directory.with_name("job.tar.gz")
    archive.write_bytes(bundle(script))
    return ask(daemon, "submit", *options, archive).stdout.strip()


def test_a_session(daemon: Daemon, hello: Path, tmp_path: Path) -> None:
    result = ask(daemon, "submit", "--wait", "--name", "n", "--label", "a=b", hello, "--", "big world", "it's", expected=3)
    job = result.stdout.strip()
    assert f"{job} completed, exit status 3" in result.stderr
    about = ask(daemon, "show", job).output
    assert "exit status" in about
    assert "big world" in about
    assert ask(daemon, "list", "--quiet", "--label", "a=b", "--status", "completed").output == f"{job}\n"
    assert [line.split() for line in ask(daemon, "list", "--name", "n").output.splitlines()] == [
        ["ID", "STATUS", "NAME"],
        [job, "completed", "n"],
    ]
    assert ask(daemon, "logs", job).output == "Hello, big world\n"
    assert ask(daemon, "logs", "--stderr", job).output == "oh\n"
    told = ask(daemon, "fetch", job, "--to", tmp_path / "got", "--unpack").output
    assert told.count("\n") == 4
    assert (tmp_path / "got" / "output" / "said").read_text() == "it's\n"
    assert (tmp_path / "got" / "stdout.txt").read_text() == "Hello, big world\n"


def test_follow(daemon: Daemon, tmp_path: Path) -> None:
    archive, gate = tmp_path / "job.tar.gz", tmp_path / "gate"
    archive.write_bytes(bundle(f"echo one; until [ -e {gate} ]; do sleep 0.1; done; echo two; exit 4"))
    with subprocess.Popen(
        [MODABATCH, "submit", "--follow", archive],
        env=clean_environment({"SERVER": daemon.url}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"one\n"
        gate.touch()
        assert process.stdout.read() == b"two\n"
        assert process.wait(60) == 4


def test_actions(daemon: Daemon) -> None:
    job = submitted(daemon, "exec sleep 1000")
    eventually(lambda: daemon.job(job)["job_status"] == "running")
    assert ask(daemon, "hold", job).output == f"{job} hold\n"
    assert f"{job} held" in ask(daemon, "why", job).output
    result = ask(daemon, "remove", "nonsense", job, expected=1)
    assert "There is no job 'nonsense'" in result.stderr
    assert f"{job} remove" in result.stdout
    assert ask(daemon, "wait", job, expected=125).stderr.startswith(f"{job} removed")
    assert f"{job}:" in ask(daemon, "suspend", job, expected=1).stderr


def test_a_name_cannot_tell_the_terminal_what_to_do(daemon: Daemon) -> None:
    job = daemon.submit("true", job_label="a=\x1b[2J")["job_id"]
    assert "a=?[2J" in ask(daemon, "show", job).output


def test_why_a_job_never_runs(daemon: Daemon) -> None:
    job = submitted(daemon, "true", "--cpus", "5000")
    assert f"{job} submission_error: The job asks for 5000 cores" in ask(daemon, "why", job).output


def test_json_is_the_document_of_the_server(daemon: Daemon) -> None:
    job = submitted(daemon, "true")
    assert msgspec.json.decode(ask(daemon, "show", "--json", job).output)["id"] == job
    assert job in [entry["id"] for entry in msgspec.json.decode(ask(daemon, "list", "--json").output)]
    assert len(msgspec.json.decode(ask(daemon, "list", "--json", "--limit", "1").output)) == 1


def test_what_the_server_refuses_is_told_by_cause_and_cure(daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "none.tar.gz").write_text("no archive")
    result = ask(daemon, "submit", tmp_path / "none.tar.gz", expected=1)
    assert "error: The bundle is not compressed with gzip." in result.stderr
    assert " cure: Make it with" in result.stderr
    result = ask(daemon, "nodes", expected=1)
    assert "it does not scale" in result.stderr
    assert "scaling.policy" in result.stderr


def test_a_fetch_that_was_broken_off_goes_on(daemon: Daemon, tmp_path: Path) -> None:
    job = submitted(daemon, "seq 100000")
    ask(daemon, "wait", job)
    whole = daemon.artifact(job, "stdout")
    with Server(daemon.url) as server:
        _go_on(Fetching(server, job, tmp_path), tmp_path, whole)


def _go_on(fetching: Fetching, tmp_path: Path, whole: bytes) -> None:
    path = fetching.fetch("stdout")
    assert path.read_bytes() == whole
    assert sorted(each.name for each in tmp_path.iterdir()) == [".stdout.txt.etag", "stdout.txt"]
    part = tmp_path / ".stdout.txt.part"
    for had, then in ((whole[:1000], whole), (whole, whole), (b"", whole), (b"X" * 1000, b"X" * 1000 + whole[1000:])):
        part.write_bytes(had)
        assert fetching.fetch("stdout").read_bytes() == then
        assert not part.exists()
    part.write_bytes(b"Y" * 1000)
    (tmp_path / ".stdout.txt.etag").write_text('"another"')
    assert fetching.fetch("stdout").read_bytes() == whole
    path.write_bytes(b"mine")
    assert fetching.fetch("stdout").read_bytes() == b"mine", "the server's has not changed"


def test_a_recording_is_replayed(daemon: Daemon, tmp_path: Path) -> None:
    job = submitted(daemon, "sleep 0.1")
    ask(daemon, "wait", job)
    week = tmp_path / "week.jsonl"
    for _ in range(2):
        ask(daemon, "journal", "--since", "1h", "--output", week)
    assert job in week.read_text()
    policy = tmp_path / "policy.toml"
    policy.write_text(
        '[scaling.limits]\nmax_nodes = 5\n[[pool]]\nname = "burst"\ndriver = "local"\n'
        'sizes = [{name = "s", cpus = 1, memory = "2G", price = "0.02 EUR"}]\n'
    )
    told = ask(daemon, "replay", "--policy", policy, week).output
    jobs = {line for line in week.read_text().splitlines() if '"kind":"job"' in line}
    assert f"{len(jobs)} job" in told
    assert "as it was" in told
    assert ask(daemon, "journal", "--since", "2999-01-01").output.count("\n") == 1
    assert "neither a date" in ask(daemon, "journal", "--since", "yesterday", expected=2).output
