"""Pools' requirements, read by HTCondor's own library."""

import subprocess
import sys

import msgspec
import pytest

from modabatchd.infrastructure.node import Capacity
from modabatchd.infrastructure.policies import Remark
from modabatchd.infrastructure.policy import Policy, Pool, Size
from modabatchd.infrastructure.requirements import requirements

SIZES = (
    Size(id="small", capacity=Capacity(cpus=2, memory=4096), price=1.0),
    Size(id="large", capacity=Capacity(cpus=8, memory=32768, gpus=1), price=4.0),
)


def remarks(*texts: str) -> list[Remark]:
    pools = tuple(
        Pool(name=f"p{number}", driver="local", sizes=SIZES, requirements=text, labels={"group": "x"})
        for number, text in enumerate(texts)
    )
    return requirements(Policy(pools=pools))


def test_what_is_right() -> None:
    right = (
        "",
        "true",
        "TARGET.RequestGPUs =?= undefined || TARGET.RequestGPUs == 0",
        'TARGET.Owner == "x"',
        "MY.Memory > 1000 && TARGET.RequestCpus <= 2",
        "TARGET.RequestCpus == 2",
        'ModabatchLabel_group == "x"',
        "TARGET.RequestMemory >= 3000 && TARGET.RequestMemory < 3002",
        'regexp("a", TARGET.Owner)',
        "ifThenElse(TARGET.a, 1, 2) == 1 ? true : false",
    )
    assert remarks(*right) == []


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("TARGET.x = 3", 10),
        ("(TARGET.x", None),
        ("TARGET.x &&", None),
        ("TARGET.x && )", 13),
        ("a b", 3),
        ("foo(1,, 2)", 7),
        ("x ? 1", None),
        ("TARGET.x == 3)", 14),
        ('x == "open', 6),
        ("a and b", 3),
    ],
)
def test_what_is_no_expression_is_told_with_its_place(text: str, column: int | None) -> None:
    [remark] = remarks("true", text)
    assert remark.error
    assert remark.way == ("pool", 1, "requirements")
    assert (f"at column {column}, before" in remark.problem) if column else "ends too early" in remark.problem


@pytest.mark.parametrize(
    "text",
    [
        "false",
        "undefined",
        "0",
        "Memory > 100000",
        "MY.Cpus > 8 && TARGET.x",
        "GPUs > 1",
        "TARGET.RequestCpus > 8",
        "TARGET.RequestMemory > 40000 && TARGET.RequestCpus == 1",
        "TARGET.RequestCpus > 3 && TARGET.RequestCpus < 3",
        'ModabatchLabel_group == "y"',
    ],
)
def test_what_no_job_can_ever_match(text: str) -> None:
    [remark] = remarks(text)
    assert not remark.error
    assert "no job can ever match" in remark.problem
    assert "of any size" in remark.problem


def test_what_no_job_can_match_on_some_machines() -> None:
    [remark] = remarks("TARGET.RequestGPUs > 0")
    assert remark.problem == "no job can ever match 'TARGET.RequestGPUs > 0' on a machine of size small"


def test_what_htcondor_cannot_be_told() -> None:
    first, second = remarks('TARGET.Owner == "\u00e9"', "false")
    assert (first.error, second.error) == (True, False)
    assert "cannot be told to HTCondor" in first.problem


def test_a_library_that_is_not_there_is_told() -> None:
    code = "import sys; sys.modules['classad2'] = None; import runpy; runpy.run_module('modabatchd.infrastructure.requirements_child', run_name='__main__')"  # noqa: E501
    done = subprocess.run([sys.executable, "-c", code], input=msgspec.json.encode([]), capture_output=True, check=False)
    assert done.returncode == 3
