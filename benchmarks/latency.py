"""How soon a job runs on a node that did not exist, and how soon no node is left when there is nothing to do."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final
from uuid import uuid4

import msgspec
import requests
from libcloud.compute.base import Node as Machine
from libcloud.compute.base import NodeSize

from benchmarks.bundles import script_bundle
from benchmarks.places import place
from benchmarks.programs import daemon, pool
from benchmarks.report import Result, below, spread
from benchmarks.rounds import interleaved
from modabatchd.infrastructure import tokens
from modabatchd.infrastructure.bootstrap import Joining
from modabatchd.infrastructure.local import LocalNodeDriver
from modabatchd.infrastructure.node import Capacity, Node, NodeState, Offering, node_name
from modabatchd.infrastructure.policy import Pool
from modabatchd.infrastructure.tokens import SigningKey

_DOMAIN: Final = "modabatchd.test"
#: More cores than the other machine of the pool has, so that its jobs need a node.
_SIZE: Final = Capacity(cpus=64, memory=65536)
_CPUS: Final = "40"
#: Seconds that a node without work is kept, by the policy.
_IDLE: Final = 2.0
_PATIENCE: Final = 120.0
_LOOK: Final = 0.05
_POLICY: Final = """
[scaling]
idle = {idle}
[scaling.limits]
max_nodes = 2
starts_per_minute = 1000
[[pool]]
name = "here"
driver = "local"
account = {{master = {master}}}
sizes = [{{name = "large", cpus = 64, memory = "64G", price = 0.01}}]
"""
#: Seconds beyond what cannot be helped.
_FIRST_BAR: Final = 3.0
_GONE_BAR: Final = 10.0


class Seen(msgspec.Struct, frozen=True):
    """
    One round, in seconds.

    @ivar first: from the submission until the job ran.
    @ivar gone: from the end of the job until there was no node.
    """

    first: float
    gone: float


def measure(quick: bool) -> Iterator[Result]:
    """In turns: a job through the daemon, and a node that is booted by hand."""
    with place("latency") as directory:
        (directory / "policy.toml").write_text(_POLICY.format(idle=_IDLE, master=json.dumps(_master())))
        scaling = {
            "QUEUE__POLL_INTERVAL": "0.5",
            "SCALING__POLICY": str(directory / "policy.toml"),
            "SCALING__SIGNING_KEY": os.environ["MODABATCH_TEST_POOL_KEY"],
            "SCALING__DOMAIN": _DOMAIN,
        }
        driver = LocalNodeDriver(directory / "by-hand", {"large": _SIZE}, Path(_master()))
        nodes = directory / "daemon" / "nodes" / "here"
        try:
            with daemon(directory / "daemon", pool() | scaling) as program:
                url = f"http://127.0.0.1:{program.port}"
                measures: tuple[Callable[[], Any], ...] = (lambda: _through(url, directory, nodes), lambda: _boot(driver))
                seen, boots = interleaved(3 if quick else 20, *measures)
        finally:
            for left in (driver, LocalNodeDriver(nodes, {}, Path(_master()))):
                for machine in left.list_nodes():
                    left.destroy_node(machine)
    yield from _told(seen, boots)


def _told(seen: Sequence[Seen], boots: Sequence[float]) -> Iterator[Result]:
    extra = median(each.first - boot for each, boot in zip(seen, boots, strict=True))
    ours, peer = f"{spread([each.first for each in seen])} s", f"a node booted by hand {spread(boots)} s"
    yield below("from a submission to its job on a new node, beyond the boot", extra, _FIRST_BAR, "s", ours, peer)
    ours = f"{spread([each.gone for each in seen])} s"
    gone = median(each.gone for each in seen) - _IDLE
    yield below(
        "from the last job's end to no node, beyond the idle time", gone, _GONE_BAR, "s", ours, f"idle time {_IDLE:g} s"
    )


def _through(url: str, directory: Path, nodes: Path) -> Seen:
    """A job, and the node that comes for it and goes."""
    note = directory / uuid4().hex
    bundle = script_bundle(f"date +%s.%N >{note}.begun; sleep 1; date +%s.%N >{note}.part && mv {note}.part {note}.done")
    submitted = time.time()
    answer = requests.post(f"{url}/jobs", files={"job-bundle": bundle}, data={"request-cpus": _CPUS}, timeout=60)
    answer.raise_for_status()
    _until(note.with_suffix(".done").exists)
    _until(lambda: not any(nodes.glob("local-*")))
    gone = time.time()
    begun, done = (float(note.with_suffix(suffix).read_text()) for suffix in (".begun", ".done"))
    return Seen(begun - submitted, gone - done)


def _boot(driver: LocalNodeDriver) -> float:
    """Seconds from the create of a node until the pool shows it."""
    node, told = _order()
    begun = time.time()
    machine: Machine = driver.create_node(node.name, NodeSize("large", "large", 0, 0, None, 0.0, driver), None, told)
    _until(lambda: node.name in _status())
    took = time.time() - begun
    driver.destroy_node(machine)
    return took


def _order() -> tuple[Node, str]:
    """A node, and what its machine is told."""
    key = SigningKey("MODABATCH", Path(os.environ["MODABATCH_TEST_POOL_KEY"]).read_bytes())
    node_id, now = str(uuid4()), time.time()
    node = Node(
        id=node_id,
        name=node_name(node_id),
        offering=Offering(pool="by-hand", size="large"),
        capacity=_SIZE,
        price=0.0,
        state=NodeState.REQUESTED,
        requested=now,
    )
    # Jobs are for the daemon's nodes.
    wanted = Pool(name="by-hand", driver="local", sizes=(), requirements="false")
    joining = Joining(key=key, collector=os.environ["MODABATCH_TEST_COLLECTOR"], domain=_DOMAIN)
    token = tokens.node_token(key, _DOMAIN, node.name, now, 3600.0, uuid4().hex)
    return node, joining.user_data(node, wanted, token)


def _status() -> str:
    command = [os.environ["MODABATCH_TEST_CONDOR"], "condor_status", "-af", "Name"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _until(reached: Callable[[], bool]) -> None:
    until = time.monotonic() + _PATIENCE
    while not reached():
        if time.monotonic() > until:
            raise RuntimeError(f"not within {_PATIENCE:g} s")
        time.sleep(_LOOK)


def _master() -> str:
    return os.environ["MODABATCH_TEST_CONDOR_MASTER"]
