"""From a form to a machine and back: the daemon, an emulated EC2 account, and real nodes that know their user-data alone."""

import os
import subprocess
from pathlib import Path
from uuid import uuid4

import msgspec
import pytest

from tests.clouds import ec2
from tests.clouds.ec2 import EC2Account
from tests.clouds.loopback import served
from tests.clouds.machines import Machines, processes
from tests.integration import cloud_pool
from tests.integration.daemon import eventually

pytestmark = [
    pytest.mark.pool,
    # libcloud and moto read dates with functions that Python has deprecated.
    pytest.mark.filterwarnings("ignore:datetime.datetime.utc:DeprecationWarning"),
]


def test_a_job_has_a_machine_come_and_go() -> None:
    place = Path(os.environ["MODABATCH_TEST_POOL_DIR"]) / f"cloud-{uuid4().hex}"
    account, master = EC2Account(), Path(os.environ["MODABATCH_TEST_CONDOR_MASTER"])
    foreign = cloud_pool.foreigners(account)
    machines = Machines(account, place / "machines", cloud_pool.CAPACITY, master)
    with served(account.answer) as port, machines.running():
        daemon = cloud_pool.daemon(place, port, boot_timeout="5m")
        daemon.start()
        try:
            job = daemon.submit('echo "$_CONDOR_SLOT" >where; cp where "$MODACLOUDS_BATCH_OUTPUT"', request_cpus="16")
            assert daemon.until(job["job_id"], "completed", within=300.0)["exit_status"] == 0
            eventually(lambda: not daemon.get("/infrastructure").json()["nodes"], within=120.0)
        finally:
            daemon.stop()
            assert not machines.troubles
        ((instance_id, state),) = [item for item in account.states().items() if item[0] not in foreign]
    assert (state, account.creates) == ("terminated", 1)
    assert all(account.states()[each] == "running" for each in foreign)
    assert not processes(place / "machines")
    check_what_it_was_told(account.user_data[instance_id], machines.booted[instance_id].directory)
    assert msgspec.json.decode(account.user_data[instance_id].partition("\n")[2])["hostname"] not in shown()


def shown() -> str:
    """Whom the pool knows."""
    command = [os.environ["MODABATCH_TEST_CONDOR"], "condor_status", "-any", "-af", "Name"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def check_what_it_was_told(user_data: str, machine: Path) -> None:
    assert ec2.KEY not in user_data
    assert cloud_pool.SECRET not in user_data
    (token,) = (machine / "etc/condor/modabatch/tokens.d").iterdir()
    assert token.stat().st_mode & 0o077 == 0
    assert "169.254.169.254" in (machine / "nft").read_text()
    assert (machine / "systemctl").read_text().split("\n")[-2] == "start condor"
