"""The cloud in memory: the contract, and what it can be asked to do beyond that."""

from collections.abc import Collection
from itertools import count

import pytest
from twisted.internet.task import Clock

from modabatchd.infrastructure.errors import NoCapacity, QuotaReached, Throttled
from modabatchd.infrastructure.memory import MemoryCloud
from modabatchd.infrastructure.node import MachineState, Market
from tests.contracts.cloud import LEAVING, CloudContract, order
from tests.deferreds import now


class MemorySite:
    size = "small"
    tokens = True

    def __init__(self) -> None:
        self.options = {"image": "debian"}
        self.clock = Clock()
        numbers = count(1)
        self.cloud = MemoryCloud(self.clock, boot=60.0, going=10.0, new_id=lambda: f"m-{next(numbers)}")
        self.cloud.troubles.refused |= {"ami-0", "m1.unknown"}
        self.cloud.startService()

    def again(self) -> MemoryCloud:
        return self.cloud

    def created(self) -> int:
        return self.cloud.starts

    def alive(self) -> Collection[str]:
        return [machine.id for machine in self.cloud.everything() if machine.state not in LEAVING]

    def user_data(self, machine_id: str) -> str:
        made_from = self.cloud.order(machine_id)
        assert made_from is not None
        return made_from.user_data

    def prints(self, machine_id: str, text: str) -> None:
        self.cloud.print_on_console(machine_id, text)

    def vanish(self, machine_id: str) -> None:
        self.cloud.vanish(machine_id)

    def add_foreign(self, name: str, node_id: str) -> Collection[str]:
        return [self.cloud.add_foreign(name)]

    def set_away(self, away: bool) -> None:
        self.cloud.troubles.away = away

    def set_throttled(self, throttled: bool) -> None:
        self.cloud.throttle(30.0 if throttled else 0.0)

    def refuse(self, refusal: str) -> None:
        self.cloud.troubles.capacity = {("small", Market.ON_DEMAND): 0} if refusal == "capacity" else {}
        self.cloud.troubles.quota = 0 if refusal == "quota" else None

    def lose_answers(self, count: int) -> None:
        self.cloud.troubles.lost_answers = count

    def lose_requests(self, count: int) -> None:
        self.cloud.troubles.lost_requests = count

    def delay_lists(self, seconds: float) -> None:
        self.cloud.troubles.list_delay = seconds


@pytest.fixture
def site() -> MemorySite:
    return MemorySite()


class TestContract(CloudContract):
    pass


def states(site: MemorySite) -> list[MachineState]:
    return [machine.state for machine in now(site.cloud.machines())]


def test_the_life_of_a_machine(site: MemorySite) -> None:
    machine = now(site.cloud.start(order(site)))
    assert machine.state is MachineState.PENDING
    site.clock.advance(60.0)
    assert states(site) == [MachineState.RUNNING]
    now(site.cloud.stop(machine.id))
    assert states(site) == [MachineState.STOPPING]
    site.clock.advance(10.0)
    assert states(site) == [MachineState.TERMINATED]
    site.clock.advance(600.0)
    assert states(site) == []
    assert site.cloud.everything() == []


def test_a_machine_that_does_not_boot(site: MemorySite) -> None:
    site.cloud.troubles.boot_fails.add("small")
    now(site.cloud.start(order(site)))
    site.clock.advance(60.0)
    assert states(site) == [MachineState.ERROR]


def test_a_machine_that_is_taken_back(site: MemorySite) -> None:
    machine = now(site.cloud.start(order(site)))
    site.cloud.reclaim(machine.id)
    assert states(site) == [MachineState.STOPPING]
    site.clock.advance(10.0)
    assert states(site) == [MachineState.TERMINATED]


def test_capacity_and_quota_come_back_with_machines_that_are_gone(site: MemorySite) -> None:
    site.cloud.troubles.capacity["small", Market.ON_DEMAND] = 1
    machine = now(site.cloud.start(order(site)))
    now(site.cloud.stop(machine.id))
    with pytest.raises(NoCapacity):
        now(site.cloud.start(order(site)))
    now(site.cloud.start(order(site, size="large")))
    site.cloud.troubles.quota = 2
    with pytest.raises(QuotaReached):
        now(site.cloud.start(order(site, size="large")))
    site.clock.advance(10.0)
    now(site.cloud.start(order(site)))


def test_throttling_ends(site: MemorySite) -> None:
    site.cloud.throttle(5.0)
    site.clock.advance(2.0)
    with pytest.raises(Throttled) as caught:
        now(site.cloud.machines())
    assert caught.value.retry_after == 3.0
    site.clock.advance(3.0)
    now(site.cloud.machines())


def test_late_lists(site: MemorySite) -> None:
    site.cloud.troubles.list_delay = 20.0
    now(site.cloud.start(order(site)))
    site.clock.advance(19.0)
    assert states(site) == []
    site.clock.advance(1.0)
    assert states(site) == [MachineState.PENDING]


def test_two_machines_for_a_node(site: MemorySite) -> None:
    wanted = order(site)
    machine = now(site.cloud.start(wanted))
    other = site.cloud.double(wanted.node.id)
    assert [(each.id, each.node_id) for each in now(site.cloud.machines())] == [
        (machine.id, wanted.node.id),
        (other, wanted.node.id),
    ]


def test_slow_answers() -> None:
    clock = Clock()
    cloud = MemoryCloud(clock, latency=2.0)
    answers: list[object] = []
    cloud.machines().addCallback(answers.append)
    clock.advance(1.9)
    assert answers == []
    clock.advance(0.2)
    assert answers == [[]]
