"""
What a bundle may be: checks over a stream, never an extraction.

Note [Reading a hostile archive]
================================
C{tarfile} reads the extension headers of an archive (long names, pax records, sparse maps) into memory, at whatever size
the archive claims.  L{_Forward} stands between it and the decompressor: the data of members is skipped by C{seek} and
never asked for, so whatever C{read} is asked for is metadata, and metadata is bounded, each
piece and in all.  Unpacked bytes and their ratio to
the packed ones are bounded as they come, so a compression bomb costs no more than its bound.  Extraction filters are no
protection (they were bypassed time and again); nothing is extracted here.

Note [Links]
============
A symbolic link is followed on paper, component by component, through the links that the bundle itself holds, as the
kernel would on the node; it must never climb above the bundle's root.  That is right only if the place of each link is
known, so no member may lie below a name that is a link, nor may one take the place of a link: the tar of GNU makes links last
of all, and takes a new file for its own placeholder if that happens to have the same inode.
"""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO, Final, NoReturn

import msgspec

from modabatchd.errors import BundleError

try:
    from isal import igzip as gzip
    from isal.igzip_lib import IsalError

    _DAMAGED: tuple[Any, ...] = (zlib.error, IsalError)
except ImportError:
    import gzip  # type: ignore[no-redef]

    _DAMAGED = (zlib.error,)

RUN: Final = "run.sh"
_CHUNK: Final = 1 << 20
_MOST_HOPS: Final = 40
_BYTES_OF_METADATA_PER_MEMBER: Final = 4096
#: Below this many unpacked bytes nothing is called a bomb: a small text of blanks compresses very well.
_RATIO_FLOOR: Final = 64 << 20


class BundleLimits(msgspec.Struct, frozen=True, kw_only=True):
    """
    How much a bundle may hold.

    @ivar max_unpacked: bytes, files and headers together.
    @ivar max_ratio: unpacked to packed bytes.
    """

    max_members: int = 100_000
    max_unpacked: int = 20 << 30
    max_ratio: int = 250


class BundleSummary(msgspec.Struct, frozen=True):
    """What an accepted bundle holds."""

    members: int
    unpacked: int


def inspect(packed: BinaryIO, limits: BundleLimits) -> BundleSummary:
    """
    Check a bundle: a gzip'ed tar with an executable C{run.sh} in its root, and nothing that could do harm when unpacked.

    Blocking, and as long as the bundle is large: call it in a thread.

    @param packed: the bundle, at its start.
    @raise BundleError: it breaks a rule; the error names which.
    """
    if (opening := packed.read(2)) != b"\x1f\x8b":
        cause = "The bundle is not compressed with gzip." if opening else "The bundle is empty."
        _refuse("not-gzip", cause, f"{_MAKE_PLAIN} Send the file itself: 'curl -F job-bundle=@job.tar.gz', with the @.")
    packed.seek(0)
    stream = _Forward(packed, limits)
    try:
        contents = _Contents(limits)
        for member in _members(stream):
            contents.add(member)
        stream.drain()
    except EOFError:
        _refuse("truncated", "The bundle ends before its gzip stream does.", "Upload the whole file.")
    except OSError:
        _refuse(
            "damaged",
            "The bundle's gzip stream is damaged, or followed by something else.",
            "Upload it again from a good copy.",
        )
    contents.check()
    return BundleSummary(contents.count, stream.tell())


