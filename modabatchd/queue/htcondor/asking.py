"""
When to ask the scheduler which jobs have changed, and how far back.  Pure: the time is an argument, of a clock nobody sets.

Note [One question for all]
===========================
Whatever the scheduler is asked about jobs, it walks its whole queue for it: some 0.1 s for 100,000 jobs, be it for one job by
its number or for all that have entered their status in the last seconds; to look for a hundred numbers takes ten times as long.
So it is asked for the latter, once for all that may have changed, and by its own clock, which need not be ours.  What the
questions cost it is bounded: each is followed by a rest that is some times longer.

Note [Hints come early]
=======================
An event may be written before the queue shows what it tells, and a job is "completed" for a moment before the scheduler
says when and how that was.  So after a hint there are further questions, a moment and some seconds later.
"""

from __future__ import annotations

from math import ceil
from typing import Final

#: Seconds after a hint at which its questions are put.
ECHOES: Final = (0.0, 0.3, 2.0)
#: Seconds by which each question looks back further than it needs to: the scheduler counts whole seconds, and an event may be
#: written a little later than what it tells.
OVERLAP: Final = 3
#: How many times longer than a question took the rest after it is, and how many seconds at most: a scheduler that is slow for a
#: while must not make all changes late.
_REST: Final = 2.0
_LONGEST_REST: Final = 0.4
#: Seconds between two questions at most, however slow the scheduler is.
_LONGEST_INTERVAL: Final = 15.0


class Asking:
    """
    See Note [One question for all].

    @param now: until when everything is known.
    @param interval: seconds between two questions at least, when nothing calls for one.
    """

    def __init__(self, now: float, interval: float) -> None:
        self._interval = interval
        self._known_until = now
        self._regular = now
        self._not_before = now
        self._hints: list[tuple[float, float]] = []

    def hint(self, now: float, since: float) -> None:
        """Something has changed after C{since}.  See Note [Hints come early]."""
        self._hints.extend((now + echo, since) for echo in ECHOES)

    def due(self, now: float) -> bool:
        """Whether to ask now."""
        wanted = now >= self._regular or any(at <= now for at, _ in self._hints)
        return wanted and now >= self._not_before

    def span(self, now: float) -> int:
        """Seconds that a question that is put now must look back."""
        since = min([self._known_until, *(since for at, since in self._hints if at <= now)])
        return ceil(now - since) + OVERLAP

    def rest(self, asked: float, now: float, multiple: float) -> None:
        """
        A question that was put at C{asked} has been answered.

        @param multiple: how many times longer than that took it is to the next one at least, when nothing calls for one.
        """
        took = now - asked
        self._not_before = now + min(_REST * took, _LONGEST_REST)
        self._regular = now + max(self._interval, min(multiple * took, _LONGEST_INTERVAL))

    def answered(self, asked: float) -> None:
        """What was told in answer to a question that was put then is stored."""
        self._known_until = max(self._known_until, asked)
        self._hints = [(at, since) for at, since in self._hints if at > asked]
