"""
What every ICloud does.

A subclass provides the fixture C{site}: a L{Site} with an empty account, whose cloud is started.
"""

import contextlib
from collections.abc import Collection
from typing import Any, Protocol
from uuid import uuid4

import pytest
import pytest_twisted
from twisted.application.service import IService
from twisted.internet.defer import gatherResults
from zope.interface.verify import verifyObject

from modabatchd.infrastructure.errors import CloudAway, CloudError, CloudRefused, NoCapacity, QuotaReached, Throttled
from modabatchd.infrastructure.interfaces import ICloud, Order
from modabatchd.infrastructure.node import Capacity, Machine, MachineState, Node, NodeState, Offering, node_name

LEAVING = (MachineState.STOPPING, MachineState.TERMINATED)


class Site(Protocol):
    """
    An account, a cloud that works in it, and ways to make things go wrong there.

    @ivar cloud: an ICloud, started.
    @ivar size: one that exists.
    @ivar options: of an order that is as it should be.
    @ivar tokens: whether the provider makes one machine of two creates for the same node.
    """

    cloud: Any
    size: str
    options: dict[str, str]
    tokens: bool

    def again(self) -> Any:
        """Another ICloud of the same installation in the same account, started."""

    def created(self) -> int:
        """How many machines were created through the interface, ever."""

    def alive(self) -> Collection[str]:
        """The ids of the machines that are there, our own and others'."""

    def user_data(self, machine_id: str) -> str:
        """What a machine was told."""

    def prints(self, machine_id: str, text: str) -> None:
        """A machine prints something on its console."""

    def vanish(self, machine_id: str) -> None:
        """A machine is gone at once, with every trace of it."""

    def add_foreign(self, name: str, node_id: str) -> Collection[str]:
        """Machines that are not ours: one without tags, and if possible one of another installation that shares our ids."""

    def set_away(self, away: bool) -> None:
        """No call gets an answer, or does anything."""

    def set_throttled(self, throttled: bool) -> None:
        """Every call comes too early."""

    def refuse(self, refusal: str) -> None:
        """Creates fail for want of C{"capacity"} or by the C{"quota"}; with an empty string they do not."""

    def lose_answers(self, count: int) -> None:
        """So many creates to come happen, and nobody hears of it."""

    def lose_requests(self, count: int) -> None:
        """So many creates to come do not happen, and nobody hears of it."""

    def delay_lists(self, seconds: float) -> None:
        """Machines are listed only when they are so old."""


def order(site: Site, **changes: Any) -> Order:
    node_id = changes.get("node_id") or str(uuid4())
    offering = Offering(pool="burst", size=changes.get("size", site.size))
    node = Node(
        id=node_id,
        name=node_name(node_id),
        offering=offering,
        capacity=Capacity(cpus=2, memory=4096),
        price=0.1,
        state=NodeState.REQUESTED,
        requested=1.0,
    )
    return Order(node=node, user_data=f"#cloud-config\n# {node_id} é\n", options=changes.get("options", site.options))


async def listed(site: Site) -> list[Machine]:
    return [machine for machine in await site.cloud.machines() if machine.state not in LEAVING]


