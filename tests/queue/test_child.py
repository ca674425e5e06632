"""The program in the child process, without a scheduler."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modabatchd.queue.htcondor import frames
from modabatchd.queue.htcondor.classads import Group
from modabatchd.queue.htcondor.environment import Access, child_environment
from modabatchd.queue.htcondor.frames import Answer, Request, Splitter, pack, unpack_answer, unpack_request
from modabatchd.queue.htcondor.sending import pieces

htcondor2 = pytest.importorskip("htcondor2", reason="the extra htcondor is not installed", exc_type=ImportError)

NOWHERE = Access(collector="127.0.0.1:1", schedd="nobody", config_file=Path("/dev/null"))
PROGRAM = ["-m", "modabatchd.queue.htcondor.child"]


class Conversation:
    """The other end of a child's pipes."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self.process = process
        self._splitter = Splitter()
        self._answers: list[Answer] = []

    def say(self, number: int, operation: frames.Operation) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(pack(Request(number, operation)))
        self.process.stdin.flush()

    def hear(self) -> Answer:
        assert self.process.stdout is not None
        while not self._answers:
            data = os.read(self.process.stdout.fileno(), 65536)
            assert data, "the child said no more"
            self._answers.extend(unpack_answer(body) for body in self._splitter.feed(data))
        return self._answers.pop(0)


@contextmanager
def child(program: list[str], access: Access = NOWHERE) -> Iterator[Conversation]:
    environment = child_environment(os.environ, access)
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, *program], stdin=pipe, stdout=pipe, stderr=pipe, env=environment) as process:
        try:
            yield Conversation(process)
        finally:
            process.kill()


def test_says_when_it_is_ready_and_ends_with_its_input() -> None:
    with child(PROGRAM) as talk:
        assert talk.hear() == Answer(0)
        assert talk.process.stdin is not None
        talk.process.stdin.close()
        assert talk.process.wait(10) == 0


def test_a_pool_that_is_not_there() -> None:
    with child(PROGRAM) as talk:
        talk.hear()
        for number, operation in enumerate([frames.Ping(), frames.Query("true", ()), frames.Acknowledge([(1, 0)])], 1):
            talk.say(number, operation)
            answer = talk.hear()
            assert answer.id == number
            assert answer.problem is not None
            assert answer.problem.kind == "away"


def test_the_terminal_cannot_interrupt_it() -> None:
    with child(PROGRAM) as talk:
        talk.hear()
        talk.process.send_signal(signal.SIGINT)
        talk.process.send_signal(signal.SIGTERM)
        talk.say(1, frames.Ping())
        assert talk.hear().id == 1


STARTER = """
import subprocess, sys, time
pipe = subprocess.PIPE
child = subprocess.Popen([sys.executable, *sys.argv[1:]], stdin=pipe, stdout=pipe)
assert child.stdout.read(5)  # it is ready
print(child.pid, flush=True)
time.sleep(600)
"""
BUSY = """
import time
from modabatchd.queue.htcondor import child
child._requests = lambda source: time.sleep(600)
child.main()
"""


def is_running(pid: int) -> bool:
    """A zombie has no command line any more."""
    try:
        return bool(Path(f"/proc/{pid}/cmdline").read_bytes())
    except OSError:
        return False


def test_it_dies_with_whoever_started_it_whatever_it_is_doing() -> None:
    environment = child_environment(os.environ, NOWHERE)
    command = [sys.executable, "-c", STARTER, "-c", BUSY]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as starter:
        assert starter.stdout is not None
        pid = int(starter.stdout.readline())
        os.kill(pid, 0)
        starter.kill()
    until = time.monotonic() + 30
    while is_running(pid):
        assert time.monotonic() < until
        time.sleep(0.02)


NOISY = """
import os
from modabatchd.queue.htcondor import child

class Noisy(child.Scheduler):
    def carry_out(self, operation):
        print("noise", flush=True)
        os.write(1, b"more noise")
        os.system("echo and noise from without")
        yield from ([1], [2], [3])

child.Scheduler = Noisy
child.main()
"""


def test_what_the_library_prints_does_not_get_between_frames() -> None:
    with child(["-c", NOISY]) as talk:
        talk.hear()
        talk.say(7, frames.Ping())
        assert [talk.hear() for _ in range(3)] == [Answer(7, [1], last=False), Answer(7, [2], last=False), Answer(7, [3])]
        assert talk.process.stdin is not None
        talk.process.stdin.close()
        assert talk.process.stderr is not None
        assert b"and noise from without" in talk.process.stderr.read()


