"""
What we promised and decided about nodes: the record that outlives the daemon.  Values, and the interface of what keeps them.

Times are seconds since the epoch, money is in the policy's currency, months are C{2024-02} in UTC.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from twisted.internet.defer import Deferred
from zope.interface import Interface

from modabatchd.infrastructure.node import Node
from modabatchd.infrastructure.policy import Limits
from modabatchd.notifications.message import Message


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """
    A node, and what we know of it beside that.

    @ivar node: as recorded before anything was created.
    @ivar retiring: whether it is to go: it is given no work again, and is stopped once it is empty.
    @ivar listed: whether the provider has ever shown its machine.
    @ivar missing: since when the provider does not show it any more; L{None} while it does, or never has.
    @ivar resumed: when we last had it take jobs again; its slots may say otherwise for a moment.
    @ivar booked: until when its cost is part of what was spent for good; L{None}: none of it is.
    @ivar console: what its machine printed, if it never joined.
    """

    node: Node
    retiring: bool = False
    listed: bool = False
    missing: float | None = None
    resumed: float | None = None
    booked: float | None = None
    console: str = ""


class Overrides(msgspec.Struct, frozen=True, kw_only=True):
    """
    What the owner has said at run time, and what counts until he says otherwise.

    @ivar limits: instead of the policy's; L{None}: the policy's count.
    """

    paused: bool = False
    limits: Limits | None = None


class Decision(msgspec.Struct, frozen=True):
    """
    A line of the journal.

    @ivar seq: its number; later ones have higher numbers.
    @ivar body: JSON.
    """

    seq: int
    at: float
    body: bytes


class Spent(msgspec.Struct, frozen=True):
    """So much more was spent in a month on a pool's nodes."""

    month: str
    pool: str
    amount: float


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """
    What the next plan is made from.

    @ivar entries: of all nodes that cost money, or may.
    @ivar memory: of the planner; L{None} before the first plan.
    @ivar spent: in the month asked for, by pool, on nodes whose cost is booked.
    @ivar told: the budget that the owner was last told to be reached; see L{modabatchd.infrastructure.notices}.
    """

    entries: tuple[Entry, ...] = ()
    memory: bytes | None = None
    overrides: Overrides = Overrides()
    spent: dict[str, float] = {}
    told: str = ""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """
    Written in one transaction.  What is L{None} or empty stays as it is.

    @ivar entries: new ones, and new states of old ones.
    @ivar decision: when it was made, and what it was, for the journal.
    @ivar forget: nodes that were gone by then are forgotten.
    @ivar told: see L{Kept}.
    @ivar messages: go to the outbox; they are about no job.
    """

    entries: tuple[Entry, ...] = ()
    memory: bytes | None = None
    overrides: Overrides | None = None
    decision: tuple[float, bytes] | None = None
    spent: tuple[Spent, ...] = ()
    forget: float | None = None
    told: str | None = None
    messages: tuple[Message, ...] = ()


class IRegister(Interface):
    """
    Keeps what is above.  Every write is durable and atomic once its Deferred fires.

    Every method may fail with L{modabatchd.errors.StoreAway}; a write may or may not be there then.
    """

    def load(month: str) -> Deferred[Kept]:  # noqa: N805
        """What the next plan is made from."""

    def write(change: Change) -> Deferred[None]:  # noqa: N805
        """Write a change.  The journal keeps the newest decisions only."""

    def one(name: str) -> Deferred[Entry | None]:  # noqa: N805
        """A node by its name or id, also one that is gone."""

    def gone(limit: int) -> Deferred[Sequence[Entry]]:  # noqa: N805
        """Nodes that are gone, the last one first."""

    def decisions(limit: int, before: int) -> Deferred[Sequence[Decision]]:  # noqa: N805
        """The journal, the newest first, from numbers below C{before} on."""
