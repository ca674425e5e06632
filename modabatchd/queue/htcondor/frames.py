"""What the daemon and its child processes say to each other: length-prefixed JSON.  Pure."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, Final, Literal

import msgspec

from modabatchd.queue.htcondor.classads import Group
from modabatchd.queue.job import BackendId

_LENGTH: Final = struct.Struct(">I")

#: A job's C{[cluster, proc]}.
Number = tuple[int, int]


class Submit(msgspec.Struct, frozen=True, tag=True):
    """
    Put a group of jobs into the queue; with their files, if C{spool}.

    Answered by a list with one item for each job, that is for each row, or for an array as a whole: its C{[cluster, proc]}
    (that of an array's first task), or the text of the scheduler's refusal.
    """

    group: Group
    spool: bool


class Query(msgspec.Struct, frozen=True, tag=True):
    """Show the jobs in the queue that match, or so many of them.  Answered by lists of ads, as plain dicts."""

    constraint: str
    projection: tuple[str, ...]
    limit: int = -1


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
    """
    Copy the files of jobs from the scheduler back to the directories that they were submitted from.

    Answered by a list with one item for each: L{None}, or the text of the scheduler's refusal.
    """

    jobs: list[Number]


class Ping(msgspec.Struct, frozen=True, tag=True):
    """Say where the scheduler is.  Answered by a L{Whereabouts}."""


class Whereabouts(msgspec.Struct, frozen=True):
    """
    @ivar here: whether the scheduler listens on an address of this machine.
    @ivar programs: the directory of HTCondor's programs on this machine, as its configuration tells (C{BIN}); may be empty.
    """

    name: str
    address: str
    version: str
    here: bool
    programs: str = ""


class Demand(msgspec.Struct, frozen=True, tag=True):
    """
    Count the jobs that wait for a node, by shape.  Answered by a list of L{Shape}.

    @ivar offers: ads of machines that might be started, as ClassAd text, under names that mean something to the asker.
    """

    offers: dict[str, list[str]] = {}


class Shape(msgspec.Struct, frozen=True):
    """
    Jobs that ask for the same.

    @ivar id: tells it from other shapes, for as long as the scheduler runs.
    @ivar memory: MiB.
    @ivar disk: KiB.
    @ivar oldest: when one of the first of them was submitted, in seconds since the epoch.
    @ivar offers: the names of those offers of which one machine at least matches.
    """

    id: str
    count: int
    cpus: int
    memory: int
    disk: int
    gpus: int
    oldest: float
    offers: list[str]


class Slots(msgspec.Struct, frozen=True, tag=True):
    """Show the collector and all slots of all nodes.  Answered by lists of ads, as plain dicts, told apart by C{MyType}."""


class Drain(msgspec.Struct, frozen=True, tag=True):
    """Let a node take no more jobs.  Answered by L{None}.  @ivar token: one of an administrator of the node."""

    node: str
    token: str


class Resume(msgspec.Struct, frozen=True, tag=True):
    """Let a node take jobs again.  Answered by L{None}.  @ivar token: one of an administrator of the node."""

    node: str
    token: str


class Dismiss(msgspec.Struct, frozen=True, tag=True):
    """
    End a node's daemons.  Answered by L{None}, also if the pool does not know the node.

    @ivar token: one of an administrator of the node.
    """

    node: str
    token: str


class Forget(msgspec.Struct, frozen=True, tag=True):
    """Remove what the collector remembers of a node.  Answered by L{None}.  @ivar token: one with which nodes may advertise."""

    node: str
    token: str


OnNodes = Slots | Drain | Resume | Dismiss | Forget
Operation = Submit | Query | History | Act | Acknowledge | Discard | Retrieve | Ping | Demand | OnNodes


class Request(msgspec.Struct, frozen=True):
    """
    One call.

    @ivar id: a positive number, repeated in the answers.
    @ivar schedd: the name of the only scheduler that may be asked; empty for the one that is found.
    """

    id: int
    operation: Operation
    schedd: str = ""


class Problem(msgspec.Struct, frozen=True):
    """
    Why a call failed.

    @ivar kind: C{away}: no answer, so nobody knows what happened; C{denied}: the scheduler does not let us;
        C{refused}: it answered no, for good; C{elsewhere}: the only scheduler that may be asked is not known.
    @ivar untouched: whether the scheduler was not even reached, so that nothing happened.
    """

    kind: Literal["away", "denied", "refused", "elsewhere"]
    cause: str
    untouched: bool = False


class Answer(msgspec.Struct, frozen=True):
    """
    An answer, or a part of one.  The child says C{Answer(0)} when it is ready for the first request.

    @ivar last: whether this is all; parts that come before it carry a piece of the result each.
    @ivar submits: how many submissions this child has carried out so far.
    @ivar sending: a part that carries no result, and tells what the child is about to do: to send files, or (C{False}) to
        ask the scheduler for something.
    """

    id: int
    result: Any = None
    problem: Problem | None = None
    last: bool = True
    submits: int = 0
    sending: bool | None = None


def number(backend_id: BackendId) -> Number:
    """A job's number."""
    return (backend_id.cluster, backend_id.proc)


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
