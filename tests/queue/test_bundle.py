"""What a bundle may be."""

from __future__ import annotations

import errno
import gzip
import io
import os
import subprocess
import tarfile
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modabatchd.errors import BundleError
from modabatchd.queue.bundle import BundleLimits, inspect


def member(name: str, data: bytes = b"", **attributes: object) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in attributes.items():
        setattr(info, key, value)
    return info, data


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tuple[tarfile.TarInfo, bytes]:
    return member(name, type=kind, linkname=target)


RUN = member("run.sh", b"#!/bin/sh\n", mode=0o755)


def pack(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for info, data in members:
            archive.addfile(info, io.BytesIO(data))
    return packed.getvalue()


def rule_broken_by(bundle: bytes, **limits: int) -> str | None:
    try:
        inspect(io.BytesIO(bundle), BundleLimits(**limits))
    except BundleError as error:
        assert error.cause
        assert error.cure
        return error.rule
    return None


NOISE = pack(RUN, member("noise", os.urandom(100_000)))
PLAIN = gzip.decompress(NOISE)


@pytest.mark.parametrize(
    ("rule", "bundle"),
    [
        ("not-gzip", b""),
        ("not-gzip", b"hello"),
        ("not-gzip", PLAIN),
        ("not-tar", gzip.compress(b"hello" * 1000)),
        ("not-tar", gzip.compress(b"")),
        ("truncated", NOISE[:50_000]),
        ("truncated", NOISE[:-4]),
        ("truncated", gzip.compress(PLAIN[:50_000])),
        ("damaged", NOISE[:60_000] + bytes([NOISE[60_000] ^ 255]) + NOISE[60_001:]),
        ("damaged", gzip.compress(PLAIN[:1024] + b"x" * 512 + PLAIN[1536:])),
        ("no-run-sh", pack()),
        ("no-run-sh", pack(member("bin/run.sh", mode=0o755))),
        ("run-sh-not-executable", pack(member("run.sh", mode=0o644))),
        ("run-sh-not-executable", pack(member("run.sh", type=tarfile.DIRTYPE, mode=0o755))),
        ("run-sh-not-executable", pack(RUN, member("./run.sh", mode=0o644))),
        ("run-sh-not-executable", pack(link("run.sh", "nothing"))),
        ("unsafe-name", pack(RUN, member("/etc/passwd"))),
        ("unsafe-name", pack(RUN, member("../outside"))),
        ("unsafe-name", pack(RUN, member("a/../../outside"))),
        ("link-outside", pack(RUN, link("l", "/etc/passwd"))),
        ("link-outside", pack(RUN, link("l", "../outside"))),
        ("link-outside", pack(RUN, link("d/l", "../../outside"))),
        ("link-outside", pack(RUN, link("p/q/up", "../.."), link("l", "p/q/up/.."))),
        ("link-outside", pack(RUN, link("l", "../outside", tarfile.LNKTYPE))),
        ("link-to-nothing", pack(RUN, link("l", "nothing", tarfile.LNKTYPE))),
        ("link-as-directory", pack(RUN, link("d", "elsewhere"), member("d/file"))),
        ("link-as-directory", pack(RUN, member("d/file"), link("d", "elsewhere"))),
        ("device", pack(RUN, member("null", type=tarfile.CHRTYPE))),
        ("device", pack(RUN, member("pipe", type=tarfile.FIFOTYPE))),
    ],
)
def test_a_broken_rule_is_named(rule: str, bundle: bytes) -> None:
    assert rule_broken_by(bundle) == rule


@pytest.mark.parametrize(
    "bundle",
    [
        pack(RUN),
        pack(member(".", type=tarfile.DIRTYPE), member("./run.sh", mode=0o755)),
        pack(RUN, link("l", "run.sh"), link("d/l", "../run.sh"), link("d/dangling", "nowhere")),
        pack(RUN, link("hard", "run.sh", tarfile.LNKTYPE)),
        pack(RUN, link("a", "b"), link("b", "a")),
        pack(link("run.sh", "bin/start"), member("bin/start", mode=0o700)),
        pack(member("bin/start", mode=0o700), link("run.sh", "bin/start", tarfile.LNKTYPE)),
        pack(RUN, member("long/" * 60 + "name"), member("naïve 🎉\n$(x)")),
    ],
)
def test_a_sound_bundle_is_accepted(bundle: bytes) -> None:
    assert rule_broken_by(bundle) is None


def test_the_summary_counts() -> None:
    summary = inspect(io.BytesIO(NOISE), BundleLimits())
    assert summary.members == 2
    assert summary.unpacked == len(PLAIN)


def test_too_many_members() -> None:
    bundle = pack(RUN, *(member(f"f{number}") for number in range(20)))
    assert rule_broken_by(bundle, max_members=21) is None
    assert rule_broken_by(bundle, max_members=20) == "too-many-members"


def test_too_large_unpacked() -> None:
    assert rule_broken_by(NOISE, max_unpacked=len(PLAIN)) is None
    assert rule_broken_by(NOISE, max_unpacked=len(PLAIN) - 1) == "too-large-unpacked"


def test_a_sparse_file_counts_at_its_full_size(tmp_path: Path) -> None:
    info = tarfile.TarInfo("holes")
    info.size = 0
    info.pax_headers = {
        "GNU.sparse.major": "0",
        "GNU.sparse.minor": "1",
        "GNU.sparse.size": str(1 << 40),
        "GNU.sparse.map": "0,0",
    }
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(RUN[0], io.BytesIO(RUN[1]))
        archive.addfile(info)
    assert rule_broken_by(packed.getvalue()) == "too-large-unpacked"


def test_a_compression_bomb_stops_at_its_ratio() -> None:
    packed = io.BytesIO()
    with gzip.open(packed, "wb") as stream:
        info = tarfile.TarInfo("zeros")
        info.size = 256 << 20
        stream.write(info.tobuf())
        for _ in range(256):
            stream.write(bytes(1 << 20))
    assert rule_broken_by(packed.getvalue()) == "compression-bomb"


def test_a_name_of_a_gigabyte_is_never_read() -> None:
    info = tarfile.TarInfo("././@LongLink")
    info.type = tarfile.GNUTYPE_LONGNAME
    info.size = 1 << 30
    assert rule_broken_by(gzip.compress(info.tobuf() + b"a" * (2 << 20))) == "too-much-metadata"


PART = st.sampled_from([".", "..", "a", "b", "run.sh", ""])
PATH = st.lists(PART, min_size=1, max_size=4).map("/".join)
MEMBER = st.one_of(
    PATH.map(member),
    st.builds(link, PATH, PATH),
    st.builds(link, PATH, PATH, st.just(tarfile.LNKTYPE)),
    PATH.map(lambda name: member(name, type=tarfile.DIRTYPE, mode=0o755)),
)


def is_circle(path: Path) -> bool:
    """Whether a link leads to itself in the end; Path.resolve() makes one thing or another of those."""
    try:
        path.stat()
    except OSError as problem:
        return problem.errno == errno.ELOOP
    return False


@given(st.lists(MEMBER, max_size=6))
def test_nothing_that_is_accepted_reaches_outside(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    bundle = pack(RUN, *members)
    if rule_broken_by(bundle) is not None:
        return
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory).resolve() / "root"
        root.mkdir()
        subprocess.run(["tar", "-xzf", "-", "-C", root], input=bundle, capture_output=True)
        for path in [root, *root.rglob("*")]:
            assert is_circle(path) or path.resolve().is_relative_to(root)
        assert [entry.name for entry in Path(directory).iterdir()] == ["root"]


@given(st.data())
def test_no_mutation_crashes_the_inspection(data: st.DataObject) -> None:
    bundle = bytearray(
        data.draw(st.sampled_from([PLAIN[:4096], gzip.decompress(pack(RUN, link("a", "b"), member("x" * 200)))]))
    )
    for _ in range(data.draw(st.integers(1, 8))):
        bundle[data.draw(st.integers(0, len(bundle) - 1))] = data.draw(st.integers(0, 255))
    rule_broken_by(gzip.compress(bytes(bundle), 1))
