"""The operations on nodes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from twisted.internet.interfaces import IReactorTime

from modabatchd.infrastructure.book import Book
from modabatchd.infrastructure.by_hand import ByHand
from modabatchd.infrastructure.policy import Limits
from modabatchd.infrastructure.refusals import UnknownNode, UnknownPool
from modabatchd.infrastructure.register import Entry, IRegister
from modabatchd.infrastructure.scaling import Scaling
from modabatchd.rest import asking
from modabatchd.rest.operations import Answer, operation, query
from modabatchd.rest.problems import HTTPRefusal
from modabatchd.rest.representation_infrastructure import (
    DecisionView,
    InfrastructureView,
    LimitsView,
    NodeDetails,
    NodeView,
    PlanView,
    decision_view,
    infrastructure_view,
    limits_view,
    node_details,
    node_view,
    plan_view,
)

_TAG: Final = "infrastructure"


class Started(msgspec.Struct, frozen=True):
    """@ivar nodes: those that were ordered; fewer than were asked for if a limit stands against more."""

    nodes: tuple[NodeView, ...]


class Paused(msgspec.Struct, frozen=True):
    """@ivar paused: whether scaling is."""

    paused: bool


class Opened(msgspec.Struct, frozen=True):
    """@ivar pool: the pool that is used again."""

    pool: str


class Infrastructure:
    """The nodes over HTTP.  @param clock: tells the time of day."""

    def __init__(self, clock: IReactorTime, scaling: Scaling, by_hand: ByHand, book: Book, register: IRegister) -> None:
        self._clock = clock
        self._scaling = scaling
        self._by_hand = by_hand
        self._book = book
        self._register = register

    @operation("GET", "/infrastructure", "Look at pools and nodes", tag=_TAG, answers={200: InfrastructureView})
    async def get_infrastructure(self, request: Any) -> Answer:
        """Pools, and nodes with what they run and cost, as of the last look."""
        asking.only(query(request))
        return Answer(await self._book.turn(self._view))

    @operation("GET", "/infrastructure/plan", "What would be done now", tag=_TAG, answers={200: PlanView}, problems=(503,))
    async def get_plan(self, request: Any) -> Answer:
        """Looks and decides as the service does, and does nothing: step by step, each with its reason."""
        asking.only(query(request))
        return Answer(plan_view(await self._scaling.preview()))

    @operation(
        "GET",
        "/infrastructure/decisions",
        "Read the journal",
        tag=_TAG,
        parameters=(asking.LIMIT, asking.CURSOR),
        answers={200: list[DecisionView]},
        headers={200: ("Link",)},
        problems=(422, 503),
    )
    async def get_decisions(self, request: Any) -> Answer:
        """What was decided, and why, the newest first.  A Link header leads to the next page."""
        asked = query(request)
        asking.only(asked, "limit", "cursor")
        limit = asking.number(asked, "limit", asking.PAGE, 1, asking.LARGEST_PAGE)
        found = await self._register.decisions(limit + 1, asking.number(asked, "cursor", asking.NEWEST, 0, asking.NEWEST))
        shown = found[:limit]
        headers = {"Link": asking.next_link(limit, shown[-1].seq)} if len(found) > limit else {}
        return Answer([decision_view(decision) for decision in shown], headers=headers)

    @operation(
        "GET", "/infrastructure/nodes/<node>", "Look at a node", tag=_TAG, answers={200: NodeDetails}, problems=(404, 503)
    )
    async def get_node(self, request: Any, node: str) -> Answer:
        """All about a node, also one that is gone: why it went, and what it printed if it never joined."""
        asking.only(query(request))
        entry = await self._register.one(node) if node.isprintable() else None
        if entry is None:
            raise _missing(UnknownNode(f"There is no node {node[:100]!r}.", "List the nodes with GET /infrastructure."))
        last = self._scaling.last
        presence = None if last is None else last.observation.presences.get(entry.node.name)
        return Answer(node_details(entry, presence, self._clock.seconds()))

    @operation(
        "POST", "/infrastructure/pause", "Stop all scaling", tag=_TAG, changes=True, answers={200: Paused}, problems=(503,)
    )
    async def pause_scaling(self, request: Any) -> Answer:
        """Nothing is started or stopped until it is resumed, but for what is done by hand.  Outlives a restart."""
        await self._by_hand.pause(True)
        return Answer(Paused(True))

    @operation(
        "POST", "/infrastructure/resume", "Let scaling go on", tag=_TAG, changes=True, answers={200: Paused}, problems=(503,)
    )
    async def resume_scaling(self, request: Any) -> Answer:
        """Undoes a pause."""
        await self._by_hand.pause(False)
        return Answer(Paused(False))

    @operation(
        "POST",
        "/infrastructure/pools/<pool>/start",
        "Start nodes",
        tag=_TAG,
        changes=True,
        adds_up=True,
        parameters=(asking.COUNT,),
        answers={202: Started},
        problems=(404, 409, 422, 503),
    )
    async def start_nodes(self, request: Any, pool: str) -> Answer:
        """Orders the cheapest nodes of a pool, within its limits.  Without work they go as others do: pin them to stay."""
        asked = query(request)
        asking.only(asked, "count")
        try:
            entries = await self._by_hand.start(pool, asking.number(asked, "count", 1, 1, asking.MOST))
        except UnknownPool as problem:
            raise _missing(problem) from None
        return Answer(Started(tuple(self._shown(entry) for entry in entries)), 202)

    @operation(
        "POST",
        "/infrastructure/pools/<pool>/open",
        "Use a closed pool again",
        tag=_TAG,
        changes=True,
        answers={200: Opened},
        problems=(404, 503),
    )
    async def open_pool(self, request: Any, pool: str) -> Answer:
        """For a pool that was closed because its nodes never joined.  What failed there is forgotten."""
        try:
            await self._by_hand.reopen(pool)
        except UnknownPool as problem:
            raise _missing(problem) from None
        return Answer(Opened(pool))

    @operation(
        "POST DELETE",
        "/infrastructure/nodes/<node>/drain",
        "Drain a node, or let it take jobs again",
        tag=_TAG,
        changes=True,
        answers={202: NodeView},
        problems=(404, 409, 503),
    )
    async def drain_node(self, request: Any, node: str) -> Answer:
        """POST: it takes no new jobs, and goes when the last one is done.  DELETE: it takes jobs again."""
        work = self._by_hand.undrain if request.method == b"DELETE" else self._by_hand.drain
        return await self._changed(work(node))

    @operation(
        "POST",
        "/infrastructure/nodes/<node>/stop",
        "Stop a node",
        tag=_TAG,
        changes=True,
        answers={202: NodeView},
        problems=(404, 409, 503),
    )
    async def stop_node(self, request: Any, node: str) -> Answer:
        """Ends a node that runs no job, at once; one that does is refused: drain it."""
        return await self._changed(self._by_hand.stop(node))

    @operation(
        "POST DELETE",
        "/infrastructure/nodes/<node>/pin",
        "Pin a node, or unpin it",
        tag=_TAG,
        changes=True,
        answers={202: NodeView},
        problems=(404, 503),
    )
    async def pin_node(self, request: Any, node: str) -> Answer:
        """POST: it is never stopped.  DELETE: it may be."""
        return await self._changed(self._by_hand.pin(node, request.method != b"DELETE"))

    @operation(
        "POST",
        "/infrastructure/nodes/<node>/unpin",
        "Unpin a node",
        tag=_TAG,
        changes=True,
        answers={202: NodeView},
        problems=(404, 503),
    )
    async def unpin_node(self, request: Any, node: str) -> Answer:
        """The same as DELETE of its pin."""
        return await self._changed(self._by_hand.pin(node, False))

    @operation(
        "PUT",
        "/infrastructure/limits",
        "Change limits",
        tag=_TAG,
        changes=True,
        parameters=asking.LIMITS,
        answers={200: LimitsView},
        problems=(422, 503),
    )
    async def set_limits(self, request: Any) -> Answer:
        """Those that are given count instead of the policy's from now on, also after a restart."""
        given = asking.limits(query(request))
        return Answer(limits_view(await self._by_hand.limit(lambda limits: _replaced(limits, given))))

    @operation(
        "DELETE",
        "/infrastructure/limits",
        "Let the policy's limits count again",
        tag=_TAG,
        changes=True,
        answers={200: LimitsView},
        problems=(422, 503),
    )
    async def reset_limits(self, request: Any) -> Answer:
        """Forgets what was changed."""
        asking.only(query(request))
        return Answer(limits_view(await self._by_hand.limit(None)))

    async def _view(self) -> InfrastructureView:
        book, last = self._book, self._scaling.last
        broken = {} if last is None else last.observation.broken
        entries = book.entries.values()
        now = self._clock.seconds()
        return infrastructure_view(book.policy, entries, book.overrides, book.memory, broken, book.spent(), last, now)

    async def _changed(self, work: Any) -> Answer:
        try:
            return Answer(self._shown(await work), 202)
        except UnknownNode as problem:
            raise _missing(problem) from None

    def _shown(self, entry: Entry) -> NodeView:
        return node_view(entry, None, self._clock.seconds())


def _missing(problem: UnknownNode | UnknownPool) -> HTTPRefusal:
    return HTTPRefusal(404, problem.code, problem.cause, problem.cure)


def _replaced(limits: Limits, given: Mapping[str, float | None]) -> Limits:
    return msgspec.structs.replace(limits, **given)
