"""Files that go out, whole or in part, and what happens when the client or the file goes away."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from modabatchd.errors import UnknownArtifact
from modabatchd.rest.download import send_file
from modabatchd.rest.problems import HTTPRefusal
from modabatchd.workers import IWorkers
from tests.rest.places import Held
from tests.rest.wire import Wire, replies
from tests.run_now import RunNow

CONTENT = bytes(range(256)) * 4
BLOCK = 1 << 18


class Shelf:
    """A file, and a connection that asks for it."""

    def __init__(self, path: Path, content: bytes = CONTENT, workers: IWorkers | None = None) -> None:
        self.path = path / "file"
        self.path.write_bytes(content)
        self.workers: Any = workers or RunNow()
        self.wire = Wire()
        self.ended: list[object] = []

    def ask(self, method: str = "GET", complete: bool = True, filename: str = "name.tar.gz", **headers: str) -> bytes:
        """@return: what came back at once; header names are written with underscores."""
        lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.wire.ask(f"{method} /later HTTP/1.1", "Host: localhost", *lines)
        request = self.wire.echo.requests[-1]
        sending = send_file(request, self.path, "application/gzip", filename, complete, self.workers)
        self.sending = Deferred.fromCoroutine(sending)
        self.sending.addBoth(self.ended.append)
        return self.wire.transport.value()

    def get(self, method: str = "GET", **more: Any) -> tuple[int, dict[str, str], bytes]:
        answer = self.ask(method, **more)
        assert self.ended == [None]
        if method == "HEAD":
            head, _, body = answer.partition(b"\r\n\r\n")
            assert body == b""
            return int(head.split()[1]), dict(line.lower().split(": ", 1) for line in head.decode().split("\r\n")[1:]), body
        [reply] = replies(answer)
        return reply

    def problem(self) -> BaseException:
        [failure] = self.ended
        assert isinstance(failure, Failure)
        assert self.wire.transport.value() == b""
        return failure.value

    def body(self) -> bytes:
        return self.wire.transport.value().partition(b"\r\n\r\n")[2]

    def producer(self) -> Any:
        return self.wire.echo.requests[-1].producer


def open_files() -> list[str]:
    return [str(entry.readlink()) for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink()]


@pytest.fixture(autouse=True)
def every_file_is_closed(tmp_path: Path) -> Any:
    yield
    assert not [name for name in open_files() if name.startswith(str(tmp_path))]


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


def test_a_whole_file(shelf: Shelf) -> None:
    status, headers, body = shelf.get()
    assert (status, body) == (200, CONTENT)
    assert headers["content-type"] == "application/gzip"
    assert headers["content-length"] == "1024"
    assert headers["accept-ranges"] == "bytes"
    assert headers["content-disposition"] == "attachment; filename=\"name.tar.gz\"; filename*=utf-8''name.tar.gz"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["etag"].startswith('"')
    assert headers["last-modified"].endswith(" gmt")
    assert headers["cache-control"] == "private, no-cache"


def test_the_connection_goes_on_after_a_file(shelf: Shelf) -> None:
    shelf.get()
    assert replies(shelf.wire.ask("GET /next HTTP/1.1", "Host: localhost"))[0][2] == b"GET /next"


def test_head(shelf: Shelf) -> None:
    status, headers, _ = shelf.get("HEAD")
    assert status == 200
    assert headers["content-length"] == "1024"
    assert "etag" in headers


def test_a_part(shelf: Shelf) -> None:
    status, headers, body = shelf.get(Range="bytes=10-19")
    assert (status, body) == (206, CONTENT[10:20])
    assert headers["content-range"] == "bytes 10-19/1024"
    assert headers["content-length"] == "10"


def test_head_of_a_part(shelf: Shelf) -> None:
    status, headers, _ = shelf.get("HEAD", Range="bytes=-5")
    assert (status, headers["content-length"]) == (206, "5")


def test_a_part_that_is_not_there(shelf: Shelf) -> None:
    shelf.ask(Range="bytes=1024-")
    problem = shelf.problem()
    assert isinstance(problem, HTTPRefusal)
    assert problem.headers == {"Content-Range": "bytes */1024"}


def test_a_client_that_has_the_file_already(shelf: Shelf) -> None:
    _, headers, _ = shelf.get()
    shelf.ended.clear()
    shelf.wire.connect()
    status, again, body = shelf.get(If_None_Match=headers["etag"])
    assert (status, body) == (304, b"")
    assert again["etag"] == headers["etag"]
    assert "content-length" not in again
    assert "transfer-encoding" not in again


def test_a_download_goes_on_where_it_broke_off(shelf: Shelf) -> None:
    _, headers, _ = shelf.get()
    shelf.ended.clear()
    shelf.wire.connect()
    status, _, body = shelf.get(Range="bytes=1000-", If_Range=headers["etag"])
    assert (status, body) == (206, CONTENT[1000:])
    shelf.path.write_bytes(b"another one")
    shelf.ended.clear()
    shelf.wire.connect()
    assert shelf.get(Range="bytes=1000-", If_Range=headers["etag"])[::2] == (200, b"another one")


def test_an_empty_file(tmp_path: Path) -> None:
    assert Shelf(tmp_path, b"").get()[::2] == (200, b"")


def test_a_file_that_still_grows(shelf: Shelf) -> None:
    status, headers, body = shelf.get(complete=False, If_None_Match="*")
    assert (status, body) == (200, CONTENT)
    assert headers["cache-control"] == "no-store"
    assert "etag" not in headers
    assert "last-modified" not in headers


def test_what_is_added_meanwhile_is_not_sent(tmp_path: Path) -> None:
    workers = Held()
    shelf = Shelf(tmp_path, b"before", workers)
    shelf.ask(complete=False)
    workers.one()
    with shelf.path.open("ab") as file:
        file.write(b" and after")
    workers.all()
    assert shelf.body() == b"before"


def test_a_name_outside_ascii(shelf: Shelf) -> None:
    _, headers, _ = shelf.get(filename='ü"\r\n.txt')
    assert headers["content-disposition"] == "attachment; filename=\"____.txt\"; filename*=utf-8''%c3%bc%22%0d%0a.txt"


def missing(path: Path) -> None:
    path.unlink()


def link(path: Path) -> None:
    path.rename(path.parent / "other")
    path.symlink_to("other")


def fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("instead", [missing, link, fifo, directory])
def test_a_file_that_is_none(shelf: Shelf, instead: Callable[[Path], None]) -> None:
    instead(shelf.path)
    shelf.ask()
    assert isinstance(shelf.problem(), UnknownArtifact)


def test_a_file_in_a_directory_that_is_none(shelf: Shelf) -> None:
    shelf.path = shelf.path / "more"
    shelf.ask()
    assert isinstance(shelf.problem(), UnknownArtifact)


# Flow


def test_a_large_file_goes_out_in_blocks_one_ahead_of_the_client(tmp_path: Path) -> None:
    content = os.urandom(5 * BLOCK + 1)
    workers = Held()
    shelf = Shelf(tmp_path, content, workers)
    shelf.ask()
    workers.one()
    assert verifyObject(IPushProducer, shelf.producer())
    shelf.producer().pauseProducing()
    workers.all()
    assert len(shelf.wire.transport.value()) == 0
    shelf.producer().resumeProducing()
    assert len(shelf.body()) == BLOCK
    shelf.producer().pauseProducing()
    workers.all()
    assert len(shelf.body()) == BLOCK
    shelf.producer().resumeProducing()
    assert len(shelf.body()) == 2 * BLOCK
    workers.all()
    assert shelf.body() == content
    assert shelf.ended == [None]


def test_many_blocks_at_once(tmp_path: Path) -> None:
    content = bytes(600 * BLOCK)
    assert Shelf(tmp_path, content).get()[::2] == (200, content)


@pytest.mark.parametrize("jobs", [0, 1, 2, 3])
def test_a_client_that_goes(tmp_path: Path, jobs: int) -> None:
    workers = Held()
    shelf = Shelf(tmp_path, bytes(10 * BLOCK), workers)
    shelf.ask()
    for _ in range(jobs):
        workers.one()
    producer = shelf.producer()
    if producer is not None:
        producer.stopProducing()
    shelf.wire.lose()
    workers.all()
    assert shelf.ended == [None]


@pytest.mark.parametrize("jobs", [0, 1, 2])
def test_one_who_waits_no_more(tmp_path: Path, jobs: int) -> None:
    workers = Held()
    shelf = Shelf(tmp_path, bytes(10 * BLOCK), workers)
    shelf.ask()
    for _ in range(jobs):
        workers.one()
    shelf.sending.cancel()
    workers.all()
    assert len(shelf.ended) == 1
    assert shelf.wire.transport.aborted is (jobs > 0)


def test_a_file_that_shrinks_does_not_look_complete(tmp_path: Path) -> None:
    workers = Held()
    shelf = Shelf(tmp_path, bytes(3 * BLOCK), workers)
    shelf.ask()
    workers.one()
    os.truncate(shelf.path, 10)
    workers.all()
    assert shelf.wire.transport.aborted
    assert shelf.ended == [None]


def test_a_file_that_cannot_be_read_does_not_look_complete(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    def pread(*_: object) -> bytes:
        raise OSError("broken disk")

    monkeypatch.setattr("modabatchd.rest.download.os.pread", pread)
    shelf.ask()
    assert shelf.wire.transport.aborted
    assert shelf.ended == [None]
