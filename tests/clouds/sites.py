"""Emulated accounts with clouds that work in them, for the contract of ICloud and for other tests."""

from collections.abc import Collection
from typing import Any
from uuid import uuid4

from twisted.internet import reactor
from twisted.internet.defer import gatherResults

from modabatchd.infrastructure.dialects import Tags
from modabatchd.infrastructure.libcloud import Account, driver_factory
from modabatchd.infrastructure.remote import Deadlines, RemoteCloud
from tests.clouds import ec2, openstack

DEADLINES = Deadlines()


class EmulatedSite:
    """What EC2 and OpenStack have in common."""

    size: str
    tokens: bool

    def __init__(self, account: Any, access: Account, deadlines: Deadlines) -> None:
        self.account = account
        self.access = access
        self.deadlines = deadlines
        self.installation = str(uuid4())
        self.clouds: list[RemoteCloud] = []
        self.options: dict[str, str] = {}
        self.cloud = self.again()

    def again(self, **changes: str) -> RemoteCloud:
        access = Account(
            provider=self.access.provider,
            **({"key": self.access.key, "secret": self.access.secret} | changes),
            arguments=self.access.arguments,
        )
        cloud = RemoteCloud(
            reactor,
            "burst",
            self.installation,
            access.provider,
            driver_factory(access, 10.0),
            self.deadlines,
            threads=3,
            spare=3,
        )
        cloud.startService()
        self.clouds.append(cloud)
        return cloud

    async def close(self) -> None:
        await gatherResults([cloud.stopService() for cloud in self.clouds])

    def created(self) -> int:
        creates: int = self.account.creates
        return creates

    def user_data(self, machine_id: str) -> str:
        text: str = self.account.user_data[machine_id]
        return text

    def prints(self, machine_id: str, text: str) -> None:
        self.account.consoles[machine_id] = text

    def set_away(self, away: bool) -> None:
        self.account.faults.away = away

    def set_throttled(self, throttled: bool) -> None:
        self.account.faults.throttled = throttled

    def refuse(self, refusal: str) -> None:
        self.account.faults.refusal = refusal

    def lose_answers(self, count: int) -> None:
        self.account.faults.lost_answers = count

    def lose_requests(self, count: int) -> None:
        self.account.faults.lost_requests = count

    def delay_lists(self, seconds: float) -> None:
        self.account.faults.list_delay = seconds


class EC2Site(EmulatedSite):
    size = ec2.SIZE
    tokens = True

    def __init__(self, port: int, account: ec2.EC2Account, deadlines: Deadlines = DEADLINES) -> None:
        arguments = {"host": "127.0.0.1", "port": str(port), "secure": "false", "region": "us-east-1"}
        super().__init__(account, Account(provider="ec2", key=ec2.KEY, secret="secret", arguments=arguments), deadlines)
        self.options = {"image": ec2.IMAGE}

    def alive(self) -> Collection[str]:
        states = self.account.states()
        return [machine_id for machine_id, state in states.items() if state in ("pending", "running")]

    def vanish(self, machine_id: str) -> None:
        self.account.vanish(machine_id)

    def add_foreign(self, name: str, node_id: str) -> Collection[str]:
        other = Tags(str(uuid4()), node_id).named()
        return [self.account.run({"Name": name}), self.account.run({"Name": name} | other)]


class OpenStackSite(EmulatedSite):
    size = openstack.SIZE
    tokens = False

    def __init__(self, port: int, account: openstack.OpenStackAccount, deadlines: Deadlines = DEADLINES) -> None:
        account.port = port
        arguments = {
            "ex_force_auth_url": f"http://127.0.0.1:{port}",
            "ex_force_auth_version": "3.x_password",
            "ex_tenant_name": "project",
            "ex_force_service_region": "RegionOne",
        }
        super().__init__(account, Account(provider="openstack", key="user", secret="secret", arguments=arguments), deadlines)
        self.options = {"image": openstack.IMAGE}

    def alive(self) -> Collection[str]:
        return list(self.account.servers)

    def vanish(self, machine_id: str) -> None:
        del self.account.servers[machine_id]

    def add_foreign(self, name: str, node_id: str) -> Collection[str]:
        return [self.account.add(name, {}), self.account.add(name, Tags(str(uuid4()), node_id).named())]
