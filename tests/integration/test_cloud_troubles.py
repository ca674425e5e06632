"""What goes wrong with real clouds, and what is special to one of them, on EC2 (moto) and OpenStack (a fake)."""

import base64
import contextlib
import os
import time
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import pytest_twisted
from twisted.internet.defer import DeferredList, gatherResults

from modabatchd.infrastructure.errors import CloudAway, CloudError, CloudRefused, Throttled
from modabatchd.infrastructure.node import Market
from modabatchd.infrastructure.remote import Deadlines
from tests.clouds import ec2
from tests.clouds.ec2 import EC2Account
from tests.clouds.loopback import served
from tests.clouds.openstack import OpenStackAccount
from tests.clouds.sites import EC2Site, OpenStackSite
from tests.contracts.cloud import LEAVING, listed, order

# libcloud and moto read dates with functions that Python has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:datetime.datetime.utc:DeprecationWarning")

HURRIED = Deadlines(read=0.5, create=0.5, destroy=0.5)


@pytest_twisted.async_yield_fixture
async def at_ec2() -> AsyncIterator[EC2Site]:
    account = EC2Account()
    with served(account.answer) as port:
        site = EC2Site(port, account)
        yield site
        await site.close()


@pytest_twisted.async_yield_fixture
async def at_openstack() -> AsyncIterator[OpenStackSite]:
    account = OpenStackAccount()
    with served(account.answer) as port:
        site = OpenStackSite(port, account)
        yield site
        await site.close()


