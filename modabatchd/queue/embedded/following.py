"""What a running job prints into a file of this machine."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any, Final

from twisted.internet.task import deferLater

from modabatchd.queue import files
from modabatchd.workers import IWorkers

_INTERVAL: Final = 0.5


async def growing(
    clock: Any, workers: IWorkers, path: Path, since: float, grows: Callable[[], bool]
) -> AsyncGenerator[bytes, None]:
    """
    What is in a file, and what is added to it; an empty piece after each look that found nothing new.

    @param workers: read it.
    @param since: what was written before that time (seconds since the epoch) is of an earlier run.
    @param grows: whether more may come.
    """
    offset = 0
    while True:
        # Asked before the look: what was added before the end must not be missed.
        last = not grows()
        piece = await workers.run(files.piece, path, offset, since)
        if piece:
            offset += len(piece)
            yield piece
        elif last:
            return
        else:
            yield b""
            await deferLater(clock, _INTERVAL)
