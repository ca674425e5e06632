"""
The contract of IStore.

A module of tests makes a class of L{StoreContract} that has two fixtures: C{store}, an empty one whose Deferreds have fired
when it returns them, and C{reopen}, which closes it and opens it again.
"""

import uuid
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.application.service import IService
from zope.interface.verify import verifyObject

from modabatchd.notifications.message import Attempt, Delivery
from modabatchd.queue.job import FINAL, BackendId, Job, JobRequest, JobState, Sighting, StateChange
from modabatchd.store.interfaces import IStore, Listed, Page, Progress, Selection, Span
from modabatchd.store.statements_lists import EXAMINED
from tests.contracts.outbox import OutboxContract
from tests.contracts.tasks import TasksContract
from tests.deferreds import now
from tests.store.values import REQUESTS, SIGHTINGS, TEXT, a_message, a_request, a_sighting, add, end, get, page, pages, step


class StoreContract(OutboxContract, TasksContract):
    """What every store does."""

    def test_interface(self, store: IStore) -> None:
        assert verifyObject(IStore, store)
        assert verifyObject(IService, store)
        assert str(uuid.UUID(store.instance)) == store.instance

    def test_news(self, store: IStore, reopen: Callable[[], IStore]) -> None:
        assert now(store.news_until()) == ""
        now(store.advance([], "7"))
        now(store.advance([]))
        assert now(store.news_until()) == "7"
        now(store.advance([], "8"))
        assert now(reopen().news_until()) == "8"

    # schedd

    def test_scheduler(self, store: IStore, reopen: Callable[[], IStore]) -> None:
        assert now(store.schedd()) is None
        assert now(store.remember_schedd("one")) == now(store.schedd()) == "one"
        assert now(store.remember_schedd("two")) == now(store.schedd()) == "two"
        assert now(reopen().schedd()) == "two"

    @pytest.mark.parametrize("state", sorted(set(JobState) - FINAL))
    def test_scheduler_stays_while_there_are_live_jobs(self, store: IStore, state: JobState) -> None:
        [job_id] = add(store)
        step(store, job_id, state)
        # The first one is told by whoever submits the first job, and may come late.
        assert now(store.remember_schedd("one")) == "one"
        assert now(store.remember_schedd("two")) == now(store.schedd()) == "one"
        end(store, job_id)
        assert now(store.remember_schedd("two")) == now(store.schedd()) == "two"

    # add

    def test_added_job(self, store: IStore) -> None:
        request = a_request(name="a name", labels={"team": "blue"}, arguments=("a b", ""), max_wall_time=9)
        [job] = now(store.add([request]))
        assert job == Job(
            seq=job.seq, request=request, state=JobState.IDLE, history=(StateChange(JobState.IDLE, request.submitted),)
        )
        assert job.seq > 0
        assert now(store.get(request.id)) == job

    def test_added_nothing(self, store: IStore) -> None:
        assert now(store.add([])) == []

    def test_added_many(self, store: IStore) -> None:
        requests = [a_request(labels={"number": str(number)}) for number in range(1000)]
        jobs = now(store.add(requests))
        assert [job.request for job in jobs] == requests
        assert [job.seq for job in jobs] == sorted({job.seq for job in jobs})
        assert now(store.get(requests[567].id)) == jobs[567]
        assert page(store, limit=2000) == [request.id for request in requests]

    def test_added_twice(self, store: IStore) -> None:
        [job_id] = add(store)
        new = a_request(labels={"a": "b"})
        with pytest.raises(Exception, match=r"(?i)unique"):
            now(store.add([new, a_request(id=job_id)]))
        assert now(store.get(new.id)) is None
        assert page(store) == [job_id]

    def test_comes_back_as_it_went(self, store: IStore) -> None:
        # Within, because pytest-twisted cannot run a test of Hypothesis with more than one store.
        @settings(max_examples=25, deadline=None)
        @given(request=REQUESTS, sighting=SIGHTINGS, reason=st.none() | TEXT)
        def check(request: JobRequest, sighting: Sighting, reason: str | None) -> None:
            now(store.add([request]))
            seen = msgspec.structs.replace(sighting, job_id=request.id)
            step(store, request.id, JobState.RUNNING, 9.5, sighting=seen, reason=reason)
            job = get(store, request.id)
            assert (job.request, job.sighting, job.backend_id) == (request, seen, seen.backend_id)
            assert job.history[-1] == StateChange(JobState.RUNNING, 9.5, reason)
            for key, value in request.labels.items():
                assert page(store, labels=((key, value),), name=request.name) == [request.id]
            now(store.forget([request.id]))

        check()

    # bind, get

    def test_bound(self, store: IStore) -> None:
        one, other = add(store, 2)
        before = get(store, one)
        for _ in range(2):
            now(store.bind(one, BackendId(2**40, 3)))
            assert get(store, one) == msgspec.structs.replace(before, backend_id=BackendId(2**40, 3))
        now(store.bind(one, BackendId(8)))
        assert get(store, one).backend_id == BackendId(8, 0)
        assert get(store, other).backend_id is None

    def test_bound_though_absent(self, store: IStore) -> None:
        now(store.bind(str(uuid.uuid4()), BackendId(1)))
        assert page(store) == []

    def test_got_though_absent(self, store: IStore) -> None:
        assert now(store.get(str(uuid.uuid4()))) is None

    # page

    def test_listed(self, store: IStore) -> None:
        [job] = now(store.add([a_request(name="n")]))
        assert now(store.page(Selection(), 10)) == Page([Listed(job.seq, job.request.id, JobState.IDLE, "n")])
        end(store, job.request.id, 4.5)
        assert now(store.page(Selection(), 10)) == Page([Listed(job.seq, job.request.id, JobState.COMPLETED, "n", None, 4.5)])

    def test_pages(self, store: IStore) -> None:
        everything = add(store, 10)
        assert pages(store, 3) == pages(store, 10) == everything
        assert pages(store, 3, newest=True) == everything[::-1]

    @pytest.mark.parametrize(
        ("selection", "expected"),
        [
            ({}, "abcdef"),
            ({"states": (JobState.IDLE,)}, "abde"),
            ({"states": (JobState.HELD,)}, "c"),
            ({"states": (JobState.COMPLETED, JobState.IDLE)}, "abdef"),
            ({"states": (JobState.IDLE, JobState.IDLE)}, "abde"),
            ({"states": tuple(JobState)}, "abcdef"),
            ({"states": (JobState.REMOVED,)}, ""),
            ({"name": "x"}, "acef"),
            ({"name": "X"}, ""),
            ({"name": ""}, "d"),
            ({"name": "nobody's"}, ""),
            ({"labels": (("team", "red"),)}, "abf"),
            ({"labels": (("team", ""),)}, "d"),
            ({"labels": (("team", None),)}, "abcdf"),
            ({"labels": (("red", "team"),)}, ""),
            ({"labels": (("odd", None),)}, "ac"),
            ({"labels": (("odd", "no"),)}, ""),
            ({"name": "x", "states": (JobState.IDLE,)}, "ae"),
            ({"name": "x", "labels": (("team", "red"),)}, "af"),
            ({"name": "x", "labels": (("team", None),)}, "acf"),
            ({"states": (JobState.IDLE,), "labels": (("team", "red"),)}, "ab"),
            ({"states": (JobState.IDLE, JobState.HELD), "labels": (("team", None),)}, "abcd"),
            ({"states": (JobState.COMPLETED, JobState.HELD), "name": "x", "labels": (("team", "red"),)}, "f"),
            ({"states": (JobState.COMPLETED, JobState.HELD), "name": "x", "labels": (("team", None),)}, "cf"),
            ({"labels": (("odd", None), ("team", "red"))}, "a"),
            ({"labels": (("team", None), ("odd", None)), "states": (JobState.HELD,)}, "c"),
            ({"labels": (("team", "red"), ("team", "blue"))}, ""),
            ({"prefix": "x"}, "acef"),
            ({"prefix": ""}, "abcdef"),
            ({"prefix": "xx"}, ""),
            ({"prefix": "y", "labels": (("team", "red"),)}, "b"),
            ({"submitted": Span(13.0)}, "def"),
            ({"submitted": Span(None, 13.0)}, "abc"),
            ({"submitted": Span(11.0, 13.0)}, "bc"),
            ({"submitted": Span(11.0, 15.0), "states": (JobState.IDLE,)}, "bde"),
            ({"submitted": Span(99.0)}, ""),
            ({"submitted": Span(12.0), "name": "x"}, "cef"),
            ({"submitted": Span(None, 12.0), "labels": (("team", "red"),)}, "ab"),
            ({"ended": Span(3.0)}, "f"),
            ({"ended": Span(None, 3.0)}, ""),
            ({"ended": Span(0.0, 3.5), "name": "x", "states": (JobState.COMPLETED,), "submitted": Span(14.5, 16.0)}, "f"),
            ({"ended": Span(0.0), "labels": (("team", "blue"),)}, ""),
        ],
    )
    def test_filters(self, store: IStore, selection: dict[str, object], expected: str) -> None:
        fields = {
            "a": {"name": "x", "labels": {"team": "red", "odd": "yes"}},
            "b": {"name": "y", "labels": {"team": "red"}},
            "c": {"name": "x", "labels": {"team": "blue", "odd": "yes"}},
            "d": {"name": "", "labels": {"team": ""}},
            "e": {"name": "x"},
            "f": {"name": "x", "labels": {"team": "red"}},
        }
        letters = {add(store, submitted=time, **those)[0]: letter for time, (letter, those) in enumerate(fields.items(), 10)}
        numbers = {letter: job_id for job_id, letter in letters.items()}
        step(store, numbers["c"], JobState.HELD)
        end(store, numbers["f"])
        assert "".join(letters[job_id] for job_id in page(store, **selection)) == expected
        assert "".join(letters[job_id] for job_id in pages(store, 2, newest=True, **selection)) == expected[::-1]
        whole = now(store.jobs(Selection(**selection), 100, history=True))
        assert list(whole.jobs) == [get(store, numbers[letter]) for letter in expected]
        # The same one by one, in spite of jobs that come and go.
        seen, page_ = "", now(store.page(Selection(**selection), 1))
        while page_.jobs:
            seen += letters.get(page_.jobs[0].id, "")
            now(store.forget([page_.jobs[0].id, *add(store)]))
            if page_.next is None:
                break
            page_ = now(store.page(Selection(**selection), 1, page_.next))
        assert seen == expected

    def test_cursor_stays_while_jobs_come(self, store: IStore) -> None:
        first = add(store, 4, name="n")
        following = now(store.page(Selection(name="n"), 2)).next
        now(store.forget(first[:2]))
        later = add(store, 2, name="n")
        assert page(store, after=following, name="n") == [*first[2:], *later]

    def test_ends_have_an_order_of_their_own(self, store: IStore) -> None:
        everything = add(store, 6, name="n")
        for job_id, at in zip(everything, (5.0, 3.0, 4.0, 3.0, 3.0), strict=False):
            end(store, job_id, at)
        ended = [everything[number] for number in (1, 3, 4, 2, 0)]
        for more in ({}, {"name": "n"}):
            for limit in (1, 2, 100):
                assert pages(store, limit, ended=Span(3.0), **more) == ended
                assert pages(store, limit, ended=Span(3.0), newest=True, **more) == ended[::-1]
        assert pages(store, 1, ended=Span(3.5, 5.0)) == [everything[2]]

    def test_times_never_go_back(self, store: IStore) -> None:
        everything = [add(store, submitted=time)[0] for time in (10.0, 30.0, 20.0, 25.0, 40.0)]
        assert page(store, submitted=Span(28.0)) == everything[1:]
        assert page(store, submitted=Span(None, 30.0)) == everything[:1]
        assert page(store, submitted=Span(30.5)) == everything[4:]

    def test_few_that_fit_among_many(self, store: IStore) -> None:
        add(store, EXAMINED, name="many")
        [one] = add(store, name="one")
        add(store, 10, name="many")
        first = now(store.page(Selection(prefix="o"), 5))
        assert (first.jobs, first.next is None) == ([], False)
        assert pages(store, 5, prefix="o") == pages(store, 5, prefix="o", newest=True) == [one]

    # counts

    def test_counts(self, store: IStore, reopen: Callable[[], IStore]) -> None:
        def counted() -> dict[JobState, int]:
            return {state: number for state, number in now(store.counts()).items() if number}

        assert list(now(store.counts())) == list(JobState)
        assert counted() == {}
        everything = add(store, 5)
        for job_id, state in zip(everything, (JobState.RUNNING, JobState.HELD, JobState.RUNNING), strict=False):
            step(store, job_id, state)
        step(store, everything[0], JobState.RUNNING)
        assert counted() == {JobState.IDLE: 2, JobState.RUNNING: 2, JobState.HELD: 1}
        for state in (JobState.REMOVED, JobState.COMPLETED):
            end(store, everything[0], state=state)
        assert counted() == {JobState.IDLE: 2, JobState.RUNNING: 1, JobState.HELD: 1, JobState.REMOVED: 1}
        with pytest.raises(Exception, match=r"(?i)unique"):
            now(store.add([a_request(), a_request(id=everything[0])]))
        now(store.forget([*everything[:2], everything[4], str(uuid.uuid4())]))
        store = reopen()
        assert counted() == {JobState.IDLE: 1, JobState.RUNNING: 1}

    # version

    def test_versions(self, store: IStore) -> None:
        one, other = add(store, 2)

        def versions() -> tuple[str | None, ...]:
            return store.version(), store.version(one), store.version(other)

        before = versions()
        assert None not in before
        message = end(store, one)
        after = versions()
        assert None not in after
        assert [old == new for old, new in zip(before, after, strict=True)] == [False, False, True]
        now(store.delivered(message.id, Attempt(at=9.0)))
        get(store, one)
        assert versions() == after
        now(store.bind(other, BackendId(1)))
        assert store.version(other) != after[2]
        now(store.forget([one]))
        assert store.version(one) != after[1]

    def test_versions_of_another_life(self, store: IStore, reopen: Callable[[], IStore]) -> None:
        before = store.version()
        assert reopen().version() != before

    def test_seq_is_never_used_again(self, store: IStore, reopen: Callable[[], IStore]) -> None:
        jobs = now(store.add([a_request(), a_request()]))
        now(store.forget([job.request.id for job in jobs]))
        [third] = now(store.add([a_request()]))
        assert third.seq > jobs[1].seq
        now(store.forget([third.request.id]))
        [fourth] = now(reopen().add([a_request()]))
        assert fourth.seq > third.seq

    # live

    def test_live(self, store: IStore) -> None:
        everything = add(store, len(JobState))
        for job_id, state in zip(everything, JobState, strict=True):
            step(store, job_id, state, sighting=a_sighting(job_id, state))
        expected = [
            msgspec.structs.replace(get(store, job_id), history=())
            for job_id, state in zip(everything, JobState, strict=True)
            if not state.final
        ]
        assert now(store.live(0, 100)) == expected
        assert now(store.live(0, 2)) == expected[:2]
        assert now(store.live(expected[1].seq, 100)) == expected[2:]
        assert now(store.live(expected[-1].seq, 100)) == []

    # advance

    def test_history(self, store: IStore) -> None:
        [job_id] = add(store)
        walk = [JobState.RUNNING, JobState.HELD, JobState.IDLE, JobState.RUNNING, JobState.SUSPENDED, JobState.REMOVED]
        for number, state in enumerate(walk, 2):
            before = get(store, job_id)
            step(store, job_id, state, number, reason=f"why {number}")
            job = get(store, job_id)
            assert (job.state, job.previous_state) == (state, before.state)
            assert job.history == (*before.history, StateChange(state, number, f"why {number}"))
            assert job.settled == (number if state.final else None)

    def test_history_keeps_its_order_when_clocks_do_not(self, store: IStore) -> None:
        [job_id] = add(store)
        step(store, job_id, JobState.RUNNING, 0.5)
        step(store, job_id, JobState.HELD, 0.25)
        assert [change.at for change in get(store, job_id).history] == [1.25, 0.5, 0.25]

    def test_same_state_is_no_change(self, store: IStore) -> None:
        [job_id] = add(store)
        before = get(store, job_id)
        step(store, job_id, JobState.IDLE, reason="nothing new")
        assert get(store, job_id) == before
        seen = a_sighting(job_id, JobState.IDLE)
        step(store, job_id, JobState.IDLE, sighting=seen)
        assert get(store, job_id) == msgspec.structs.replace(before, sighting=seen, backend_id=seen.backend_id)

    def test_no_sighting_keeps_the_stored_one(self, store: IStore) -> None:
        [job_id] = add(store)
        seen = a_sighting(job_id, host="node")
        step(store, job_id, JobState.RUNNING, sighting=seen)
        step(store, job_id, JobState.HELD)
        assert (get(store, job_id).sighting, get(store, job_id).backend_id) == (seen, seen.backend_id)
        again = a_sighting(job_id, backend_id=BackendId(8))
        step(store, job_id, JobState.HELD, sighting=again)
        assert (get(store, job_id).sighting, get(store, job_id).backend_id) == (again, BackendId(8))

    @pytest.mark.parametrize("final", sorted(FINAL))
    def test_nothing_follows_a_final_state(self, store: IStore, final: JobState) -> None:
        [job_id] = add(store)
        message = end(store, job_id, 3.0, final)
        before = get(store, job_id)
        for state in JobState:
            step(store, job_id, state, 4.0, sighting=a_sighting(job_id, state), messages=(a_message(job_id),))
        assert get(store, job_id) == before
        assert [delivery.message for delivery in now(store.due(1e9, 9))] == [message]

    def test_nothing_follows_within_one_call_either(self, store: IStore) -> None:
        [job_id] = add(store)
        told, untold = a_message(job_id), a_message(job_id)
        steps = [
            Progress(job_id=job_id, state=JobState.RUNNING, at=2.0, sighting=a_sighting(job_id)),
            Progress(job_id=job_id, state=JobState.COMPLETED, at=3.0, messages=(told,)),
            Progress(job_id=job_id, state=JobState.REMOVED, at=4.0, messages=(untold,)),
        ]
        now(store.advance(steps))
        job = get(store, job_id)
        assert (job.state, job.previous_state, job.settled) == (JobState.COMPLETED, JobState.RUNNING, 3.0)
        assert [change.state for change in job.history] == [JobState.IDLE, JobState.RUNNING, JobState.COMPLETED]
        assert [delivery.message for delivery in now(store.due(1e9, 9))] == [told]

    def test_absent_jobs_change_nothing(self, store: IStore) -> None:
        [job_id] = add(store)
        absent = str(uuid.uuid4())
        steps = [
            Progress(job_id=absent, state=JobState.COMPLETED, at=2.0, messages=(a_message(absent),)),
            Progress(job_id=job_id, state=JobState.RUNNING, at=2.0),
        ]
        now(store.advance(steps))
        assert now(store.get(absent)) is None
        assert get(store, job_id).state is JobState.RUNNING
        assert now(store.due(1e9, 9)) == []

    def test_no_steps(self, store: IStore) -> None:
        assert now(store.advance([])) == []

    def test_many_steps(self, store: IStore) -> None:
        everything = add(store, 1000, labels={"k": "v"})
        steps = [
            Progress(
                job_id=job_id, state=JobState.COMPLETED, at=2.0, sighting=a_sighting(job_id), messages=(a_message(job_id),)
            )
            for job_id in everything
        ]
        now(store.advance(steps))
        assert page(store, 2000, states=(JobState.COMPLETED,), labels=(("k", "v"),)) == everything
        assert [delivery.message for delivery in now(store.due(1e9, 2000))] == [step.messages[0] for step in steps]
        assert now(store.live(0, 10)) == []

    def test_steps_are_one_transaction(self, store: IStore) -> None:
        one, other = add(store, 2)
        message = end(store, one)
        before = get(store, other)
        steps = [
            Progress(job_id=other, state=JobState.RUNNING, at=2.0),
            Progress(job_id=other, state=JobState.COMPLETED, at=3.0, messages=(message,)),
        ]
        with pytest.raises(Exception, match=r"(?i)unique"):
            now(store.advance(steps))
        assert get(store, other) == before

    # events

    def test_events(self, store: IStore) -> None:
        assert (now(store.latest_event()), now(store.events(0, 10))) == (0, [])
        one, other = add(store, 2, labels={"k": "v"})
        step(store, one, JobState.HELD, reason="so")
        step(store, one, JobState.HELD, reason="again")
        events = now(store.events(0, 10))
        assert [(event.job_id, event.job_status, event.reason) for event in events] == [
            (one, JobState.IDLE, None),
            (other, JobState.IDLE, None),
            (one, JobState.HELD, "so"),
        ]
        assert {(event.job_name, event.labels["k"]) for event in events} == {(get(store, one).request.name, "v")}
        numbers = [event.number for event in events]
        assert numbers == sorted(set(numbers))
        assert now(store.latest_event()) == numbers[-1]
        assert now(store.events(numbers[0], 1)) == events[1:2]

    def test_who_listens_hears_of_writes(self, store: IStore) -> None:
        heard: list[int] = []
        store.listen(lambda: heard.append(now(store.latest_event())))
        [one] = add(store, 1)
        assert heard[-1] == now(store.latest_event())
        step(store, one, JobState.RUNNING)
        assert heard[-1] == now(store.latest_event())

    # all of it

    def test_reopened(self, store: IStore, reopen: Callable[[], IStore]) -> None:
        one, other = add(store, 2, labels={"k": "v"})
        now(store.bind(one, BackendId(3)))
        step(store, one, JobState.HELD, reason="so")
        message = end(store, other)
        now(store.postpone(message.id, Attempt(at=7.0, problem="p"), 10.0))
        before = [get(store, one), get(store, other)]
        again = reopen()
        assert again.instance == store.instance
        assert [get(again, one), get(again, other)] == before
        assert page(again, labels=(("k", "v"),), states=(JobState.HELD,)) == [one]
        assert now(again.due(10.0, 9)) == [Delivery(message, 1)]
