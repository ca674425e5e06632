"""Requests over one connection: judged before their body, bounded in size and time, refused in words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import globalLogPublisher
from twisted.python.failure import Failure
from zope.interface.verify import verifyClass

from modabatchd.errors import FieldError, NoSpace
from modabatchd.rest.channel import Channel
from modabatchd.rest.interfaces import IFlow
from modabatchd.rest.site import Request
from tests.rest.wire import HOST, Taker, Wire, problem, refuses, replies, taking


def test_a_request_sees_the_stream_of_its_body() -> None:
    assert verifyClass(IFlow, Request)


def test_a_request_is_judged_by_what_its_head_says() -> None:
    """Pins the private attributes of Twisted's channel that hold method and path at that time."""
    wire = Wire()
    wire.ask("GET /jobs/a%20b?limit=1&x=/y HTTP/1.1", HOST, "X-One: 1")
    [head] = wire.heads
    assert (head.method, head.path, head.length) == (b"GET", b"/jobs/a%20b", 0)
    assert head.headers.getRawHeaders("X-One") == ["1"]
    [request] = wire.echo.requests
    assert request.head == head
    assert request.args == {b"limit": [b"1"], b"x": [b"/y"]}


def test_a_request_is_judged_before_100_continue() -> None:
    taker = Taker()
    wire = taking(taker)
    lines = ("POST / HTTP/1.1", HOST, "Content-Length: 3", "Expect: 100-continue")
    assert wire.ask(*lines) == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert [head.length for head in wire.heads] == [3]
    assert replies(wire.send(b"abc"))[0][0] == 200
    assert (taker.taken, taker.ended) == (b"abc", True)


def test_a_refusal_comes_before_100_continue_and_instead_of_it() -> None:
    wire = Wire(refuses)
    answer = wire.ask("POST / HTTP/1.1", HOST, "Content-Length: 3", "Expect: 100-continue")
    assert problem(answer) == (403, "cross-site")
    assert wire.echo.requests == []


def test_after_a_refusal_our_direction_is_closed_and_the_rest_is_thrown_away() -> None:
    wire = Wire(refuses)
    assert problem(wire.ask("POST / HTTP/1.1", HOST, "Content-Length: 100000")) == (403, "cross-site")
    assert wire.transport.half_closed
    assert not wire.transport.disconnecting
    assert wire.send(b"x" * 100_000 + b"GET / HTTP/1.1\r\n\r\n") == b""
    assert not wire.transport.aborted
    wire.clock.advance(31)
    assert wire.transport.aborted


def test_the_client_that_closes_after_a_refusal_leaves_nothing_behind() -> None:
    wire = Wire(refuses)
    wire.ask("POST / HTTP/1.1", HOST, "Content-Length: 100000")
    wire.lose()
    assert wire.clock.getDelayedCalls() == []


def test_a_refused_body_is_not_read_for_ever() -> None:
    wire = Wire(refuses)
    wire.ask("POST / HTTP/1.1", HOST, "Content-Length: 9999999999")
    piece = b"x" * (1 << 26)
    for _ in range(17):
        wire.send(piece)
    assert wire.transport.aborted


def test_a_request_without_a_body_is_refused_too() -> None:
    wire = Wire(refuses)
    assert problem(wire.ask("GET / HTTP/1.1", HOST)) == (403, "cross-site")
    assert wire.echo.requests == []


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_head_request_gets_no_body_with_its_refusal(method: str) -> None:
    wire = Wire(refuses)
    answer = wire.ask(f"{method} / HTTP/1.1", HOST)
    assert answer.endswith(b"\r\n\r\n") is (method == "HEAD")


def test_an_unexpected_error_while_judging_is_a_defect_with_an_incident() -> None:
    events = []
    globalLogPublisher.addObserver(events.append)
    try:
        answer = Wire(lambda head: 1 / 0).ask("GET / HTTP/1.1", HOST)
    finally:
        globalLogPublisher.removeObserver(events.append)
    assert problem(answer) == (500, "defect")
    assert any(event["incident"].encode() in answer for event in events if "incident" in event)


