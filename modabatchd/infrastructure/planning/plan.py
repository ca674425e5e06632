"""What planning decides: steps, each with its reason.  Values only."""

from __future__ import annotations

import enum

import msgspec

from modabatchd.infrastructure.node import Capacity, Offering
from modabatchd.infrastructure.planning.memory import Memory


class Served(msgspec.Struct, frozen=True):
    """So many jobs of a group."""

    group: str
    count: int


class StopCause(enum.StrEnum):
    """Why a node is stopped, for whoever keeps the console's output or counts."""

    EMPTY = "empty"
    NEVER_JOINED = "never_joined"
    DRAIN_TIMEOUT = "drain_timeout"
    LOST = "lost"


class StartNode(msgspec.Struct, frozen=True, kw_only=True, tag_field="step", tag="start"):
    """
    Order a node.

    @ivar serves: for whom; empty when it is there for a minimum.
    """

    offering: Offering
    capacity: Capacity
    price: float
    serves: tuple[Served, ...] = ()
    reason: str


class ResumeNode(msgspec.Struct, frozen=True, kw_only=True, tag_field="step", tag="resume"):
    """Let a draining node take jobs again."""

    node: str
    reason: str


class DrainNode(msgspec.Struct, frozen=True, kw_only=True, tag_field="step", tag="drain"):
    """Let a node take no new jobs."""

    node: str
    reason: str


class StopNode(msgspec.Struct, frozen=True, kw_only=True, tag_field="step", tag="stop"):
    """
    End a node.

    @ivar jobs: how many jobs may be lost by it; 0 means that it is only to be stopped if a fresh look shows none.
    """

    node: str
    cause: StopCause
    reason: str
    jobs: int = 0


class WaitKind(enum.StrEnum):
    """
    What jobs wait for.

    C{placing}: the negotiator, for there is room.  C{booting}: a node on its way.  C{occupied}: a node that is not ours.
    C{limit}, C{budget}, C{back_off}, C{closed}, C{paused}: nothing is started, for that reason.
    """

    PLACING = "placing"
    BOOTING = "booting"
    OCCUPIED = "occupied"
    LIMIT = "limit"
    BUDGET = "budget"
    BACK_OFF = "back_off"
    CLOSED = "closed"
    PAUSED = "paused"


class Wait(msgspec.Struct, frozen=True, kw_only=True, tag_field="step", tag="wait"):
    """
    Do nothing for some jobs, for now.

    @ivar nodes: those that they wait for.
    @ivar until: when that changes by itself, as far as is known.
    """

    group: str
    count: int
    kind: WaitKind
    reason: str
    nodes: tuple[str, ...] = ()
    until: float | None = None


Step = StartNode | ResumeNode | DrainNode | StopNode | Wait


class Unsatisfiable(msgspec.Struct, frozen=True):
    """Jobs that no node of any pool could ever run."""

    group: str
    count: int
    reason: str


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """
    What is to be done now.

    @ivar steps: in the order in which they are to be carried out.
    @ivar memory: to be given to the next plan if this one is carried out, and kept before it is.
    @ivar wake_at: when to look again even if nothing happens until then.
    @ivar reason: why there is no step at all, where that is not plain.
    """

    steps: tuple[Step, ...] = ()
    unsatisfiable: tuple[Unsatisfiable, ...] = ()
    memory: Memory
    wake_at: float
    reason: str = ""

    @property
    def actions(self) -> tuple[StartNode | ResumeNode | DrainNode | StopNode, ...]:
        """The steps that change something."""
        return tuple(step for step in self.steps if not isinstance(step, Wait))


_ENCODER = msgspec.json.Encoder(order="deterministic")


def encode_plan(plan: Plan) -> bytes:
    """As JSON; the same bytes for the same plan."""
    return _ENCODER.encode(plan)
