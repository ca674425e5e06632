"""
apache-libcloud, spoken to in blocking calls: each needs a driver that no other thread uses.

Note [Empty lists]
==================
Some drivers read an answer that they do not understand as a list without machines, and some drop machines that they
cannot look up.  So our machines are counted in the answers before libcloud makes anything of them.  A list that holds another
number of them, or that came without any answer, is a failure.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

import msgspec
from libcloud.compute.base import Node, NodeDriver, NodeImage, NodeLocation, NodeSize
from libcloud.compute.drivers.ec2 import ExEC2AvailabilityZone
from libcloud.compute.providers import get_driver
from twisted.logger import Logger

from modabatchd.infrastructure import faults
from modabatchd.infrastructure.dialects import Dialect, Offered, Ref, Tags, Wanted
from modabatchd.infrastructure.errors import CloudAway, CloudError, CloudRefused
from modabatchd.infrastructure.node import Machine, MachineState
from modabatchd.infrastructure.providers import dialect

T = TypeVar("T")

_CONSOLE: Final = 64 * 1024
_NOT_THERE: Final = re.compile(r"\bInvalid(AMIID\.(NotFound|Malformed)|InstanceType)\b")
_AGAIN: Final = "It is asked again."

_STATES: Final[Mapping[str, MachineState]] = {
    "running": MachineState.RUNNING,
    "normal": MachineState.RUNNING,
    "updating": MachineState.RUNNING,
    "rebooting": MachineState.RUNNING,
    "reconfiguring": MachineState.RUNNING,
    "migrating": MachineState.RUNNING,
    "pending": MachineState.PENDING,
    "starting": MachineState.PENDING,
    "stopping": MachineState.STOPPING,
    "stopped": MachineState.STOPPED,
    "suspended": MachineState.STOPPED,
    "paused": MachineState.STOPPED,
    "terminated": MachineState.TERMINATED,
    "error": MachineState.ERROR,
}


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """
    What opens a provider's door.

    @ivar provider: libcloud's name of it.
    @ivar arguments: of the driver's constructor: region, project, host, ...; C{port} is read as a number, C{secure} as a truth
        value.
    """

    provider: str
    key: str = ""
    secret: str = ""
    arguments: Mapping[str, str] = {}


class Held(msgspec.Struct, frozen=True):
    """A machine of ours.  @ivar node: as libcloud has it; belongs to no thread."""

    machine: Machine
    node: Node


def driver_factory(account: Account, timeout: float = 30.0) -> Callable[[], NodeDriver]:
    """
    Makes drivers of the account's provider.  What is wrong with the account shows when one is made or used.

    @param timeout: seconds, for one read of a socket.
    @raise CloudRefused: the provider is none of those that we can use.
    """
    spoken = speak(account.provider)
    driver: Any = get_driver(account.provider)
    keys = [account.key, account.secret] if account.secret else [account.key]

    def make() -> NodeDriver:
        arguments = {name: _argument(name, value) for name, value in account.arguments.items()}
        everything = {"timeout": timeout} | dict(spoken.account) | arguments
        made: NodeDriver = driver(*keys, **{name: value for name, value in everything.items() if value is not None})
        return made

    return make


def speak(provider: str) -> Dialect:
    """@raise CloudRefused: the provider is none of those that we can use."""
    spoken = dialect(provider)
    if isinstance(spoken, str):
        raise CloudRefused(f"The driver {provider} cannot be used. {spoken}", "Choose another driver for the pool.")
    return spoken


def switch_retries_off() -> None:
    """libcloud's own ones, for this process: with them, one create whose answer was lost makes two machines."""
    os.environ.pop("LIBCLOUD_RETRY_FAILED_HTTP_REQUESTS", None)


