"""
Two clocks.

Note [Two clocks]
=================
A reactor tells the time of day, and its timers go by it: when somebody sets the clock back by an hour, every loop and every
deadline rests for an hour.  So the daemon's reactor goes by a clock that nobody sets (L{go_steadily}), and what has to know the
time of day, because it is stored or shown, gets it by L{TimeOfDay}, whose timers are the reactor's.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def go_steadily(reactor: Any) -> None:
    """Let a reactor that has no timers yet go by a clock that nobody sets.  See Note [Two clocks]."""
    reactor.seconds = time.monotonic


class TimeOfDay:
    """
    A reactor whose C{seconds} are those since the epoch.  All else is the reactor's own.

    @param seconds: the time of day.
    """

    def __init__(self, reactor: Any, seconds: Callable[[], float] = time.time) -> None:
        self._reactor = reactor
        self.seconds = seconds

    def __getattr__(self, name: str) -> Any:
        """What is not ours is the reactor's."""
        return getattr(self._reactor, name)
