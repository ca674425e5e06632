"""Which jobs their owners are warned of."""

from typing import Any

import pytest

from modabatchd.infrastructure.look import Presence
from modabatchd.infrastructure.node import Capacity
from modabatchd.infrastructure.outlook import warning
from modabatchd.infrastructure.policy import Limits
from tests.infrastructure.policies_for_tests import policy, pool


def ask(limits: Limits | None = None, turned_out: Any = (), nodes: Any = (), **asked: int) -> str | None:
    none, memory = Capacity(cpus=0), 1 << 20
    there = [Presence(name=f"n{cpus}", total=Capacity(cpus=cpus, memory=memory), free=none, heard=0.0) for cpus in nodes]
    return warning(Capacity(**{"memory": 128, **asked}), policy(pool(1, 16), limits=limits), dict(turned_out), there)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"cpus": 64}, "64 cpus asked, the largest size has 16"),
        ({"memory": 40_000}, "40064 MiB of memory asked, the largest size has 32768"),
        ({"gpus": 1}, "1 gpus asked, the largest size has 0"),
        ({"cpus": 8, "limits": Limits(max_nodes=5, max_cores=4)}, "the limits forbid even one node of c16"),
        ({"memory": 32_768, "turned_out": {"burst/c16": Capacity(cpus=16, memory=31_000)}}, "the largest size has 31000"),
    ],
)
def test_what_could_never_run(asked: dict[str, Any], told: str) -> None:
    said = ask(**asked)
    assert said is not None
    assert said.startswith("No pool can ever run this: ")
    assert told in said


@pytest.mark.parametrize("asked", [{"cpus": 16}, {"cpus": 0}, {"memory": 32_760}, {"cpus": 64, "nodes": [8, 64]}])
def test_what_could(asked: dict[str, Any]) -> None:
    assert ask(**asked) is None