def test_an_error_that_passed_all_handlers_is_a_defect_and_the_connection_goes_on() -> None:
    wire = Wire()
    [(status, headers, body)] = replies(wire.ask("GET /broken HTTP/1.1", HOST))
    assert (status, headers["content-type"]) == (500, "application/problem+json")
    assert b"ZeroDivision" not in body
    assert replies(wire.ask("GET /x HTTP/1.1", HOST))[0][0] == 200


def test_an_error_after_the_response_began_cuts_the_connection() -> None:
    wire = Wire()
    wire.ask("GET /later HTTP/1.1", HOST)
    [request] = wire.echo.requests
    request.write(b"half")
    request.processingFailed(Failure(ZeroDivisionError()))
    assert wire.transport.aborted


def test_every_response_tells_browsers_what_not_to_do() -> None:
    [(_, headers, _)] = replies(Wire().ask("GET / HTTP/1.1", HOST))
    assert headers["server"] == "modabatchd"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["content-security-policy"].startswith("default-src 'none'")
    assert headers["cache-control"] == "no-store"
    assert not [name for name in headers if name.startswith("access-control")]


# Sizes


def test_a_body_that_is_announced_too_large_is_refused_before_anybody_is_asked() -> None:
    wire = taking(Taker(), max_request_size=1000)
    answer = wire.ask("POST / HTTP/1.1", HOST, "Content-Length: 1001", "Expect: 100-continue")
    assert problem(answer) == (413, "too-large")
    assert wire.heads == []


def test_a_body_of_just_the_limit_is_taken() -> None:
    taker = Taker()
    wire = taking(taker, max_request_size=1000)
    answer = wire.ask("POST / HTTP/1.1", HOST, "Content-Length: 1000", body=b"x" * 1000)
    assert replies(answer)[0][0] == 200
    assert len(taker.taken) == 1000


def test_chunks_are_counted() -> None:
    taker = Taker()
    wire = taking(taker, max_request_size=1000)
    assert wire.ask("POST / HTTP/1.1", HOST, "Transfer-Encoding: chunked", body=b"3e8\r\n" + b"x" * 1000 + b"\r\n") == b""
    assert problem(wire.send(b"1\r\nx\r\n0\r\n\r\n")) == (413, "too-large")
    assert taker.aborted
    assert len(taker.taken) == 1000
    assert wire.heads[0].length is None


def test_a_body_that_nobody_wants_is_read_up_to_64_kib() -> None:
    wire = Wire()
    [(status, _, _)] = replies(wire.ask("POST / HTTP/1.1", HOST, "Content-Length: 65536", body=b"x" * 65536))
    assert status == 200
    assert problem(wire.ask("POST / HTTP/1.1", HOST, "Content-Length: 65537")) == (413, "too-large")


def test_the_chunks_of_a_body_that_nobody_wants_are_counted_too() -> None:
    wire = Wire()
    chunks = b"10000\r\n" + b"x" * 65536 + b"\r\n1\r\nx\r\n"
    assert problem(wire.ask("POST / HTTP/1.1", HOST, "Transfer-Encoding: chunked", body=chunks)) == (413, "too-large")


# The one who takes the body


@given(st.lists(st.binary(min_size=1, max_size=50)), st.booleans(), st.integers(1, 100))
def test_a_body_arrives_as_it_was_sent(pieces: list[bytes], chunked: bool, step: int) -> None:
    taker = Taker()
    wire = taking(taker)
    body = b"".join(pieces)
    if chunked:
        framing = "Transfer-Encoding: chunked"
        sent = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    else:
        framing, sent = f"Content-Length: {len(body)}", body
    answer = wire.ask("POST /a HTTP/1.1", HOST, framing)
    answer += b"".join(wire.send(sent[at : at + step]) for at in range(0, len(sent), step))
    assert [reply[2] for reply in replies(answer)] == [b"POST /a"]
    assert (taker.taken, taker.ended, taker.aborted) == (body, True, True)


