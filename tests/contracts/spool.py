"""What every ISpool does."""

from __future__ import annotations

from typing import Any, Protocol
from uuid import uuid4

import pytest
from zope.interface.verify import verifyObject

from modabatchd.errors import NoSpace, UnknownArtifact
from modabatchd.queue.interfaces import IDraft, ISpool
from tests.deferreds import now

FUTURE = 1e11


class Make(Protocol):
    """Makes a started spool; two with the same name share their files, as before and after a restart."""

    def __call__(self, quota: int = 1 << 30, name: str = "") -> Any: ...


def received(spool: Any, bundle: bytes = b"a bundle", input: bytes | None = None, large: bool = False) -> Any:
    """A draft whose bytes have arrived; as a large one it is in its directory, not in memory."""
    draft = spool.draft()
    directory = now(draft.open()) if large else None
    for name, content in {"bundle.tar.gz": bundle, "input": input}.items():
        if content is not None:
            draft.grow(len(content))
            if directory is None:
                draft.put(name, content)
            else:
                (directory / name).write_bytes(content)
    return draft


def content(draft: Any, name: str) -> bytes:
    """A file that has arrived."""
    with draft.read(name) as file:
        return bytes(file.read())


def there(draft: Any) -> bool:
    """Whether anything of a draft is left."""
    return bool(draft.holds("bundle.tar.gz") or draft.directory.exists())


def kept(spool: Any, bundle: bytes = b"a bundle", launch: bytes = b"a launch") -> str:
    job_id = str(uuid4())
    now(spool.keep(received(spool, bundle), job_id, launch))
    return job_id


def refuses(spool: Any, expected: int = 0) -> bool:
    """Whether it takes no draft."""
    try:
        spool.draft(expected)
    except NoSpace as problem:
        assert problem.cause
        assert problem.cure
        return True
    return False


