"""Submissions that arrive: into the files of a draft, which is discarded whatever goes wrong."""

import errno
import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote_from_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st
from zope.interface.verify import verifyObject

from modabatchd.errors import FieldError, ModabatchError, NoSpace, TooLarge
from modabatchd.rest.interfaces import IBody
from modabatchd.rest.problems import HTTPRefusal
from modabatchd.rest.upload import Upload
from modabatchd.workers import IWorkers
from tests.deferreds import now
from tests.rest.in_memory import BOUNDARY, multipart
from tests.rest.places import ENCODED, MULTIPART, Held, Place, files
from tests.rest.wire import Wire, problem
from tests.run_now import RunNow

MIB = 1 << 20
LARGE = b"B" * (MIB // 2)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_an_upload_takes_a_body(place: Place) -> None:
    assert verifyObject(IBody, place.upload())


def test_a_form_becomes_a_draft_and_texts(place: Place) -> None:
    received = place.receive(
        multipart({"job-name": "näme", "job-label": ["a=1", "b=2"]}, {"job-bundle": b"B", "job-input": b"I"})
    )
    assert received.fields == (("job-name", "näme"), ("job-label", "a=1"), ("job-label", "b=2"))
    assert files(received) == {"bundle.tar.gz": b"B", "input": b"I"}
    assert place.left() == [received.draft.directory]


def test_the_files_are_for_nobody_else(place: Place) -> None:
    received = place.receive(multipart({}, {"job-bundle": b"B" * MIB}))
    assert (received.draft.directory / "bundle.tar.gz").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(("size", "on_disk"), [(0, False), (MIB // 4, False), (MIB // 4 + 1, True), (3 * MIB + 1, True)])
def test_a_small_form_needs_no_directory(place: Place, size: int, on_disk: bool) -> None:
    content = os.urandom(size)
    received = place.receive(multipart({}, {"job-bundle": content}))
    assert received.draft.directory.exists() == on_disk
    assert files(received) == {"bundle.tar.gz": content}


def test_a_form_with_a_large_file_is_on_the_disk_as_a_whole(place: Place) -> None:
    content = os.urandom(2 * MIB)
    received = place.receive(multipart({}, {"job-bundle": b"B", "job-input": content}))
    assert {path.name for path in received.draft.directory.iterdir()} == {"bundle.tar.gz", "input"}
    assert files(received) == {"bundle.tar.gz": b"B", "input": content}


CONTENT = st.binary(max_size=300)
TEXTS = st.lists(
    st.tuples(st.sampled_from(["job-name", "job-label"]), st.text(st.characters(exclude_categories=["Cs"]))), max_size=3
)


@given(CONTENT, CONTENT, TEXTS, st.booleans(), st.integers(1, 200))
def test_both_encodings_arrive_byte_for_byte(
    bundle: bytes, data: bytes, texts: list[tuple[str, str]], encoded: bool, step: int
) -> None:
    if encoded:
        sent = [*((name, text.encode()) for name, text in texts), ("job-bundle", bundle), ("job-input", data)]
        body = "&".join(f"{name}={quote_from_bytes(value, safe='')}" for name, value in sent).encode()
    else:
        names: dict[str, list[str]] = {}
        for name, text in texts:
            names.setdefault(name, []).append(text)
        texts = [(name, text) for name in names for text in names[name]]
        body = multipart(names, {"job-bundle": bundle, "job-input": data})
    with TemporaryDirectory() as directory:
        received = Place(Path(directory)).receive(body, ENCODED if encoded else MULTIPART, step)
        assert received.fields == tuple(texts)
        wanted = {"bundle.tar.gz": bundle, "input": data}
        assert files(received) == {name: content for name, content in wanted.items() if content or not encoded}


def test_no_bundle(place: Place) -> None:
    received = place.receive(b"job-name=x", ENCODED)
    assert not received.draft.holds("bundle.tar.gz")
    assert files(received) == {}


def test_a_browsers_blank_inputs_were_not_sent(place: Place) -> None:
    blank = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="job-input"; filename=""\r\n\r\n\r\n'.encode()
    received = place.receive(blank + multipart({}, {"job-bundle": b"B"}))
    assert files(received) == {"bundle.tar.gz": b"B"}


def test_an_empty_file_was_sent(place: Place) -> None:
    received = place.receive(multipart({}, {"job-bundle": b""}))
    assert files(received) == {"bundle.tar.gz": b""}


def test_an_empty_form(place: Place) -> None:
    assert place.receive(b"", ENCODED).fields == ()


BAD = [
    (multipart({"colour": "red"}, {"job-bundle": b"B"}), FieldError),
    (multipart({}, {"job-bundle": b"B"}).replace(b"bundle", b"bundl\xe9"), FieldError),
    (multipart({"job-name": "x"}, {}).replace(b"\r\nx\r\n", b"\r\n\xff\r\n"), FieldError),
    (multipart({}, {"job-bundle": b"B"})[: -len(BOUNDARY) - 6] + multipart({}, {"job-bundle": b"B"}), FieldError),
    (multipart({"job-name": "x" * (1 << 20)}, {}), TooLarge),
    (multipart({"job-label": [""] * 1001}, {}), TooLarge),
    (b"--" + BOUNDARY.encode() + b"\r\n" + multipart({}, {"job-bundle": b"B"}), HTTPRefusal),
    (multipart({}, {"job-bundle": b"B" * 100})[:150], HTTPRefusal),
    (b"", HTTPRefusal),
]


@pytest.mark.parametrize(("body", "kind"), BAD)
def test_a_bad_form_is_refused_and_nothing_is_kept(place: Place, body: bytes, kind: type[ModabatchError]) -> None:
    upload = place.upload()
    try:
        upload.write(body)
    except ModabatchError as raised:
        assert isinstance(raised, kind)
        upload.abort()
    else:
        upload.end()
        with pytest.raises(kind):
            now(upload.finished())
    assert place.left() == []


def test_a_file_that_is_sent_twice_is_refused(place: Place) -> None:
    with pytest.raises(FieldError) as raised:
        place.receive(b"job-bundle=a&job-bundle=b", ENCODED)
    assert raised.value.field == "job-bundle"


def test_a_text_that_is_not_utf_8_is_named(place: Place) -> None:
    with pytest.raises(FieldError) as raised:
        place.receive(b"job-name=%ff", ENCODED)
    assert raised.value.field == "job-name"


def test_a_text_may_be_cut_within_a_character(place: Place) -> None:
    assert place.receive("job-name=é€😀".encode(), ENCODED, step=1).fields == (("job-name", "é€😀"),)


def test_what_is_no_form_is_refused_before_there_is_a_draft(place: Place) -> None:
    with pytest.raises(HTTPRefusal) as raised:
        place.upload("application/gzip")
    assert raised.value.status == 415
    assert place.left() == []


# Whose is the draft


def complete(place: Place, workers: IWorkers | None = None) -> Upload:
    upload = place.upload(workers=workers)
    upload.write(multipart({}, {"job-bundle": LARGE}))
    upload.end()
    return upload


def test_a_draft_that_was_handed_out_is_left_alone(place: Place) -> None:
    upload = complete(place)
    received = now(upload.finished())
    upload.abort()
    assert place.left() == [received.draft.directory]
    assert place.flow.refused == []


def test_a_draft_that_nobody_took_is_discarded(place: Place) -> None:
    upload = complete(place)
    assert len(place.left()) == 1
    upload.abort()
    assert place.left() == []
    with pytest.raises(HTTPRefusal):
        now(upload.finished())


def test_a_client_that_goes_in_the_middle(place: Place) -> None:
    upload = place.upload()
    upload.write(multipart({}, {"job-bundle": b"B" * 100})[:150])
    upload.abort()
    upload.abort()
    assert place.left() == []


def test_one_who_waits_no_more(place: Place) -> None:
    workers = Held()
    upload = complete(place, workers)
    waiting = upload.finished()
    waiting.cancel()
    workers.all()
    with pytest.raises(HTTPRefusal):
        now(waiting)
    assert place.left() == []


def test_an_abort_while_a_block_is_written(place: Place) -> None:
    workers = Held()
    upload = place.upload(workers=workers)
    upload.write(multipart({}, {"job-bundle": b"B" * 3 * MIB})[: 2 * MIB])
    assert len(workers.work) == 1
    upload.abort()
    assert len(place.left()) == 1
    workers.all()
    assert place.left() == []


def test_an_abort_while_the_files_are_closed(place: Place) -> None:
    workers = Held()
    upload = complete(place, workers)
    workers.one()
    assert len(workers.work) == 1
    upload.abort()
    workers.all()
    assert place.left() == []


def test_files_are_complete_before_they_are_handed_out(place: Place) -> None:
    workers = Held()
    upload = complete(place, workers)
    waiting = upload.finished()
    assert not waiting.called
    workers.all()
    assert files(now(waiting)) == {"bundle.tar.gz": LARGE}


# A directory that comes later


def test_the_client_may_send_before_there_is_a_directory(tmp_path: Path) -> None:
    spooling = Held()
    place = Place(tmp_path, spooling)
    upload = complete(place)
    waiting = upload.finished()
    assert not waiting.called
    spooling.all()
    assert files(now(waiting)) == {"bundle.tar.gz": LARGE}


def test_what_arrives_counts_against_the_quota(tmp_path: Path) -> None:
    place = Place(tmp_path, quota=1000)
    upload = place.upload()
    upload.write(multipart({}, {"job-bundle": bytes(500)}))
    assert 500 <= place.spool.used <= 1000
    with pytest.raises(NoSpace):
        upload.write(bytes(500))
    upload.abort()
    assert place.left() == []
    assert place.spool.used == 0


def test_a_flood_of_empty_fields_is_refused(place: Place) -> None:
    upload = place.upload(ENCODED)
    with pytest.raises(HTTPRefusal):
        upload.write(b"&" * 65536)


def test_a_directory_that_comes_too_late_is_deleted(tmp_path: Path) -> None:
    spooling = Held()
    place = Place(tmp_path, spooling)
    complete(place).abort()
    spooling.all()
    assert place.left() == []


def test_a_spool_without_room_refuses_at_once(tmp_path: Path) -> None:
    place = Place(tmp_path, quota=0)
    upload = place.upload()
    assert [type(error) for error in place.flow.refused] == [NoSpace]
    upload.write(b"whatever still comes")
    upload.abort()


# Slow and full disks


def test_a_client_that_is_faster_than_the_disk_waits(place: Place) -> None:
    workers = Held()
    upload = place.upload(workers=workers)
    content = os.urandom(8 * MIB)
    body = multipart({}, {"job-bundle": content})
    waited = 0
    for at in range(0, len(body), 1 << 16):
        upload.write(body[at : at + (1 << 16)])
        while place.flow.paused:
            waited += 1
            workers.one()
    assert waited >= 2
    upload.end()
    workers.all()
    assert files(now(upload.finished())) == {"bundle.tar.gz": content}
    assert not place.flow.paused


def failing(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def write(*_: object) -> int:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("modabatchd.rest.gathering.os.write", write)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_refuses_at_once(place: Place, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    failing(monkeypatch, code)
    upload = place.upload()
    upload.write(multipart({}, {"job-bundle": b"B" * 2 * MIB})[:-100])
    assert [type(error) for error in place.flow.refused] == [NoSpace]
    upload.write(b"B")
    upload.abort()
    assert place.left() == []


def test_a_full_disk_at_the_last_block(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, errno.ENOSPC)
    upload = complete(place)
    with pytest.raises(NoSpace):
        now(upload.finished())
    assert place.left() == []


def test_a_broken_disk_is_a_defect(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, errno.EIO)
    upload = complete(place)
    with pytest.raises(OSError, match="Input/output"):
        now(upload.finished())
    assert place.left() == []


# Over a connection


def wired(place: Place, **settings: Any) -> Wire:
    return Wire(lambda head: Upload(head, place.spool, RunNow()), **settings)


HEAD = ("POST /later HTTP/1.1", "Host: localhost", f"Content-Type: {MULTIPART}")


def test_a_bad_field_is_refused_before_the_bundle_was_sent(place: Place) -> None:
    wire = wired(place)
    wire.ask(*HEAD, "Content-Length: 1000000000")
    answer = wire.send(multipart({"colour": "red"}, {"job-bundle": b"B" * 1000}))
    assert problem(answer) == (422, "invalid-field")
    assert place.left() == []
    assert wire.echo.requests == []


def test_a_client_that_goes_leaves_no_draft(place: Place) -> None:
    wire = wired(place)
    wire.ask(*HEAD, "Content-Length: 1000", body=multipart({}, {"job-bundle": b"B" * 1000})[:500])
    assert len(place.left()) == 1
    wire.lose()
    assert place.left() == []


def test_a_handler_that_answers_without_the_draft_leaves_none(place: Place) -> None:
    wire = wired(place)
    body = multipart({}, {"job-bundle": b"B"})
    wire.ask("POST / HTTP/1.1", *HEAD[1:], f"Content-Length: {len(body)}", body=body)
    assert len(wire.echo.requests) == 1
    assert place.left() == []


def test_a_body_that_is_too_slow_or_too_large_leaves_no_draft(place: Place) -> None:
    wire = wired(place, body_timeout=10.0, max_request_size=1000)
    wire.ask(*HEAD, "Content-Length: 1000", body=multipart({}, {"job-bundle": b"B" * 1000})[:500])
    wire.clock.advance(10)
    assert place.left() == []
    wire.connect()
    chunk = multipart({}, {"job-bundle": b"B" * 1000})[:1001]
    wire.ask(*HEAD, "Transfer-Encoding: chunked", body=b"%x\r\n%s\r\n" % (len(chunk), chunk))
    assert place.left() == []


def test_a_handler_gets_what_was_sent_in_chunks(place: Place) -> None:
    wire = wired(place)
    body = multipart({"job-name": "x"}, {"job-bundle": b"B" * 1000})
    wire.ask(*HEAD, "Transfer-Encoding: chunked", body=b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))
    [request] = wire.echo.requests
    upload: Any = request.body
    received = now(upload.finished())
    assert received.fields == (("job-name", "x"),)
    assert files(received) == {"bundle.tar.gz": b"B" * 1000}
