"""wrapper.sh and launch.sh, run for real by every shell that is here."""

from __future__ import annotations

import csv
import io
import os
import signal
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modabatchd.queue.parameters import rows_of_parameters
from tests.queue.node import PATIENCE, SHELLS, Node, install, pack

KINDS = [(shell, gnu) for shell in SHELLS for gnu in (True, False) if gnu or shell != "busybox"]


@pytest.fixture(params=KINDS, ids=lambda kind: kind[0] + ("" if kind[1] else "-without-gnu"))
def node(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Node]:
    shell, gnu = request.param
    (tmp_path / "node").mkdir()
    node = Node(tmp_path / "node", shell, install(tmp_path / "bin", shell, gnu))
    yield node
    # What was killed a moment ago may not be gone yet.
    end = time.monotonic() + 1
    while (left := node.processes()) and time.monotonic() < end:
        time.sleep(0.01)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert left == []


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize("status", [0, 1, 2, 24, 124, 125, 126, 127, 128, 137, 143, 255])
def test_exit_statuses_arrive(node: Node, status: int) -> None:
    node.give(f"echo told; echo complained >&2; exit {status}")
    assert node.run() == (status, b"told\n", b"complained\n")
    assert node.left() == {"output.tar.gz"}


@pytest.mark.parametrize("name", ["HUP", "INT", "QUIT", "ABRT", "KILL", "USR1", "SEGV", "PIPE", "TERM", "XCPU"])
def test_signals_arrive(node: Node, name: str) -> None:
    node.give(f"kill -{name} $$; exit 99")
    status, _, complaint = node.run()
    # What a node can do at all is told in wrapper.sh.
    if name in ("INT", "QUIT") and not node.has_gnu:
        assert status in (99, node.ended_by(name))
    else:
        assert status == node.ended_by(name)
        assert complaint == b"" or node.shell == "busybox"
    assert node.left() == {"output.tar.gz"}


@pytest.mark.parametrize("bundle", [b"", b"no archive", pack(("run.sh", b"#!/bin/sh\n"))[:-20]])
def test_a_bundle_that_cannot_be_unpacked_exits_with_125(node: Node, bundle: bytes) -> None:
    (node.directory / "bundle.tar.gz").write_bytes(bundle)
    status, told, complaint = node.run()
    assert (status, told) == (125, b"")
    assert b"modabatchd: the bundle could not be unpacked" in complaint
    assert node.left() == set()


def test_no_bundle_exits_with_125(node: Node) -> None:
    status, _, complaint = node.run()
    assert status == 125
    assert b"modabatchd: the bundle could not be unpacked" in complaint


def test_an_interpreter_that_is_not_there_is_told_as_shells_do(node: Node) -> None:
    node.give(b"#!/no/such/interpreter\n")
    status, _, complaint = node.run()
    assert status in (126, 127)
    assert complaint


def test_run_sh_starts_in_the_bundle_with_its_directories(node: Node) -> None:
    node.give(
        'cat "$MODACLOUDS_BATCH_INPUT" data; echo; echo kept >"$MODACLOUDS_BATCH_OUTPUT/file"\n'
        'touch "$MODACLOUDS_BATCH_SCRATCH_DIRECTORY/x"; echo "$PWD"; echo "$MODACLOUDS_BATCH_INPUT"; '
        'echo "$MODACLOUDS_BATCH_OUTPUT"; echo "$MODACLOUDS_BATCH_SCRATCH_DIRECTORY"; echo $#',
        ("data", b"from the bundle"),
        input=b"an input, ",
    )
    status, told, _ = node.run()
    place = node.directory
    lines = ["an input, from the bundle", f"{place}/work", f"{place}/input", f"{place}/output", f"{place}/scratch", "0"]
    assert (status, told.decode().splitlines()) == (0, lines)
    assert node.output() == {"output": None, "output/file": b"kept\n"}
    assert node.left() == {"output.tar.gz"}