def test_missing_files_are_told_before_anybody_is_asked(tmp_path: Path) -> None:
    row = {"modabatch_directory": str(tmp_path)}
    group = Group({"transfer_input_files": "bundle.tar.gz, launch.sh"}, [row])
    (tmp_path / "bundle.tar.gz").touch()
    with child(PROGRAM) as talk:
        talk.hear()
        talk.say(1, frames.Submit(group, spool=False))
        answer = talk.hear()
    assert answer.problem is None
    assert answer.result == ["The job's file launch.sh is missing or cannot be read."]
    assert answer.submits == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('Unable to commit transaction, SCHEDD:2:Setting job owner to "root" is not permitted', "owner"),
        ("Failed to create job ad, errmsg=Submit:-1:Parse error in expression: \n\tRequestMemory = ((\n\t", "Parse error"),
        ("expected next ProcId to be 3, but Schedd says -3", "MAX_JOBS_PER_OWNER"),
        ("Unable to commit transaction", None),
        ("expected next ProcId to be 3, but Schedd says -1", None),
        ("Failed to connect to schedd, errmsg=CEDAR:6001:Failed to connect to <127.0.0.1:1>", None),
        ("Unable to commit transaction:Modifying attribute X in nonexistent job 1.0", None),
    ],
)
def test_refusals_are_told_from_silence(text: str, expected: str | None) -> None:
    """Taking silence for a refusal would lose a job; so only what is known to be one counts."""
    from modabatchd.queue.htcondor.child import _refusal

    refusal = _refusal(text)
    assert refusal is None if expected is None else refusal is not None and expected in refusal


def test_a_refused_row_does_not_spoil_the_others() -> None:
    from modabatchd.queue.htcondor.child import Scheduler

    class Picky(Scheduler):
        def _submit_at_once(self, group: Group, spool: bool) -> list[frames.Number]:
            if any(row["n"] == "3" for row in group.rows):
                raise htcondor2.HTCondorException("Unable to commit transaction, SCHEDD:2:not that one")
            return [(1, int(row["n"])) for row in group.rows]

    results = Picky()._submit(Group({}, [{"n": str(n)} for n in range(7)]), spool=False)
    assert [result for result in results if not isinstance(result, str)] == [(1, n) for n in (0, 1, 2, 4, 5, 6)]
    assert "not that one" in results[3]


def test_silence_in_the_middle_is_no_result() -> None:
    from modabatchd.queue.htcondor.child import Scheduler

    class Dying(Scheduler):
        def _submit_at_once(self, group: Group, spool: bool) -> list[frames.Number]:
            raise htcondor2.HTCondorException("Failed to connect to schedd.")

    with pytest.raises(htcondor2.HTCondorException):
        Dying()._submit(Group({}, [{"n": "1"}, {"n": "2"}]), spool=False)


@given(st.lists(st.binary(max_size=40)), st.integers(1, 9))
def test_frames_survive_any_cutting(bodies: list[bytes], size: int) -> None:
    stream = b"".join(len(body).to_bytes(4, "big") + body for body in bodies)
    splitter = Splitter()
    pieces = [stream[start : start + size] for start in range(0, len(stream), size)]
    assert [body for piece in pieces for body in splitter.feed(piece)] == bodies


@pytest.mark.parametrize(
    "operation",
    [
        frames.Submit(Group({"a": "b"}, [{"c": "d"}]), spool=True),
        frames.Query("true", ("A",)),
        frames.History("true", ("A",), 3),
        frames.Act("hold", [(1, 2)], "why"),
        frames.Acknowledge([(1, 2)]),
        frames.Discard([(1, 2)]),
        frames.Retrieve([(1, 2)]),
        frames.Ping(),
    ],
)
def test_requests_arrive_as_they_were_sent(operation: frames.Operation) -> None:
    request = Request(5, operation)
    [body] = Splitter().feed(pack(request))
    assert unpack_request(body) == request


def test_environment() -> None:
    access = Access(collector="pool:9618", schedd="s", token_directory=Path("/t"), config_file=Path("/c"))
    made = child_environment({"PATH": "/bin", "_CONDOR_SEC_CLIENT_AUTHENTICATION_METHODS": "CLAIMTOBE"}, access)
    assert made["PATH"] == "/bin"
    assert made["CONDOR_CONFIG"] == "/c"
    assert made["_CONDOR_COLLECTOR_HOST"] == "pool:9618"
    assert made["_CONDOR_SCHEDD_HOST"] == "s"
    assert made["_CONDOR_SEC_TOKEN_DIRECTORY"] == "/t"
    assert "CLAIMTOBE" not in made["_CONDOR_SEC_CLIENT_AUTHENTICATION_METHODS"]


def test_environment_leaves_the_search_to_htcondor() -> None:
    assert not {"CONDOR_CONFIG", "_CONDOR_COLLECTOR_HOST", "_CONDOR_SCHEDD_HOST"} & set(child_environment({}, Access()))


class Odd:
    """An ad one value of which cannot be had."""

    def __iter__(self) -> Iterator[str]:
        return iter(["Good", "Bad", "Last"])

    def get(self, name: str) -> Any:
        if name == "Bad":
            raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")
        return name


