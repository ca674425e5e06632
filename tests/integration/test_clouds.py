"""The contract of ICloud through libcloud's own drivers, on EC2 (moto) and OpenStack (a fake)."""

from collections.abc import AsyncIterator

import pytest
import pytest_twisted

from tests.clouds.ec2 import EC2Account
from tests.clouds.loopback import served
from tests.clouds.openstack import OpenStackAccount
from tests.clouds.sites import EC2Site, OpenStackSite
from tests.contracts.cloud import CloudContract

# libcloud and moto read dates with functions that Python has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:datetime.datetime.utc:DeprecationWarning")


class TestEC2(CloudContract):
    @pytest_twisted.async_yield_fixture
    async def site(self) -> AsyncIterator[EC2Site]:
        account = EC2Account()
        with served(account.answer) as port:
            site = EC2Site(port, account)
            yield site
            await site.close()


class TestOpenStack(CloudContract):
    @pytest_twisted.async_yield_fixture
    async def site(self) -> AsyncIterator[OpenStackSite]:
        account = OpenStackAccount()
        with served(account.answer) as port:
            site = OpenStackSite(port, account)
            yield site
            await site.close()
