"""The front over real connections: curl and Python's own client, large bodies, clients that go away."""

import hashlib
import http.client
import os
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.internet.utils import getProcessOutputAndValue
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from modabatchd.config.settings import HTTPSettings
from modabatchd.queue.spool import FileSpool
from modabatchd.rest.download import send_file
from modabatchd.rest.front import Head, check
from modabatchd.rest.interfaces import IBody
from modabatchd.rest.respond import respond, respond_problem
from modabatchd.rest.site import Site
from modabatchd.rest.upload import Upload
from modabatchd.workers import ThreadWorkers
from tests.contracts.spool import content

MIB = 1 << 20
LIMIT = 64 * MIB


class Front(Resource):
    """Takes submissions and tells what it got; gives out one file."""

    isLeaf = True

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self.file = directory / "file"
        self.workers = ThreadWorkers(reactor, "files", 4)
        self.spool = FileSpool(directory, 1 << 40, self.workers)
        self.spool.prepare()
        self.incoming = directory / "incoming"
        self.served: list[Deferred[Any]] = []
        self.port: Any = None

    def start(self) -> None:
        self.workers.startService()
        site = Site(self, self._receive, HTTPSettings(max_request_size=LIMIT, header_timeout=1.0, body_timeout=1.0), reactor)
        self.port = reactor.listenTCP(0, site, interface="127.0.0.1")

    async def stop(self) -> None:
        await self.port.stopListening()
        await until(lambda: not list(self.incoming.iterdir()))
        self.workers.stopService()

    @property
    def number(self) -> int:
        return int(self.port.getHost().port)

    def _receive(self, head: Head) -> IBody | None:
        check(head, ("batch.example.org",), head.method == b"POST")
        return Upload(head, self.spool, self.workers) if head.method == b"POST" else None

    def render(self, request: Any) -> Any:
        serve = self._submit if request.method == b"POST" else self._send
        self.served.append(Deferred.fromCoroutine(serve(request)))
        return NOT_DONE_YET

    async def _submit(self, request: Any) -> None:
        try:
            received = await request.body.finished()
        except Exception as error:
            respond_problem(request, error)
            return
        draft = received.draft
        names = [name for name in ("bundle.tar.gz", "input") if draft.holds(name)]
        files = {name: hashlib.sha256(content(draft, name)).hexdigest() for name in names}
        await self.spool.discard(received.draft)
        respond(request, 201, "application/json", msgspec.json.encode({"fields": received.fields, "files": files}))

    async def _send(self, request: Any) -> None:
        await send_file(request, self.file, "application/gzip", "output.tar.gz", True, self.workers)


@pytest_twisted.async_yield_fixture
async def front(tmp_path: Path) -> AsyncIterator[Front]:
    front = Front(tmp_path / "spool")
    front.start()
    yield front
    await front.stop()


async def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    deadline = reactor.seconds() + seconds
    while not condition():
        assert reactor.seconds() < deadline, "it did not happen in time"
        await deferLater(reactor, 0.01)


async def curl(front: Front, *arguments: str, path: str = "/jobs") -> tuple[int, Any, str]:
    """@return: the status, the decoded body and what curl said of its work."""
    url = f"http://localhost:{front.number}{path}"
    options = ("-sSv", "--noproxy", "*", "--max-time", "30", "-w", "\n%{http_code}", *arguments, url)
    output, talk, code = await getProcessOutputAndValue("curl", options, env=os.environ)
    assert code == 0, talk.decode()
    body, _, status = output.rpartition(b"\n")
    return int(status), msgspec.json.decode(body), talk.decode()


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def written(path: Path, size: int) -> bytes:
    content = os.urandom(size)
    path.write_bytes(content)
    return content


@pytest_twisted.ensureDeferred
async def test_curl_sends_a_form(front: Front, tmp_path: Path) -> None:
    content = written(tmp_path / "bundle", 20 * MIB)
    status, got, _ = await curl(front, "-F", f"job-bundle=@{tmp_path}/bundle", "-F", "job-name=größe")
    assert status == 201
    assert got == {"fields": [["job-name", "größe"]], "files": {"bundle.tar.gz": digest(content)}}


@pytest_twisted.ensureDeferred
async def test_curl_sends_a_form_url_encoded(front: Front, tmp_path: Path) -> None:
    content = written(tmp_path / "bundle", 2 * MIB)
    fields = ("--data-urlencode", f"job-bundle@{tmp_path}/bundle", "--data-urlencode", "job-arguments=a & b=100% +c")
    status, got, _ = await curl(front, *fields)
    assert status == 201
    assert got == {"fields": [["job-arguments", "a & b=100% +c"]], "files": {"bundle.tar.gz": digest(content)}}


@pytest_twisted.ensureDeferred
async def test_curl_sends_chunks(front: Front, tmp_path: Path) -> None:
    content = written(tmp_path / "bundle", 5 * MIB)
    status, got, _ = await curl(front, "-H", "Transfer-Encoding: chunked", "-F", f"job-bundle=@{tmp_path}/bundle")
    assert (status, got["files"]) == (201, {"bundle.tar.gz": digest(content)})


REFUSED = [
    (("-H", "Host: evil.example"), 421, "unknown-host"),
    (("-H", "Origin: http://evil.example"), 403, "cross-site"),
    (("-H", "Sec-Fetch-Site: cross-site"), 403, "cross-site"),
    (("-H", "Content-Type: application/gzip"), 415, "unsupported-media-type"),
]


