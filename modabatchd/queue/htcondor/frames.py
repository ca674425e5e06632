"""What the daemon and its child processes say to each other: length-prefixed JSON.  Pure."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, Final, Literal

import msgspec

from modabatchd.queue.htcondor.classads import Group

_LENGTH: Final = struct.Struct(">I")

#: A job's C{[cluster, proc]}.
Number = tuple[int, int]


class Submit(msgspec.Struct, frozen=True, tag=True):
    """
    Put a group of jobs into the queue; with their files, if C{spool}.

    Answered by a list with one item for each row: its C{[cluster, proc]}, or the text of the scheduler's refusal.
    """

    group: Group
    spool: bool


class Query(msgspec.Struct, frozen=True, tag=True):
    """Show the jobs in the queue that match.  Answered by lists of ads, as plain dicts."""

    constraint: str
    projection: tuple[str, ...]


class History(msgspec.Struct, frozen=True, tag=True):
    """Show up to C{limit} jobs that have left the queue and match.  Answered by lists of ads, as plain dicts."""

    constraint: str
    projection: tuple[str, ...]
    limit: int


class Act(msgspec.Struct, frozen=True, tag=True):
    """Do one thing to jobs.  Answered by a list of values of L{modabatchd.queue.interfaces.ActionResult}, one for each."""

    action: Literal["remove", "hold", "release", "suspend", "continue"]
    jobs: list[Number]
    reason: str


class Acknowledge(msgspec.Struct, frozen=True, tag=True):
    """Let finished jobs leave the queue.  Answered by L{None}; unknown jobs are no error."""

    jobs: list[Number]


class Discard(msgspec.Struct, frozen=True, tag=True):
    """Take jobs out of the queue for which nobody waits.  Answered by L{None}; unknown jobs are no error."""

    jobs: list[Number]


class Retrieve(msgspec.Struct, frozen=True, tag=True):
    """Copy the files of a job from the scheduler back to the directory that it was submitted from.  Answered by L{None}."""

    job: Number


class Ping(msgspec.Struct, frozen=True, tag=True):
    """Say where the scheduler is.  Answered by a L{Whereabouts}."""


class Whereabouts(msgspec.Struct, frozen=True):
    """@ivar here: whether the scheduler listens on an address of this machine."""

    name: str
    address: str
    version: str
    here: bool


Operation = Submit | Query | History | Act | Acknowledge | Discard | Retrieve | Ping


class Request(msgspec.Struct, frozen=True):
    """One call.  @ivar id: a positive number, repeated in the answers."""

    id: int
    operation: Operation


class Problem(msgspec.Struct, frozen=True):
    """
    Why a call failed.

    @ivar kind: C{away}: no answer, so nobody knows what happened; C{denied}: the scheduler does not let us;
        C{refused}: it answered no, for good.
    @ivar untouched: whether the scheduler was not even reached, so that nothing happened.
    """

    kind: Literal["away", "denied", "refused"]
    cause: str
    untouched: bool = False


class Answer(msgspec.Struct, frozen=True):
    """
    An answer, or a part of one.  The child says C{Answer(0)} when it is ready for the first request.

    @ivar last: whether this is all; parts that come before it carry a piece of the result each.
    @ivar submits: how many submissions this child has carried out so far.
    """

    id: int
    result: Any = None
    problem: Problem | None = None
    last: bool = True
    submits: int = 0


_encoder: Final = msgspec.json.Encoder()
_requests: Final = msgspec.json.Decoder(Request)
_answers: Final = msgspec.json.Decoder(Answer)


def pack(message: Request | Answer) -> bytes:
    """A message as a frame."""
    body = _encoder.encode(message)
    return _LENGTH.pack(len(body)) + body


def unpack_request(body: bytes) -> Request:
    """The request in a frame."""
    return _requests.decode(body)


def unpack_answer(body: bytes) -> Answer:
    """The answer in a frame."""
    return _answers.decode(body)


class Splitter:
    """Cuts a stream of bytes, as they come, into the bodies of frames."""

    def __init__(self) -> None:
        self._pending = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Take some bytes; the bodies of the frames that they complete."""
        self._pending += data
        while len(self._pending) >= _LENGTH.size:
            end = _LENGTH.size + _LENGTH.unpack_from(self._pending)[0]
            if len(self._pending) < end:
                return
            body = bytes(self._pending[_LENGTH.size : end])
            del self._pending[:end]
            yield body
