"""What libcloud's drivers send to the providers for which we have no emulator, and how their answers are read."""

import base64
import json
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import pytest
import pytest_twisted
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from twisted.internet import reactor

from modabatchd.infrastructure.errors import CloudAway
from modabatchd.infrastructure.interfaces import Order
from modabatchd.infrastructure.libcloud import Account, driver_factory
from modabatchd.infrastructure.node import Capacity, MachineState, Market, Node, NodeState, Offering, node_name
from modabatchd.infrastructure.remote import RemoteCloud
from tests.clouds.loopback import served
from tests.clouds.others import DigitalOcean, GoogleCompute, Linode, Recorder, Vultr

pytestmark = pytest.mark.filterwarnings("ignore:datetime.datetime.utc:DeprecationWarning")

INSTALLATION = str(uuid4())
WORD = f"modabatchd-i:{UUID(INSTALLATION).hex}"


class Provider(NamedTuple):
    """@ivar options: of the order.  @ivar zone: where the machine is to be.  @ivar key: of the account."""

    recorder: type[Recorder]
    options: dict[str, str]
    zone: str
    key: str = "key"


PROVIDERS = {
    "digitalocean": Provider(DigitalOcean, {"image": "debian-12-x64", "key": "11, 12"}, "fra1"),
    "linode": Provider(Linode, {"image": "linode/debian12", "key": "me"}, "eu-central"),
    "vultr": Provider(Vultr, {"image": "2136", "key": "k-1", "network": "n-1"}, "fra"),
    "gce": Provider(
        GoogleCompute,
        {
            "image": "projects/debian-cloud/global/images/family/debian-12",
            "subnetwork": "nodes",
            "disk": "20",
            "address": "none",
        },
        "europe-west3-a",
        "modabatch@project.iam.gserviceaccount.com",
    ),
}


class Place(NamedTuple):
    provider: str
    account: Any
    cloud: RemoteCloud

    def order(self, market: Market = Market.ON_DEMAND) -> Order:
        node_id = str(uuid4())
        offering = Offering(pool="burst", size="small-2", zone=PROVIDERS[self.provider].zone, market=market)
        capacity, state = Capacity(cpus=2, memory=4096), NodeState.REQUESTED
        node = Node(
            id=node_id, name=node_name(node_id), offering=offering, capacity=capacity, price=0.1, state=state, requested=1.0
        )
        return Order(node=node, user_data="#cloud-config\n# é\n", options=PROVIDERS[self.provider].options)


def redirected(make: Callable[[], Any], port: int) -> Any:
    """Some drivers cannot be told where their provider is."""
    driver = make()
    driver.connection.host, driver.connection.port, driver.connection.secure = "127.0.0.1", port, 0
    driver.connection.connect()
    return driver


@pytest.fixture(scope="module")
def private_key() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    form = serialization.PrivateFormat.TraditionalOpenSSL
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()


def account(provider: str, private_key: str, directory: Path) -> Account:
    if provider != "gce":
        return Account(provider=provider, key=PROVIDERS[provider].key)
    token = directory / "token"
    token.write_text(json.dumps({"access_token": "token", "expire_time": "2099-01-01T00:00:00Z"}))
    arguments = {"project": "project", "credential_file": str(token)}
    return Account(provider=provider, key=PROVIDERS[provider].key, secret=private_key, arguments=arguments)


@pytest.fixture(params=sorted(PROVIDERS))
def served_account(request: pytest.FixtureRequest) -> Iterator[tuple[str, int, Recorder]]:
    recorder = PROVIDERS[request.param].recorder()
    with served(recorder.answer) as port:
        yield request.param, port, recorder


@pytest_twisted.async_yield_fixture
async def place(served_account: tuple[str, int, Recorder], private_key: str, tmp_path: Path) -> AsyncIterator[Place]:
    provider, port, recorder = served_account
    make = driver_factory(account(provider, private_key, tmp_path), 10.0)
    cloud = RemoteCloud(reactor, "burst", INSTALLATION, provider, lambda: redirected(make, port))
    cloud.startService()
    yield Place(provider, recorder, cloud)
    await cloud.stopService()


def check_digitalocean(sent: dict[str, Any], order: Order) -> None:
    assert sent == {
        "name": order.node.name,
        "size": "small-2",
        "image": "debian-12-x64",
        "region": "fra1",
        "user_data": order.user_data,
        "ssh_keys": ["11", "12"],
        "tags": [WORD, f"modabatchd-n:{UUID(order.node.id).hex}"],
    }


