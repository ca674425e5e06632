"""The two encodings of a form, taken apart in any pieces."""

from collections.abc import Iterable
from urllib.parse import quote_from_bytes, unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.web.http_headers import Headers

from modabatchd.errors import FieldError, ModabatchError
from modabatchd.rest.forms import Encoded, Event, Field, FormParser, Multipart, form_parser, unescape
from modabatchd.rest.problems import HTTPRefusal
from tests.rest.in_memory import BOUNDARY, multipart

NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
FORMS = st.lists(st.tuples(NAMES, st.binary(max_size=60)), max_size=5)


def events(parser: FormParser, body: bytes, step: int) -> Iterable[Event]:
    for at in range(0, len(body), step):
        yield from parser.feed(body[at : at + step])
    yield from parser.close()


def fields(parser: FormParser, body: bytes, step: int = 1000) -> list[tuple[str, bytes]]:
    found: list[tuple[str, bytes]] = []
    open_field = False
    for event in events(parser, body, step):
        if isinstance(event, Field):
            assert not open_field
            found.append((event.name, b""))
        elif event is not None:
            found[-1] = (found[-1][0], found[-1][1] + event)
        open_field = event is not None
    assert not open_field
    return found


@given(FORMS, st.integers(1, 30))
def test_an_encoded_form_arrives_byte_for_byte(form: list[tuple[str, bytes]], step: int) -> None:
    body = b"&".join(
        b"%s=%s" % (quote_from_bytes(name.encode(), safe="").encode(), quote_from_bytes(value, safe="").encode())
        for name, value in form
    )
    assert fields(Encoded(), body, step) == (form or [])


@given(st.binary().filter(lambda body: not body.startswith(b"\x1f\x8b")), st.integers(1, 10))
def test_whatever_is_sent_as_an_encoded_form_is_read_as_browsers_do(body: bytes, step: int) -> None:
    expected = []
    for pair in body.split(b"&"):
        name, _, value = pair.partition(b"=")
        try:
            decoded = unquote_to_bytes(name.replace(b"+", b" ")).decode()
        except UnicodeDecodeError:
            with pytest.raises(FieldError):
                fields(Encoded(), body, step)
            return
        if pair:
            expected.append((decoded, unquote_to_bytes(value.replace(b"+", b" "))))
    assert fields(Encoded(), body, step) == expected


@given(st.text("%+=0aAfFgG\n\r_ \x00", max_size=20))
def test_escapes(text: str) -> None:
    raw = text.encode()
    assert unescape(raw) == unquote_to_bytes(raw.replace(b"+", b" "))


@given(
    st.dictionaries(st.text("ab-é%~ ", min_size=1, max_size=9), st.text(st.characters(exclude_categories=["Cs"])), max_size=3),
    st.dictionaries(st.text("cd", min_size=1, max_size=9), st.binary(max_size=200), max_size=3),
    st.integers(1, 100),
)
def test_a_multipart_form_arrives_byte_for_byte(form: dict[str, str], files: dict[str, bytes], step: int) -> None:
    sent = [(name, value.encode()) for name, value in form.items()] + list(files.items())
    if sent:
        assert fields(Multipart(BOUNDARY), multipart(form, files), step) == sent


@pytest.mark.parametrize("filler", [b"\r\n--boundary-of-the-tesT", b"\r\n--", b"\r", b"--boundary-of-the-test", b"\r\n\r\n"])
@pytest.mark.parametrize("step", [1, 7, 1000])
def test_a_file_may_hold_what_looks_like_a_boundary(filler: bytes, step: int) -> None:
    content = filler * 3
    assert fields(Multipart(BOUNDARY), multipart({}, {"a": content}), step) == [("a", content)]


