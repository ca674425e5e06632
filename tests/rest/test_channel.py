"""One connection after the other, in time, and in good HTTP."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.rest.wire import HOST, Taker, Wire, problem, refuses, replies, taking


def test_a_connection_serves_one_request_after_the_other() -> None:
    takers: list[Taker] = []

    def receive(_: object) -> Taker:
        takers.append(Taker())
        return takers[-1]

    wire = Wire(receive)
    one = "POST /{} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc"
    answers = replies(wire.send("".join(one.format(name) for name in "abc").encode()))
    assert [body for _, _, body in answers] == [b"POST /a", b"POST /b", b"POST /c"]
    assert [taker.taken for taker in takers] == [b"abc"] * 3


def test_a_pipelined_request_waits_for_the_one_before() -> None:
    wire = Wire()
    assert wire.send(b"GET /later HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n") == b""
    assert len(wire.heads) == 1
    wire.echo.requests[0].setHeader(b"content-length", b"0")
    wire.echo.requests[0].finish()
    assert [body for _, _, body in replies(wire.transport.value())] == [b"", b"GET /b"]


def test_a_pipelined_request_after_a_refusal_is_not_served() -> None:
    wire = Wire(refuses)
    answer = wire.send(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n")
    assert problem(answer) == (403, "cross-site")
    assert len(wire.heads) == 1


def test_http_1_0_is_served_and_closed() -> None:
    wire = Wire()
    answer = wire.ask("GET /x HTTP/1.0", HOST)
    assert answer.endswith(b"\r\n\r\nGET /x")
    assert wire.transport.disconnecting


def test_a_client_may_ask_to_close() -> None:
    wire = Wire()
    wire.ask("GET /x HTTP/1.1", HOST, "Connection: close")
    assert wire.transport.disconnecting


# Deadlines


def test_headers_that_drip_have_a_deadline() -> None:
    wire = Wire(header_timeout=10.0)
    wire.send(b"GET / HTTP/1.1\r\n")
    for _ in range(4):
        wire.clock.advance(2)
        assert wire.send(b"A: b\r\n") == b""
    wire.transport.clear()
    wire.clock.advance(2)
    assert problem(wire.transport.value()) == (408, "request-timeout")


def test_a_connection_that_says_nothing_is_closed_without_a_word() -> None:
    wire = Wire(header_timeout=10.0)
    wire.clock.advance(10)
    assert wire.transport.value() == b""
    assert wire.transport.disconnecting


def test_the_deadline_of_a_later_request_begins_with_its_first_byte() -> None:
    wire = Wire(header_timeout=10.0)
    wire.ask("GET / HTTP/1.1", HOST)
    wire.clock.advance(50)
    wire.send(b"GET")
    wire.clock.advance(9)
    assert wire.send(b" /") == b""
    wire.clock.advance(1)
    assert problem(wire.transport.value()) == (408, "request-timeout")


def test_an_idle_connection_is_closed_after_a_minute() -> None:
    wire = Wire()
    wire.ask("GET / HTTP/1.1", HOST)
    wire.clock.advance(59)
    assert not wire.transport.disconnecting
    wire.clock.advance(1)
    assert wire.transport.disconnecting


def test_a_request_that_is_served_has_no_deadline() -> None:
    wire = Wire()
    wire.ask("GET /later HTTP/1.1", HOST)
    assert wire.clock.getDelayedCalls() == []


def test_a_body_that_drips_has_a_deadline() -> None:
    taker = Taker()
    wire = taking(taker, body_timeout=10.0)
    wire.ask("POST / HTTP/1.1", HOST, "Content-Length: 9999999")
    for _ in range(9):
        wire.clock.advance(1)
        assert wire.send(b"x") == b""
    wire.clock.advance(1)
    assert problem(wire.transport.value()) == (408, "request-timeout")
    assert taker.aborted


def test_a_body_must_grow_in_every_span() -> None:
    wire = taking(Taker(), body_timeout=10.0)
    wire.ask("POST / HTTP/1.1", HOST, "Content-Length: 9999999")
    for _ in range(5):
        wire.send(b"x" * 65536)
        wire.clock.advance(10)
    assert wire.transport.value() == b""
    wire.send(b"x" * 65535)
    wire.clock.advance(10)
    assert problem(wire.transport.value()) == (408, "request-timeout")


def test_the_last_chunk_has_a_deadline_too() -> None:
    wire = taking(Taker(), body_timeout=10.0)
    wire.ask("POST / HTTP/1.1", HOST, "Transfer-Encoding: chunked", body=b"1\r\nx\r\n0\r\n")
    wire.clock.advance(10)
    assert problem(wire.transport.value()) == (408, "request-timeout")


def test_a_span_in_which_we_did_not_read_is_not_counted() -> None:
    taker = Taker()
    wire = taking(taker, body_timeout=10.0)
    wire.ask("POST / HTTP/1.1", HOST, "Content-Length: 9999999")
    assert taker.flow is not None
    taker.flow.pause()
    wire.clock.advance(5)
    wire.clock.advance(5)
    wire.clock.advance(5)
    taker.flow.resume()
    wire.clock.advance(5)
    assert wire.transport.value() == b""
    wire.clock.advance(10)
    assert problem(wire.transport.value()) == (408, "request-timeout")


def test_a_client_that_does_not_read_has_gone() -> None:
    wire = Wire()
    wire.ask("GET /later HTTP/1.1", HOST)
    wire.channel.pauseProducing()
    wire.clock.advance(299)
    wire.channel.resumeProducing()
    wire.clock.advance(1000)
    assert not wire.transport.aborted
    wire.channel.pauseProducing()
    wire.clock.advance(300)
    assert wire.transport.aborted
    wire.lose()
    assert wire.clock.getDelayedCalls() == []


# What is not good HTTP


@pytest.mark.parametrize(
    "lines",
    [
        ("nonsense",),
        ("GET  HTTP/1.1", HOST),
        ("GET / HTTP/9.9", HOST),
        ("GET ftp://localhost/ HTTP/1.1", HOST),
        ("GET /%ff HTTP/1.1", HOST),
        ("OPTIONS * HTTP/1.1", HOST),
        ("GET / HTTP/1.1", "no colon"),
        ("GET / HTTP/1.1", "a b: c"),
        ("POST / HTTP/1.1", HOST, "Content-Length: 1", "Content-Length: 1"),
        ("POST / HTTP/1.1", HOST, "Content-Length: 1", "Content-Length: 2"),
        ("POST / HTTP/1.1", HOST, "Content-Length: -1"),
        ("POST / HTTP/1.1", HOST, "Content-Length: +1"),
        ("POST / HTTP/1.1", HOST, "Content-Length: 1, 1"),
        ("POST / HTTP/1.1", HOST, "Content-Length: " + "9" * 5000),
        ("POST / HTTP/1.1", HOST, "Content-Length: 1", "Transfer-Encoding: chunked"),
        ("POST / HTTP/1.1", HOST, "Transfer-Encoding: chunked", "Content-Length: 1"),
        ("POST / HTTP/1.1", HOST, "Transfer-Encoding: identity", "Transfer-Encoding: chunked"),
        ("POST / HTTP/1.1", HOST, "Transfer-Encoding: identity", "Content-Length: 1"),
        ("POST / HTTP/1.1", HOST, "Transfer-Encoding: identity"),
        ("POST / HTTP/1.1", HOST, "Transfer-Encoding: gzip, chunked"),
        ("POST / HTTP/1.1", HOST, "Transfer-Encoding: chunked", "Transfer-Encoding: chunked"),
        ("POST / HTTP/1.0", HOST, "Transfer-Encoding: chunked"),
        ("GET / HTTP/1.1", *(f"X-{number}: 1" for number in range(600))),
        ("GET / HTTP/1.1", *(f"X-{number}: {'x' * 1000}" for number in range(20))),
    ],
)
def test_what_is_malformed_or_ambiguous_is_refused_in_words(lines: tuple[str, ...]) -> None:
    """Pins the private method by which Twisted's channel answers what it cannot parse."""
    wire = taking(Taker())
    assert problem(wire.ask(*lines)) == (400, "malformed-request")
    assert wire.echo.requests == []
    assert wire.transport.half_closed
    assert wire.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n") == b""
    wire.lose()
    assert wire.clock.getDelayedCalls() == []


