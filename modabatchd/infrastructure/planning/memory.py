"""What planning has learned, and what it is in the middle of.  Frozen and made of JSON; to be kept across restarts."""

from __future__ import annotations

import enum
from collections.abc import Mapping

import msgspec

from modabatchd.infrastructure.node import Capacity, Offering


class Phase(enum.StrEnum):
    """
    What a node may be doing for too long.

    C{overdue}: it never joined, and that has been counted.  C{draining}: it drains, or is to.  C{drained}: it was seen empty
    then.
    """

    BOOTING = "booting"
    OVERDUE = "overdue"
    DRAINING = "draining"
    DRAINED = "drained"
    LOST = "lost"


class Spell(msgspec.Struct, frozen=True):
    """
    A node is in a phase.

    @ivar since: when that was first seen.
    """

    phase: Phase
    since: float


class Idle(msgspec.Struct, frozen=True):
    """
    An entry of the stack of idle nodes of a pool.

    @ivar since: when there was first one idle node more than there are entries below.
    @ivar ghost: whether that node was let go.  See Note [Ghosts].
    """

    since: float
    ghost: bool = False


class Fair(msgspec.Struct, frozen=True):
    """
    What a start is worth in a pool, by Note [A fair price for waiting].

    @ivar cost: seconds of a node's price.
    @ivar gaps: how many gaps have been learned since it was found.
    """

    cost: float
    gaps: int = 0


class BackOff(msgspec.Struct, frozen=True):
    """
    An offering that was not to be had.

    @ivar failures: how many times in a row.
    @ivar until: when one node of it may be tried.
    @ivar probing: whether that one is under way, and its result is waited for until then.
    @ivar cause: why, as half a sentence.
    """

    offering: Offering
    failures: int
    until: float
    cause: str
    probing: bool = False


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """
    Everything.  A fresh one is where a new installation begins.

    @ivar at: when the last plan was made; L{None} before the first.
    @ivar spells: by node.
    @ivar idle: the stack of idle nodes of each pool; see Note [The stack of idle nodes].
    @ivar gaps: how long idle nodes have waited for work, the newest last, by pool and rank (C{"burst/2"}).
    @ivar often: how often gaps of a rank come, in comparison with the others of the pool; by the same.
    @ivar fair: by pool.
    @ivar boots: how many seconds nodes took from the order to the pool, the newest last, by pool.
    @ivar turned_out: what nodes of a size turned out to have, by pool and size (C{"burst/m1.small"}).
    @ivar failed_joins: how many nodes in a row never joined, by pool.
    @ivar closed: pools that nothing is started in until L{reopened}, each with the reason.
    @ivar starts: when nodes were ordered in the last minute.
    """

    at: float | None = None
    spells: Mapping[str, Spell] = {}
    idle: Mapping[str, tuple[Idle, ...]] = {}
    gaps: Mapping[str, tuple[float, ...]] = {}
    often: Mapping[str, float] = {}
    fair: Mapping[str, Fair] = {}
    boots: Mapping[str, tuple[float, ...]] = {}
    turned_out: Mapping[str, Capacity] = {}
    back_offs: tuple[BackOff, ...] = ()
    failed_joins: Mapping[str, int] = {}
    closed: Mapping[str, str] = {}
    starts: tuple[float, ...] = ()


def reopened(memory: Memory, pool: str) -> Memory:
    """The owner has mended a closed pool: it may be used again, and what failed in it is forgotten."""
    return msgspec.structs.replace(
        memory,
        closed={name: reason for name, reason in memory.closed.items() if name != pool},
        failed_joins={name: count for name, count in memory.failed_joins.items() if name != pool},
        back_offs=tuple(off for off in memory.back_offs if off.offering.pool != pool),
    )


_ENCODER = msgspec.json.Encoder(order="deterministic")


def encode_memory(memory: Memory) -> bytes:
    """As JSON; the same bytes for the same memory."""
    return _ENCODER.encode(memory)


def decode_memory(text: bytes) -> Memory:
    """
    From JSON.

    @raise msgspec.ValidationError: it is not a memory.
    """
    return msgspec.json.decode(text, type=Memory)
