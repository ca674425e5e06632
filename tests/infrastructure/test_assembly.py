"""Scaling with its concrete backends: what is wrong with a policy or an account is told, and the rest works."""

from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from zope.interface import implementer

from modabatchd.config.settings import HTTPSettings
from modabatchd.errors import StartupError
from modabatchd.infrastructure.interfaces import ICloud
from modabatchd.infrastructure.policies import read_policy
from modabatchd.infrastructure.providing import clouds
from modabatchd.infrastructure_tap import Assembled, Site, WakingQueue, assemble
from modabatchd.queue.htcondor.environment import Access
from modabatchd.queue.interfaces import IQueue
from modabatchd.rest.app import Application
from modabatchd.rest.once import Once
from modabatchd.rest.site import Site as HTTPSite
from modabatchd.rest.upload import Upload
from modabatchd.store.keys import SQLKeys
from modabatchd.store.sql import SQLStore
from tests.deferreds import now
from tests.rest.in_memory import Client
from tests.rest.places import Place
from tests.run_now import RunNow
from tests.store.databases import opened, sqlite

LIMITS = "[scaling.limits]\nmax_nodes = 1\n"
POOL = '[[pool]]\nname = "{name}"\ndriver = "{driver}"\nsizes = [{{name = "s", cpus = 1, memory = "1G", price = 0.1}}]\n'


def made(text: str, directory: Path) -> tuple[dict[str, Any], dict[str, str]]:
    return clouds(Clock(), read_policy(LIMITS + text, "policy.toml"), str(uuid4()), directory)


def test_what_cannot_be_used_is_told_and_the_others_are_made(tmp_path: Path) -> None:
    text = POOL.format(name="here", driver="local") + POOL.format(name="there", driver="azure")
    good, bad = made(text + POOL.format(name="nowhere", driver="nobody"), tmp_path)
    assert list(good) == ["here"]
    assert ICloud.providedBy(good["here"])
    assert "azure" in bad["there"]
    assert "nobody" in bad["nowhere"]


@pytest.mark.parametrize(
    ("content", "mode", "told"),
    [
        (None, 0o600, "cannot be read"),
        ('key = "k"\nsecret = "s"\n', 0o640, "chmod 600"),
        ('password = "hidden"\n', 0o600, "a key"),
        ("key = [hidden", 0o600, "a key"),
        ('key = "k"\nsecret = "s"\n', 0o600, ""),
    ],
)
def test_secrets(tmp_path: Path, content: str | None, mode: int, told: str) -> None:
    path = tmp_path / "secret.toml"
    if content is not None:
        path.write_text(content)
        path.chmod(mode)
    more = f'image = "i"\ncredentials = "{path}"\naccount = {{region = "us-east-1"}}\n'
    good, bad = made(POOL.format(name="ec2", driver="ec2") + more, tmp_path)
    assert bool(good) is not bool(told)
    assert told in bad.get("ec2", "")
    assert "hidden" not in bad.get("ec2", "").replace(str(tmp_path), "")


def assembled(directory: Path, policy: str | None, key: bytes | None = b"secret", **more: Any) -> Assembled:
    if policy is not None:
        (directory / "policy.toml").write_text(policy)
    if key is not None:
        (directory / "MODABATCH").write_bytes(key)
    site = Site(
        policy=directory / "policy.toml",
        signing_key=directory / "MODABATCH",
        domain="example.org",
        collector="127.0.0.1:9618",
        directory=directory / "nodes",
        access=Access(),
        environment={},
        scheduler=lambda: succeed(""),
        **more,
    )
    store = opened(sqlite(directory))
    try:
        return assemble(Clock(), Clock(), site, store.instance, store, lambda: str(uuid4()))
    finally:
        now(store.stopService())


def test_all_of_it(tmp_path: Path) -> None:
    broken = POOL.format(name="bad", driver="local").replace("0.1", '"dear"')
    parts = assembled(tmp_path, LIMITS + POOL.format(name="here", driver="local") + broken)
    assert [service.name for service in parts.services] == ["pool", "here", "accounting", "scaling"]
    assert parts.services[-1] is parts.scaling


@pytest.mark.parametrize("dry_run", [True, False])
def test_a_dry_run_can_be_asked_for_at_the_start(tmp_path: Path, dry_run: bool) -> None:
    parts = assembled(tmp_path, LIMITS + POOL.format(name="here", driver="local"), dry_run=dry_run)
    # Nothing that is asked has a key, so this store is never opened.
    store = SQLStore(f"sqlite:///{tmp_path}/keys.sqlite", "", RunNow(), RunNow())
    once = Once(Clock(), SQLKeys(store.write, store.read))
    application = Application(parts.resources, [], lambda head: Upload(head, Place(tmp_path / "spool").spool, RunNow()), once)
    client = Client(HTTPSite(application.resource(), application.reception, HTTPSettings(), Clock()))
    assert client.get("/infrastructure").json()["dry_run"] is dry_run
    if dry_run:
        assert client.post("/infrastructure/pools/here/start").json()["type"] == "urn:modabatchd:problem:dry-run"


@pytest.mark.parametrize(
    ("policy", "key", "told"),
    [(None, b"k", "policy"), ("[scaling", b"k", "TOML"), (LIMITS + POOL.format(name="x", driver="local"), None, "signing key")],
)
def test_what_cannot_be_used_at_all(tmp_path: Path, policy: str | None, key: bytes | None, told: str) -> None:
    with pytest.raises(StartupError, match=told):
        assembled(tmp_path, policy, key)


@implementer(IQueue)
class Queue:
    name = "of this test"

    def submit(self, tickets: object) -> Deferred[list[str]]:
        return succeed(["done"])

    def acknowledge(self, backend_ids: object) -> Deferred[None]:
        return succeed(None)


def test_a_queue_that_tells() -> None:
    told: list[int] = []
    queue = WakingQueue(Queue(), lambda: told.append(1))
    assert IQueue.providedBy(queue)
    assert queue.name == "of this test"
    assert now(queue.submit([])) == ["done"]
    assert now(queue.acknowledge([])) is None
    assert len(told) == 2