def check_linode(sent: dict[str, Any], order: Order) -> None:
    assert len(sent.pop("root_pass")) >= 32
    assert base64.b64decode(sent.pop("metadata")["user_data"]).decode() == order.user_data
    assert max(map(len, sent["tags"])) <= 50
    assert sent == {
        "label": order.node.name,
        "type": "small-2",
        "image": "linode/debian12",
        "region": "eu-central",
        "tags": [WORD, f"modabatchd-n:{UUID(order.node.id).hex}"],
        "authorized_users": ["me"],
        "backups_enabled": False,
        "private_ip": False,
    }


def check_vultr(sent: dict[str, Any], order: Order) -> None:
    assert base64.b64decode(sent.pop("user_data")).decode() == order.user_data
    assert sent == {
        "label": order.node.name,
        "hostname": order.node.name,
        "plan": "small-2",
        "os_id": "2136",
        "region": "fra",
        "tag": f"modabatchd:{UUID(INSTALLATION).hex}:{UUID(order.node.id).hex}",
        "sshkey_id": ["k-1"],
        "attach_private_network": ["n-1"],
        "enable_ipv6": False,
        "activation_email": False,
    }


def check_gce(sent: dict[str, Any], order: Order) -> None:
    assert sent["name"] == order.node.name
    assert sent["machineType"] == "zones/europe-west3-a/machineTypes/small-2"
    assert sent["labels"] == {"modabatchd-installation": INSTALLATION, "modabatchd-node": order.node.id}
    assert sent["metadata"]["items"] == [{"key": "user-data", "value": order.user_data}]
    assert sent["serviceAccounts"] == []
    assert sent.get("scheduling", {}).get("preemptible", False) is (order.node.offering.market is Market.SPOT)
    (disk,) = sent["disks"]
    assert disk["autoDelete"] is True
    assert disk["initializeParams"] == {
        "diskName": order.node.name,
        "diskSizeGb": "20",
        "diskType": "zones/europe-west3-a/diskTypes/pd-standard",
        "sourceImage": "projects/debian-cloud/global/images/family/debian-12",
    }
    (interface,) = sent["networkInterfaces"]
    assert "accessConfigs" not in interface
    assert interface["network"] == "global/networks/default"
    assert interface["subnetwork"] == "regions/europe-west3/subnetworks/nodes"


CHECKS = {"digitalocean": check_digitalocean, "linode": check_linode, "vultr": check_vultr, "gce": check_gce}


@pytest_twisted.ensureDeferred
async def test_a_machine_comes_and_goes(place: Place) -> None:
    order = place.order()
    assert await place.cloud.machines() == []
    machine = await place.cloud.start(order)
    assert await place.cloud.start(order) == machine
    (sent,) = place.account.created
    CHECKS[place.provider](sent, order)
    (seen,) = await place.cloud.machines()
    assert seen == machine
    assert (seen.name, seen.node_id, seen.state) == (order.node.name, order.node.id, MachineState.PENDING)
    assert len(seen.addresses) == 1
    assert await place.cloud.console("unknown") == ""
    for _ in range(2):
        await place.cloud.stop(machine.id)
    assert place.account.machines == {}


@pytest_twisted.ensureDeferred
async def test_machines_of_others(place: Place) -> None:
    await place.cloud.start(place.order())
    (ours,) = place.account.machines.values()
    text = json.dumps(ours).replace(INSTALLATION, str(uuid4())).replace(UUID(INSTALLATION).hex, uuid4().hex)
    untagged = {name: ours[name] and type(ours[name])() for name in ("tags", "tag", "labels") if name in ours}
    if place.provider == "gce":
        untagged |= {"tags": ours["tags"]}
    place.account.machines["500"] = json.loads(text) | {"id": "500", "name": "theirs"}
    place.account.machines["501"] = ours | untagged | {"id": "501", "name": "nobody's"}
    assert len(await place.cloud.machines()) == 1
    await place.cloud.stop("500")
    assert len(place.account.machines) == 3


@pytest_twisted.ensureDeferred
async def test_an_answer_that_is_no_list(place: Place) -> None:
    place.account.strange = True
    with pytest.raises(CloudAway):
        await place.cloud.machines()
    with pytest.raises(CloudAway):
        await place.cloud.start(place.order())
    assert place.account.created == []
    place.account.strange = False
    assert await place.cloud.machines() == []


@pytest.mark.parametrize("served_account", ["gce"], indirect=True)
@pytest_twisted.ensureDeferred
async def test_spot_at_gce(place: Place) -> None:
    order = place.order(Market.SPOT)
    await place.cloud.start(order)
    check_gce(place.account.created[0], order)


@pytest.mark.parametrize("served_account", ["gce"], indirect=True)
@pytest_twisted.ensureDeferred
async def test_a_zone_that_does_not_answer(place: Place) -> None:
    await place.cloud.start(place.order())
    place.account.silent = "us-east1-b"
    with pytest.raises(CloudAway):
        await place.cloud.machines()
