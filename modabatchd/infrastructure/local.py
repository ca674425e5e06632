"""
A libcloud driver whose machines are HTCondor daemons of this machine, for trying out and for tests.

Each node is a real C{condor_master} with a C{condor_startd}, in a directory of its own, which joins the pool as a machine in a
cloud does: by what the user-data says, and by nothing else.  Nodes are recorded in their directories; another driver object,
or another process, finds them there, and they go on when the daemon dies.

What the local provider cannot do: keep jobs from one another.  All nodes and all their jobs run as the user who runs the
daemon, so a job can read the token and the key of every node, the daemon's own files, and the machine's metadata address.  It
is for one's own jobs.
"""

from __future__ import annotations

import fcntl
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from libcloud.compute.base import Node, NodeDriver, NodeImage, NodeSize
from libcloud.compute.types import NodeState

from modabatchd.infrastructure.errors import CloudRefused
from modabatchd.infrastructure.local_node import PREFIX, LocalNode, Record, found, prepare
from modabatchd.infrastructure.node import Capacity

_SEARCH: Final = "/usr/sbin:/usr/local/sbin:/opt/condor/sbin"


class LocalNodeDriver(NodeDriver):
    """
    See the module.

    @param directory: where the directories of all nodes lie; made if it is missing.
    @param sizes: what can be had, by name.
    @param master: the program C{condor_master}; L{None}: the one that is installed.
    @param settings: further configuration of all nodes, below what the user-data says.
    @param boot_delay: seconds that a node takes to boot, beside what it really takes.
    @param clock: tells the time, in seconds since the epoch.
    @raise CloudRefused: there is no such program.
    """

    name = "local"
    website = ""
    type: Any = "local"

    def __init__(
        self,
        directory: Path,
        sizes: Mapping[str, Capacity],
        master: Path | None = None,
        settings: Mapping[str, str] = {},
        boot_delay: float = 0.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__("local")
        self._directory = directory
        self._sizes = dict(sizes)
        self._master = _installed() if master is None else master
        self._settings = dict(settings)
        self._boot_delay = boot_delay
        self._clock = clock

    def list_nodes(self, *args: Any, **kwargs: Any) -> list[Node]:
        """All nodes in the directory, whoever made them."""
        return [self._shown(node) for node in found(self._directory)]

    def list_sizes(self, location: Any = None) -> list[NodeSize]:
        """What can be had."""
        return [
            NodeSize(name, name, size.memory, size.disk // 2**20, None, 0.0, self, {"cpus": size.cpus})
            for name, size in self._sizes.items()
        ]

    def list_images(self, location: Any = None) -> list[NodeImage]:
        """There are none: all nodes have this machine's files."""
        return []

    def create_node(  # type: ignore[override]
        self,
        name: str,
        size: NodeSize,
        image: NodeImage | None = None,
        ex_userdata: str = "",
        ex_tags: Mapping[str, str] = {},
        ex_clienttoken: str | None = None,
    ) -> Node:
        """
        Start a node.

        @param ex_userdata: what L{modabatchd.infrastructure.bootstrap.user_data} wrote.
        @param ex_clienttoken: the node that was made with this token, if there is one, is the result.
        @raise CloudRefused: there is no such size, or the user-data is none.
        """
        token = ex_clienttoken or str(uuid4())
        with self._locked():
            node = self._made(token) or self._lay_out(name, size.id, token, dict(ex_tags), ex_userdata)
            if not node.launched:
                node.launch(self._master, self._boot_delay)
        return self._shown(node)

    def destroy_node(self, node: Node) -> bool:
        """Kill all processes of a node and remove its files.  @return: whether nothing is left; also if there was nothing."""
        with self._locked():
            return all(each.destroy() for each in found(self._directory) if each.record.id == node.id)

    def ex_get_console_output(self, node: Node) -> str:
        """The end of what a node's daemons have logged."""
        return "".join(each.console() for each in found(self._directory) if each.record.id == node.id)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One at a time, of all threads and processes: or one token could make two nodes."""
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (self._directory / ".lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for left in self._directory.glob(".*/"):
                shutil.rmtree(left, ignore_errors=True)  # of a process that was killed
            yield

    def _made(self, token: str) -> LocalNode | None:
        return next((node for node in found(self._directory) if node.record.token == token), None)

    def _lay_out(self, name: str, size: str, token: str, tags: dict[str, str], user_data: str) -> LocalNode:
        if size not in self._sizes:
            raise CloudRefused(f"The local provider has no size {size!r}.", f"It has {', '.join(self._sizes) or 'none'}.")
        now = self._clock()
        record = Record(
            id=f"{PREFIX}{uuid4()}", name=name, size=size, token=token, tags=tags, created=now, ready=now + self._boot_delay
        )
        place = self._directory / record.id
        # Not to be found by its name before it is complete.
        draft = Path(tempfile.mkdtemp(prefix=".", dir=self._directory))
        try:
            prepare(draft / "node", place, record, user_data, self._sizes[size], self._master, self._settings)
            (draft / "node").rename(place)
        except ValueError as problem:
            raise CloudRefused(f"The local provider does not understand the user-data: {problem}", "Report it.") from problem
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        return LocalNode(place)

    def _shown(self, node: LocalNode) -> Node:
        record = node.record
        extra = {"tags": record.tags, "size": record.size, "created": record.created}
        return Node(record.id, record.name, self._state(node), [], ["127.0.0.1"], self, extra=extra)

    def _state(self, node: LocalNode) -> NodeState:
        if not node.alive:
            return NodeState.STOPPED
        return NodeState.RUNNING if self._clock() >= node.record.ready else NodeState.PENDING


def _installed() -> Path:
    program = shutil.which("condor_master") or shutil.which("condor_master", path=_SEARCH)
    if program is None:
        raise CloudRefused("There is no condor_master on this machine.", "Install HTCondor, or use another driver.")
    return Path(program)
