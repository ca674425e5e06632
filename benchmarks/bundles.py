"""Bundles that do nothing, of any size, and forms that submit them."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO, Final, cast

_RUN: Final = b"#!/bin/sh\nexec sleep 600\n"
_BOUNDARY: Final = b"----modabatchd-benchmark"


class _Noise(io.RawIOBase):
    """Random bytes, which no compression makes smaller."""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        view[:] = os.urandom(len(view))
        return len(view)


def write_bundle(path: Path, noise: int) -> None:
    """A bundle whose job sleeps for ten minutes, and that holds this many random bytes."""
    with gzip.open(path, "wb", compresslevel=1) as packed, tarfile.open(fileobj=packed, mode="w|") as archive:
        _add(archive, "run.sh", len(_RUN), io.BytesIO(_RUN))
        _add(archive, "noise", noise, cast(BinaryIO, _Noise()))


def script_bundle(script: str) -> bytes:
    """A bundle whose job is a shell script."""
    packed, content = io.BytesIO(), f"#!/bin/sh\n{script}\n".encode()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        _add(archive, "run.sh", len(content), io.BytesIO(content))
    return packed.getvalue()


def form(fields: Mapping[str, str], size: int) -> tuple[bytes, bytes]:
    """What comes before and after a bundle of this size in a whole request to submit it."""
    parts = [_part(b'name="%s"' % name.encode(), value.encode() + b"\r\n") for name, value in fields.items()]
    begin = b"".join(parts) + _part(b'name="job-bundle"; filename="job.tar.gz"', b"")
    end = b"\r\n--%s--\r\n" % _BOUNDARY
    lines = [
        b"POST /jobs HTTP/1.1",
        b"Host: localhost",
        b"Content-Type: multipart/form-data; boundary=%s" % _BOUNDARY,
        b"Content-Length: %d" % (len(begin) + size + len(end)),
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n" + begin, end


def _part(disposition: bytes, value: bytes) -> bytes:
    return b"--%s\r\nContent-Disposition: form-data; %s\r\n\r\n%s" % (_BOUNDARY, disposition, value)


def _add(archive: tarfile.TarFile, name: str, size: int, content: BinaryIO) -> None:
    member = tarfile.TarInfo(name)
    member.mode, member.size = 0o755, size
    archive.addfile(member, content)