class SpoolContract:
    """Inherit it, and give the fixture C{make}."""

    def test_interface(self, make: Make) -> None:
        spool = make()
        assert verifyObject(ISpool, spool)
        assert verifyObject(IDraft, spool.draft())

    @pytest.mark.parametrize("large", [False, True])
    def test_what_was_kept_is_in_the_directory_of_the_job(self, make: Make, large: bool) -> None:
        spool = make()
        job_id = str(uuid4())
        draft = received(spool, b"a bundle", b"an input", large)
        directory = now(spool.keep(draft, job_id, b"a launch"))
        assert directory == spool.directory(job_id)
        content = {path.name: path.read_bytes() for path in directory.iterdir()}
        assert content == {"bundle.tar.gz": b"a bundle", "input": b"an input", "launch.sh": b"a launch"}
        assert not draft.directory.exists()

    @pytest.mark.parametrize("large", [False, True])
    def test_drafts_are_apart(self, make: Make, large: bool) -> None:
        spool = make()
        first, second = received(spool, b"first", large=large), received(spool, b"second", large=large)
        assert content(first, "bundle.tar.gz") == b"first"
        now(spool.discard(first))
        assert content(second, "bundle.tar.gz") == b"second"
        assert not second.holds("input")

    @pytest.mark.parametrize("large", [False, True])
    def test_discard_is_idempotent(self, make: Make, large: bool) -> None:
        spool = make()
        draft = received(spool, large=large)
        now(spool.discard(draft))
        now(spool.discard(draft))
        assert not there(draft)

    @pytest.mark.parametrize("large", [False, True])
    def test_discard_leaves_what_was_kept(self, make: Make, large: bool) -> None:
        spool = make()
        draft = received(spool, large=large)
        directory = now(spool.keep(draft, str(uuid4()), b""))
        now(spool.discard(draft))
        assert (directory / "bundle.tar.gz").exists()

    @pytest.mark.parametrize("large", [False, True])
    def test_what_was_kept_survives_a_restart_and_drafts_do_not(self, make: Make, large: bool) -> None:
        spool = make(name="same")
        draft, job_id = received(spool, large=large), kept(spool)
        again = make(name="same")
        assert (again.directory(job_id) / "launch.sh").exists()
        assert not draft.directory.exists()

    def test_artifacts_have_a_file_each_in_the_directory_of_the_job(self, make: Make) -> None:
        spool = make()
        job_id = str(uuid4())
        paths = {artifact: spool.artifact(job_id, artifact) for artifact in ("output", "stdout", "stderr", "_userlog")}
        assert {artifact: path.name for artifact, path in paths.items()} == {
            "output": "output.tar.gz",
            "stdout": "stdout",
            "stderr": "stderr",
            "_userlog": "_userlog",
        }
        assert {path.parent for path in paths.values()} == {spool.directory(job_id)}

    @pytest.mark.parametrize("artifact", ["", "launch.sh", "bundle.tar.gz", "../../etc/passwd", "OUTPUT", "output.tar.gz"])
    def test_other_artifacts_are_unknown(self, make: Make, artifact: str) -> None:
        with pytest.raises(UnknownArtifact) as caught:
            make().artifact(str(uuid4()), artifact)
        assert "_userlog" in caught.value.cure

    def test_remove_is_idempotent_and_leaves_others(self, make: Make) -> None:
        spool = make()
        gone, there = kept(spool), kept(spool)
        for _ in range(2):
            now(spool.remove([gone, str(uuid4())]))
        assert not spool.directory(gone).exists()
        assert (spool.directory(there) / "launch.sh").exists()

    def test_an_upload_cannot_outgrow_the_quota(self, make: Make) -> None:
        spool = make(quota=100)
        first, second = spool.draft(), spool.draft()
        first.grow(60)
        second.grow(40)
        with pytest.raises(NoSpace):
            first.grow(1)
        now(spool.discard(second))
        first.grow(40)

    def test_a_used_up_quota_refuses_drafts(self, make: Make) -> None:
        spool = make(quota=100)
        job_id = kept(spool, bytes(60), bytes(40))
        assert refuses(spool)
        now(spool.remove([job_id]))
        assert not refuses(spool)

    def test_what_cannot_fit_is_refused_early(self, make: Make) -> None:
        spool = make(quota=100)
        assert refuses(spool, 101)
        assert not refuses(spool, 100)
        kept(spool, bytes(50), b"")
        assert refuses(spool, 51)

    def test_a_quota_of_nothing_takes_nothing(self, make: Make) -> None:
        assert refuses(make(quota=0))

    def test_a_draft_that_is_over_grows_no_more(self, make: Make) -> None:
        spool = make(quota=100)
        discarded, taken = received(spool, bytes(10)), received(spool, bytes(10))
        now(spool.discard(discarded))
        now(spool.keep(taken, str(uuid4()), b""))
        discarded.grow(1000)
        taken.grow(1000)
        spool.draft().grow(90)

    def test_results_count_once_however_often_they_are_settled(self, make: Make) -> None:
        spool = make(quota=100, name="same")
        job_id = kept(spool, bytes(30), b"")
        spool.artifact(job_id, "stdout").write_bytes(bytes(30))
        for _ in range(3):
            now(spool.settle(job_id))
        assert refuses(spool, 41)
        assert not refuses(spool, 40)
        again = make(quota=100, name="same")
        now(again.settle(job_id))
        assert refuses(again, 41)
        assert not refuses(again, 40)

    def test_what_was_kept_counts_after_a_restart(self, make: Make) -> None:
        job_id = kept(make(name="same"), bytes(60), bytes(40))
        spool = make(quota=100, name="same")
        assert refuses(spool)
        now(spool.remove([job_id]))
        assert not refuses(spool, 100)

    def test_removed_twice_is_freed_once(self, make: Make) -> None:
        spool = make(quota=100)
        first, _ = kept(spool, bytes(50), b""), kept(spool, bytes(50), b"")
        now(spool.remove([first, first]))
        now(spool.remove([first]))
        assert refuses(spool, 51)

    def test_unchanged_tells_jobs_by_their_age(self, make: Make) -> None:
        spool = make()
        job_id, gone = kept(spool), kept(spool)
        now(spool.remove([gone]))
        received(spool)
        assert list(now(spool.unchanged(FUTURE))) == [job_id]
        assert list(now(spool.unchanged(0.0))) == []

    def test_drafts_that_are_kept_together(self, make: Make) -> None:
        spool = make(quota=1000)
        drafts = {str(uuid4()): received(spool, b"bundle %d" % number) for number in range(20)}
        keeping = [spool.keep(draft, job_id, b"") for job_id, draft in drafts.items()]
        for number, (job_id, done) in enumerate(zip(drafts, keeping, strict=True)):
            assert now(done) == spool.directory(job_id)
            assert (spool.directory(job_id) / "bundle.tar.gz").read_bytes() == b"bundle %d" % number

    @pytest.mark.parametrize("large", [False, True])
    def test_a_draft_that_was_discarded_cannot_be_kept(self, make: Make, large: bool) -> None:
        spool = make()
        draft = received(spool, large=large)
        now(spool.discard(draft))
        with pytest.raises(FileNotFoundError):
            now(spool.keep(draft, str(uuid4()), b""))