class _Forward:
    """A decompressed stream that goes forward only, within the limits.  See Note [Reading a hostile archive]."""

    def __init__(self, packed: BinaryIO, limits: BundleLimits) -> None:
        self._packed = packed
        self._unpacked = gzip.GzipFile(fileobj=packed, mode="rb")
        self._limits = limits
        self._position = 0
        self._metadata = 0
        self.last_block = b""

    def tell(self) -> int:
        return self._position

    def read(self, size: int) -> bytes:
        self._metadata += size
        if size > _CHUNK or self._metadata > self._limits.max_members * _BYTES_OF_METADATA_PER_MEMBER:
            _refuse("too-much-metadata", "The bundle's headers are larger than all its members' could be.", _MAKE_PLAIN)
        blocks = []
        while size > 0 and (block := self._take(size)):
            blocks.append(block)
            size -= len(block)
        self.last_block = b"".join(blocks)
        return self.last_block

    def seek(self, position: int) -> int:
        while self._position < position and self._take(position - self._position):
            pass
        return self._position

    def drain(self) -> None:
        """Read on to the end, which is where gzip keeps its checksum."""
        while self._take(_CHUNK):
            pass

    def _take(self, size: int) -> bytes:
        try:
            block: bytes = self._unpacked.read(min(size, _CHUNK))
        except _DAMAGED as problem:
            # TarFile would take zlib's error for one of its own.
            raise OSError(str(problem)) from problem
        self._position += len(block)
        if self._position > self._limits.max_unpacked:
            _refuse_size(self._limits)
        if self._position > max(_RATIO_FLOOR, self._packed.tell() * self._limits.max_ratio):
            _refuse(
                "compression-bomb",
                f"The bundle unpacks to more than {self._limits.max_ratio} times its size.",
                "Leave out what compresses that well and make it in run.sh instead.",
            )
        return block


def _members(stream: _Forward) -> Iterator[tarfile.TarInfo]:
    try:
        with tarfile.TarFile(fileobj=stream, encoding="utf-8", errors="surrogateescape") as archive:  # type: ignore[arg-type]
            while (member := archive.next()) is not None:
                yield member
                # TarFile remembers every member it has seen; we would pay for that with memory.
                archive.members.clear()  # type: ignore[attr-defined]
    except tarfile.ReadError as problem:
        if "unexpected end of data" in str(problem):
            _refuse("truncated", "The bundle's tar archive ends in the middle of a member.", "Upload the whole file.")
        _refuse("not-tar", f"What the bundle's gzip stream holds is no tar archive ({problem}).", _MAKE_PLAIN)
    except (tarfile.TarError, ValueError, UnicodeError) as problem:
        _refuse("not-tar", f"The bundle's tar archive has a header that cannot be read ({problem}).", _MAKE_PLAIN)
    # TarFile takes a damaged header after the first member for the end of the archive, and so it does with a single block of
    # zeros, behind which the tar of busybox reads on.
    if stream.last_block.strip(b"\0") or stream.read(tarfile.BLOCKSIZE).strip(b"\0"):
        _refuse("damaged", "The bundle's tar archive is damaged behind its first members.", "Upload it again from a good copy.")