def test_only_a_named_file_counts_as_one() -> None:
    parser = Multipart(BOUNDARY)
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="a"{{}}\r\n\r\n\r\n'
    body = "".join(head.format(name) for name in ("", '; filename=""', '; filename="x"')) + f"--{BOUNDARY}--\r\n"
    begun = [event.file for event in events(parser, body.encode(), 1000) if isinstance(event, Field)]
    assert begun == [False, False, True]


def test_a_filename_may_be_any_bytes() -> None:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="a"; filename="'.encode()
    assert fields(Multipart(BOUNDARY), head + b'b\xfcndel"\r\n\r\nx\r\n' + f"--{BOUNDARY}--".encode()) == [("a", b"x")]


def test_a_name_must_be_utf_8() -> None:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="'.encode()
    with pytest.raises(FieldError):
        fields(Multipart(BOUNDARY), head + b'b\xfcndel"\r\n\r\nx\r\n' + f"--{BOUNDARY}--".encode())


@given(st.integers(0, 200))
def test_a_truncated_multipart_form_is_refused(length: int) -> None:
    body = multipart({"a": "b" * 10}, {"c": b"d" * 100})
    end = body.rindex(b"--", 0, -2)
    with pytest.raises(HTTPRefusal) as raised:
        fields(Multipart(BOUNDARY), body[: min(length, end)])
    assert (raised.value.status, raised.value.code) == (400, "malformed-form")


@given(st.binary(), st.integers(1, 30))
def test_what_is_no_multipart_form_is_refused(body: bytes, step: int) -> None:
    with pytest.raises(HTTPRefusal):
        fields(Multipart(BOUNDARY), body, step)


@given(
    st.lists(
        st.sampled_from([b"--" + BOUNDARY.encode(), b"\r\n", b"--", b":", b"Content-Disposition: form-data; name=a", b"x"])
    )
)
def test_mangled_multipart_forms_are_read_or_refused(pieces: list[bytes]) -> None:
    try:
        fields(Multipart(BOUNDARY), b"".join(pieces))
    except ModabatchError as problem:
        assert problem.code in ("malformed-form", "invalid-field")


def test_the_name_of_an_encoded_field_is_bounded() -> None:
    parser = Encoded()
    with pytest.raises(HTTPRefusal):
        list(parser.feed(b"a" * 1001))


def of(*content_types: str, **more: str) -> FormParser:
    return form_parser(Headers({"Content-Type": list(content_types), **{name: [value] for name, value in more.items()}}))


def test_the_content_type_says_how_to_read_it() -> None:
    assert isinstance(of("application/x-www-form-urlencoded"), Encoded)
    assert isinstance(of("Application/X-WWW-Form-urlencoded; charset=utf-8"), Encoded)
    assert isinstance(of("multipart/form-data; boundary=abc"), Multipart)
    assert isinstance(of('multipart/form-data; charset=utf-8; Boundary="a b c"'), Multipart)


@pytest.mark.parametrize(
    "content_types",
    [(), ("",), ("text/plain",), ("application/json",), ("multipart/mixed; boundary=a",), ("multipart/form-data",) * 2],
)
def test_other_content_types_are_refused(content_types: tuple[str, ...]) -> None:
    with pytest.raises(HTTPRefusal) as raised:
        of(*content_types)
    assert raised.value.status == 415
    assert "multipart/form-data" in raised.value.cure
    assert "application/x-www-form-urlencoded" in raised.value.cure


@pytest.mark.parametrize("boundary", ["", "; boundary=", '; boundary=""', "; boundary=" + "x" * 201])
def test_a_boundary_is_needed(boundary: str) -> None:
    with pytest.raises(HTTPRefusal) as raised:
        of("multipart/form-data" + boundary)
    assert raised.value.status == 400


def test_a_compressed_form_is_refused() -> None:
    with pytest.raises(HTTPRefusal) as raised:
        form_parser(Headers({"Content-Type": ["multipart/form-data; boundary=a"], "Content-Encoding": ["gzip"]}))
    assert raised.value.status == 415