@pytest.mark.parametrize(("arguments", "status", "code"), REFUSED)
@pytest_twisted.ensureDeferred
async def test_curl_is_refused_before_it_sends(
    front: Front, tmp_path: Path, arguments: tuple[str, ...], status: int, code: str
) -> None:
    written(tmp_path / "bundle", 5 * MIB)
    body = ("-H", "Expect: 100-continue", "--expect100-timeout", "20", "--data-binary", f"@{tmp_path}/bundle", *arguments)
    answered, problem, talk = await curl(front, *body)
    assert (answered, problem["type"]) == (status, f"urn:modabatchd:problem:{code}")
    assert "100 Continue" not in talk
    assert "We are completely uploaded" not in talk
    assert list(front.incoming.iterdir()) == []


@pytest_twisted.ensureDeferred
async def test_curl_is_refused_what_is_too_large(front: Front, tmp_path: Path) -> None:
    with (tmp_path / "bundle").open("wb") as file:
        file.truncate(LIMIT + 1)
    status, problem, talk = await curl(front, "--expect100-timeout", "20", "-F", f"job-bundle=@{tmp_path}/bundle")
    assert (status, problem["type"]) == (413, "urn:modabatchd:problem:too-large")
    assert "100 Continue" not in talk


@pytest_twisted.ensureDeferred
async def test_a_client_that_sends_all_before_it_reads_sees_why_it_was_refused(front: Front) -> None:
    def ask() -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", front.number, timeout=30)
        try:
            connection.request("POST", "/jobs", bytes(LIMIT + MIB), {"Content-Type": "multipart/form-data; boundary=a"})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    status, body = await deferToThread(ask)
    assert status == 413
    assert b"too-large" in body


@pytest_twisted.ensureDeferred
async def test_a_bad_field_before_a_large_file_is_told_at_once(front: Front, tmp_path: Path) -> None:
    written(tmp_path / "bundle", 30 * MIB)
    status, problem, _ = await curl(front, "-F", "colour=red", "-F", f"job-bundle=@{tmp_path}/bundle")
    assert (status, problem["field"]) == (422, "colour")
    await until(lambda: not list(front.incoming.iterdir()))


@pytest_twisted.ensureDeferred
async def test_a_client_that_goes_leaves_no_draft(front: Front) -> None:
    def ask() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", front.number, timeout=30)
        connection.putrequest("POST", "/jobs")
        connection.putheader("Content-Type", "multipart/form-data; boundary=a")
        connection.putheader("Content-Length", str(LIMIT))
        connection.endheaders()
        head = b'--a\r\nContent-Disposition: form-data; name="job-bundle"; filename="x"\r\n\r\n'
        connection.send(head + bytes(3 * MIB))
        connection.close()

    await deferToThread(ask)
    await until(lambda: not list(front.incoming.iterdir()))
    assert front.served == []


@pytest.mark.parametrize("sent", [b"GET / HT", b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n1"])
@pytest_twisted.ensureDeferred
async def test_a_client_that_drips_is_told_and_left(front: Front, sent: bytes) -> None:
    def ask() -> bytes:
        with socket.create_connection(("127.0.0.1", front.number), timeout=30) as client:
            client.sendall(
                sent.replace(b"Content-Length", b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length")
            )
            return b"".join(iter(lambda: client.recv(1 << 16), b""))

    answer = await deferToThread(ask)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"request-timeout" in answer


# Downloads


@pytest_twisted.ensureDeferred
async def test_curl_fetches_a_file(front: Front, tmp_path: Path) -> None:
    content = written(front.file, 20 * MIB)
    await fetch(front, tmp_path)
    assert (tmp_path / "got").read_bytes() == content


@pytest_twisted.ensureDeferred
async def test_curl_goes_on_with_a_file(front: Front, tmp_path: Path) -> None:
    content = written(front.file, 5 * MIB)
    (tmp_path / "got").write_bytes(content[: 3 * MIB])
    talk = await fetch(front, tmp_path, "-C", "-")
    assert "206 Partial Content" in talk
    assert (tmp_path / "got").read_bytes() == content


@pytest_twisted.ensureDeferred
async def test_curl_fetches_nothing_twice(front: Front, tmp_path: Path) -> None:
    content = written(front.file, MIB)
    await fetch(front, tmp_path, "--etag-save", f"{tmp_path}/tag")
    talk = await fetch(front, tmp_path, "--etag-compare", f"{tmp_path}/tag")
    assert "304 Not Modified" in talk
    assert (tmp_path / "got").read_bytes() == content


@pytest_twisted.ensureDeferred
async def test_a_client_that_stops_reading_and_goes_leaves_no_open_file(front: Front) -> None:
    written(front.file, 30 * MIB)

    def ask() -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", front.number, timeout=30)
        connection.request("GET", "/jobs")
        begun = connection.getresponse().read(MIB)
        connection.close()
        return begun

    assert len(await deferToThread(ask)) == MIB
    await front.served[0]
    await until(lambda: str(front.file) not in [os.path.realpath(entry) for entry in Path("/proc/self/fd").iterdir()])


async def fetch(front: Front, directory: Path, *arguments: str) -> str:
    options = ("-sSv", "--noproxy", "*", "--max-time", "30", "-o", f"{directory}/got", *arguments)
    url = f"http://localhost:{front.number}/jobs"
    _, talk, code = await getProcessOutputAndValue("curl", (*options, url), env=os.environ)
    assert code == 0, talk.decode()
    return str(talk.decode())
