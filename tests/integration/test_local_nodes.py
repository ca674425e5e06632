"""Nodes of the local provider in a real pool, from user-data to the last file; and what their tokens are good for."""

import functools
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import msgspec
import pytest
import pytest_twisted
from libcloud.compute.base import Node as CloudNode
from libcloud.compute.base import NodeSize
from libcloud.compute.types import NodeState as CloudState
from twisted.internet import reactor
from twisted.internet.defer import succeed
from twisted.internet.task import deferLater

from modabatchd.errors import QueueAway
from modabatchd.infrastructure import tokens
from modabatchd.infrastructure.bootstrap import Joining
from modabatchd.infrastructure.errors import CloudRefused
from modabatchd.infrastructure.interfaces import Order
from modabatchd.infrastructure.local import LocalNodeDriver
from modabatchd.infrastructure.look import DemandGroup, Presence
from modabatchd.infrastructure.matching import offers
from modabatchd.infrastructure.node import Capacity, MachineState, Node, NodeState, Offering, node_name
from modabatchd.infrastructure.policy import Policy, Pool, Size
from modabatchd.infrastructure.pool import HTCondorPool
from modabatchd.infrastructure.remote import RemoteCloud
from modabatchd.infrastructure.tokens import SigningKey
from modabatchd.queue.htcondor.environment import Access, child_environment

T = TypeVar("T")

pytestmark = pytest.mark.pool

DOMAIN = "modabatchd.test"
SIZE = Capacity(cpus=2, memory=512)
HERE = Pool(name="here", driver="local", sizes=())


class Site:
    """Nodes on the pool under test, and jobs for them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        # Jobs and nodes of other tests are none of ours.
        self.name = directory.name
        self.key = SigningKey("MODABATCH", Path(os.environ["MODABATCH_TEST_POOL_KEY"]).read_bytes())
        self.joining = Joining(key=self.key, collector=os.environ["MODABATCH_TEST_COLLECTOR"], domain=DOMAIN)
        self.access = Access(
            collector=os.environ["MODABATCH_TEST_COLLECTOR"],
            schedd=os.environ["MODABATCH_TEST_SCHEDD"],
            token_directory=Path(os.environ["MODABATCH_TEST_TOKEN_DIR"]),
            config_file=Path(os.environ["MODABATCH_TEST_CONDOR_CONFIG"]),
        )
        self.wanted = msgspec.structs.replace(HERE, labels={"site": self.name}, requirements=f'TARGET.Site =?= "{self.name}"')
        self.pool = HTCondorPool(reactor, self.key, DOMAIN, os.environ, self.access, self.offers())
        self.clusters: list[str] = []

    def offers(self) -> Mapping[str, list[str]]:
        sized = msgspec.structs.replace(self.wanted, sizes=(Size(id="small", capacity=SIZE, price=0.0),))
        small = msgspec.structs.replace(sized, name="other", sizes=(Size(id="tiny", capacity=Capacity(memory=64), price=0.0),))
        broken = msgspec.structs.replace(sized, name="broken", requirements="((")
        found = offers(Policy(pools=(sized, small, broken)), DOMAIN)
        return {name: list(ads) for name, ads in found.items() if name in ("here", "other", "broken")}

    def driver(self, boot_delay: float = 0.0) -> LocalNodeDriver:
        master = Path(os.environ["MODABATCH_TEST_CONDOR_MASTER"])
        return LocalNodeDriver(self.directory / "nodes", {"small": SIZE}, master, boot_delay=boot_delay)

    def node(self, age: float = 0.0) -> Node:
        node_id = str(uuid4())
        return Node(
            id=node_id,
            name=node_name(node_id),
            offering=Offering(pool="here", size="small"),
            capacity=SIZE,
            price=0.0,
            state=NodeState.REQUESTED,
            requested=time.time() - age,
        )

    def told(self, node: Node, token: str, **pool: Any) -> str:
        wanted = msgspec.structs.replace(
            HERE, labels={"site": self.name}, **({"requirements": f'TARGET.Site =?= "{self.name}"'} | pool)
        )
        return self.joining.user_data(node, wanted, token)

    async def start(self, boot_delay: float = 0.0, **pool: Any) -> tuple[Node, CloudNode]:
        node = self.node()
        return node, create(self.driver(boot_delay), node, self.told(node, await self.pool.token(node.name, 600), **pool))

    def submit(self, script: str, count: int = 1, memory: int = 100) -> str:
        """Jobs that run on nodes of this test alone; their cluster."""
        described = {
            "executable": "/bin/sh",
            "arguments": f"\"-c '{script}'\"",
            "transfer_executable": "false",
            "should_transfer_files": "yes",
            "initialdir": str(self.directory),
            "output": "$(ClusterId).$(ProcId).out",
            "log": "log",
            "request_cpus": "1",
            "request_memory": str(memory),
            "request_disk": "1000",
            "My.Site": f'"{self.name}"',
            "requirements": f'TARGET.ModabatchLabel_site =?= "{self.name}"',
        }
        file = self.directory / "submit"
        file.write_text("".join(f"{name} = {value}\n" for name, value in described.items()) + f"queue {count}\n")
        cluster = tool("condor_submit", "-terse", str(file)).split(".")[0]
        self.clusters.append(cluster)
        return cluster

    async def presence(self, node: Node) -> Presence | None:
        return next((seen for seen in (await self.pool.look()).presences if seen.name == node.name), None)

    async def joined(self, node: Node) -> Presence:
        return await eventually(lambda: self.presence(node))


def create(driver: LocalNodeDriver, node: Node, user_data: str) -> CloudNode:
    size = NodeSize("small", "small", 0, 0, None, 0.0, driver)
    return driver.create_node(node.name, size, None, user_data, {"node": node.id}, node.id)


@pytest_twisted.async_yield_fixture
async def site() -> AsyncIterator[Site]:
    directory = Path(os.environ["MODABATCH_TEST_POOL_DIR"]) / f"nodes-{uuid4().hex}"
    directory.mkdir(mode=0o700)
    there = Site(directory)
    there.pool.startService()
    yield there
    for cluster in there.clusters:
        with suppress(subprocess.CalledProcessError):
            tool("condor_rm", cluster)
    left = there.driver().list_nodes()
    for node in left:
        assert there.driver().destroy_node(node)
    await there.pool.revoke([node.name for node in left])
    await there.pool.stopService()


async def eventually(look: Callable[[], Awaitable[T | None]], within: float = 60.0) -> T:
    """The first result of C{look} that is true."""
    until = time.monotonic() + within
    while True:
        result = await look()
        if result:
            return result
        assert time.monotonic() < until, f"not within {within} s"
        await deferLater(reactor, 0.1)


def tool(name: str, *arguments: str) -> str:
    """Run one of HTCondor's own tools, as an administrator would."""
    return subprocess.run(
        [os.environ["MODABATCH_TEST_CONDOR"], name, *arguments], check=True, capture_output=True, text=True, timeout=60
    ).stdout