def test_without_input_there_is_no_variable_for_it(node: Node) -> None:
    node.environment["MODACLOUDS_BATCH_INPUT"] = "of somebody else"
    node.give('echo "${MODACLOUDS_BATCH_INPUT-none}"')
    assert node.run()[:2] == (0, b"none\n")


def test_stdin_is_empty(node: Node) -> None:
    node.give("wc -c | tr -d ' '")
    process = node.begin()
    until(lambda: process.poll() is not None)
    assert process.communicate()[0] == b"0\n"


def test_output_has_what_owners_forgot_to_let_us_read_and_links_as_they_are(node: Node) -> None:
    node.give(
        'cd "$MODACLOUDS_BATCH_OUTPUT"; mkdir closed; echo a >closed/file; chmod 0 closed/file closed\n'
        "ln -s /etc absolute; ln -s nothing dangling; ln -s . loop; echo b >'a\nb $(id) \"'"
    )
    assert node.run()[0] == 0
    assert node.output() == {
        "output": None,
        "output/closed": None,
        "output/closed/file": b"a\n",
        'output/a\nb $(id) "': b"b\n",
    }
    with tarfile.open(node.directory / "output.tar.gz") as archive:
        links = {member.name: member.linkname for member in archive if member.issym()}
    assert links == {"output/absolute": "/etc", "output/dangling": "nothing", "output/loop": "."}


@pytest.mark.parametrize("script", ['rm -r "$MODACLOUDS_BATCH_OUTPUT"', 'chmod 0 "$MODACLOUDS_BATCH_OUTPUT"'])
def test_an_output_directory_that_is_gone_makes_an_empty_archive(node: Node, script: str) -> None:
    node.give(script)
    assert node.run()[0] == 0
    assert node.output() == {"output": None}
    assert node.left() == {"output.tar.gz"}


def test_output_is_packed_whatever_the_end(node: Node) -> None:
    node.give('echo half >"$MODACLOUDS_BATCH_OUTPUT/file"; kill -KILL $$')
    assert node.run()[0] == node.ended_by("KILL")
    assert node.output()["output/file"] == b"half\n"


def test_output_that_cannot_be_packed_exits_with_125(node: Node) -> None:
    node.give('rm -r "$MODACLOUDS_BATCH_OUTPUT"; touch "$MODACLOUDS_BATCH_OUTPUT"; mkdir ../packing')
    status, _, complaint = node.run()
    assert status == 125
    assert b"modabatchd: the output could not be packed" in complaint
    assert node.left() == set()


def test_what_cannot_be_written_in_is_cleared_away_too(node: Node) -> None:
    node.give('mkdir -p closed/inner; touch closed/inner/file; chmod 0 closed/inner closed; chmod 0 "$PWD"')
    assert node.run()[0] == 0
    assert node.left() == {"output.tar.gz"}


def test_what_the_job_left_running_is_ended(node: Node) -> None:
    node.give("sleep 1000 >/dev/null 2>&1 & sleep 1000 >/dev/null 2>&1 & exit 3")
    assert node.run()[0] == 3
    if not node.has_gnu:
        # A node without GNU's timeout leaves that to its batch system.
        for pid in node.processes():
            os.kill(pid, signal.SIGKILL)
    until(lambda: not node.processes())


def test_sigterm_goes_on_to_run_sh(node: Node) -> None:
    node.give("trap 'echo ending; exit 7' TERM; echo ready; while :; do sleep 0.05; done")
    process = node.begin()
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    process.terminate()
    told, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 7
    # GNU's timeout passes it on to its child and to its group, so it may come twice.
    assert set(told.splitlines()) == {b"ending"}
    assert node.left() == {"output.tar.gz"}


def test_sigterm_ends_a_job_that_does_not_care(node: Node) -> None:
    node.give("echo ready; exec sleep 1000")
    process = node.begin()
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    process.terminate()
    process.communicate(timeout=PATIENCE)
    assert process.returncode == node.ended_by("TERM")
    assert node.left() == {"output.tar.gz"}


