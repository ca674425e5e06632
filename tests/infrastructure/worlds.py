"""Random policies, snapshots and memories; what strategies there are to draw them."""

from __future__ import annotations

from hypothesis import strategies as st

from modabatchd.infrastructure.look import DemandGroup
from modabatchd.infrastructure.node import Capacity, Market, NodeState, Offering
from modabatchd.infrastructure.planning import Outcome, OutcomeKind, SeenNode, Snapshot
from modabatchd.infrastructure.policy import Limits, Objective, Policy, Pool, Schedule, Size, Spot
from tests.infrastructure.policies_for_tests import NOW

POOLS = ("one", "two")
LIVING = (NodeState.REQUESTED, NodeState.BOOTING, NodeState.UP, NodeState.DRAINING, NodeState.STOPPING)


@st.composite
def sizes(draw: st.DrawFn) -> Size:
    cpus = draw(st.sampled_from((1, 2, 4, 8, 64)))
    price = draw(st.sampled_from((0.0, 0.01, 0.02, 0.035))) * cpus
    capacity = Capacity(cpus=cpus, memory=draw(st.sampled_from((512, 2048))) * cpus, gpus=draw(st.sampled_from((0, 0, 0, 2))))
    spot = draw(st.one_of(st.none(), st.just(price / 3)))
    return Size(id=f"s{cpus}-{draw(st.integers(0, 2))}", capacity=capacity, price=price, spot_price=spot)


@st.composite
def pools(draw: st.DrawFn, name: str) -> Pool:
    return Pool(
        name=name,
        driver="local",
        sizes=tuple(draw(st.lists(sizes(), min_size=1, max_size=4, unique_by=lambda size: size.id))),
        zones=draw(st.sampled_from((("",), ("a", "b")))),
        min_nodes=draw(st.integers(0, 3)),
        max_nodes=draw(st.one_of(st.none(), st.integers(0, 6))),
        max_cores=draw(st.one_of(st.none(), st.integers(0, 100))),
        spot=draw(st.sampled_from(list(Spot))),
        drain_timeout=draw(st.sampled_from((None, None, 600.0))),
        billing_quantum=draw(st.sampled_from((0.0, 3600.0))),
    )


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    limits = Limits(
        max_nodes=draw(st.integers(0, 12)),
        max_cores=draw(st.one_of(st.none(), st.integers(0, 200))),
        starts_per_minute=draw(st.integers(1, 20)),
        max_hourly_cost=draw(st.one_of(st.none(), st.sampled_from((0.0, 0.16, 1.0, 3.3)))),
        monthly_budget=draw(st.sampled_from((None, None, 10.0))),
    )
    schedules = draw(st.sampled_from(((), (Schedule(cron="0 8 * * *", until="23:00", min_nodes=2, pool="one"),))))
    return Policy(
        pools=tuple(draw(pools(name)) for name in draw(st.sampled_from((POOLS[:1], POOLS)))),
        objective=draw(st.sampled_from(list(Objective))),
        idle=draw(st.sampled_from((None, 0.0, 300.0))),
        limits=limits,
        schedules=schedules,
    )


@st.composite
def groups(draw: st.DrawFn) -> tuple[DemandGroup, ...]:
    found = []
    for index in range(draw(st.integers(0, 4))):
        each = Capacity(
            cpus=draw(st.sampled_from((0, 1, 1, 2, 3, 8, 100))),
            memory=draw(st.sampled_from((0, 100, 1000, 5000))),
            disk=draw(st.sampled_from((0, 1000))),
            gpus=draw(st.sampled_from((0, 0, 0, 1))),
        )
        accepted = draw(st.sampled_from((frozenset[str](), frozenset({"one"}), frozenset(POOLS))))
        count = draw(st.sampled_from((0, 1, 2, 7, 30, 100_000)))
        found.append(
            DemandGroup(id=f"g{index}", count=count, each=each, oldest=NOW - draw(st.integers(0, 1000)), pools=accepted)
        )
    return tuple(found)


@st.composite
def nodes(draw: st.DrawFn, index: int, policy: Policy) -> SeenNode:
    pool = draw(st.sampled_from(policy.pools))
    size = draw(st.sampled_from(pool.sizes))
    state = draw(st.sampled_from((*LIVING, NodeState.UP, NodeState.UP, NodeState.GONE)))
    heard = state in (NodeState.UP, NodeState.DRAINING) and draw(st.sampled_from((True, True, True, False)))
    jobs = draw(st.integers(0, size.capacity.cpus)) if heard and draw(st.booleans()) else 0
    left = size.capacity.cpus - jobs if heard else 0
    return SeenNode(
        id=f"n{index:02}",
        offering=Offering(pool=pool.name, size=size.id, zone=draw(st.sampled_from(pool.zones))),
        capacity=size.capacity,
        price=size.price,
        state=state,
        requested=NOW - draw(st.sampled_from((0, 30, 300, 5000, 800_000))),
        free=Capacity(cpus=left, memory=size.capacity.memory * left // size.capacity.cpus, gpus=size.capacity.gpus),
        jobs=jobs,
        heard=heard,
        pinned=draw(st.sampled_from((False, False, False, True))),
        retiring=draw(st.sampled_from((False, False, False, True))),
    )


@st.composite
def outcomes(draw: st.DrawFn, policy: Policy) -> tuple[Outcome, ...]:
    found = []
    for _ in range(draw(st.integers(0, 3))):
        pool = draw(st.sampled_from(policy.pools))
        offering = Offering(
            pool=pool.name,
            size=draw(st.sampled_from(pool.sizes)).id,
            zone=draw(st.sampled_from(pool.zones)),
            market=draw(st.sampled_from(list(Market))),
        )
        kind = draw(st.sampled_from(list(OutcomeKind)))
        found.append(Outcome(offering=offering, kind=kind, at=NOW, retry_after=draw(st.sampled_from((0.0, 100.0)))))
    return tuple(found)


@st.composite
def snapshots(draw: st.DrawFn, policy: Policy) -> Snapshot:
    return Snapshot(
        groups=draw(groups()),
        nodes=tuple(draw(nodes(index, policy)) for index in range(draw(st.integers(0, 8)))),
        outcomes=draw(outcomes(policy)),
        spent=draw(st.sampled_from((0.0, 9.0, 10.0))),
        paused=draw(st.sampled_from((False, False, False, True))),
    )
