"""Machines that do not exist yet, as ads."""

import pytest

from modabatchd.infrastructure.node import Capacity
from modabatchd.infrastructure.offers import offers
from modabatchd.infrastructure.policy import Pool, Size

classad2 = pytest.importorskip("classad2", reason="the extra htcondor is not installed", exc_type=ImportError)

SMALL = Size(id="small", capacity=Capacity(cpus=2, memory=2048), price=0.1)
LARGE = Size(id="large", capacity=Capacity(cpus=16, memory=65536, disk=10**6, gpus=1), price=1.0)
POOL = Pool(name="burst", driver="ec2", sizes=(SMALL, LARGE), labels={"cost centre": "7$(X)"})


def job(**asks: int) -> object:
    asked = {"RequestCpus": 1, "RequestMemory": 128, "RequestDisk": 1024} | asks
    wants = 'TARGET.Arch == "X86_64" && TARGET.OpSys == "LINUX" && TARGET.Disk >= RequestDisk && TARGET.Memory >= RequestMemory'
    text = "; ".join(f"{name} = {amount}" for name, amount in asked.items())
    return classad2.ClassAd(f"[{text}; Requirements = {wants} && TARGET.HasFileTransfer]")


def matching(pool: Pool, one: object) -> list[bool]:
    return [one.symmetricMatch(classad2.ClassAd(text)) for text in offers([pool])[pool.name]]  # type: ignore[attr-defined]


def test_sizes_hold_what_they_have_room_for() -> None:
    assert matching(POOL, job()) == [True, True]
    assert matching(POOL, job(RequestCpus=3)) == [False, True]
    assert matching(POOL, job(RequestMemory=2049)) == [False, True]
    assert matching(POOL, job(RequestDisk=10**7)) == [True, False]
    assert matching(POOL, job(RequestGPUs=1)) == [False, True]
    assert matching(POOL, job(RequestCpus=17)) == [False, False]


def test_requirements_are_the_pools() -> None:
    pool = Pool(name="cheap", driver="ec2", sizes=(SMALL,), requirements="TARGET.RequestGPUs =?= undefined ||\n false")
    assert matching(pool, job()) == [True]
    assert matching(pool, job(RequestGPUs=0)) == [False]


def test_labels_can_be_asked_for() -> None:
    [machine, _] = [classad2.ClassAd(text) for text in offers([POOL])["burst"]]
    assert machine["ModabatchLabel_cost_centre"] == "7?(X)"
    assert machine["ModabatchPool"] == "burst"


def test_what_cannot_be_told_is_refused() -> None:
    with pytest.raises(ValueError, match="told"):
        offers([Pool(name="x", driver="ec2", sizes=(SMALL,), requirements="true\x00")])