def processes(trait: str) -> list[int]:
    """Processes whose environment holds some text."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if trait.encode() in (process / "environ").read_bytes():
                found.append(int(process.name))
    return found


@pytest_twisted.ensureDeferred
async def test_a_life(site: Site) -> None:
    """Two nodes come, one runs a job, is drained meanwhile, and goes when the job is done; nothing is left of it."""
    (busy, machine), (other, _) = await site.start(), await site.start()
    assert (await site.joined(other)).jobs == ()
    seen = await site.joined(busy)
    assert (seen.total.cpus, seen.total.memory, seen.free.cpus) == (2, 512, 2)
    assert not seen.draining
    assert abs(seen.heard - time.time()) < 60
    gate = site.directory / "gate"
    await site.pool.drain(other.name)
    cluster = site.submit(f"while ! test -e {gate}; do sleep 0.1; done; echo done")

    async def running() -> Presence | None:
        seen = await site.presence(busy)
        return seen if seen is not None and any(f"#{cluster}.0#" in job for job in seen.jobs) else None

    seen = await eventually(running)
    assert (seen.free.cpus, seen.total.cpus) == (1, 2)
    await site.pool.drain(busy.name)
    await site.pool.drain(busy.name)

    async def draining() -> bool:
        seen = await site.presence(busy)
        return seen is not None and seen.draining

    await eventually(draining)
    waiting = site.submit("echo late")
    await deferLater(reactor, 5)
    assert tool("condor_q", cluster, "-af", "JobStatus").strip() == "2"
    assert tool("condor_q", waiting, "-af", "JobStatus").strip() == "1"
    gate.touch()

    async def empty() -> bool:
        seen = await site.presence(busy)
        return seen is not None and seen.draining and not seen.jobs

    await eventually(empty)
    assert (site.directory / f"{cluster}.0.out").read_text() == "done\n"
    assert tool("condor_q", waiting, "-af", "JobStatus").strip() == "1"
    await site.pool.dismiss(busy.name)
    assert await site.presence(busy) is None
    await site.pool.dismiss(busy.name)
    assert site.driver().destroy_node(machine)
    assert site.driver().destroy_node(machine)
    assert busy.name not in tool("condor_status", "-any", "-af", "Name")
    assert not processes(machine.id)
    assert not (site.directory / "nodes" / machine.id).exists()
    await site.pool.resume(other.name)
    await site.pool.resume(other.name)

    async def ran() -> bool:
        return (site.directory / f"{waiting}.0.out").exists() and not tool("condor_q", waiting, "-af", "JobStatus").strip()

    await eventually(ran)
    assert (site.directory / f"{waiting}.0.out").read_text() == "late\n"


@pytest_twisted.ensureDeferred
async def test_the_cord_is_pulled_while_a_job_runs(site: Site) -> None:
    """Every process goes, also one that has left its parents, its session and its environment; the pool forgets the node."""
    node, machine = await site.start()
    await site.joined(node)
    mark = site.directory / "orphan"
    site.submit(f'(env -i setsid sh -c "echo \\$\\$ > {mark}; exec sleep 1000" &) ; exec sleep 1000'.replace('"', '""'))

    async def started() -> bool:
        return mark.exists() and bool(mark.read_text().strip())

    await eventually(started)
    orphan = Path("/proc") / mark.read_text().strip()
    assert orphan.exists()
    assert site.driver().destroy_node(machine)
    assert not orphan.exists() or "(sleep) Z" in (orphan / "stat").read_text()
    assert not processes(machine.id)
    assert (await site.presence(node)) is not None
    await site.pool.revoke([node.name])
    assert (await site.presence(node)) is None
    assert node.name not in tool("condor_status", "-any", "-af", "Name")


@pytest_twisted.ensureDeferred
async def test_one_token_makes_one_node_whoever_asks(site: Site) -> None:
    node = site.node()
    told = site.told(node, await site.pool.token(node.name, 600))
    first = create(site.driver(boot_delay=1000.0), node, told)
    assert first.state == CloudState.PENDING
    assert create(site.driver(), node, told).id == first.id
    assert [each.id for each in site.driver().list_nodes()] == [first.id]
    assert first.extra["tags"] == {"node": node.id}

    async def booting() -> bool:
        return len(processes(f"MODABATCH_LOCAL_NODE={first.id}")) == 2  # sh and its sleep

    await eventually(booting)
    with pytest.raises(CloudRefused, match="user-data"):
        create(site.driver(), site.node(), "#!/bin/sh\necho no\n")
    driver = site.driver()
    with pytest.raises(CloudRefused, match="large"):
        driver.create_node("x", NodeSize("large", "large", 0, 0, None, 0.0, driver), None, told)
    assert [each.id for each in site.driver().list_nodes()] == [first.id]


@pytest_twisted.ensureDeferred
async def test_as_a_cloud(site: Site) -> None:
    """As the daemon has it: through libcloud, in threads, found by tags."""
    node = site.node()
    clouds = [RemoteCloud(reactor, "here", installation, "local", site.driver) for installation in (str(uuid4()), str(uuid4()))]
    for cloud in clouds:
        cloud.startService()
    ours, foreign = clouds
    order = Order(node=node, user_data=site.told(node, await site.pool.token(node.name, 600)))
    machine = await ours.start(order)
    assert (await ours.start(order)).id == machine.id
    await site.joined(node)
    assert [(each.node_id, each.state) for each in await ours.machines()] == [(node.id, MachineState.RUNNING)]
    assert await foreign.machines() == []
    assert "StartLog" in await ours.console(machine.id)
    await foreign.stop(machine.id)
    assert len(await ours.machines()) == 1
    await ours.stop(machine.id)
    await ours.stop(machine.id)
    assert site.driver().list_nodes() == []
    for cloud in clouds:
        await cloud.stopService()


START_AND_DIE = """
import os, signal, sys
from pathlib import Path
from libcloud.compute.base import NodeSize
from modabatchd.infrastructure.interfaces import Order
from modabatchd.infrastructure.local import LocalNodeDriver
from modabatchd.infrastructure.node import Capacity
directory, master, name, token = sys.argv[1:]
driver = LocalNodeDriver(Path(directory), {"small": Capacity(cpus=2, memory=512)}, Path(master))
driver.create_node(name, NodeSize("small", "small", 0, 0, None, 0.0, driver), None, sys.stdin.read(), {}, token)
os.killpg(0, signal.SIGKILL)
"""


def start_and_die(arguments: list[str], told: str) -> int:
    command = [sys.executable, "-c", START_AND_DIE, *arguments]
    return subprocess.run(command, input=told, text=True, check=False, start_new_session=True).returncode


@pytest_twisted.ensureDeferred
async def test_nodes_outlive_who_started_them(site: Site) -> None:
    node = site.node()
    arguments = [str(site.directory / "nodes"), os.environ["MODABATCH_TEST_CONDOR_MASTER"], node.name, node.id]
    assert start_and_die(arguments, site.told(node, await site.pool.token(node.name, 600))) == -9
    await site.joined(node)
    [found] = site.driver().list_nodes()
    assert (found.name, found.state) == (node.name, CloudState.RUNNING)
    assert "MasterLog" in site.driver().ex_get_console_output(found)
    assert site.driver().destroy_node(found)
    assert not site.driver().list_nodes()
    assert not processes(found.id)


@pytest_twisted.ensureDeferred
async def test_a_node_that_loses_its_pool_turns_itself_off_and_no_other(site: Site) -> None:
    with socket.socket() as collector:
        collector.bind(("127.0.0.1", 0))
        collector.listen(100)
        joining = msgspec.structs.replace(site.joining, collector=f"127.0.0.1:{collector.getsockname()[1]}")
        lost, lonely = site.node(), site.node()
        quick = msgspec.structs.replace(HERE, lease=4.0)
        machine = create(site.driver(), lost, joining.user_data(lost, quick, "a.b.c"))
        other = create(site.driver(), lonely, site.told(lonely, await site.pool.token(lonely.name, 600), lease=4.0))
        await site.joined(lonely)
        await deferLater(reactor, 6)
        assert {each.state for each in site.driver().list_nodes()} == {CloudState.RUNNING}

    async def off() -> bool:
        states = {each.id: each.state for each in site.driver().list_nodes()}
        return states == {machine.id: CloudState.STOPPED, other.id: CloudState.RUNNING}

    await eventually(off)
    assert not processes(machine.id)


@pytest_twisted.ensureDeferred
async def test_a_node_that_nobody_gives_work_turns_itself_off(site: Site) -> None:
    node = site.node()
    joining = msgspec.structs.replace(site.joining, patience=2)
    machine = create(site.driver(), node, joining.user_data(node, HERE, await site.pool.token(node.name, 600)))

    async def off() -> bool:
        return [each.state for each in site.driver().list_nodes()] == [CloudState.STOPPED]

    await eventually(off)
    assert not processes(machine.id)


@pytest_twisted.ensureDeferred
async def test_demand_is_counted_by_shape_and_matched(site: Site) -> None:
    site.submit("true", count=3, memory=100)
    site.submit("true", count=2, memory=300)
    held = site.submit("true", count=4, memory=100)
    tool("condor_hold", held)

    async def counted() -> list[DemandGroup] | None:
        groups = [group for group in (await site.pool.look()).demand if group.pools]
        return groups if sorted((group.each.memory, group.count) for group in groups) == [(128, 3), (384, 2)] else None

    for group in await eventually(counted):
        assert group.each.cpus == 1
        assert group.pools == {"here"}
        assert abs(group.oldest - time.time()) < 60


@pytest_twisted.ensureDeferred
async def test_jobs_that_run_are_no_demand(site: Site) -> None:
    node, _ = await site.start()
    await site.joined(node)
    cluster = site.submit("sleep 1000", count=3)

    async def settled() -> bool:
        look = await site.pool.look()
        [seen] = [presence for presence in look.presences if presence.name == node.name]
        mine = [group.count for group in look.demand if group.pools]
        return len(seen.jobs) == 2 and mine == [1]

    await eventually(settled)
    assert sorted(tool("condor_q", cluster, "-af", "JobStatus").split()) == ["1", "2", "2"]


@pytest_twisted.ensureDeferred
async def test_the_oldest_node_is_filled_first(site: Site) -> None:
    ages = [100.0, 5000.0, 1000.0]
    nodes = [site.node(age) for age in ages]
    for node in nodes:
        create(site.driver(), node, site.told(node, await site.pool.token(node.name, 600)))
    for node in nodes:
        await site.joined(node)

    async def busy(jobs: int) -> list[int] | None:
        seen = [await site.presence(node) for node in nodes]
        counts = [len(presence.jobs) if presence else 0 for presence in seen]
        return counts if sum(counts) == jobs else None

    # One by one: of several jobs the negotiator gives each node one per cycle, and what is left of the nodes goes to whichever
    # claim the schedd has first.
    for jobs, expected in enumerate(([0, 1, 0], [0, 2, 0], [0, 2, 1]), start=1):
        site.submit("sleep 1000")
        assert await eventually(functools.partial(busy, jobs)) == expected


@pytest_twisted.ensureDeferred
async def test_only_the_scheduler_that_has_the_jobs_is_asked(site: Site) -> None:
    for name in (os.environ["MODABATCH_TEST_SCHEDD"], "another@"):
        pool = HTCondorPool(reactor, site.key, DOMAIN, os.environ, site.access, {}, functools.partial(succeed, name))
        if name == "another@":
            with pytest.raises(QueueAway, match="are with the scheduler another@"):
                await pool.look()
        else:
            assert (await pool.look()).presences
        await pool.stopService()


@pytest_twisted.ensureDeferred
async def test_the_collector_says_since_when_it_knows(site: Site) -> None:
    look = await site.pool.look()
    assert 0 < look.collector_since <= look.at + 1
    assert any(presence.name.startswith("node@") for presence in look.presences)


@pytest_twisted.ensureDeferred
async def test_a_nodes_token_cannot_pass_for_another_nor_submit(site: Site) -> None:
    own, foreign = site.node(), site.node()
    create(site.driver(), foreign, site.told(foreign, await site.pool.token(own.name, 600)))
    node, _ = await site.start()
    await site.joined(node)
    assert await site.presence(foreign) is None
    assert allowed(site, tokens.node_token(site.key, DOMAIN, own.name, time.time(), 600, "t")) == {
        "ADVERTISE_STARTD",
        "ADVERTISE_MASTER",
        "READ",
    }


@pytest_twisted.ensureDeferred
async def test_a_token_that_is_over_opens_nothing(site: Site) -> None:
    late = tokens.node_token(site.key, DOMAIN, site.node().name, time.time() - 1000, 600, "t")
    assert allowed(site, late) == set()
    stranger = tokens.node_token(SigningKey("MODABATCH", b"guessed"), DOMAIN, site.node().name, time.time(), 600, "t")
    assert allowed(site, stranger) == set()


PERMISSIONS = (
    "ADVERTISE_STARTD",
    "ADVERTISE_MASTER",
    "ADVERTISE_SCHEDD",
    "WRITE",
    "DAEMON",
    "NEGOTIATOR",
    "ADMINISTRATOR",
    "READ",
)
PING = """
import sys, htcondor2
for permission in sys.argv[1:]:
    try:
        htcondor2.ping(f"<{htcondor2.param['COLLECTOR_HOST']}>", permission)
        print(permission)
    except htcondor2.HTCondorException:
        pass
