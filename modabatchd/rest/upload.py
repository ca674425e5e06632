"""
A submission that arrives.

Note [Whose is the draft]
=========================
The draft belongs to the upload until its files are complete and a handler has taken it with L{Upload.finished}; until then
whatever goes wrong (the form, the disk, the client) discards it.  Once it has been
handed out it is the handler's alone, and L{Upload.abort} leaves it be.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import msgspec
from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.python.failure import Failure
from zope.interface import implementer

from modabatchd.errors import FieldError, TooLarge
from modabatchd.queue.form import check_name, repeated
from modabatchd.queue.interfaces import IDraft, ISpool
from modabatchd.rest.forms import MOST, Event, Field, form_parser
from modabatchd.rest.front import Head
from modabatchd.rest.gathering import Gathering
from modabatchd.rest.interfaces import IBody, IFlow
from modabatchd.rest.keys import HEADER, of_form
from modabatchd.rest.problems import HTTPRefusal
from modabatchd.workers import IWorkers

_FILES: Final[Mapping[str, str]] = MappingProxyType(
    {"job-bundle": "bundle.tar.gz", "job-input": "input", "job-parameters": "parameters"}
)
#: Bytes of all texts with their names, and how many fields there may be.
_LONGEST: Final = 1 << 20


class Received(msgspec.Struct, frozen=True):
    """
    A submission that has arrived.

    @ivar draft: holds the files.
    @ivar fields: the texts, in the order in which they came.
    @ivar digest: of texts and files; of no meaning unless the request has an Idempotency-Key.
    """

    draft: IDraft
    fields: tuple[tuple[str, str], ...]
    digest: bytes = b""


@implementer(IBody)
class Upload:
    """Takes a form: its files go into a draft of the spool, its texts are kept.  See Note [Whose is the draft]."""

    def __init__(self, head: Head, spool: ISpool, workers: IWorkers) -> None:
        """
        @param workers: write the files.
        @raise HTTPRefusal: the body will be no form.
        """
        self._parser = form_parser(head.headers)
        self._spool = spool
        self._gathering = Gathering(workers, self._throttle, self._fail, head.headers.hasHeader(HEADER))
        self._form = _Form(self._gathering)
        self._flow: IFlow | None = None
        self._draft: IDraft | None = None
        self._expected = head.length or 0
        self._problem: Failure | None = None
        self._complete = False
        self._handed_out = False
        self._waiter: Deferred[Received] | None = None

    def begin(self, flow: IFlow) -> None:
        """See L{IBody.begin}."""
        self._flow = flow
        try:
            self._draft = self._spool.draft(self._expected)
        except Exception:
            self._fail(Failure())
        else:
            self._gathering.begin(self._draft)

    def write(self, data: bytes) -> None:
        """See L{IBody.write}."""
        if self._problem is None and self._draft is not None:
            self._draft.grow(len(data))
            for event in self._parser.feed(data):
                self._form.take(event)

    def end(self) -> None:
        """See L{IBody.end}."""
        try:
            for event in self._parser.close():
                self._form.take(event)
        except Exception:
            self._fail(Failure())
        if self._problem is None:
            self._gathering.close().addCallback(lambda _: self._completed())

    def abort(self) -> None:
        """See L{IBody.abort}."""
        self._fail(Failure(HTTPRefusal(400, "broken-off", "The submission was broken off.", "Send it again.")))

    def finished(self) -> Deferred[Received]:
        """
        The submission, once it is complete and written (not synced).  To be called once.

        @return: fails with what is wrong with the submission; its draft is discarded then.
        """
        if self._problem is not None:
            return fail(self._problem)
        waiter: Deferred[Received] = Deferred(lambda _: self.abort())
        self._waiter = waiter
        self._hand_out()
        return waiter

    def _throttle(self, full: bool) -> None:
        if self._flow is not None:
            self._flow.pause() if full else self._flow.resume()

    def _completed(self) -> None:
        self._complete = self._problem is None
        self._hand_out()

    def _hand_out(self) -> None:
        if self._complete and self._draft is not None and self._waiter is not None:
            self._handed_out = True
            texts = tuple(self._form.texts)
            self._waiter.callback(Received(self._draft, texts, of_form(texts, self._gathering.digests())))

    def _fail(self, failure: Failure) -> None:
        if self._problem is not None or self._handed_out:
            return
        self._problem = failure
        self._gathering.drop().addCallback(lambda _: self._discard())
        if self._flow is not None:
            self._flow.refuse(failure.value or CancelledError())
        if self._waiter is not None:
            self._waiter.errback(failure)

    def _discard(self) -> None:
        if self._draft is not None:
            self._spool.discard(self._draft)


class _Form:
    """
    Sorts the fields of a form.

    @ivar texts: names and values so far.
    @ivar sent: the files so far; a browser's blank file input is none.
    """

    def __init__(self, files: Gathering) -> None:
        self._files = files
        self._name = ""
        self._text = bytearray()
        self._count = 0
        self._size = 0
        self.texts: list[tuple[str, str]] = []
        self.sent: set[str] = set()

    def take(self, event: Event) -> None:
        """@raise modabatchd.errors.ModabatchError: the form breaks a rule."""
        if isinstance(event, Field):
            self._begin(event)
        elif event is not None:
            self._piece(event)
        elif self._name not in _FILES:
            self.texts.append((self._name, self._decoded()))

    def _begin(self, field: Field) -> None:
        check_name(field.name)
        if field.name in self.sent:
            raise repeated(field.name)
        self._name = field.name
        self._text = bytearray()
        self._count += 1
        self._grow(len(field.name))
        if field.file and field.name in _FILES:
            self._piece(b"")

    def _piece(self, data: bytes) -> None:
        if self._name in _FILES:
            self.sent.add(self._name)
            self._files.add(_FILES[self._name], data)
        else:
            self._grow(len(data))
            self._text.extend(data)

    def _grow(self, size: int) -> None:
        self._size += size
        if self._size > _LONGEST or self._count > MOST:
            cause = f"The form has more than {MOST} fields, or texts of more than {_LONGEST} bytes."
            raise TooLarge(cause, "Send large data in the bundle or as job-input.")

    def _decoded(self) -> str:
        try:
            return self._text.decode()
        except UnicodeDecodeError:
            cause = f"The field {self._name!r} is not UTF-8."
            raise FieldError(self._name, cause, "Send names and texts in UTF-8.") from None
