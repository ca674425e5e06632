"""Ads of machines that are not there yet, against jobs, by HTCondor's own matching."""

import pytest

from modabatchd.infrastructure.look import DemandGroup
from modabatchd.infrastructure.matching import offers, resolved
from modabatchd.infrastructure.node import Capacity
from modabatchd.infrastructure.planning import Memory, Snapshot, plan
from modabatchd.infrastructure.policy import Policy
from tests.infrastructure.policies_for_tests import NOW, policy, pool

classad2 = pytest.importorskip("classad2")

JOB = """[ MyType = "Job"; RequestCpus = 1; RequestMemory = 128; RequestDisk = 1024; TransferSize = 1; {more}
Requirements = (TARGET.Arch == "X86_64") && (TARGET.OpSys == "LINUX") && (TARGET.Disk >= RequestDisk)
    && (TARGET.Memory >= RequestMemory) && (TARGET.Cpus >= RequestCpus) && TARGET.HasFileTransfer {wanted} ]"""


def matched(rules: Policy, wanted: str = "", **asked: int) -> list[str]:
    """As the process that speaks to HTCondor does it."""
    more = "".join(f"{name} = {value};" for name, value in asked.items())
    job = classad2.ClassAd(JOB.format(more=more, wanted=wanted and f"&& ({wanted})"))
    return [
        name
        for name, ads in offers(rules, "example.org").items()
        if any(job.symmetricMatch(classad2.ClassAd(ad)) for ad in ads)
    ]


def told(rules: Policy, wanted: str = "", **asked: int) -> list[str]:
    """What planning says of jobs that can never run; empty if it starts a node for them."""
    each = Capacity(cpus=asked.get("RequestCpus", 1), memory=asked.get("RequestMemory", 128))
    group = DemandGroup(id="g", count=1, each=each, oldest=NOW, pools=frozenset(matched(rules, wanted, **asked)))
    made = plan(Snapshot(groups=resolved([group], rules)), rules, Memory(), NOW)
    assert bool(made.actions) is not bool(made.unsatisfiable)
    return [each.reason for each in made.unsatisfiable]


def test_a_job_that_any_machine_can_run() -> None:
    assert matched(policy(pool(1), pool(8, name="other"))) == ["burst", "burst*", "other", "other*"]
    assert told(policy(pool(1))) == []


def test_a_job_that_is_too_large_is_told_so() -> None:
    assert told(policy(pool(1, 16)), RequestCpus=64) == ["64 cpus asked, the largest size has 16"]
    assert matched(policy(pool(1, 16)), RequestCpus=64) == ["burst*"]


def test_a_job_that_wants_another_kind_of_machine() -> None:
    [reason] = told(policy(pool(1, 16)), wanted='TARGET.OpSysAndVer == "Windows11"')
    assert "requirements" in reason


def test_a_job_whose_requirements_want_more_than_it_asks_for() -> None:
    assert "burst" in matched(policy(pool(1, 16)), wanted="TARGET.Memory > 30000")
    [reason] = told(policy(pool(1, 2)), wanted="TARGET.Memory > 30000")
    assert "requirements" in reason


def test_requirements_and_labels_of_a_pool() -> None:
    # The label as a node says it.
    labels, wanted = {"the room": 'a"b'}, 'TARGET.ModabatchLabel_the_room == "a?b"'
    rules = policy(pool(8, requirements='TARGET.Special =?= true &&\n TARGET.Owner =!= "x"', labels=labels))
    assert matched(rules) == []
    assert matched(rules, Special=1, wanted=wanted) == []
    assert matched(policy(pool(8, labels=labels)), wanted=wanted)


def test_every_ad_can_be_read() -> None:
    for ads in offers(policy(pool(1, 2, 4, labels={"é x": "ü\n", "k": "\\"})), "example.org").values():
        for ad in ads:
            assert classad2.ClassAd(ad)["Cpus"] > 0
