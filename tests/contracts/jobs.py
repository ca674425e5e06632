"""Jobs for tests of queues, and what tests wait for."""

import csv
import io
import tarfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

from twisted.internet import reactor
from twisted.internet.task import deferLater

from modabatchd.queue.interfaces import IQueue, Ticket
from modabatchd.queue.job import BackendId, JobRequest, JobState, Sighting
from modabatchd.queue.launch import launch_script
from modabatchd.queue.parameters import rows_of_parameters

T = TypeVar("T")


class Site:
    """A queue, and a place for the files of its jobs and for the marks that running jobs leave."""

    def __init__(self, directory: Path, queue: IQueue) -> None:
        self.directory = directory
        self.queue = queue

    def ticket(
        self,
        script: str,
        arguments: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        input: bytes | None = None,
        parameters: Sequence[Sequence[str]] | None = None,
        **request: Any,
    ) -> Ticket:
        """A job of which C{script} is the run.sh."""
        return make_ticket(self.directory, script, arguments, environment, input, parameters, **request)

    async def put(self, script: str, **request: Any) -> tuple[Ticket, BackendId]:
        """Make and submit one."""
        ticket = self.ticket(script, **request)
        [result] = await self.queue.submit([ticket])
        assert isinstance(result, BackendId), result
        return ticket, result

    async def seen(self, ticket: Ticket, *states: JobState) -> Sighting:
        """The job, once it is in one of these states."""

        async def look() -> Sighting | None:
            for sighting in await self.queue.sightings():
                if sighting.job_id == ticket.request.id:
                    assert sighting.state in states or not sighting.state.final, sighting
                    return sighting if sighting.state in states else None
            return None

        return await eventually(look)

    async def marked(self, name: str, lines: int = 1) -> list[str]:
        """The lines of a mark that a job leaves in our directory, once there are so many."""
        path = self.directory / name

        async def look() -> list[str] | None:
            found = path.read_text().split("\n")[:-1] if path.exists() else []
            return found if len(found) >= lines else None

        return await eventually(look)


def make_ticket(
    parent: Path,
    script: str,
    arguments: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    input: bytes | None = None,
    parameters: Sequence[Sequence[str]] | None = None,
    **request: Any,
) -> Ticket:
    """A job whose directory is made in C{parent}.  @param parameters: the lines of its CSV."""
    job_id = str(uuid4())
    directory = parent / job_id
    directory.mkdir(mode=0o700)
    (directory / "bundle.tar.gz").write_bytes(bundle(script))
    has_parameters = parameters is not None
    (directory / "launch.sh").write_bytes(launch_script(arguments, environment or {}, has_parameters))
    (directory / "launch.sh").chmod(0o600)
    if input is not None:
        (directory / "input").write_bytes(input)
    if parameters is not None:
        written = io.StringIO()
        csv.writer(written).writerows(parameters)
        (directory / "parameters").write_bytes(rows_of_parameters(written.getvalue().encode())[1])
    has = {"has_input": input is not None, "has_parameters": has_parameters}
    return Ticket(JobRequest(id=job_id, submitted=time.time(), **has, **request), directory)


def bundle(script: str) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        content = f"#!/bin/sh\n{script}\n".encode()
        run = tarfile.TarInfo("run.sh")
        run.mode, run.size = 0o755, len(content)
        archive.addfile(run, io.BytesIO(content))
    return packed.getvalue()


def unpack(ticket: Ticket, name: str = "output.tar.gz") -> dict[str, bytes]:
    """The files of a job's output."""
    files = {}
    with tarfile.open(ticket.directory / name) as archive:
        for member in archive:
            content = archive.extractfile(member)
            if content is not None:
                files[member.name] = content.read()
    return files


async def eventually(look: Callable[[], Awaitable[T | None]], within: float = 60.0) -> T:
    """The first result of C{look} that is true."""
    until = time.monotonic() + within
    while True:
        result = await look()
        if result:
            return result
        assert time.monotonic() < until, f"not within {within} s"
        await deferLater(reactor, 0.05)


def process_state(pid: int) -> str:
    """The letter that /proc has for it, for instance C{T} for a stopped process; C{-} when it is gone, or a zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "-"
    return "-" if state in "ZX" else state


async def in_state(pid: int, *letters: str) -> None:
    """Wait until a process is in one of these states."""

    async def look() -> bool:
        return process_state(pid) in letters

    await eventually(look)
