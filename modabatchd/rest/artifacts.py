"""The files of jobs and of tasks over HTTP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from modabatchd.errors import FieldError
from modabatchd.queue.following import Following
from modabatchd.queue.interfaces import ISpool
from modabatchd.queue.job import Artifact
from modabatchd.rest.download import send_file
from modabatchd.rest.listing import check, first
from modabatchd.rest.operations import Parameter, query
from modabatchd.rest.streaming import AS_IT_COMES, stream
from modabatchd.workers import IWorkers

_ARCHIVE: Final = "application/gzip"
_TEXT: Final = "text/plain"
_FOLLOWED: Final = (Artifact.STDOUT, Artifact.STDERR)
_FOLLOW: Final = Parameter(
    name="follow",
    description="1: what a running job prints, as it comes (only stdout and stderr).",
    schema={"type": "string", "enum": ["0", "1"]},
)
#: What an operation that sends an artifact is, beside its path and summary.
ABOUT: Final[dict[str, Any]] = {
    "parameters": (
        _FOLLOW,
        *(
            Parameter(name=name, place="header", description=description, schema={"type": "string"})
            for name, description in {
                "Range": "One part of the file: bytes=FIRST-LAST, bytes=FIRST-, bytes=-LENGTH.",
                "If-Range": "The ETag of the part that is there already; if the file is another one, all of it is sent.",
                "If-None-Match": "ETags of what is there already; if the file is one of them, nothing is sent.",
            }.items()
        ),
    ),
    "answers": {200: (_ARCHIVE, _TEXT), 206: (_ARCHIVE, _TEXT), 304: None},
    "headers": {200: ("Accept-Ranges", "ETag"), 206: ("Content-Range", "ETag")},
    "problems": (404, 412, 416, 422, 502),
}


class Artifacts:
    """
    Sends them.

    @param readers: where files are read.
    """

    def __init__(self, spool: ISpool, following: Following, readers: IWorkers) -> None:
        self._spool = spool
        self._following = following
        self._readers = readers

    async def send(self, request: Any, job_id: str, artifact: str, complete: bool, task: int | None = None) -> None:
        """
        Answer a request with a file.  See L{send_file}.

        @param task: the index of the task that it is of, in a job array.
        @raise modabatchd.errors.UnknownArtifact: there is none of that name, or no such file (yet).
        """
        follows = _follows(query(request), artifact)
        path = self._spool.artifact(job_id, artifact, task)
        media, suffix = (_ARCHIVE, "tar.gz") if artifact == Artifact.OUTPUT else (f"{_TEXT}; charset=utf-8", "txt")
        whose = job_id if task is None else f"{job_id}-{task}"
        if follows and request.method == b"GET" and not complete:
            await stream(request, media, self._following.printed(job_id, Artifact(artifact), task), AS_IT_COMES)
            return
        await send_file(request, path, media, f"{whose}-{artifact.lstrip('_')}.{suffix}", complete, self._readers)


def _follows(asked: Mapping[str, Sequence[str]], artifact: str) -> bool:
    """Whether a query asks for what a job will print.  @raise FieldError: it asks for something else."""
    check(asked, [_FOLLOW])
    wanted = first(asked, "follow") or "0"
    if wanted not in ("0", "1"):
        raise FieldError("follow", f"follow is {wanted[:100]!r}.", "Send 0 or 1.")
    if wanted == "1" and artifact not in _FOLLOWED:
        raise FieldError("follow", f"{artifact[:100]} cannot be followed.", f"Follow {' or '.join(_FOLLOWED)}.")
    return wanted == "1"