class Speaker:
    """
    Says the same things to all providers.  Every method fails with one of L{modabatchd.infrastructure.errors}.

    @param installation: our UUID.
    @ivar dialect: the provider's.
    """

    _log = Logger()

    def __init__(self, provider: str, installation: str) -> None:
        self.dialect = speak(provider)
        self._provider = provider
        self._installation = installation

    def connect(self, make: Callable[[], NodeDriver]) -> NodeDriver:
        """A new driver.  @raise CloudRefused: the account's arguments are wrong."""
        return self._translated(make, (ValueError, TypeError, NotImplementedError))

    def create(self, driver: NodeDriver, wanted: Wanted) -> Held:
        """A new machine."""
        arguments = {name: _real(driver, value) for name, value in self.dialect.create(wanted).items()}
        node = self._translated(lambda: driver.create_node(name=wanted.name, **arguments))
        if not isinstance(node, Node):
            raise CloudAway(f"{self._provider}: the answer to a create tells of no machine.", _AGAIN)
        return self._held(node, wanted.tags)

    def read(self, driver: NodeDriver) -> Sequence[Held]:
        """All machines of ours.  See Note [Empty lists]."""
        answers: list[tuple[str, Any]] = []
        nodes = self._translated(lambda: self._listed(driver, answers))
        owners = [self.dialect.owner(node.extra) for node in nodes]
        held = [
            self._held(node, tags)
            for node, tags in zip(nodes, owners, strict=True)
            if tags is not None and tags.installation == self._installation
        ]
        if self.dialect.told is not None:
            self._check(answers, self.dialect.told, len(held))
        return held

    def destroy(self, driver: NodeDriver, held: Held) -> None:
        """Let a machine go.  It may be gone."""
        try:
            done = self._translated(lambda: driver.destroy_node(held.node, **self.dialect.destroying))
        except faults.Gone:
            return
        if not done:
            raise CloudAway(f"{self._provider} has not confirmed that {held.machine.name} will go.", _AGAIN)

    def console(self, driver: NodeDriver, held: Held) -> str:
        """What a machine printed; empty where nobody tells."""
        if not self.dialect.console:
            return ""
        said = self._translated(lambda: getattr(driver, self.dialect.console)(held.node))
        text = said.get("output") if isinstance(said, dict) else said
        return str(text or "")[-_CONSOLE:]

    def offered(self, driver: NodeDriver, sizes: Sequence[str]) -> Sequence[Offered]:
        """Of these sizes, those that the provider has; of some providers, all that it has."""
        asked = self.dialect.sizes
        if asked is None:
            return []
        if asked.query is None or asked.told is None:
            return [_offered(size) for size in self._translated(driver.list_sizes)]
        found = [self._about(driver, asked.query(size), asked.told) for size in sizes]
        return [each for some in found for each in some]

    def has_image(self, driver: NodeDriver, image: str) -> bool:
        """Whether the provider has it, and shows it to this account."""
        try:
            return self._translated(lambda: _image(driver, image)) is not None
        except CloudRefused as problem:
            if _unknown(problem):
                return False
            raise

    def _about(
        self, driver: NodeDriver, params: Mapping[str, str], told: Callable[[Any], Sequence[Offered]]
    ) -> Sequence[Offered]:
        connection: Any = driver.connection
        path = getattr(driver, "path", "/")
        try:
            return told(self._translated(lambda: connection.request(path, params=dict(params)).object))
        except CloudRefused as problem:
            if _unknown(problem):
                return []
            raise

    def _listed(self, driver: NodeDriver, answers: list[tuple[str, Any]]) -> Sequence[Node]:
        arguments = self.dialect.listing(self._installation)
        if self.dialect.told is None:
            return driver.list_nodes(**arguments)
        connection: Any = driver.connection
        _overhear(connection, answers)
        try:
            return driver.list_nodes(**arguments)
        finally:
            del connection.request

    def _check(self, answers: Sequence[tuple[str, Any]], told: Callable[[Any, str], int | None], read: int) -> None:
        first = answers[0][0] if answers else ""
        counts = [told(answer, self._installation) for action, answer in answers if action == first]
        if not counts or None in counts:
            raise CloudAway(f"{self._provider}: the answer to a list of machines is none.", _AGAIN)
        if sum(count or 0 for count in counts) != read:
            raise CloudAway(f"{self._provider}: a list of machines was not understood completely.", _AGAIN)

    def _held(self, node: Node, tags: Tags) -> Held:
        finer = self.dialect.states.get(str(node.extra.get("status", "")))
        state = finer or _STATES.get(str(node.state), MachineState.UNKNOWN)
        addresses = tuple(str(address) for address in [*node.private_ips, *node.public_ips] if address)
        return Held(Machine(id=str(node.id), name=node.name, node_id=tags.node, state=state, addresses=addresses), node)

    def _translated(self, work: Callable[[], T], refusals: tuple[type[Exception], ...] = ()) -> T:
        try:
            return work()
        except CloudError:
            raise
        except Exception as problem:
            # requests has errors that are of both kinds, and mean that nobody answered.
            if isinstance(problem, refusals) and not isinstance(problem, OSError):
                raise CloudRefused(f"{self._provider}: {problem}", "Correct the pool's account in the policy.") from problem
            if isinstance(problem, LookupError | TypeError | AttributeError):
                self._log.failure("{provider}: libcloud failed", provider=self._provider)
            raise faults.error(_fault(problem), self._provider) from problem


