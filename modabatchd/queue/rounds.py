"""What the loops of the queue do in each of their rounds."""

from __future__ import annotations

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredLock

from modabatchd.queue.submission import Submission
from modabatchd.queue.watching import Watching


class Rounds(Service):
    """The first round takes up what an earlier life has left; each looks at the queue, or sweeps all of it."""

    def __init__(self, watching: Watching, submission: Submission) -> None:
        self.setName("rounds")
        self._watching = watching
        self._submission = submission
        self._turn = DeferredLock()
        self._taken_up = False

    def stopService(self) -> Deferred[None]:
        """Fires when no job is being finished, or after some seconds.  To be called after the last round."""
        super().stopService()
        return Deferred.fromCoroutine(self._watching.idle())

    async def look(self) -> None:
        """One look at what has changed; may fail, and is then tried again."""
        await self._take_up()
        await self._watching.look()

    async def sweep(self) -> None:
        """One look at everything; may fail, and is then tried again."""
        await self._take_up()
        await self._watching.sweep()

    async def _take_up(self) -> None:
        if not self._taken_up:
            await self._turn.run(lambda: Deferred.fromCoroutine(self._load()))

    async def _load(self) -> None:
        if not self._taken_up:
            self._submission.resume(await self._watching.load())
            self._taken_up = True
