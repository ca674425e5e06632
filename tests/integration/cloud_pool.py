"""A daemon whose nodes come from an emulated EC2 account, in which other machines live as well."""

import os
from pathlib import Path
from uuid import uuid4

from modabatchd.infrastructure.dialects import Tags
from modabatchd.infrastructure.node import Capacity, node_name
from tests.clouds import ec2
from tests.clouds.ec2 import EC2Account
from tests.integration.daemon import Daemon

#: More cores than the other machine of the pool has, so that jobs can ask for what only these have.
CAPACITY = Capacity(cpus=64, memory=65536)
DOMAIN = "modabatchd.test"
SECRET = "the secret of the account"
POLICY = """
[scaling]
idle = {idle}
[scaling.limits]
max_nodes = 4
starts_per_minute = 1000
[[pool]]
name = "burst"
driver = "ec2"
image = "{image}"
sizes = [{{name = "{size}", cpus = 64, memory = "64G", price = 0.1}}]
account = {{host = "127.0.0.1", port = "{port}", secure = "false", region = "us-east-1"}}
credentials = "{credentials}"
boot_timeout = "{boot_timeout}"
"""


def daemon(place: Path, port: int, idle: float = 2.0, boot_timeout: str = "2m", **settings: str) -> Daemon:
    """
    One that is not started yet.

    @param place: a directory that the scheduler can read.
    @param port: of the emulated provider, on loopback.
    """
    place.mkdir(mode=0o700)
    credentials = place / "credentials.toml"
    credentials.touch(0o600)
    credentials.write_text(f'key = "{ec2.KEY}"\nsecret = "{SECRET}"\n')
    policy = place / "policy.toml"
    policy.write_text(
        POLICY.format(idle=idle, image=ec2.IMAGE, size=ec2.SIZE, port=port, credentials=credentials, boot_timeout=boot_timeout)
    )
    pool = {
        "QUEUE__BACKEND": "htcondor",
        "QUEUE__POLL_INTERVAL": "0.5",
        "QUEUE__HTCONDOR__COLLECTOR": os.environ["MODABATCH_TEST_COLLECTOR"],
        "QUEUE__HTCONDOR__SCHEDD": os.environ["MODABATCH_TEST_SCHEDD"],
        "QUEUE__HTCONDOR__TOKEN_DIRECTORY": os.environ["MODABATCH_TEST_TOKEN_DIR"],
        "QUEUE__HTCONDOR__CONFIG_FILE": os.environ["MODABATCH_TEST_CONDOR_CONFIG"],
        "SCALING__POLICY": str(policy),
        "SCALING__SIGNING_KEY": os.environ["MODABATCH_TEST_POOL_KEY"],
        "SCALING__DOMAIN": DOMAIN,
    }
    return Daemon(place / "daemon", **pool | settings)


def foreigners(account: EC2Account) -> list[str]:
    """Machines of others: without tags, named like nodes, tagged by another installation, or nearly as ours are."""
    node_id = str(uuid4())
    other = Tags(str(uuid4()), node_id).named()
    return [
        account.run(tags)
        for tags in (
            {},
            {"Name": "modabatchd"},
            {"Name": node_name(node_id)},
            {"Name": node_name(node_id)} | other,
            {"Name": node_name(node_id), "modabatchd-node": node_id},
            {"Name": node_name(node_id), "modabatchd-installation": "", "modabatchd-node": ""},
            {name.upper(): value for name, value in other.items()},
        )
    ]
