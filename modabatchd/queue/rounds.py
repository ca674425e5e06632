"""What the loop of the queue does in each of its rounds."""

from __future__ import annotations

from twisted.application.service import Service
from twisted.internet.defer import Deferred

from modabatchd.queue.submission import Submission
from modabatchd.queue.watching import Watching


class Rounds(Service):
    """The first round takes up what an earlier life has left; each looks at the queue."""

    def __init__(self, watching: Watching, submission: Submission) -> None:
        self.setName("rounds")
        self._watching = watching
        self._submission = submission
        self._taken_up = False

    def stopService(self) -> Deferred[None]:
        """Fires when no job is being finished, or after some seconds.  To be called after the last round."""
        super().stopService()
        return Deferred.fromCoroutine(self._watching.idle())

    async def look(self) -> None:
        """One round; may fail, and is then tried again."""
        if not self._taken_up:
            self._submission.resume(await self._watching.load())
            self._taken_up = True
        await self._watching.look()