def test_a_second_sigterm_does_not_end_the_wrapper_before_its_job(node: Node) -> None:
    node.give("trap 'echo got it' TERM; echo ready; while [ ! -e ../go ]; do sleep 0.05; done; exit 5")
    process = node.begin()
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    for _ in range(2):
        process.terminate()
        assert process.stdout.readline() == b"got it\n"
    (node.directory / "go").touch()
    process.communicate(timeout=PATIENCE)
    assert process.returncode == 5
    assert node.left() == {"output.tar.gz", "go"}


@pytest.mark.parametrize("delay", [0.0, 0.002, 0.005, 0.01, 0.02, 0.04])
def test_sigterm_at_any_time_leaves_nothing_running(node: Node, delay: float) -> None:
    node.give("exec sleep 1000")
    process = node.begin()
    time.sleep(delay)
    process.terminate()
    process.communicate(timeout=PATIENCE)
    assert process.returncode in (-signal.SIGTERM, node.ended_by("TERM"), 125)


def test_a_run_that_takes_too_long_ends_by_sigxcpu(node: Node) -> None:
    node.give('echo half >"$MODACLOUDS_BATCH_OUTPUT/file"; exec sleep 1000')
    assert node.run(limit=1)[0] == -signal.SIGXCPU
    assert node.output()["output/file"] == b"half\n"
    assert node.left() == {"output.tar.gz"}


@pytest.mark.parametrize("attempt", range(4))
def test_a_run_that_ends_in_time_is_not_touched_by_its_limit(node: Node, attempt: int) -> None:
    node.give("exit 4")
    assert node.run(limit=1000)[0] == 4


#: Names that mean something to one shell or another, or that wrapper.sh uses itself.
ODD = """
A1 BASH BASHOPTS BASHPID BASH_COMMAND BASH_ENV BASH_SUBSHELL BASH_VERSINFO BASH_VERSION CDPATH COLUMNS COPROC DIRSTACK EGID
ENV EPOCHREALTIME EPOCHSECONDS EUID FCEDIT FUNCNAME GID GLOBIGNORE GROUPS HISTCMD HISTCONTROL HISTFILE HISTSIZE HOME
HOSTNAME HOSTTYPE IFS INPUTRC LANG LANGUAGE LC_ALL LC_CTYPE LINENO LINES MACHTYPE MAIL MAILCHECK MAILPATH MAPFILE OLDPWD
OPTARG OPTERR OPTIND OSTYPE PATH PIPESTATUS POSIXLY_CORRECT PPID PROMPT_COMMAND PS1 PS2 PS4 PWD RANDOM READLINE_LINE REPLY
SECONDS SHELL SHELLOPTS SHLVL SRANDOM TERM TIMEFORMAT TMOUT TZ UID _ __ auto_resume command histchars limit pid signal status
"""
ODD_NAMES = ODD.split()

#: Writes its arguments and environment down, so that no shell can touch them.
WITNESS = (
    b"#!%s -I\nimport os, sys\n"
    b"out = os.environb[b'MODACLOUDS_BATCH_OUTPUT']\n"
    b"open(out + b'/arguments', 'wb').write(b''.join(os.fsencode(word) + b'\\0' for word in sys.argv[1:]))\n"
    b"open(out + b'/environment', 'wb').write(open('/proc/self/environ', 'rb').read())\n"
)


def witnessed(
    node: Node,
    arguments: Sequence[str],
    variables: Mapping[str, str],
    task: int | None = None,
    own: Mapping[str, str] = {},
) -> None:
    """Run a job with these, and with what a task has as its own, and see that it gets exactly them."""
    # Not what the path names first, which may be a shell script that looks for the real one.
    places = (Path("/usr/bin/python3"), Path(sys.executable).resolve())
    node.give(WITNESS % os.fsencode(next(place for place in places if place.exists())))
    status, told, complaint = node.run(arguments, variables, task=task)
    assert (status, told, complaint) == (0, b"", b"")
    output = node.output() if task is None else node.output(f"output.tar.gz.{task}")
    assert (output["output/arguments"] or b"").decode().split("\0")[:-1] == list(arguments)
    lines = (output["output/environment"] or b"").decode().split("\0")
    environment = dict(line.split("=", 1) for line in lines if "=" in line)
    expected = {**variables, **own}
    assert {name: environment.get(name) for name in expected} == expected
    assert environment.get("MODACLOUDS_BATCH_TASK_INDEX") == (None if task is None else str(task))
    assert "MODACLOUDS_BATCH_ROW" not in environment


