"""What jobs have cost: values, and the interface of what keeps them.  Money is in the policy's currency, months are of UTC."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
from twisted.internet.defer import Deferred
from zope.interface import Interface


class RunCost(msgspec.Struct, frozen=True, kw_only=True):
    """
    A run of a job on a node of ours, and what it has cost.

    @ivar number: which of the job's runs it is.
    @ivar node: the node's name.
    @ivar started, ended: seconds since the epoch; C{ended} is L{None} while it goes on.
    """

    number: int
    node: str
    started: float
    ended: float | None
    cost: float


class Charged(msgspec.Struct, frozen=True, kw_only=True):
    """
    What is charged to jobs.

    @ivar spent: on nodes that are gone, by pool.
    @ivar pools: what of it is charged to jobs, by pool; of all nodes.
    @ivar values: the same by a label's values.
    """

    spent: Mapping[str, float] = {}
    pools: Mapping[str, float] = {}
    values: Mapping[str, float] = {}


class ICosts(Interface):
    """
    Keeps what jobs have cost, for good: it outlives the jobs and the nodes.

    Every method may fail with L{modabatchd.errors.StoreAway}.
    """

    def charge(at: float, until: float) -> Deferred[None]:  # noqa: N805
        """
        Note which jobs run where, and charge all time that has not been charged yet.

        @param at: now.
        @param until: time up to which all is known that jobs did.
        """

    def until() -> Deferred[float | None]:
        """The time up to which all is charged; L{None} before the first time."""

    def months() -> Deferred[Sequence[str]]:
        """The months in which something was charged or spent, the last one first."""

    def charged(month: str, label: str) -> Deferred[Charged]:  # noqa: N805
        """What was charged in a month; C{label}: of which label the values are told, empty for none."""

    def runs(job: int) -> Deferred[Sequence[RunCost]]:  # noqa: N805
        """The runs of a job by its number, the first one first; C{cost} is of the time that has been charged."""