"""


def allowed(site: Site, token: str) -> set[str]:
    """What a token opens at the collector."""
    directory = site.directory / f"token-{uuid4().hex}"
    directory.mkdir(mode=0o700)
    (directory / "token").touch(mode=0o600)
    (directory / "token").write_text(token)
    access = msgspec.structs.replace(site.access, token_directory=directory)
    environment = child_environment(os.environ, access) | {"_CONDOR_SEC_CLIENT_AUTHENTICATION_METHODS": "IDTOKENS"}
    asked = subprocess.run(
        [sys.executable, "-c", PING, *PERMISSIONS], env=environment, check=True, capture_output=True, text=True
    )
    return set(asked.stdout.split())


@pytest_twisted.ensureDeferred
async def test_a_pool_that_is_not_there(site: Site) -> None:
    nowhere = HTCondorPool(reactor, site.key, DOMAIN, os.environ, msgspec.structs.replace(site.access, collector="127.0.0.1:1"))
    name = site.node().name
    for call in (nowhere.look, lambda: nowhere.drain(name), lambda: nowhere.dismiss(name), lambda: nowhere.revoke([name])):
        with pytest.raises(QueueAway) as caught:
            await call()
        assert "condor_status" in caught.value.cure
    await nowhere.stopService()
    with pytest.raises(QueueAway, match="does not show"):
        await site.pool.drain(name)
    with pytest.raises(ValueError, match="name of a node"):
        site.pool.drain('x" || true')
