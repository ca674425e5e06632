"""
What the runner does while the wrapper runs.  The standard library only.

Note [Limits while suspended]
=============================
The wrapper watches over the wall-time limit, but a suspended wrapper watches over nothing.  When the time is over we
continue whatever is suspended, for good: the wrapper wakes, sees that the time is over, ends run.sh and packs the output,
as it does for any other job.  If it has not ended C{BACKSTOP} seconds later, everything is killed.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable
from typing import Final

from modabatchd.queue.embedded import processes

#: The daemon's orders, one byte each.
SUSPEND: Final = b"s"
CONTINUE: Final = b"c"
END: Final = b"e"
#: Seconds beyond the wall-time limit after which a run is killed that the wrapper did not end.
BACKSTOP: Final = 300
_PATIENCE: Final = 5.0


class Watch:
    """
    Watches over the processes of a run.

    @ivar status: how the wrapper ended, as C{wait} tells it; L{None} while it runs.
    @ivar told: whether the run was told to end, which means that how it ended tells nothing.
    @ivar exceeded: whether it was killed because its time was over.
    @ivar user_cpu: seconds, of all processes that have ended.
    @ivar image_size: KiB, the most that one of them had in memory.
    """

    def __init__(self, wrapper: int, orders: int, alarms: int, grace: float, limit: int) -> None:
        self.status: int | None = None
        self.told = self.exceeded = False
        self.user_cpu, self.image_size = 0.0, 0
        self._wrapper = wrapper
        self._orders = orders
        self._sources = [orders, alarms]
        self._grace = grace
        self._overdue = self._suspended = False
        self._timers: list[tuple[float, Callable[[], None]]] = []
        if limit:
            self._after(limit, self._time_is_over)
            self._after(limit + BACKSTOP, self._exceed)

    def until_the_end(self) -> None:
        """Return when the wrapper has ended and nothing that it started is left."""
        self.reap()
        while self.status is None:
            for source in self._wait():
                self._read(source)
            self.reap()
            self._check_time()
        processes.end(self._living, _PATIENCE)
        self.reap()

    def reap(self) -> None:
        """Take note of the children that have ended."""
        try:
            while True:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
                if pid == 0:
                    return
                self.user_cpu += usage.ru_utime
                self.image_size = max(self.image_size, usage.ru_maxrss)
                if pid == self._wrapper:
                    self.status = status
        except ChildProcessError:
            return

    def _wait(self) -> list[int]:
        pause = max(0.0, min(at for at, _ in self._timers) - time.monotonic()) if self._timers else None
        return select.select(self._sources, [], [], pause)[0]

    def _read(self, source: int) -> None:
        received = os.read(source, 4096)
        if source == self._orders and not received:
            self._sources.remove(source)
            self.told = True
            self._kill()
        elif source == self._orders:
            for order in received:
                self._obey(bytes([order]))

    def _obey(self, order: bytes) -> None:
        if order == SUSPEND and not (self.told or self._overdue):
            self._suspended = True
            processes.send_all(signal.SIGSTOP, self._living)
        elif order == CONTINUE:
            self._continue()
        elif order == END and not self.told:
            self.told = True
            os.kill(self._wrapper, signal.SIGTERM)
            self._continue()
            self._after(self._grace, self._kill)

    def _continue(self) -> None:
        if self._suspended:
            self._suspended = False
            processes.send_all(signal.SIGCONT, self._living)

    def _time_is_over(self) -> None:
        self._overdue = True
        self._continue()

    def _exceed(self) -> None:
        self.exceeded = True
        self._kill()

    def _kill(self) -> None:
        processes.send_all(signal.SIGKILL, self._living)

    def _living(self) -> list[processes.Process]:
        return processes.descendants(os.getpid(), processes.living())

    def _after(self, delay: float, call: Callable[[], None]) -> None:
        self._timers.append((time.monotonic() + delay, call))

    def _check_time(self) -> None:
        now = time.monotonic()
        due = [call for at, call in self._timers if at <= now]
        self._timers = [(at, call) for at, call in self._timers if at > now]
        for call in due:
            call()