class CloudContract:
    def test_interface(self, site: Site) -> None:
        assert verifyObject(ICloud, site.cloud)
        assert verifyObject(IService, site.cloud)

    @pytest_twisted.ensureDeferred
    async def test_a_machine_comes_and_goes(self, site: Site) -> None:
        assert await site.cloud.machines() == []
        wanted = order(site)
        machine = await site.cloud.start(wanted)
        assert (machine.name, machine.node_id) == (wanted.node.name, wanted.node.id)
        assert machine.state in (MachineState.PENDING, MachineState.RUNNING)
        assert site.user_data(machine.id) == wanted.user_data
        (seen,) = await site.cloud.machines()
        assert (seen.id, seen.name, seen.node_id) == (machine.id, machine.name, machine.node_id)
        assert seen.addresses
        for _ in range(2):
            await site.cloud.stop(machine.id)
        assert await listed(site) == []
        await site.cloud.stop(machine.id)

    @pytest_twisted.ensureDeferred
    async def test_a_node_gets_one_machine(self, site: Site) -> None:
        wanted = order(site)
        first, second = await gatherResults([site.cloud.start(wanted), site.cloud.start(wanted)])
        third = await site.cloud.start(wanted)
        fourth = await site.again().start(wanted)
        assert first.id == second.id == third.id == fourth.id
        assert site.created() == 1

    @pytest_twisted.ensureDeferred
    async def test_many_at_once(self, site: Site) -> None:
        orders = [order(site) for _ in range(6)]
        machines = await gatherResults([site.cloud.start(each) for each in orders])
        assert [machine.node_id for machine in machines] == [each.node.id for each in orders]
        assert {machine.id for machine in await listed(site)} == {machine.id for machine in machines}
        await gatherResults([site.cloud.stop(machine.id) for machine in machines[1:]])
        assert [machine.id for machine in await listed(site)] == [machines[0].id]
        assert await site.cloud.start(orders[0]) == (await listed(site))[0]

    @pytest_twisted.ensureDeferred
    async def test_what_is_not_ours_is_left_alone(self, site: Site) -> None:
        wanted = order(site)
        foreign = site.add_foreign(wanted.node.name, wanted.node.id)
        assert await site.cloud.machines() == []
        machine = await site.cloud.start(wanted)
        assert machine.id not in foreign
        for machine_id in [*foreign, "nothing-like-an-id"]:
            with contextlib.suppress(CloudRefused):
                await site.cloud.stop(machine_id)
            with contextlib.suppress(CloudRefused):
                assert await site.cloud.console(machine_id) == ""
        assert [each.id for each in await listed(site)] == [machine.id]
        assert set(site.alive()) == {machine.id, *foreign}

    @pytest.mark.parametrize(("refusal", "error"), [("capacity", NoCapacity), ("quota", QuotaReached)])
    @pytest_twisted.ensureDeferred
    async def test_no_more_machines(self, site: Site, refusal: str, error: type[CloudError]) -> None:
        wanted = order(site)
        site.refuse(refusal)
        with pytest.raises(error):
            await site.cloud.start(wanted)
        assert await site.cloud.machines() == []
        site.refuse("")
        assert (await site.cloud.start(wanted)).node_id == wanted.node.id

    @pytest_twisted.ensureDeferred
    async def test_asked_too_often(self, site: Site) -> None:
        machine = await site.cloud.start(order(site))
        site.set_throttled(True)
        for call in (site.cloud.machines, lambda: site.cloud.start(order(site)), lambda: site.cloud.stop(machine.id)):
            with pytest.raises(Throttled) as caught:
                await call()
            assert caught.value.retry_after >= 0
        site.set_throttled(False)
        assert [each.id for each in await listed(site)] == [machine.id]

    @pytest.mark.parametrize("wrong", ["image", "size"])
    @pytest_twisted.ensureDeferred
    async def test_what_does_not_exist(self, site: Site, wrong: str) -> None:
        changes = {"size": "m1.unknown"} if wrong == "size" else {"options": site.options | {"image": "ami-0"}}
        with pytest.raises(CloudRefused):
            await site.cloud.start(order(site, **changes))
        assert site.alive() == []

    @pytest_twisted.ensureDeferred
    async def test_an_answer_that_is_lost(self, site: Site) -> None:
        wanted = order(site)
        site.lose_answers(1)
        with contextlib.suppress(CloudAway):
            await site.cloud.start(wanted)
        machine = await site.cloud.start(wanted)
        assert [machine.id] == [each.id for each in await listed(site)] == list(site.alive())

    @pytest_twisted.ensureDeferred
    async def test_an_answer_that_is_lost_and_a_list_that_is_late(self, site: Site) -> None:
        wanted = order(site)
        site.delay_lists(3600.0)
        site.lose_answers(1)
        with pytest.raises(CloudAway):
            await site.cloud.start(wanted)
        assert len(site.alive()) == 1
        if site.tokens:
            again = await site.cloud.start(wanted)
            assert [again.id] == list(site.alive())
        site.delay_lists(0.0)
        assert (await site.cloud.start(wanted)).id in site.alive()
        assert [each.node_id for each in await listed(site)] == [wanted.node.id]

    @pytest_twisted.ensureDeferred
    async def test_a_request_that_is_lost(self, site: Site) -> None:
        wanted = order(site)
        site.lose_requests(1)
        with pytest.raises(CloudAway):
            await site.cloud.start(wanted)
        assert await site.cloud.machines() == []
        assert [(await site.cloud.start(wanted)).id] == list(site.alive())

    @pytest_twisted.ensureDeferred
    async def test_stopped_before_it_is_listed(self, site: Site) -> None:
        site.delay_lists(3600.0)
        machine = await site.cloud.start(order(site))
        with contextlib.suppress(CloudAway):
            await site.cloud.machines()
        await site.cloud.stop(machine.id)
        site.delay_lists(0.0)
        assert await listed(site) == []

    @pytest_twisted.ensureDeferred
    async def test_nobody_answers(self, site: Site) -> None:
        machine = await site.cloud.start(order(site))
        site.set_away(True)
        calls = [
            site.cloud.machines,
            lambda: site.cloud.start(order(site)),
            lambda: site.cloud.stop(machine.id),
            lambda: site.cloud.console(machine.id),
        ]
        for call in calls:
            with pytest.raises(CloudAway):
                await call()
        site.set_away(False)
        assert [each.id for each in await listed(site)] == [machine.id]

    @pytest_twisted.ensureDeferred
    async def test_machines_that_vanish(self, site: Site) -> None:
        first, second = [await site.cloud.start(order(site)) for _ in range(2)]
        await site.cloud.machines()
        site.vanish(first.id)
        assert [each.id for each in await site.cloud.machines()] == [second.id]
        site.vanish(second.id)
        with contextlib.suppress(CloudAway):
            await site.cloud.machines()
        assert await site.cloud.machines() == []
        await site.cloud.stop(second.id)

    @pytest_twisted.ensureDeferred
    async def test_console(self, site: Site) -> None:
        machine = await site.cloud.start(order(site))
        assert await site.cloud.console(machine.id) == ""
        site.prints(machine.id, f"{'x' * 70_000}kernel panic\n")
        text = await site.cloud.console(machine.id)
        assert text.endswith("xkernel panic\n")
        assert len(text) == 65536
