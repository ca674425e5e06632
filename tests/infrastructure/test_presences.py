"""Nodes, as their slots show them."""

from typing import Any

import pytest

from modabatchd.infrastructure.look import Presence
from modabatchd.infrastructure.node import Capacity
from modabatchd.infrastructure.presences import node_of, presences

NODE = "modabatch-0123456789abcdef"


def slot(name: str, kind: str, cpus: int = 1, **changes: Any) -> dict[str, Any]:
    ad = {
        "MyType": "Machine",
        "Name": name,
        "SlotType": kind,
        "State": "Unclaimed",
        "Cpus": cpus,
        "Memory": 100 * cpus,
        "Disk": 7,
    }
    return ad | {"LastHeardFrom": 1000} | changes


def whole(free: int, **changes: Any) -> dict[str, Any]:
    totals = {"TotalSlotCpus": 8, "TotalSlotMemory": 800, "TotalSlotDisk": 9.0, "TotalSlotGPUs": 1}
    return slot(f"slot1@{NODE}.example.org", "Partitionable", free, GPUs=1, **totals) | changes


def part(number: int, **changes: Any) -> dict[str, Any]:
    return slot(f"slot1_{number}@{NODE}.example.org", "Dynamic", State="Claimed", **changes)


def test_an_idle_node() -> None:
    total = Capacity(cpus=8, memory=800, disk=9, gpus=1)
    free = Capacity(cpus=8, memory=800, disk=7, gpus=1)
    assert presences([whole(8)]) == (Presence(name=NODE, total=total, free=free, heard=1000.0),)


def test_jobs_and_what_they_leave() -> None:
    ads = [part(2, GlobalJobId="s#2"), whole(6, LastHeardFrom=900), part(1, GlobalJobId="s#1", LastHeardFrom=1100)]
    [seen] = presences(ads)
    assert seen.jobs == ("s#1", "s#2")
    assert (seen.total.cpus, seen.free.cpus) == (8, 6)
    assert seen.heard == 1100.0


def test_a_slot_that_waits_for_its_job_counts_as_one() -> None:
    [seen] = presences([whole(7), part(1)])
    assert seen.jobs == (f"slot1_1@{NODE}.example.org",)


@pytest.mark.parametrize("change", [{"Draining": True}, {"State": "Drained"}])
def test_draining(change: dict[str, Any]) -> None:
    [seen] = presences([whole(8, **change)])
    assert seen.draining
    assert seen.jobs == ()


def test_other_nodes_and_other_ads() -> None:
    ads = [
        slot("slot1@old.example.org", "Static", 2, State="Claimed", GlobalJobId="s#9"),
        slot("slot2@old.example.org", "Static", 2),
        slot("slot1@off.example.org", "Static", 2, Offline=True),
        {"MyType": "Collector", "Name": "pool"},
        whole(8),
    ]
    seen, old = presences(ads)
    assert (seen.name, old.name) == (NODE, "old.example.org")
    assert (old.total.cpus, old.free.cpus, old.jobs) == (4, 2, ("s#9",))
    assert presences([]) == ()


@pytest.mark.parametrize(
    ("name", "node"),
    [
        (f"slot1@{NODE}.example.org", NODE),
        (f"slot1_3@{NODE}@host.example.org", NODE),
        (f"slot1@{NODE}", NODE),
        ("slot1@host.example.org", "host.example.org"),
        ("slot1@name@host", "name@host"),
        ("host", "host"),
    ],
)
def test_whose_slot_it_is(name: str, node: str) -> None:
    assert node_of(name) == node
