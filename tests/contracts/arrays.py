"""What every queue does with job arrays; a part of the contract of IQueue."""

from collections.abc import Collection
from uuid import uuid4

import pytest_twisted
from twisted.internet.defer import gatherResults

from modabatchd.queue.indices import parse_indices
from modabatchd.queue.interfaces import ActionResult, Refusal, Ticket
from modabatchd.queue.job import Action, BackendId, JobState, Sighting
from tests.contracts.jobs import Site, eventually, unpack

SMALL = {"array": parse_indices("1-3,7")}


async def shown(site: Site, ticket: Ticket, *states: JobState, tasks: Collection[int] = (1, 2, 3, 7)) -> dict[int, Sighting]:
    """What the queue shows of some tasks of an array, once they are all in one of these states."""

    async def look() -> dict[int, Sighting] | None:
        seen = {each.task or 0: each for each in await site.queue.sightings() if each.job_id == ticket.request.id}
        there = {task: seen[task] for task in tasks if task in seen and seen[task].state in states}
        return there if len(there) == len(tasks) else None

    return await eventually(look)


class ArraysContract:
    """What every queue does with job arrays."""

    @pytest_twisted.ensureDeferred
    async def test_the_tasks_of_an_array(self, site: Site) -> None:
        script = (
            'echo "$MODACLOUDS_BATCH_TASK_INDEX $VALUE"; echo complained >&2; '
            'echo "$VALUE" >"$MODACLOUDS_BATCH_OUTPUT/value"; exit "$MODACLOUDS_BATCH_TASK_INDEX"'
        )
        values = ["one", 'it\'s "2"', "c\nd", "4", "5", "6", "sieben"]
        ticket, number = await site.put(script, parameters=[["VALUE"], *([value] for value in values)], **SMALL)
        seen = await shown(site, ticket, JobState.COMPLETED)
        for place, (index, each) in enumerate(sorted(seen.items())):
            assert (each.exit_status, each.exit_signal, each.run_count) == (index, None, 1)
            assert each.backend_id == BackendId(number.cluster, place)
        await gatherResults([site.queue.fetch(each, ticket.directory) for each in seen.values()])
        for index, each in seen.items():
            value = values[index - 1]
            assert (ticket.directory / f"stdout.{index}").read_text() == f"{index} {value}\n"
            assert (ticket.directory / f"stderr.{index}").read_text() == "complained\n"
            assert unpack(ticket, f"output.tar.gz.{index}") == {"output/value": f"{value}\n".encode()}
            log = (ticket.directory / f"_userlog.{index}").read_text()
            proc = each.backend_id.proc
            assert all(f"{event} ({number.cluster:03d}.{proc:03d}." in log for event in ("000", "001", "005"))

    @pytest_twisted.ensureDeferred
    async def test_an_array_is_visible_until_all_of_it_is_acknowledged(self, site: Site) -> None:
        ticket, number = await site.put("true", **SMALL)
        job_id = ticket.request.id
        assert (await site.queue.find([job_id]))[job_id].backend_id.cluster == number.cluster
        assert sorted(each.task or 0 for each in await site.queue.tasks(job_id)) == [1, 2, 3, 7]
        assert list(await site.queue.tasks(str(uuid4()), history=True)) == []
        await shown(site, ticket, JobState.COMPLETED)
        await site.queue.acknowledge([BackendId(number.cluster, 0), BackendId(number.cluster, 2)])
        assert sorted(each.task or 0 for each in await site.queue.sightings()) == [2, 7]
        assert sorted(each.task or 0 for each in await site.queue.tasks(job_id, history=True)) == [1, 2, 3, 7]
        await site.queue.acknowledge([BackendId(number.cluster, place) for place in range(4)])
        assert await site.queue.sightings() == []
        assert (await site.queue.find([job_id]))[job_id].exit_status == 0

    @pytest_twisted.ensureDeferred
    async def test_actions_on_some_tasks(self, site: Site) -> None:
        ticket, number = await site.put("echo run; test $MODACLOUDS_BATCH_TASK_INDEX != 7 || sleep 600", **SMALL)
        numbers = [BackendId(number.cluster, place) for place in range(4)]
        await shown(site, ticket, JobState.COMPLETED, tasks=[1, 2, 3])
        results = await site.queue.act(Action.HOLD, [*numbers, BackendId(number.cluster, 4)], "our words")
        assert results == [*[ActionResult.BAD_STATUS] * 3, ActionResult.DONE, ActionResult.NOT_FOUND]
        assert "our words" in ((await shown(site, ticket, JobState.HELD, tasks=[7]))[7].reason or "")
        assert await site.queue.act(Action.REMOVE, [numbers[3]], "enough") == [ActionResult.DONE]
        await shown(site, ticket, JobState.REMOVED, tasks=[7])

    @pytest_twisted.ensureDeferred
    async def test_actions_on_all_tasks(self, site: Site) -> None:
        ticket, number = await site.put("sleep 600", array=parse_indices("1-30"))
        numbers = [BackendId(number.cluster, place) for place in range(30)]
        everything = range(1, 31)
        for action, state in ((Action.HOLD, JobState.HELD), (Action.RELEASE, JobState.IDLE), (Action.REMOVE, JobState.REMOVED)):
            assert await site.queue.act(action, numbers, "our words") == [ActionResult.DONE] * 30
            states = (JobState.IDLE, JobState.RUNNING) if state is JobState.IDLE else (state,)
            await shown(site, ticket, *states, tasks=everything)

    @pytest_twisted.ensureDeferred
    async def test_an_array_is_taken_as_a_whole_or_not_at_all(self, site: Site) -> None:
        good, single = site.ticket("true", **SMALL), site.ticket("true")
        bad = site.ticket("true", parameters=[["A"], ["1"]], **SMALL)
        (bad.directory / "parameters").unlink()
        first, refusal, second = await site.queue.submit([good, bad, single])
        assert isinstance(refusal, Refusal)
        assert "parameters" in refusal.reason
        assert isinstance(first, BackendId)
        assert isinstance(second, BackendId)
        assert (first.proc, first.cluster != second.cluster) == (0, True)
        jobs = [each.job_id for each in await site.queue.sightings()]
        assert sorted(jobs) == sorted([good.request.id] * 4 + [single.request.id])
