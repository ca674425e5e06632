"""Bundles that different programs could read differently."""

from __future__ import annotations

import gzip
import tarfile
from copy import copy
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.queue.test_bundle import RUN, link, member, pack, rule_broken_by

END = bytes(2 * tarfile.BLOCKSIZE)


def blocks(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    """An archive without the zeros at its end."""
    plain = gzip.decompress(pack(*members))
    end = len(plain)
    while plain[end - tarfile.BLOCKSIZE : end] == bytes(tarfile.BLOCKSIZE):
        end -= tarfile.BLOCKSIZE
    return plain[:end]


HIDDEN = blocks(link("hidden", "/etc"))

#: The same in every run.
PACKED = gzip.compress(blocks(RUN, member("noise", Random(1).randbytes(2000)), link("l", "run.sh")) + END, mtime=0)


@pytest.mark.parametrize(
    "plain",
    [
        blocks(RUN) + bytes(tarfile.BLOCKSIZE) + HIDDEN + END,
        blocks(RUN, member("file", b"x")) + bytes(tarfile.BLOCKSIZE) + HIDDEN + END,
        blocks(RUN) + b"\1" * tarfile.BLOCKSIZE + HIDDEN + END,
    ],
    ids=["behind a block of zeros", "behind a file and a block of zeros", "behind a damaged header"],
)
def test_no_member_hides_behind_what_looks_like_the_end(plain: bytes) -> None:
    assert rule_broken_by(gzip.compress(plain)) == "damaged"


@pytest.mark.parametrize("tail", [b"", bytes(tarfile.BLOCKSIZE), END, END + bytes(20 * tarfile.BLOCKSIZE)])
def test_the_end_of_an_archive_may_be_short_or_long(tail: bytes) -> None:
    assert rule_broken_by(gzip.compress(blocks(RUN) + tail)) is None


def test_an_archive_in_several_gzip_members_is_one() -> None:
    first, second = blocks(RUN), blocks(link("l", "/etc")) + END
    assert rule_broken_by(gzip.compress(first) + gzip.compress(END)) is None
    assert rule_broken_by(gzip.compress(first) + gzip.compress(second)) == "link-outside"


@pytest.mark.parametrize("tail", [b"x", b"\0x", b"\x1f\x8b", b"PK\3\4" * 100])
def test_nothing_but_gzip_may_follow_gzip(tail: bytes) -> None:
    assert rule_broken_by(pack(RUN) + tail) in ("damaged", "truncated")


@pytest.mark.parametrize(
    "name",
    [
        "a\0b",
        "",
        "/",
        "//etc/passwd",
        "./../x",
        "a/..",
        "..",
        "...",
        " ",
        "a\nb",
        "\udcff\udcfe",
        "C:\\x",
        "a\\..\\..\\b",
        "-rf",
        "~root",
    ],
)
def test_odd_names_are_names_or_are_refused(name: str) -> None:
    info = tarfile.TarInfo("placeholder")
    info.name = name
    try:
        bundle = pack(RUN, (info, b""))
    except UnicodeEncodeError:
        bundle = gzip.compress(blocks(RUN) + info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape") + END)
    unsafe = not name or name.startswith("/") or ".." in name.split("/")
    assert (rule_broken_by(bundle) == "unsafe-name") == unsafe


@pytest.mark.parametrize("name", ["", ".", "./", "./."])
@pytest.mark.parametrize("what", [link("x", ".."), link("x", "."), link("x", "run.sh", tarfile.LNKTYPE), member("x", b"y")])
def test_the_root_is_a_directory(name: str, what: tuple[tarfile.TarInfo, bytes]) -> None:
    root = copy(what[0])
    root.name = name
    assert rule_broken_by(pack(RUN, link("up", "d/.."), (root, what[1]))) == "unsafe-name"


@pytest.mark.parametrize(
    "again",
    [
        member("l"),
        member("./l", b"x"),
        link("l", "run.sh"),
        link("l", "run.sh", tarfile.LNKTYPE),
        member("l", type=tarfile.DIRTYPE),
    ],
)
def test_nothing_takes_the_place_of_a_link(again: tuple[tarfile.TarInfo, bytes]) -> None:
    assert rule_broken_by(pack(RUN, link("l", ".."), again)) == "link-replaced"


def test_a_link_may_take_the_place_of_a_file_and_is_followed() -> None:
    assert rule_broken_by(pack(RUN, member("l"), link("l", "run.sh"))) is None
    assert rule_broken_by(pack(RUN, member("l"), link("l", ".."))) == "link-outside"
    assert rule_broken_by(pack(RUN, link("run.sh", "nothing"))) == "run-sh-not-executable"


def test_a_way_through_directories_that_are_not_there_is_followed() -> None:
    assert rule_broken_by(pack(RUN, link("l", "x/y/../.."))) is None
    assert rule_broken_by(pack(RUN, link("l", "x/y/../../.."))) == "link-outside"


@given(st.binary(max_size=300), st.integers(0, 3))
def test_whatever_lies_behind_the_members_is_no_crash(tail: bytes, zeros: int) -> None:
    rule_broken_by(gzip.compress(blocks(RUN) + bytes(zeros * tarfile.BLOCKSIZE) + tail, 1))


@given(st.data())
def test_no_mutation_of_the_packed_bytes_crashes_the_inspection(data: st.DataObject) -> None:
    bundle = bytearray(PACKED)
    for _ in range(data.draw(st.integers(1, 6))):
        bundle[data.draw(st.integers(0, len(bundle) - 1))] = data.draw(st.integers(0, 255))
    rule_broken_by(bytes(bundle))
