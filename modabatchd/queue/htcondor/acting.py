"""
What is done to jobs in a scheduler.

Note [Held, and released at once]
=================================
A job that is held while it runs is C{held} at once, but its node takes a moment to let go of it.  If it is released within that
moment, it may stay idle for minutes.  So a release waits for that first, though not for ever.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, Final, TypeVar

from twisted.internet.task import deferLater

from modabatchd.errors import QueueRefused
from modabatchd.queue.htcondor import classads, frames
from modabatchd.queue.htcondor.calls import Denied, Taker, converted
from modabatchd.queue.interfaces import ActionResult
from modabatchd.queue.job import Action, BackendId

T = TypeVar("T")

_MOST: Final = 500
#: Seconds that a release waits at the most, and between two looks.
_LETTING_GO: Final = 10.0
_LOOK: Final = 0.1


class Acting:
    """
    Acts on jobs.

    @param ask: asks the scheduler for something, and has the parts of the answer taken.
    """

    def __init__(self, clock: Any, ask: Callable[[frames.Operation, Taker], Awaitable[None]]) -> None:
        self._clock = clock
        self._ask = ask

    async def act(self, action: Action, backend_ids: Sequence[BackendId], reason: str) -> Sequence[ActionResult]:
        """See L{modabatchd.queue.interfaces.IQueue.act}."""
        results: list[ActionResult] = []
        for piece in pieces(backend_ids, _MOST):
            operation = frames.Act(action.value, [frames.number(backend_id) for backend_id in piece], reason)
            try:
                if action is Action.RELEASE:
                    await self._until_let_go_of(piece)
                await self._ask(operation, converted(results, ActionResult, many=True))
            except Denied as problem:
                raise QueueRefused(problem.cause, problem.cure) from problem
        return results

    async def _until_let_go_of(self, backend_ids: Sequence[BackendId]) -> None:
        """See Note [Held, and released at once]."""
        until = self._clock.seconds() + _LETTING_GO
        query = frames.Query(classads.clinging(backend_ids), ("ClusterId",))
        while self._clock.seconds() < until:
            held: list[Any] = []
            await self._ask(query, held.extend)
            if not held:
                return
            await deferLater(self._clock, _LOOK)


def pieces(things: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Things, so many at a time."""
    for start in range(0, len(things), size):
        yield things[start : start + size]
