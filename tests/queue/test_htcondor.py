"""HTCondorQueue without a pool: its child processes are played by the test."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.logger import LogLevel

from modabatchd.errors import QueueAway
from modabatchd.queue.absence import Unreadable
from modabatchd.queue.htcondor import frames
from modabatchd.queue.htcondor.deadlines import Deadlines
from modabatchd.queue.htcondor.environment import Access
from modabatchd.queue.htcondor.frames import Answer, Problem
from modabatchd.queue.htcondor.process import ChildProcess
from modabatchd.queue.htcondor.queue import HTCondorQueue
from modabatchd.queue.interfaces import Ticket
from modabatchd.queue.job import BackendId, JobRequest, JobState, Sighting
from tests.deferreds import now
from tests.queue.test_calls import Pipes

PLACE = "127.0.0.1:9618"


class Machine(Clock):
    """A reactor on which every child process is played."""

    def __init__(self) -> None:
        super().__init__()
        self.children: list[Pipes] = []

    def spawnProcess(self, protocol: ChildProcess, *arguments: Any, **more: Any) -> None:
        self.children.append(Pipes(protocol))
        self.children[-1].say(Answer(0))


class Pool:
    """A queue, and what its children hear."""

    def __init__(self, schedd: str = "", remembered: str | None = None, transfer: Any = "direct") -> None:
        self.machine = Machine()
        self.remembered = remembered
        self.live = True
        self._schedd, self._transfer = schedd, transfer
        self._answered: list[frames.Request] = []
        self.start()

    def start(self) -> None:
        self.queue = HTCondorQueue(
            self.machine,
            str(uuid4()),
            Path("/wrapper.sh"),
            Path("/spool"),
            {},
            Access(schedd=self._schedd or None),
            self._transfer,
            Deadlines(query=5, submit=15, transfer=3600),
            lambda: succeed(self.remembered),
            self.remember,
        )

    def remember(self, name: str) -> Deferred[str]:
        if not self.live or self.remembered is None:
            self.remembered = name
        return succeed(self.remembered)

    @property
    def heard(self) -> list[frames.Request]:
        return [request for child in self.machine.children for request in child.heard]

    def answer(self, result: Any = None, problem: Problem | None = None, child: int | None = None) -> None:
        """Let a child answer; if it is not told which, the last one that has not answered yet."""
        waiting = [each for each in self.machine.children if each.heard and each.heard[-1] not in self._answered]
        asked = waiting[-1] if child is None else self.machine.children[child]
        self._answered.append(asked.heard[-1])
        asked.say(Answer(asked.heard[-1].id, result, problem))

    def is_at(self, name: str, here: bool = True) -> None:
        assert isinstance(self.heard[-1].operation, frames.Ping)
        self.answer({"name": name, "address": PLACE, "version": "", "here": here})

    def sighted(self, *ads: Mapping[str, Any]) -> list[Sighting]:
        looking = self.queue.sightings()
        self.answer([dict(ad) for ad in ads])
        return list(now(looking))


def ad(job_id: str = "", **more: Any) -> dict[str, Any]:
    return {"ModabatchJobId": job_id or str(uuid4()), "ClusterId": 1, "ProcId": 0, "JobStatus": 1, **more}


def ticket() -> Ticket:
    return Ticket(JobRequest(id=str(uuid4()), submitted=0.0), Path("/spool/x"))


def test_the_first_scheduler_is_remembered_and_no_other_is_asked() -> None:
    pool = Pool()
    looking = pool.queue.sightings()
    assert pool.heard[-1].schedd == ""
    pool.is_at("main@host")
    assert pool.remembered == "main@host"
    assert pool.heard[-1].schedd == "main@host"
    pool.answer([])
    now(looking)
    pool.start()
    looking = pool.queue.sightings()
    assert isinstance(pool.heard[-1].operation, frames.Ping)
    assert pool.heard[-1].schedd == "main@host"
    pool.machine.children[-1].say(Answer(1, problem=Problem("elsewhere", "It is main@host that has the jobs.", True)))
    with pytest.raises(QueueAway, match="main@host") as caught:
        now(looking)
    assert caught.value.untouched
    assert "queue.htcondor.schedd" in caught.value.cure


def test_many_who_ask_at_once_ask_where_it_is_once() -> None:
    pool = Pool()
    looking = [pool.queue.sightings() for _ in range(3)]
    pool.is_at("main@host")
    for _ in looking:
        pool.answer([])
    assert [list(now(each)) for each in looking] == [[], [], []]
    assert sum(isinstance(request.operation, frames.Ping) for request in pool.heard) == 1


def test_a_name_that_cannot_be_remembered_is_asked_for_again() -> None:
    pool = Pool()
    pool.remember = lambda name: fail(RuntimeError("the disk is full"))  # type: ignore[method-assign]
    pool.start()
    looking = pool.queue.sightings()
    pool.is_at("main@host")
    with pytest.raises(RuntimeError):
        now(looking)
    pool.queue.sightings().addErrback(lambda failure: None)
    assert isinstance(pool.heard[-1].operation, frames.Ping)


@pytest.mark.parametrize("schedd", ["new@host", "host"])
def test_without_live_jobs_the_service_can_be_moved(schedd: str) -> None:
    pool = Pool(schedd=schedd, remembered="old@host")
    pool.live = False
    looking = pool.queue.sightings()
    assert pool.heard[-1].schedd == ""
    pool.is_at("new@host")
    assert pool.remembered == "new@host"
    pool.answer([])
    now(looking)


@pytest.mark.parametrize("name", ["new@host", "NEW@Host"])
def test_a_scheduler_that_was_renamed_is_told_by_its_exact_name_and_its_jobs(name: str) -> None:
    pool = Pool(schedd="new@host", remembered="old@host")
    looking = pool.queue.sightings()
    pool.is_at(name)
    assert isinstance(pool.heard[-1].operation, frames.Query)
    assert pool.heard[-1].schedd == name
    pool.answer([{"ClusterId": 1}])
    pool.answer([ad()])
    assert len(now(looking)) == 1


@pytest.mark.parametrize("schedd", ["new@host", "host"])
def test_another_scheduler_than_that_of_the_live_jobs_is_not_asked(schedd: str) -> None:
    pool = Pool(schedd=schedd, remembered="old@host")
    for _ in range(2):
        looking = pool.queue.sightings()
        pool.is_at("new@host")
        if schedd == "new@host":
            pool.answer([])
        with pytest.raises(QueueAway, match=r"old@host.*new@host") as caught:
            now(looking)
        assert caught.value.untouched
        assert "old@host" in caught.value.cure
    assert pool.remembered == "old@host"


def test_where_files_go_depends_on_where_the_scheduler_is() -> None:
    for here in (True, False):
        pool = Pool(transfer="auto")
        pool.queue.submit([ticket()])
        pool.is_at("main@host", here)
        operation = pool.heard[-1].operation
        assert isinstance(operation, frames.Submit)
        assert operation.spool is not here


def test_an_odd_ad_is_left_out_and_told_once(events: list[dict[str, Any]]) -> None:
    pool = Pool()
    looking = pool.queue.sightings()
    pool.is_at("main@host")
    pool.answer([])
    now(looking)
    odd = [ad(JobStatus=99), ad(JobPrio="high"), {"ModabatchJobId": str(uuid4())}]
    for _ in range(3):
        assert [seen.state for seen in pool.sighted(odd[0], ad(), odd[1], odd[2], {"ModabatchJobId": 7})] == [JobState.IDLE]
    assert len([event for event in events if event["log_level"] is LogLevel.error]) == 3
    odd[0]["JobStatus"] = 2
    assert len(pool.sighted(odd[0])) == 1
    odd[0]["JobStatus"] = 99
    pool.sighted(odd[0])
    assert len([event for event in events if event["log_level"] is LogLevel.error]) == 4


def test_whoever_looks_for_a_job_that_cannot_be_read_is_told_so() -> None:
    pool = Pool(remembered="main@host")
    odd, good, absent = (str(uuid4()) for _ in range(3))
    finding = pool.queue.find([odd, good, absent])
    pool.is_at("main@host")
    pool.answer([ad(odd, JobStatus=99), ad(good)])
    history = pool.heard[-1].operation
    assert isinstance(history, frames.History)
    assert absent in history.constraint
    assert odd not in history.constraint
    pool.answer([], child=1)
    with pytest.raises(Unreadable) as caught:
        now(finding)
    assert (set(caught.value.job_ids), set(caught.value.found)) == ({odd}, {good})


def test_a_download_holds_up_no_submission() -> None:
    pool = Pool(transfer="spool", remembered="main@host")
    looking = pool.queue.sightings()
    pool.is_at("main@host")
    pool.answer([ad(ModabatchSpooled=True, StageInFinish=1, JobStatus=4, CompletionDate=1)])
    [seen] = now(looking)
    fetching = pool.queue.fetch(seen, Path("/spool/x"))
    assert isinstance(pool.heard[-1].operation, frames.Retrieve)
    submitting = pool.queue.submit([ticket()])
    assert isinstance(pool.heard[-1].operation, frames.Submit)
    pool.answer([[1, 0]])
    assert list(now(submitting)) == [BackendId(1, 0)]
    assert not fetching.called
    fetching.addErrback(lambda failure: failure.trap(QueueAway))


def test_a_frozen_scheduler_is_noticed_before_files_are_sent() -> None:
    pool = Pool(transfer="spool", remembered="main@host")
    submitting = pool.queue.submit([ticket() for _ in range(50)])
    pool.is_at("main@host")
    pool.machine.advance(15)
    with pytest.raises(QueueAway):
        now(submitting)


def test_files_are_given_as_long_as_those_of_one_job() -> None:
    pool = Pool(transfer="spool", remembered="main@host")
    submitting = pool.queue.submit([ticket() for _ in range(50)])
    pool.is_at("main@host")
    pool.machine.children[1].say(Answer(0, last=False, sending=True))
    pool.machine.advance(3599)
    assert not submitting.called
    pool.machine.advance(1)
    with pytest.raises(QueueAway):
        now(submitting)


def test_in_a_hurry_nothing_takes_long() -> None:
    pool = Pool(transfer="spool", remembered="main@host")
    submitting = pool.queue.submit([ticket()])
    pool.is_at("main@host")
    pool.machine.children[1].say(Answer(0, last=False, sending=True))
    pool.queue.hurry()
    looking = pool.queue.sightings()
    pool.machine.advance(5)
    for waiting in (submitting, looking, pool.queue.find([str(uuid4())])):
        with pytest.raises(QueueAway):
            now(waiting)