class _Contents:
    """What was seen of the members of a bundle, and the rules they must keep."""

    def __init__(self, limits: BundleLimits) -> None:
        self._limits = limits
        self._links: dict[str, str] = {}
        self._folders: set[str] = set()
        self._executable: dict[str, bool] = {}
        self._unpacked = 0
        self._saw_run = False
        self.count = 0

    def add(self, member: tarfile.TarInfo) -> None:
        self.count += 1
        if self.count > self._limits.max_members:
            most = self._limits.max_members
            _refuse(
                "too-many-members",
                f"The bundle has more than {most} members.",
                "Pack small files into an archive of their own.",
            )
        self._unpacked += member.size
        if self._unpacked > self._limits.max_unpacked:
            _refuse_size(self._limits)
        name = _inner(member.name, "unsafe-name", "name")
        if name in self._links:
            cause = f"The link {name!r} is in the bundle again, as a link or as something else."
            _refuse("link-replaced", cause, "Pack every name once.")
        self._executable.pop(name, None)
        self._saw_run = self._saw_run or name == RUN
        self._folders.update(_parents(name))
        self._record(name, member)

    def _record(self, name: str, member: tarfile.TarInfo) -> None:
        if not name and not member.isdir():
            _refuse("unsafe-name", "The bundle's root is in the bundle, and is no directory.", _MAKE_PLAIN)
        if member.issym():
            self._links[name] = member.linkname
        elif member.islnk():
            self._record_hard_link(name, member.linkname)
        elif member.isfile():
            self._executable[name] = bool(member.mode & 0o100)
        elif not member.isdir():
            kind = "device" if member.isdev() else "unknown-member"
            _refuse(kind, f"{name!r} is neither a file, a directory nor a link.", "Bundle only files, directories and links.")

    def _record_hard_link(self, name: str, linkname: str) -> None:
        target = _inner(linkname, "link-outside", f"target of the hard link {name!r},")
        if target in self._links:
            self._links[name] = self._links[target]
        elif target in self._executable:
            self._executable[name] = self._executable[target]
        else:
            cause = f"The hard link {name!r} is to {target!r}, which is no file before it in the bundle."
            _refuse("link-to-nothing", cause, _MAKE_PLAIN)

    def check(self) -> None:
        """The rules that hold for the bundle as a whole."""
        for name in self._links:
            if name in self._folders:
                _refuse("link-as-directory", f"Members lie below {name!r}, which is a link.", _MAKE_PLAIN)
            if _follow(name, self._links) is None:
                cause = f"The link {name!r} leads outside the bundle, to {self._links[name]!r}."
                _refuse("link-outside", cause, "Link within the bundle, or copy the file into it ('tar --dereference').")
        if not self._saw_run:
            deeper = next((name for name in self._executable if name.endswith(f"/{RUN}")), None)
            cause = f"The bundle has no {RUN} in its root" + (f", only {deeper!r}." if deeper else ".")
            _refuse("no-run-sh", cause, f"Put {RUN} beside the other files and pack with 'tar czf job.tar.gz -C DIR .'.")
        run = _follow(RUN, self._links) or ""
        if run not in self._executable:
            _refuse("run-sh-not-executable", f"The bundle's {RUN} is no file.", f"Make {RUN} a file that can be executed.")
        if not self._executable[run]:
            _refuse("run-sh-not-executable", f"The bundle's {RUN} is not executable.", f"Run 'chmod +x {RUN}' and pack again.")


def _inner(name: str, rule: str, what: str) -> str:
    """A member's name without the C{.} components that tar may put there."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts:
        cause = f"The {what} {name!r} is absolute or climbs with '..'."
        _refuse(rule, cause, "Pack with names relative to the bundle's root: 'tar czf job.tar.gz -C DIR .'.")
    return "/".join(parts)


def _parents(name: str) -> Iterator[str]:
    while "/" in name:
        name = name.rpartition("/")[0]
        yield name


def _follow(name: str, links: dict[str, str]) -> str | None:
    """Where a name leads within the bundle; L{None} when that is outside of it.  See Note [Links]."""
    todo = name.split("/")[::-1]
    place: list[str] = []
    hops = 0
    while todo:
        part = todo.pop()
        if part in ("", "."):
            continue
        if part == "..":
            if not place:
                return None
            place.pop()
            continue
        place.append(part)
        target = links.get("/".join(place))
        if target is not None:
            hops += 1
            if target.startswith("/"):
                return None
            if hops > _MOST_HOPS:
                # A circle: useless, but it leads nowhere.
                return ""
            place.pop()
            todo.extend(target.split("/")[::-1])
    return "/".join(place)


_MAKE_PLAIN: Final = "Make it with 'tar czf job.tar.gz -C DIR .'."


def _refuse_size(limits: BundleLimits) -> NoReturn:
    cause = f"The bundle unpacks to more than {limits.max_unpacked} bytes."
    _refuse("too-large-unpacked", cause, "Leave large data out and fetch it in run.sh.")


def _refuse(rule: str, cause: str, cure: str) -> NoReturn:
    raise BundleError(rule, cause, cure)
