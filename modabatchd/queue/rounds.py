"""What the loop of the queue does in each of its rounds."""

from __future__ import annotations

from modabatchd.queue.submission import Submission
from modabatchd.queue.watching import Watching


class Rounds:
    """The first round takes up what an earlier life has left; each looks at the queue."""

    def __init__(self, watching: Watching, submission: Submission) -> None:
        self._watching = watching
        self._submission = submission
        self._taken_up = False

    async def look(self) -> None:
        """One round; may fail, and is then tried again."""
        if not self._taken_up:
            self._submission.resume(await self._watching.load())
            self._taken_up = True
        await self._watching.look()
