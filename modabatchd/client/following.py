"""What a job prints, as it prints it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from modabatchd.client.http import Server
from modabatchd.client.jobs import OVER, Jobs

#: Seconds between two looks.
_PAUSE: Final = 1.0
_NOT_YET: Final = 404
_NOTHING_NEW: Final = 416
_PART: Final = 206


def follow(server: Server, jobs: Jobs, job_id: str, artifact: str, until_over: bool) -> Iterator[bytes]:
    """
    The content of an artifact, then what is added to it.

    @param until_over: whether to go on until the job is over; otherwise it ends with what is there.
    """
    have = 0
    while True:
        over = not until_over or jobs.job(job_id)["job_status"] in OVER
        for block in _more(server, f"/jobs/{job_id}/artifacts/{artifact}", have, over):
            have += len(block)
            yield block
        if over:
            return
        jobs.rest(_PAUSE)


def _more(server: Server, path: str, have: int, over: bool) -> Iterator[bytes]:
    """What there is beyond so many bytes."""
    headers = {"Range": f"bytes={have}-"} if have else {}
    # Before the job has run there is none, and that is no error as long as it may come.
    allowed = (_NOTHING_NEW,) if over else (_NOTHING_NEW, _NOT_YET)
    with server.stream(path, headers, allowed) as answer:
        if answer.status_code in (_NOTHING_NEW, _NOT_YET):
            return
        # Another run of the job writes another file, and a server may leave a Range out of account.
        skip = 0 if not have or answer.status_code == _PART else have
        for block in answer.iter_bytes():
            yield block[skip:]
            skip = max(0, skip - len(block))
