"""A spool for uploads, and workers that do what the test tells them to."""

from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.web.http_headers import Headers
from zope.interface import implementer

from modabatchd.queue.spool import FileSpool
from modabatchd.rest.front import Head
from modabatchd.rest.interfaces import IFlow
from modabatchd.rest.upload import Received, Upload
from modabatchd.workers import IWorkers
from tests.contracts.spool import content
from tests.deferreds import now
from tests.rest.in_memory import BOUNDARY
from tests.run_now import RunNow

MULTIPART = f"multipart/form-data; boundary={BOUNDARY}"
ENCODED = "application/x-www-form-urlencoded"


@implementer(IWorkers)
class Held:
    """Work that is done when the test says so."""

    def __init__(self) -> None:
        self.work: deque[Callable[[], None]] = deque()

    def run(self, work: Callable[..., Any], *args: Any, **kwargs: Any) -> Deferred[Any]:
        done: Deferred[Any] = Deferred()
        self.work.append(lambda: maybeDeferred(work, *args, **kwargs).chainDeferred(done) and None)
        return done

    def one(self) -> None:
        self.work.popleft()()

    def all(self) -> None:
        while self.work:
            self.one()


@implementer(IFlow)
class Flow:
    """Remembers what the client was told."""

    def __init__(self) -> None:
        self.paused = False
        self.refused: list[BaseException] = []

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False

    def refuse(self, error: BaseException) -> None:
        self.refused.append(error)


class Place:
    """A spool in a directory, and uploads into it."""

    def __init__(self, directory: Path, spooling: IWorkers | None = None, quota: int = 1 << 40) -> None:
        self.spool = FileSpool(directory, quota, spooling or RunNow())
        self.spool.prepare()
        self.incoming = directory / "incoming"
        self.flow = Flow()

    def upload(self, content_type: str = MULTIPART, workers: IWorkers | None = None) -> Upload:
        head = Head(b"POST", b"/jobs", Headers({"Content-Type": [content_type]}), None)
        upload = Upload(head, self.spool, workers or RunNow())
        upload.begin(self.flow)
        return upload

    def receive(self, body: bytes, content_type: str = MULTIPART, step: int = 1 << 16) -> Received:
        upload = self.upload(content_type)
        for at in range(0, len(body), step):
            upload.write(body[at : at + step])
        upload.end()
        return now(upload.finished())

    def left(self) -> list[Path]:
        """The directories of the drafts that there are, in memory or on the disk."""
        return sorted({*self.spool._receiving, *self.incoming.iterdir()})


def files(received: Received) -> dict[str, bytes]:
    draft = received.draft
    return {name: content(draft, name) for name in ("bundle.tar.gz", "input") if draft.holds(name)}