def test_a_body_that_is_refused_while_it_comes() -> None:
    taker = Taker(refuses=FieldError("colour", "There is no such field.", "Send another."))
    wire = taking(taker)
    wire.ask("POST / HTTP/1.1", HOST, "Content-Length: 100")
    assert problem(wire.send(b"x" * 100)) == (422, "invalid-field")
    assert taker.aborted
    assert wire.echo.requests == []
    assert wire.transport.half_closed


def test_a_body_that_is_refused_between_two_pieces() -> None:
    taker = Taker()
    wire = taking(taker)
    wire.ask("POST / HTTP/1.1", HOST, "Content-Length: 100", body=b"x" * 50)
    assert taker.flow is not None
    taker.flow.pause()
    wire.transport.clear()
    taker.flow.refuse(NoSpace("The disk is full.", "Wait."))
    assert problem(wire.transport.value()) == (507, "no-space")
    assert wire.transport.producerState == "producing"
    taker.flow.refuse(NoSpace("Again.", "Wait."))
    assert wire.send(b"x" * 50) == b""
    assert len(taker.taken) == 50


def test_a_body_is_refused_no_more_once_it_is_complete() -> None:
    taker = Taker()
    wire = taking(taker)
    assert wire.ask("POST /later HTTP/1.1", HOST, "Content-Length: 1", body=b"x") == b""
    assert taker.flow is not None
    taker.flow.refuse(NoSpace("The disk is full.", "Wait."))
    assert wire.transport.value() == b""


def test_the_client_can_be_made_to_wait() -> None:
    taker = Taker()
    wire = taking(taker)
    wire.ask("POST / HTTP/1.1", HOST, "Content-Length: 100", body=b"x")
    assert taker.flow is not None
    taker.flow.pause()
    assert wire.transport.producerState == "paused"
    taker.flow.resume()
    assert wire.transport.producerState == "producing"


def test_a_body_that_ends_while_the_client_waits_leaves_the_connection_usable() -> None:
    taker = Taker()
    wire = taking(taker)
    wire.ask("POST /later HTTP/1.1", HOST, "Content-Length: 2", body=b"x")
    assert taker.flow is not None
    taker.flow.pause()
    wire.send(b"x")
    assert wire.transport.producerState == "producing"
    taker.flow.pause()
    assert wire.transport.producerState == "producing"


def test_a_client_that_goes_while_it_sends() -> None:
    taker = Taker()
    wire = taking(taker)
    wire.ask("POST / HTTP/1.1", HOST, "Content-Length: 100", body=b"x")
    wire.lose()
    assert taker.aborted
    assert not taker.ended
    assert wire.clock.getDelayedCalls() == []


def test_a_client_that_goes_before_it_has_its_answer() -> None:
    taker = Taker()
    wire = taking(taker)
    wire.ask("POST /later HTTP/1.1", HOST, "Content-Length: 1", body=b"x")
    assert not taker.aborted
    wire.lose()
    assert taker.aborted
    assert wire.echo.requests[0].gone


# The log


def lines_logged(wire: Wire, *lines: str) -> list[str]:
    events = []
    globalLogPublisher.addObserver(events.append)
    try:
        wire.ask(*lines)
    finally:
        globalLogPublisher.removeObserver(events.append)
    return [event["log_format"].format(**event) for event in events if "method" in event]


def test_requests_are_not_logged_by_default() -> None:
    assert lines_logged(Wire(), "GET /x HTTP/1.1", HOST) == []


def test_the_access_log_tells_no_secrets() -> None:
    wire = Wire(access_log=True)
    [line] = lines_logged(wire, "GET /x%0a?token=secret HTTP/1.1", HOST, "Authorization: Bearer secret")
    assert "GET /x%0a 200 9" in line
    assert "secret" not in line


def test_refusals_are_logged_too() -> None:
    [line] = lines_logged(Wire(access_log=True), "nonsense")
    assert " 400 " in line


def test_the_site_speaks_http_1_1_alone() -> None:
    assert Wire().site.acceptableProtocols() == [b"http/1.1"]
    assert isinstance(Wire().channel, Channel)
