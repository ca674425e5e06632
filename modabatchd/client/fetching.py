"""
Artifacts, fetched into files.

Note [What was broken off]
==========================
What has come is in a file of its own, NAME.part, and beside it the ETag that it came under.  The rest is asked for under
the condition that the ETag is still the same; otherwise the server sends all of it, and the part is written anew.  Only what
changes no more has an ETag, so what a running job has printed so far is always fetched whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import httpx

from modabatchd.client.errors import Unusable
from modabatchd.client.http import Server

#: The artifacts, and the files that they become.
FILES: Final[Mapping[str, str]] = {
    "output": "output.tar.gz",
    "stdout": "stdout.txt",
    "stderr": "stderr.txt",
    "_userlog": "userlog.txt",
}
_PART: Final = 206
_SAME: Final = 304
#: Nothing is missing of a part that is the whole.
_WHOLE: Final = 416


class Fetching:
    """
    The artifacts of a job.

    @param directory: where they come to lie; made if it is not there.
    """

    def __init__(self, server: Server, job: str, directory: Path) -> None:
        self._server = server
        self._job = job
        self._directory = directory

    def fetch(self, artifact: str) -> Path:
        """
        Fetch one; what is there already is kept if the server's is the same.  See Note [What was broken off].

        @raise modabatchd.client.errors.ServerAway: the connection has broken; another call goes on.
        @raise Unusable: it cannot be written.
        """
        path = self._directory / FILES[artifact]
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            with self._server.stream(f"/jobs/{self._job}/artifacts/{artifact}", _asked(path), (_SAME, _WHOLE)) as answer:
                if answer.status_code == _WHOLE:
                    _part(path).replace(path)
                elif answer.status_code != _SAME:
                    _write(path, answer)
        except OSError as problem:
            raise Unusable(f"{path} cannot be written: {problem.strerror}.", "Name another directory with --to.") from None
        return path


def _asked(path: Path) -> dict[str, str]:
    """The headers to ask with, by what is there."""
    part, tag = _part(path), _tag(path)
    if part.exists() and (had := _read(tag)):
        return {"Range": f"bytes={part.stat().st_size}-", "If-Range": had} if part.stat().st_size else {}
    had = _read(tag)
    return {"If-None-Match": had} if had and path.exists() else {}


def _write(path: Path, answer: httpx.Response) -> None:
    part, tag = _part(path), _tag(path)
    tag.write_text(answer.headers.get("ETag", ""))
    with part.open("ab" if answer.status_code == _PART else "wb") as into:
        for block in answer.iter_bytes():
            into.write(block)
    part.replace(path)


def _part(path: Path) -> Path:
    return path.with_name(f".{path.name}.part")


def _tag(path: Path) -> Path:
    return path.with_name(f".{path.name}.etag")


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
