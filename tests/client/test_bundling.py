"""Bundles made of directories."""

import io
import os
import tarfile
from pathlib import Path

import pytest

from modabatchd.client.bundling import members, pack
from modabatchd.client.errors import Unusable


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    made = tmp_path / "job"
    (made / "data").mkdir(parents=True)
    (made / "run.sh").write_text("#!/bin/sh\n")
    (made / "run.sh").chmod(0o755)
    (made / "data" / "a.txt").write_text("a" * 1000)
    (made / "data" / "b.o").write_text("b")
    (made / "link").symlink_to("data/a.txt")
    os.link(made / "data" / "a.txt", made / "again")
    return made


def packed(directory: Path, *exclude: str) -> tuple[bytes, list[int]]:
    into, told = io.BytesIO(), list[int]()
    pack(directory, members(directory, exclude), into, told.append)
    return into.getvalue(), told


def test_what_is_in_it(directory: Path) -> None:
    content, told = packed(directory, "*.o")
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
        found = {member.name: member for member in archive}
        again = archive.extractfile("again")
        assert again is not None
        assert again.read() == b"a" * 1000
    assert sorted(found) == ["again", "data", "data/a.txt", "link", "run.sh"]
    assert found["run.sh"].mode & 0o111
    assert (found["link"].linkname, found["again"].isreg()) == ("data/a.txt", True)
    assert {(member.uid, member.gid, member.uname) for member in found.values()} == {(0, 0, "")}
    assert sum(told) == 1000 + 1000 + len("#!/bin/sh\n")


def test_the_same_files_give_the_same_bytes(directory: Path) -> None:
    assert packed(directory)[0] == packed(directory)[0]


def test_a_directory_within_can_be_left_out(directory: Path) -> None:
    assert [path.name for path in members(directory, ["data", "again", "link"])] == ["run.sh"]
    assert "a.txt" not in [path.name for path in members(directory, ["data/a.*"])]


def test_what_no_bundle_can_be(directory: Path) -> None:
    os.mkfifo(directory / "pipe")
    with pytest.raises(Unusable, match="pipe is no file"):
        members(directory)
    (directory / "run.sh").chmod(0o644)
    with pytest.raises(Unusable, match="not executable"):
        members(directory)
    (directory / "run.sh").unlink()
    with pytest.raises(Unusable, match=r"has no run\.sh"):
        members(directory)