def test_a_value_that_cannot_be_had_is_left_out() -> None:
    from modabatchd.queue.htcondor.child import _parts

    assert list(_parts([Odd()])) == [[{"Good": "Good", "Last": "Last"}]]


def test_a_defect_ends_one_call_and_not_the_child(capfd: pytest.CaptureFixture[str]) -> None:
    from modabatchd.queue.htcondor.child import Scheduler, _answer

    class Defective(Scheduler):
        def _carry_out(self, operation: frames.Operation) -> Iterator[Any]:
            yield ["a part"]
            raise SystemError("returned a result with an exception set")

    [answer] = _answer(Defective(), Request(3, frames.Ping()))
    assert answer.problem is not None
    assert (answer.id, answer.problem.kind, answer.problem.untouched) == (3, "away", False)
    assert "exception set" in answer.problem.cause
    assert "Traceback" in capfd.readouterr().err


def test_a_child_asks_no_other_scheduler_than_it_is_told() -> None:
    from modabatchd.queue.htcondor.child import Scheduler, _answer

    scheduler = Scheduler()
    looked: list[str] = []

    class Here(Scheduler):
        def _carry_out(self, operation: frames.Operation) -> Iterator[Any]:
            if self._location is None:
                looked.append(self._only)
                self._location = htcondor2.Collector  # Anything that is not None.
            yield None

    scheduler = Here()
    for name in ("", "", "main@host", "main@host", "", "other@host"):
        list(_answer(scheduler, Request(1, frames.Ping(), name)))
    assert looked == ["", "main@host", "", "other@host"]


def test_what_is_sent_together_is_small(tmp_path: Path) -> None:
    rows = []
    for number, size in enumerate((1, 2, 40 << 20, 3, 9 << 20, 9 << 20)):
        directory = tmp_path / str(number)
        directory.mkdir()
        with (directory / "bundle.tar.gz").open("wb") as bundle:
            bundle.truncate(size)
        rows.append({"modabatch_directory": str(directory)})
    sent = pieces({"transfer_input_files": "bundle.tar.gz, launch.sh"}, rows)
    assert [[Path(row["modabatch_directory"]).name for row in piece] for piece in sent] == [
        ["0", "1"],
        ["2"],
        ["3", "4"],
        ["5"],
    ]


def test_each_piece_is_told_before_it_is_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from modabatchd.queue.htcondor.child import Scheduler

    told: list[bool] = []

    class Result:
        def cluster(self) -> int:
            return 7

        def first_proc(self) -> int:
            return 0

    class Schedd:
        def submit(self, *arguments: Any, **more: Any) -> Result:
            assert told.count(True) == told.count(False)
            return Result()

        def spool(self, result: Result) -> None:
            assert told[-1]

        def query(self, *arguments: Any, **more: Any) -> list[Any]:
            return []

    class Sending(Scheduler):
        def _schedd(self) -> Any:
            return Schedd()

    row = {"modabatch_directory": str(tmp_path)}
    for name in ("bundle.tar.gz", "launch.sh"):
        (tmp_path / name).touch()
    os.truncate(tmp_path / "bundle.tar.gz", 40 << 20)
    group = Group({"transfer_input_files": "bundle.tar.gz, launch.sh"}, [row, row])
    assert Sending(told.append)._submit_all(group, spool=True) == [(7, 0), (7, 0)]
    assert told == [True, False, True, False]


class Lone:
    """A collector that knows one scheduler, which is on another machine."""

    def locate(self, kind: Any) -> Any:
        raise htcondor2.HTCondorException("Unable to locate daemon")

    def query(self, kind: Any, constraint: str | None, projection: Any) -> list[dict[str, str]]:
        return [{"Name": "other@host"}] if constraint is None or "other@host" in constraint else []


def test_the_only_scheduler_is_taken_if_this_machine_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    from modabatchd.queue.htcondor import child as program

    monkeypatch.setattr(htcondor2, "Collector", Lone)
    monkeypatch.setattr(htcondor2, "param", {"DAEMON_LIST": "MASTER, STARTD"})
    assert program._find_schedd("")["Name"] == "other@host"
    monkeypatch.setattr(htcondor2, "param", {"DAEMON_LIST": "MASTER, SCHEDD"})
    with pytest.raises(program.Failure) as caught:
        program._find_schedd("")
    assert caught.value.problem.untouched


def test_the_scheduler_that_has_the_jobs_is_never_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    from modabatchd.queue.htcondor import child as program

    monkeypatch.setattr(htcondor2, "Collector", Lone)
    assert program._only_schedd("other@host")["Name"] == "other@host"
    with pytest.raises(program.Failure) as caught:
        program._only_schedd("main@host")
    assert (caught.value.problem.kind, caught.value.problem.untouched) == ("elsewhere", True)
    assert "main@host" in caught.value.problem.cause
