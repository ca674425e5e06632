"""modabatch check-policy, which asks emulated providers for their sizes and images."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clouds import ec2, openstack
from tests.clouds.ec2 import EC2Account
from tests.clouds.faults import Account
from tests.clouds.loopback import served
from tests.clouds.openstack import OpenStackAccount
from tests.integration.daemon import clean_environment

pytestmark = pytest.mark.filterwarnings("ignore:datetime.datetime.utc:DeprecationWarning")
MODABATCH = Path(sys.executable).with_name("modabatch")


class Checked:
    """A policy for an emulated account.  @ivar text: without its mistakes."""

    def __init__(self, directory: Path, account: Account, driver: str, image: str, size: str, access: str, key: str) -> None:
        self.account = account
        self.size = size
        self.image = image
        self.file = directory / "policy.toml"
        self.credentials = directory / "credentials.toml"
        self.credentials.write_text(f'key = "{key}"\nsecret = "secret"\n')
        self.credentials.chmod(0o600)
        self.text = (
            f'[scaling.limits]\nmax_nodes = 5\n[[pool]]\nname = "burst"\ndriver = "{driver}"\nimage = "{image}"\nsizes = [\n'
            f'    {{name = "{size}", cpus = CPUS, memory = "1G", price = 1}},\n]\naccount = {{{access}}}\n'
            f'credentials = "{self.credentials}"\n'
        ).replace("CPUS", "2" if driver == "ec2" else "1")

    def check(self, *options: str, **replaced: str) -> tuple[int, str]:
        text = self.text
        for old, new in replaced.items():
            text = text.replace(getattr(self, old), new)
        self.file.write_text(text)
        done = subprocess.run(
            [MODABATCH, "check-policy", self.file, *options],
            env=clean_environment({}),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )
        return done.returncode, done.stdout.replace(str(self.file), "FILE")


@pytest.fixture(params=["ec2", "openstack"])
def checked(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Checked]:
    if request.param == "ec2":
        account = EC2Account()
        with served(account.answer) as port:
            access = f'host = "127.0.0.1", port = "{port}", secure = "false", region = "us-east-1"'
            yield Checked(tmp_path, account, "ec2", ec2.IMAGE, ec2.SIZE, access, ec2.KEY)
        return
    other = OpenStackAccount()
    with served(other.answer) as port:
        other.port = port
        access = (
            f'ex_force_auth_url = "http://127.0.0.1:{port}", ex_force_auth_version = "3.x_password", '
            'ex_tenant_name = "project", ex_force_service_region = "RegionOne"'
        )
        yield Checked(tmp_path, other, "openstack", openstack.IMAGE, openstack.SIZE, access, "user")


def test_sizes_and_images_are_looked_up(checked: Checked) -> None:
    assert checked.check() == (0, "FILE: 1 pool, 1 size, objective balanced\n")
    checked.text = checked.text.replace("},\n]", "},\n    " + checked.text.split("\n")[7].strip() + "\n]")
    right, wrong = f'{{name = "{checked.size}", cpus = ', '{name = "m9.none", cpus = '
    first, second = checked.text.split(right, 1)
    checked.text = f"{first}{right}6{second.replace(right, wrong).replace('1G', '999G', 1)}"
    status, told = checked.check(image="ami-00000000")
    assert status == 1
    assert "FILE:6: pool 'burst'.image: " in told
    assert "has no image 'ami-00000000'" in told
    assert "FILE:8: pool 'burst'.sizes 1: " in told
    assert "cores, and the policy says 6" in told
    assert "MiB of memory, and the policy says 1022976" in told
    assert "FILE:9: pool 'burst'.sizes 2: " in told
    assert "has no size 'm9.none'" in told
    assert "4 mistakes" in told


@pytest.mark.parametrize("checked", ["openstack"], indirect=True)
def test_nobody_is_asked_who_need_not_be(checked: Checked) -> None:
    assert checked.check("--offline", image="ami-00000000")[0] == 0
    checked.credentials.unlink()
    assert checked.check()[0] == 0
    assert checked.account.requests == []
    status, told = checked.check("--online")
    assert status == 1
    assert "credentials.toml cannot be read" in told


@pytest.mark.parametrize("checked", ["ec2"], indirect=True)
def test_a_provider_that_is_away_or_refuses_is_told(checked: Checked) -> None:
    checked.account.faults.away = True
    status, told = checked.check()
    assert (status, "FILE:3: warning: pool 'burst': sizes and images could not be looked up: " in told) == (0, True)
    checked.account.faults.away = False
    checked.credentials.write_text('key = "wrong"\nsecret = "wrong"\n')
    status, told = checked.check()
    assert status == 1
    assert "FILE:3: pool 'burst': the provider was asked for its sizes and images: " in told