def test_a_line_that_is_too_long_is_refused_in_words() -> None:
    wire = Wire()
    assert problem(wire.send(b"GET /" + b"x" * 20_000)) == (431, "headers-too-large")
    wire.lose()


@pytest.mark.parametrize("chunk", [b"x\r\n", b"-1\r\n", b"1\r\nxx\r\n", b"1" * 2000])
def test_a_malformed_chunk_ends_the_body(chunk: bytes) -> None:
    taker = Taker()
    wire = taking(taker)
    answer = wire.ask("POST / HTTP/1.1", HOST, "Transfer-Encoding: chunked", body=chunk)
    assert problem(answer) == (400, "malformed-request")
    assert taker.aborted


@given(st.binary(max_size=300), st.integers(1, 50))
def test_no_bytes_at_all_make_it_fall_over(data: bytes, step: int) -> None:
    wire = taking(Taker())
    for at in range(0, len(data), step):
        wire.send(data[at : at + step])
    wire.lose()
    assert wire.clock.getDelayedCalls() == []


PIECES = [
    *("GET / HTTP/1.1", "POST / HTTP/1.0", "POST /later HTTP/1.1", "Host: a", "Content-Length: 3", "Content-Length: 0"),
    *("Transfer-Encoding: chunked", "Expect: 100-continue", "Connection: close", " folded", ":", "\r", "\r\n"),
    *("abc", "3\r\nabc\r\n", "0\r\n\r\n"),
]


@given(st.lists(st.sampled_from(PIECES)), st.integers(1, 40))
def test_no_sequence_of_requests_makes_it_fall_over(pieces: list[str], step: int) -> None:
    wire = taking(Taker())
    data = "\r\n".join(pieces).encode()
    for at in range(0, len(data), step):
        wire.send(data[at : at + step])
    wire.clock.advance(1000)
    wire.lose()
    assert wire.clock.getDelayedCalls() == []


@pytest.mark.parametrize(("target", "path"), [("http://a:5000/x?y=z", b"/x"), ("HTTPS://a:5000", b"/")])
def test_a_target_that_names_its_host_counts_instead_of_the_header(target: str, path: bytes) -> None:
    wire = Wire()
    assert wire.ask(f"GET {target} HTTP/1.1", "Host: evil.example").endswith(b"GET " + path)
    [head] = wire.heads
    assert (head.path, head.headers.getRawHeaders("Host")) == (path, ["a:5000"])
    wire.lose()
