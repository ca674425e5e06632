"""What every ISpool does."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, Protocol
from uuid import uuid4

import pytest
from twisted.internet.defer import Deferred
from zope.interface.verify import verifyObject

from modabatchd.errors import NoSpace, UnknownArtifact
from modabatchd.queue.interfaces import IDraft, ISpool
from tests.deferreds import now

FUTURE = 1e11


class Make(Protocol):
    """Makes a started spool; two with the same name share their files, as before and after a restart."""

    def __call__(self, quota: int = 1 << 30, name: str = "") -> Any: ...


def received(spool: Any, bundle: bytes = b"a bundle", input: bytes | None = None) -> Any:
    """A draft whose bytes have arrived."""
    draft = now(spool.draft())
    for name, content in {"bundle.tar.gz": bundle, "input": input}.items():
        if content is not None:
            draft.grow(len(content))
            (draft.directory / name).write_bytes(content)
    return draft


def kept(spool: Any, bundle: bytes = b"a bundle", launch: bytes = b"a launch") -> str:
    job_id = str(uuid4())
    now(spool.keep(received(spool, bundle), job_id, launch))
    return job_id


def refuses(waiting: Deferred[Any] | Coroutine[Any, Any, Any]) -> bool:
    try:
        now(waiting)
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
        assert verifyObject(IDraft, now(spool.draft()))

    def test_what_was_kept_is_in_the_directory_of_the_job(self, make: Make) -> None:
        spool = make()
        job_id = str(uuid4())
        draft = received(spool, b"a bundle", b"an input")
        directory = now(spool.keep(draft, job_id, b"a launch"))
        assert directory == spool.directory(job_id)
        content = {path.name: path.read_bytes() for path in directory.iterdir()}
        assert content == {"bundle.tar.gz": b"a bundle", "input": b"an input", "launch.sh": b"a launch"}
        assert not draft.directory.exists()

    def test_drafts_are_apart(self, make: Make) -> None:
        spool = make()
        first, second = received(spool, b"first"), received(spool, b"second")
        assert (first.directory / "bundle.tar.gz").read_bytes() == b"first"
        now(spool.discard(first))
        assert (second.directory / "bundle.tar.gz").read_bytes() == b"second"

    def test_discard_is_idempotent(self, make: Make) -> None:
        spool = make()
        draft = received(spool)
        now(spool.discard(draft))
        now(spool.discard(draft))
        assert not draft.directory.exists()

    def test_discard_leaves_what_was_kept(self, make: Make) -> None:
        spool = make()
        draft = received(spool)
        directory = now(spool.keep(draft, str(uuid4()), b""))
        now(spool.discard(draft))
        assert (directory / "bundle.tar.gz").exists()

    def test_what_was_kept_survives_a_restart_and_drafts_do_not(self, make: Make) -> None:
        spool = make(name="same")
        draft, job_id = received(spool), kept(spool)
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
        first, second = now(spool.draft()), now(spool.draft())
        first.grow(60)
        second.grow(40)
        with pytest.raises(NoSpace):
            first.grow(1)
        now(spool.discard(second))
        first.grow(40)

    def test_a_used_up_quota_refuses_drafts(self, make: Make) -> None:
        spool = make(quota=100)
        job_id = kept(spool, bytes(60), bytes(40))
        assert refuses(spool.draft())
        now(spool.remove([job_id]))
        assert not refuses(spool.draft())

    def test_what_cannot_fit_is_refused_early(self, make: Make) -> None:
        spool = make(quota=100)
        assert refuses(spool.draft(101))
        assert not refuses(spool.draft(100))
        kept(spool, bytes(50), b"")
        assert refuses(spool.draft(51))

    def test_a_quota_of_nothing_takes_nothing(self, make: Make) -> None:
        assert refuses(make(quota=0).draft())

    def test_a_draft_that_is_over_grows_no_more(self, make: Make) -> None:
        spool = make(quota=100)
        discarded, taken = received(spool, bytes(10)), received(spool, bytes(10))
        now(spool.discard(discarded))
        now(spool.keep(taken, str(uuid4()), b""))
        discarded.grow(1000)
        taken.grow(1000)
        now(spool.draft()).grow(90)

    def test_results_count_once_however_often_they_are_settled(self, make: Make) -> None:
        spool = make(quota=100, name="same")
        job_id = kept(spool, bytes(30), b"")
        spool.artifact(job_id, "stdout").write_bytes(bytes(30))
        for _ in range(3):
            now(spool.settle(job_id))
        assert refuses(spool.draft(41))
        assert not refuses(spool.draft(40))
        again = make(quota=100, name="same")
        now(again.settle(job_id))
        assert refuses(again.draft(41))
        assert not refuses(again.draft(40))

    def test_what_was_kept_counts_after_a_restart(self, make: Make) -> None:
        job_id = kept(make(name="same"), bytes(60), bytes(40))
        spool = make(quota=100, name="same")
        assert refuses(spool.draft())
        now(spool.remove([job_id]))
        assert not refuses(spool.draft(100))

    def test_removed_twice_is_freed_once(self, make: Make) -> None:
        spool = make(quota=100)
        first, _ = kept(spool, bytes(50), b""), kept(spool, bytes(50), b"")
        now(spool.remove([first, first]))
        now(spool.remove([first]))
        assert refuses(spool.draft(51))

    def test_unchanged_tells_jobs_by_their_age(self, make: Make) -> None:
        spool = make()
        job_id, gone = kept(spool), kept(spool)
        now(spool.remove([gone]))
        received(spool)
        assert list(now(spool.unchanged(FUTURE))) == [job_id]
        assert list(now(spool.unchanged(0.0))) == []