@pytest.mark.parametrize(
    "value", ["2", "", "it's $(id) `id` $HOME \\\n\t*\"", "x" * 5000], ids=["number", "empty", "quotes", "long"]
)
@pytest.mark.parametrize("shell", SHELLS)
def test_names_that_shells_keep_for_themselves_arrive(shell: str, value: str, tmp_path: Path) -> None:
    (tmp_path / "node").mkdir()
    node = Node(tmp_path / "node", shell, install(tmp_path / "bin", shell, gnu=True))
    witnessed(node, (), dict.fromkeys(ODD_NAMES, value))


#: Whatever can be in an argument: any text without NUL.
TEXT = st.text(alphabet=st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30)
TRICKY = st.sampled_from(
    ["", "'", "\\", "-", "--", "-n", "$(id)", "`id`", "$HOME", "*", "~", "a=b", "\n", "\r", "é", "🎉", "!x", "\x7f"]
)
NAME = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,10}", fullmatch=True) | st.sampled_from(ODD_NAMES)


@given(
    shell=st.sampled_from(list(SHELLS)),
    arguments=st.lists(TEXT | TRICKY, max_size=6),
    variables=st.dictionaries(NAME, TEXT | TRICKY, max_size=6),
)
@settings(max_examples=80, deadline=None)
def test_arguments_and_environment_arrive_byte_for_byte(shell: str, arguments: list[str], variables: dict[str, str]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory) / "node"
        place.mkdir()
        witnessed(Node(place, shell, install(Path(directory) / "bin", shell, gnu=True)), arguments, variables)


@given(
    shell=st.sampled_from(list(SHELLS)),
    arguments=st.lists(TEXT | TRICKY, max_size=3),
    variables=st.dictionaries(NAME, TEXT | TRICKY, max_size=3),
    names=st.lists(NAME, min_size=1, max_size=4, unique=True),
    data=st.data(),
)
@settings(max_examples=80, deadline=None)
def test_parameters_arrive_byte_for_byte(
    shell: str, arguments: list[str], variables: dict[str, str], names: list[str], data: st.DataObject
) -> None:
    row = st.lists(TEXT | TRICKY, min_size=len(names), max_size=len(names))
    rows = data.draw(st.lists(row, min_size=1, max_size=4))
    written = io.StringIO()
    csv.writer(written).writerows([names, *rows])
    task = data.draw(st.integers(1, len(rows)))
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory) / "node"
        place.mkdir()
        (place / "parameters").write_bytes(rows_of_parameters(written.getvalue().encode())[1])
        node = Node(place, shell, install(Path(directory) / "bin", shell, gnu=True))
        witnessed(node, arguments, variables, task, dict(zip(names, rows[task - 1], strict=True)))


def test_a_row_that_is_not_there_exits_with_125(node: Node) -> None:
    (node.directory / "parameters").write_bytes(rows_of_parameters(b"A\n1\n")[1])
    node.give("exit 3")
    status, _, complaint = node.run(task=2)
    assert status == 125
    assert b"parameters cannot be read" in complaint


def test_the_output_of_a_task_bears_its_index(node: Node) -> None:
    node.give('echo "$MODACLOUDS_BATCH_TASK_INDEX" >"$MODACLOUDS_BATCH_OUTPUT/file"')
    assert node.run(task=17)[0] == 0
    assert node.left() == {"output.tar.gz.17"}
    assert node.output("output.tar.gz.17")["output/file"] == b"17\n"
