"""
What every IQueue does.

A subclass provides the fixture C{site}: a L{tests.contracts.jobs.Site}, empty, whose queue is started.
"""

from contextlib import aclosing
from typing import Any
from uuid import uuid4

import pytest
import pytest_twisted
from twisted.internet.defer import gatherResults
from zope.interface.verify import verifyObject

from modabatchd.queue.interfaces import ActionResult, IQueue, Refusal, Ticket
from modabatchd.queue.job import Action, Artifact, BackendId, JobState, Resources, Sighting
from tests.contracts.arrays import ArraysContract
from tests.contracts.jobs import Site, eventually, in_state, process_state, unpack

NOBODY = BackendId(2_000_000_000)

#: A run.sh that leaves its process number as a mark, and goes on for long.
LONG = "echo $$ >> '{mark}'; while :; do sleep 0.1; done"


def long_job(site: Site, mark: str) -> str:
    return LONG.format(mark=site.directory / mark)


class Reader:
    """Reads the news of a queue, as whoever stores them would."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._until = ""
        self.known: dict[str, Sighting] = {}

    async def reads(self, ticket: Ticket, state: JobState) -> None:
        """Wait until the news tell that a job is in a state."""

        async def look() -> bool:
            news = await self._site.queue.news(self._until)
            self._until = news.until
            self.known.update((sighting.job_id, sighting) for sighting in news.sightings)
            seen = self.known.get(ticket.request.id)
            return seen is not None and seen.state is state

        await eventually(look)


class QueueContract(ArraysContract):
    def test_interface(self, site: Site) -> None:
        assert verifyObject(IQueue, site.queue)

    @pytest_twisted.ensureDeferred
    async def test_how_jobs_end(self, site: Site) -> None:
        scripts = {
            "true": (0, None),
            "exit 3": (3, None),
            "exit 125": (125, None),
            "exit 137": (137, None),
            "kill -9 $$": (None, 9),
            "kill -15 $$": (None, 15),
        }
        tickets = [
            site.ticket(script, priority=index, resources=Resources(memory=64, disk=1024))
            for index, script in enumerate(scripts)
        ]
        numbers = await site.queue.submit(tickets)
        assert len(set(numbers)) == len(scripts)
        for ticket, number, ending in zip(tickets, numbers, scripts.values(), strict=True):
            seen = await site.seen(ticket, JobState.COMPLETED)
            assert (seen.exit_status, seen.exit_signal) == ending
            assert (seen.backend_id, seen.priority, seen.run_count) == (number, ticket.request.priority, 1)
            assert f"#{number}#" in seen.global_job_id
            assert seen.universe == "vanilla"
            assert seen.started is not None
            assert seen.started <= (seen.current_started or 0) <= (seen.completed or 0)
            assert seen.host
            assert seen.reason is None

    @pytest_twisted.ensureDeferred
    async def test_a_job_is_visible_until_it_is_acknowledged(self, site: Site) -> None:
        ticket, number = await site.put("exit 5")
        assert list(await site.queue.find([ticket.request.id, str(uuid4())])) == [ticket.request.id]
        assert await site.queue.find([]) == {}
        await site.queue.acknowledge([NOBODY])
        await site.seen(ticket, JobState.COMPLETED)
        await site.queue.acknowledge([number, NOBODY])
        await site.queue.acknowledge([number])
        assert await site.queue.sightings() == []
        assert (await site.queue.find([ticket.request.id]))[ticket.request.id].exit_status == 5

    @pytest_twisted.ensureDeferred
    async def test_news_tell_of_every_change(self, site: Site) -> None:
        reader = Reader(site)
        held, number = await site.put("true")
        assert await site.queue.act(Action.HOLD, [number], "wait") == [ActionResult.DONE]
        await reader.reads(held, JobState.HELD)
        ended, over = await site.put("exit 4")
        await reader.reads(ended, JobState.COMPLETED)
        assert reader.known[ended.request.id].exit_status == 4
        assert await site.queue.act(Action.RELEASE, [number], "go on") == [ActionResult.DONE]
        await reader.reads(held, JobState.COMPLETED)
        running, third = await site.put(long_job(site, "pids"))
        await reader.reads(running, JobState.RUNNING)
        assert await site.queue.act(Action.REMOVE, [third], "enough") == [ActionResult.DONE]
        await reader.reads(running, JobState.REMOVED)
        await site.queue.acknowledge([number, over, third])
        assert (await site.queue.news("of another life")).until

    @pytest_twisted.ensureDeferred
    async def test_what_goes_in_and_comes_out(self, site: Site) -> None:
        arguments = ("two words", "'\"$(id) `id` \\\n", "", "-é😀")
        script = (
            'printf \'%s\\0\' "$@" "$VALUE" > $MODACLOUDS_BATCH_OUTPUT/words; echo told; echo complained >&2;'
            'cp "$MODACLOUDS_BATCH_INPUT" $MODACLOUDS_BATCH_OUTPUT/input; test -w $MODACLOUDS_BATCH_SCRATCH_DIRECTORY'
        )
        ticket, number = await site.put(script, arguments=arguments, environment={"VALUE": "a\n$b"}, input=b"\0\xff\n")
        seen = await site.seen(ticket, JobState.COMPLETED)
        assert seen.exit_status == 0
        await gatherResults([site.queue.fetch(seen, ticket.directory) for _ in range(2)])
        assert unpack(ticket) == {
            "output/words": "".join(f"{word}\0" for word in [*arguments, "a\n$b"]).encode(),
            "output/input": b"\0\xff\n",
        }
        assert (ticket.directory / "stdout").read_text() == "told\n"
        assert (ticket.directory / "stderr").read_text() == "complained\n"
        log = (ticket.directory / "_userlog").read_text()
        assert all(f"{event} ({number.cluster:03d}.{number.proc:03d}." in log for event in ("000", "001", "005"))

    @pytest_twisted.ensureDeferred
    @pytest.mark.parametrize(("artifact", "stream"), [(Artifact.STDOUT, ""), (Artifact.STDERR, ">&2")])
    async def test_what_a_running_job_prints_is_shown(self, site: Site, artifact: Artifact, stream: str) -> None:
        mark = site.directory / "seen"
        script = f"printf 'a\\0\\377\\n' {stream}; while [ ! -e '{mark}' ]; do sleep 0.1; done; echo end {stream}; sleep 3"
        ticket, _ = await site.put(script)
        seen = await site.seen(ticket, JobState.RUNNING)
        text = b""
        while not text:
            # The queue may say that the job runs before its node can be asked.
            async with aclosing(site.queue.follow(seen, ticket.directory, artifact)) as pieces:
                async for piece in pieces:
                    text += piece
                    if text == b"a\0\xff\n":
                        mark.touch()
        assert text == b"a\0\xff\nend\n"

    @pytest_twisted.ensureDeferred
    async def test_a_job_that_uses_nothing(self, site: Site) -> None:
        ticket, _ = await site.put("echo ${MODACLOUDS_BATCH_INPUT+there is an input}; cat; rm -rf $MODACLOUDS_BATCH_OUTPUT")
        seen = await site.seen(ticket, JobState.COMPLETED)
        await site.queue.fetch(seen, ticket.directory)
        assert (ticket.directory / "stdout").read_text() == "\n"
        assert (ticket.directory / "stderr").read_text() == ""
        assert unpack(ticket) == {}

    @pytest_twisted.ensureDeferred
    async def test_files_that_are_missing(self, site: Site) -> None:
        good, *bad = (site.ticket("true", input=b"") for _ in range(4))
        for ticket, name in zip(bad, ("bundle.tar.gz", "launch.sh", "input"), strict=True):
            (ticket.directory / name).unlink()
        number, *refused = await site.queue.submit([good, *bad])
        assert isinstance(number, BackendId)
        for refusal, name in zip(refused, ("bundle.tar.gz", "launch.sh", "input"), strict=True):
            assert isinstance(refusal, Refusal)
            assert name in refusal.reason
        assert [seen.job_id for seen in await site.queue.sightings()] == [good.request.id]

    @pytest_twisted.ensureDeferred
    async def test_a_bundle_that_cannot_be_unpacked(self, site: Site) -> None:
        ticket = site.ticket("true")
        (ticket.directory / "bundle.tar.gz").write_bytes(b"no archive at all")
        await site.queue.submit([ticket])
        seen = await site.seen(ticket, JobState.HELD)
        assert "output.tar.gz" in (seen.reason or "")

    @pytest_twisted.ensureDeferred
    async def test_hold_and_release(self, site: Site) -> None:
        ticket, number = await site.put("echo done")
        assert await site.queue.act(Action.HOLD, [number], "our words") == [ActionResult.DONE]
        assert "our words" in ((await site.seen(ticket, JobState.HELD)).reason or "")
        assert await site.queue.act(Action.RELEASE, [number], "go on") == [ActionResult.DONE]
        seen = await site.seen(ticket, JobState.COMPLETED)
        assert seen.reason is None

    @pytest_twisted.ensureDeferred
    async def test_hold_ends_a_running_job_and_release_runs_it_again(self, site: Site) -> None:
        ticket, number = await site.put(long_job(site, "pids"))
        [first] = await site.marked("pids")
        assert (await site.seen(ticket, JobState.RUNNING)).run_count == 1
        assert await site.queue.act(Action.HOLD, [number], "stop") == [ActionResult.DONE]
        await site.seen(ticket, JobState.HELD)
        await in_state(int(first), "-")
        assert await site.queue.act(Action.RELEASE, [number], "go on") == [ActionResult.DONE]
        _, second = await site.marked("pids", 2)
        seen = await site.seen(ticket, JobState.RUNNING)
        assert (seen.run_count, seen.reason) == (2, None)
        assert (seen.started or 0) <= (seen.current_started or 0)
        assert await site.queue.act(Action.REMOVE, [number], "enough") == [ActionResult.DONE]
        assert "enough" in ((await site.seen(ticket, JobState.REMOVED)).reason or "")
        await in_state(int(second), "-")

    @pytest_twisted.ensureDeferred
    async def test_suspend_and_continue(self, site: Site) -> None:
        ticket, number = await site.put(long_job(site, "pids"))
        pid = int((await site.marked("pids"))[0])
        await site.seen(ticket, JobState.RUNNING)
        assert await site.queue.act(Action.SUSPEND, [number], "wait") == [ActionResult.DONE]
        await in_state(pid, "T")
        assert (await site.seen(ticket, JobState.SUSPENDED)).run_count == 1
        assert await site.queue.act(Action.SUSPEND, [number], "again") == [ActionResult.BAD_STATUS]
        assert process_state(pid) == "T"
        assert await site.queue.act(Action.CONTINUE, [number], "go on") == [ActionResult.DONE]
        await in_state(pid, "S", "R")
        await site.seen(ticket, JobState.RUNNING)
        assert await site.queue.act(Action.CONTINUE, [number], "again") == [ActionResult.BAD_STATUS]
        assert await site.queue.act(Action.SUSPEND, [number], "wait") == [ActionResult.DONE]
        await in_state(pid, "T")
        await site.seen(ticket, JobState.SUSPENDED)
        assert await site.queue.act(Action.REMOVE, [number], "enough") == [ActionResult.DONE]
        await site.seen(ticket, JobState.REMOVED)
        await in_state(pid, "-")

    @pytest_twisted.ensureDeferred
    async def test_results_of_actions(self, site: Site) -> None:
        completed, over = await site.put("true")
        waiting, held = await site.put(long_job(site, "pids"))
        await site.seen(completed, JobState.COMPLETED)
        assert [await site.queue.act(action, [NOBODY], "x") for action in Action] == [[ActionResult.NOT_FOUND]] * len(Action)
        # HTCondor lets a completed job be removed; the others call that too late.
        others = [action for action in Action if action is not Action.REMOVE]
        assert [await site.queue.act(action, [over], "x") for action in others] == [[ActionResult.BAD_STATUS]] * len(others)
        assert await site.queue.act(Action.RELEASE, [held], "x") == [ActionResult.BAD_STATUS]
        results = await site.queue.act(Action.HOLD, [over, held, NOBODY], "x")
        assert results == [ActionResult.BAD_STATUS, ActionResult.DONE, ActionResult.NOT_FOUND]
        await site.seen(waiting, JobState.HELD)
        after: Any = [await site.queue.act(action, [held], "x") for action in (Action.HOLD, Action.SUSPEND, Action.CONTINUE)]
        assert after == [[ActionResult.ALREADY_DONE], [ActionResult.BAD_STATUS], [ActionResult.BAD_STATUS]]
        assert await site.queue.act(Action.REMOVE, [held], "gone") == [ActionResult.DONE]
        seen = await site.seen(waiting, JobState.REMOVED)
        assert (seen.completed, seen.exit_status, seen.exit_signal) == (None, None, None)
        assert await site.queue.act(Action.HOLD, [held], "x") == [ActionResult.BAD_STATUS]
        assert await site.queue.act(Action.REMOVE, [held], "x") == [ActionResult.ALREADY_DONE]
        await site.queue.fetch(seen, waiting.directory)
        await site.queue.acknowledge([held, over])
        assert await site.queue.sightings() == []

    @pytest_twisted.ensureDeferred
    async def test_a_job_whose_time_is_over(self, site: Site) -> None:
        script = "echo begun; echo made > $MODACLOUDS_BATCH_OUTPUT/result; sleep 60"
        ticket, _ = await site.put(script, max_wall_time=1)
        seen = await site.seen(ticket, JobState.COMPLETED)
        assert (seen.exit_status, seen.exit_signal) == (None, 24)
        await site.queue.fetch(seen, ticket.directory)
        assert (ticket.directory / "stdout").read_text() == "begun\n"
        assert unpack(ticket) == {"output/result": b"made\n"}

    @pytest_twisted.ensureDeferred
    async def test_runs_that_fail_are_repeated(self, site: Site) -> None:
        mark = site.directory / "marks"
        good, _ = await site.put(f"echo run >> '{mark}'; test $(wc -l < '{mark}') -ge 2", max_retries=5)
        bad, _ = await site.put("exit 7", max_retries=1)
        killed, _ = await site.put("kill -9 $$", max_retries=1)
        for ticket, ending in ((good, (0, None, 2)), (bad, (7, None, 2)), (killed, (None, 9, 2))):
            seen = await site.seen(ticket, JobState.COMPLETED)
            assert (seen.exit_status, seen.exit_signal, seen.run_count) == ending
        assert len(await site.marked("marks")) == 2