def _unknown(problem: CloudRefused) -> bool:
    """Whether what was asked about is not there, and not that we may not ask."""
    return isinstance(problem, faults.Gone) or _NOT_THERE.search(problem.cause) is not None


def _image(driver: Any, image: str) -> NodeImage | None:
    try:
        found: NodeImage = driver.get_image(image)
    except IndexError:
        # EC2's is the first of a list that is empty then.
        return None
    return found


def _offered(size: NodeSize) -> Offered:
    cpus = getattr(size, "vcpus", None) or size.extra.get("vcpus") or 0
    return Offered(id=str(size.id), cpus=int(cpus), memory=int(size.ram or 0))


def _argument(name: str, value: str) -> str | int | bool:
    if name == "port":
        return int(value)
    return value.lower() not in ("false", "no", "0") if name == "secure" else value


def _real(driver: NodeDriver, value: Any) -> Any:
    """libcloud's objects, where the dialect has references."""
    if isinstance(value, list):
        return [_real(driver, each) for each in value]
    if not isinstance(value, Ref):
        return value
    extra = {"selfLink": value.link}
    if value.kind == "size":
        return NodeSize(value.id, value.id, 0, 0, 0, 0.0, driver, extra)
    if value.kind == "zone":
        return _place(driver, value.id)
    return NodeImage(value.id, value.id, driver, extra)


def _place(driver: NodeDriver, zone: str) -> Any:
    place: Any = NodeLocation(zone, zone, "", driver)
    place.availability_zone = ExEC2AvailabilityZone(zone, "available", getattr(driver, "region_name", ""))
    return place


def _overhear(connection: Any, answers: list[tuple[str, Any]]) -> None:
    """Note down each request's path and answer, until the connection's own attribute C{request} is deleted."""
    request = connection.request

    def overheard(action: str, *args: Any, **kwargs: Any) -> Any:
        response = request(action, *args, **kwargs)
        answers.append((action, response.object))
        return response

    connection.request = overheard


def _fault(problem: Exception) -> faults.Fault:
    numbers = (getattr(problem, name, None) for name in ("http_code", "code"))
    text = str(getattr(problem, "value", None) or getattr(problem, "message", None) or problem)
    code = getattr(problem, "code", None)
    # Linode's driver tells the status in the text alone.
    _, _, told = text.rstrip(".").rpartition("Status code: ")
    return faults.Fault(
        kind=type(problem).__name__,
        status=next((number for number in numbers if isinstance(number, int)), int(told) if told.isdigit() else 0),
        text=f"{code}: {text}" if isinstance(code, str) else text,
        retry_after=float(getattr(problem, "retry_after", 0) or 0),
    )