@pytest.fixture(params=["at_ec2", "at_openstack"])
def anywhere(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


def actions(site: EC2Site) -> list[str]:
    return [request.form.get("Action", "") for request in site.account.requests]


@pytest_twisted.ensureDeferred
async def test_lists_that_are_misread(anywhere: Any) -> None:
    await anywhere.cloud.start(order(anywhere))
    anywhere.account.faults.misread = True
    for _ in range(3):
        with pytest.raises(CloudAway):
            await anywhere.cloud.machines()
    with pytest.raises(CloudAway):
        await anywhere.cloud.start(order(anywhere))
    anywhere.account.faults.misread = False
    assert len(await listed(anywhere)) == anywhere.created() == 1


@pytest_twisted.ensureDeferred
async def test_the_last_machine_is_not_forgotten_at_once(anywhere: Any) -> None:
    machine = await anywhere.cloud.start(order(anywhere))
    anywhere.delay_lists(3600.0)
    with pytest.raises(CloudAway):
        await anywhere.cloud.machines()
    anywhere.delay_lists(0.0)
    assert [each.id for each in await listed(anywhere)] == [machine.id]
    anywhere.vanish(machine.id)
    with pytest.raises(CloudAway):
        await anywhere.cloud.machines()
    assert await anywhere.cloud.machines() == []


@pytest_twisted.ensureDeferred
async def test_credentials_that_are_wrong(anywhere: Any) -> None:
    change = {"secret": "wrong"} if anywhere.access.provider == "openstack" else {"key": "AKIANOBODY"}
    with pytest.raises(CloudRefused):
        await anywhere.again(**change).machines()


@pytest_twisted.ensureDeferred
async def test_a_region_that_is_none(at_ec2: EC2Site) -> None:
    arguments = dict(at_ec2.access.arguments) | {"region": "nowhere-1"}
    at_ec2.access = msgspec.structs.replace(at_ec2.access, arguments=arguments)
    with pytest.raises(CloudRefused, match="nowhere-1"):
        await at_ec2.again().machines()


@pytest_twisted.ensureDeferred
async def test_orders_that_cannot_be_carried_out(at_ec2: EC2Site) -> None:
    wanted = order(at_ec2)
    wrong = [
        msgspec.structs.replace(wanted, options={}),
        msgspec.structs.replace(wanted, options={"image": ec2.IMAGE, "colour": "red"}),
        msgspec.structs.replace(wanted, user_data="x" * 16385),
    ]
    for each in wrong:
        with pytest.raises(CloudRefused):
            await at_ec2.cloud.start(each)
    assert at_ec2.account.requests == []


@pytest_twisted.ensureDeferred
async def test_what_ec2_is_told(at_ec2: EC2Site) -> None:
    options = {"image": ec2.IMAGE, "network": "subnet-1", "security_groups": "sg-1, sg-2", "key": "me", "address": "public"}
    wanted = order(at_ec2, options=options)
    offering = msgspec.structs.replace(wanted.node.offering, zone="us-east-1b", market=Market.SPOT)
    node = msgspec.structs.replace(wanted.node, offering=offering)
    with contextlib.suppress(CloudError):
        await at_ec2.cloud.start(msgspec.structs.replace(wanted, node=node))
    (sent,) = [request.form for request in at_ec2.account.requests if request.form["Action"] == "RunInstances"]
    tags = {sent[f"TagSpecification.1.Tag.{n}.Key"]: sent[f"TagSpecification.1.Tag.{n}.Value"] for n in (1, 2, 3)}
    assert tags == {"Name": node.name, "modabatchd-installation": at_ec2.installation, "modabatchd-node": node.id}
    expected = {
        "ClientToken": node.id,
        "ImageId": ec2.IMAGE,
        "InstanceInitiatedShutdownBehavior": "terminate",
        "InstanceMarketOptions.MarketType": "spot",
        "InstanceType": ec2.SIZE,
        "KeyName": "me",
        "MaxCount": "1",
        "MinCount": "1",
        "NetworkInterface.1.AssociatePublicIpAddress": "true",
        "NetworkInterface.1.SecurityGroupId.1": "sg-1",
        "NetworkInterface.1.SecurityGroupId.2": "sg-2",
        "NetworkInterface.1.SubnetId": "subnet-1",
        "Placement.AvailabilityZone": "us-east-1b",
        "UserData": base64.b64encode(wanted.user_data.encode()).decode(),
    }
    assert {name: sent.get(name) for name in expected} == expected


@pytest_twisted.ensureDeferred
async def test_nothing_is_asked_twice_by_libcloud(at_ec2: EC2Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIBCLOUD_RETRY_FAILED_HTTP_REQUESTS", "1")
    cloud = at_ec2.again()
    at_ec2.lose_requests(1)
    with pytest.raises(CloudAway):
        await cloud.start(order(at_ec2))
    assert actions(at_ec2).count("RunInstances") == 1
    at_ec2.set_throttled(True)
    with pytest.raises(Throttled):
        await cloud.machines()
    assert "LIBCLOUD_RETRY_FAILED_HTTP_REQUESTS" not in os.environ


@pytest_twisted.ensureDeferred
async def test_lists_are_shared(at_ec2: EC2Site) -> None:
    await gatherResults([at_ec2.cloud.start(order(at_ec2)) for _ in range(8)])
    assert actions(at_ec2).count("DescribeInstances") <= 2
    await gatherResults([at_ec2.cloud.machines() for _ in range(8)])
    assert actions(at_ec2).count("DescribeInstances") <= 4


@pytest_twisted.ensureDeferred
async def test_ec2_tells_how_a_machine_goes(at_ec2: EC2Site) -> None:
    machine = await at_ec2.cloud.start(order(at_ec2))
    await at_ec2.cloud.stop(machine.id)
    (seen,) = await at_ec2.cloud.machines()
    assert seen.state in LEAVING


@pytest_twisted.ensureDeferred
async def test_two_machines_with_one_tag_are_both_listed(at_openstack: OpenStackSite) -> None:
    wanted = order(at_openstack)
    at_openstack.delay_lists(3600.0)
    at_openstack.lose_answers(1)
    for expected in (1, 2):
        with contextlib.suppress(CloudAway):
            await at_openstack.cloud.start(wanted)
        assert len(at_openstack.alive()) == expected
    at_openstack.delay_lists(0.0)
    machines = await at_openstack.cloud.machines()
    assert [machine.node_id for machine in machines] == [wanted.node.id] * 2
    await gatherResults([at_openstack.cloud.stop(machine.id) for machine in machines])
    assert at_openstack.alive() == []


@pytest_twisted.ensureDeferred
async def test_answers_that_drip(at_openstack: OpenStackSite) -> None:
    machine = await at_openstack.cloud.start(order(at_openstack))
    at_openstack.deadlines = HURRIED
    cloud = at_openstack.again()
    at_openstack.account.faults.drip = 0.2
    began = time.monotonic()
    calls = [cloud.stop(machine.id) for _ in range(3)] + [cloud.start(order(at_openstack)) for _ in range(3)]
    outcomes = await DeferredList([*calls, cloud.machines()], consumeErrors=True)
    assert all(not good and failure.check(CloudAway) for good, failure in outcomes)
    assert time.monotonic() - began < 5.0
    at_openstack.account.faults.drip = 0.0
    assert [each.id for each in await cloud.machines()] == [machine.id]


@pytest_twisted.ensureDeferred
async def test_a_cloud_that_is_stopped(at_openstack: OpenStackSite) -> None:
    cloud = at_openstack.again()
    asked = [cloud.machines(), cloud.machines()]
    await cloud.stopService()
    outcomes = await DeferredList(asked, consumeErrors=True)
    assert [good or failure.check(CloudAway) for good, failure in outcomes] == [True, CloudAway]
    with pytest.raises(CloudAway):
        await cloud.machines()
