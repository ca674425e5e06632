"""
Nodes and the machines that they are.  Values only: no I/O, no clock.

A I{node} is what we decided to have: it has a name of ours before anything was created.  A I{machine} is what a provider shows.
The two are tied by that name and by a tag that only we write.
"""

from __future__ import annotations

import enum

import msgspec


class Capacity(msgspec.Struct, frozen=True, kw_only=True):
    """
    What a machine offers, or a job asks for, in HTCondor's units.

    @ivar cpus: cores.
    @ivar memory: MiB.
    @ivar disk: KiB; 0 where nobody counts it.
    @ivar gpus: devices.
    """

    cpus: int = 1
    memory: int = 0
    disk: int = 0
    gpus: int = 0


class Market(enum.StrEnum):
    """How a machine is paid for."""

    ON_DEMAND = "on_demand"
    SPOT = "spot"


class NodeState(enum.StrEnum):
    """
    What we know of a node.

    C{requested}: recorded, and perhaps created.  C{booting}: the provider has it, the pool does not yet.  C{up}: it is in
    the pool.  C{draining}: it takes no new jobs.  C{stopping}: the provider was told to destroy it, and has not said yet that
    it is gone.  C{gone}: it is.
    """

    REQUESTED = "requested"
    BOOTING = "booting"
    UP = "up"
    DRAINING = "draining"
    STOPPING = "stopping"
    GONE = "gone"

    @property
    def alive(self) -> bool:
        """Whether it costs money, or may."""
        return self is not NodeState.GONE


class MachineState(enum.StrEnum):
    """A provider's states, as far as they differ for us; libcloud's C{NodeState} maps to them."""

    PENDING = "pending"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    TERMINATED = "terminated"
    ERROR = "error"
    UNKNOWN = "unknown"


class Offering(msgspec.Struct, frozen=True, kw_only=True):
    """
    What can be started: a size of a pool, in a zone, at a market.  What failed is remembered by it.

    @ivar size: the provider's id of it.
    @ivar zone: empty where the provider chooses.
    """

    pool: str
    size: str
    zone: str = ""
    market: Market = Market.ON_DEMAND


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """
    A node, as we have recorded it.  Times are seconds since the epoch.

    @ivar id: our UUID, in its canonical form; what the tag of its machine says.
    @ivar name: of its machine, of its startd and of its token's identity: C{modabatch-} and the first half of the id.
    @ivar capacity: what its size has.
    @ivar price: per hour, in the policy's currency.
    @ivar requested: when it was recorded.
    @ivar machine_id: the provider's id of its machine; L{None} until that is known.
    @ivar joined: when it was first seen in the pool.
    @ivar stopped: when the provider said that it is gone.
    @ivar pinned: whether it must not be stopped.
    @ivar reason: why it is in the state it is in.
    """

    id: str
    name: str
    offering: Offering
    capacity: Capacity
    price: float
    state: NodeState
    requested: float
    machine_id: str | None = None
    joined: float | None = None
    stopped: float | None = None
    pinned: bool = False
    reason: str | None = None


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """
    A machine of ours, as a provider shows it.

    @ivar id: the provider's.
    @ivar node_id: what its tag says; where a provider has no tags, the node whose name it has.
    """

    id: str
    name: str
    node_id: str
    state: MachineState
    addresses: tuple[str, ...] = ()


def node_name(node_id: str) -> str:
    """The name of a node."""
    return f"modabatch-{node_id.replace('-', '')[:16]}"
