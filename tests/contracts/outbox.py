"""The part of the contract of IStore that is about messages, and about what is deleted."""

from modabatchd.notifications.message import Attempt, Delivery
from modabatchd.queue.job import JobState, StateChange
from modabatchd.store.interfaces import IStore
from tests.deferreds import now
from tests.store.values import a_message, a_request, add, end, get, page, step


class OutboxContract:
    """Part of L{tests.contracts.store.StoreContract}."""

    # the outbox

    def test_due(self, store: IStore) -> None:
        everything = add(store, 3)
        messages = [end(store, job_id, at) for job_id, at in zip(everything, (30.0, 10.0, 20.0), strict=True)]
        assert now(store.due(9.75, 9)) == []
        assert now(store.due(10.0, 9)) == [Delivery(messages[1], 0)]
        assert now(store.due(99.0, 9)) == [Delivery(messages[number], 0) for number in (1, 2, 0)]
        assert now(store.due(99.0, 2)) == [Delivery(messages[number], 0) for number in (1, 2)]

    def test_due_at_one_time(self, store: IStore) -> None:
        messages = [end(store, job_id) for job_id in add(store, 5)]
        assert [delivery.message for delivery in now(store.due(99.0, 9))] == messages

    def test_message_before_the_end(self, store: IStore) -> None:
        [job_id] = add(store)
        message = a_message(job_id)
        step(store, job_id, JobState.IDLE, messages=(a_message(job_id),))
        assert now(store.due(99.0, 9)) == []
        other = a_message(job_id)
        step(store, job_id, JobState.RUNNING, messages=(message, other))
        assert now(store.due(99.0, 9)) == [Delivery(message, 0), Delivery(other, 0)]

    def test_delivered(self, store: IStore) -> None:
        one, other = (end(store, job_id) for job_id in add(store, 2))
        for _ in range(2):
            now(store.delivered(one.id, Attempt(at=5.0)))
            assert now(store.due(1e9, 9)) == [Delivery(other, 0)]

    def test_postponed(self, store: IStore) -> None:
        one, other = (end(store, job_id, at) for job_id, at in zip(add(store, 2), (1.0, 2.0), strict=True))
        now(store.postpone(one.id, Attempt(at=7.0, problem="503 Service Unavailable"), 50.0))
        assert now(store.due(49.0, 9)) == [Delivery(other, 0)]
        assert now(store.due(50.0, 9)) == [Delivery(other, 0), Delivery(one, 1)]
        now(store.postpone(one.id, Attempt(at=7.0, problem="connection refused"), 60.0))
        assert now(store.due(60.0, 9)) == [Delivery(other, 0), Delivery(one, 2)]

    def test_dead_letters(self, store: IStore) -> None:
        [job_id] = add(store)
        message = end(store, job_id)
        now(store.postpone(message.id, Attempt(at=7.0, problem="try again"), 10.0))
        now(store.abandon(message.id, Attempt(at=11.0, problem="410 Gone")))
        assert now(store.due(1e9, 9)) == []
        # What is over stays over.
        now(store.postpone(message.id, Attempt(at=7.0, problem="late"), 12.0))
        now(store.delivered(message.id, Attempt(at=12.0)))
        assert now(store.due(1e9, 9)) == []

    def test_unknown_messages(self, store: IStore) -> None:
        now(store.delivered("x", Attempt(at=1.0)))
        now(store.postpone("x", Attempt(at=7.0, problem="p"), 1.0))
        now(store.abandon("x", Attempt(at=1.0, problem="p")))
        assert now(store.due(1e9, 9)) == []

    # expired, forget

    def test_expired(self, store: IStore) -> None:
        late, early, waiting, alive, dead = add(store, 5)
        now(store.delivered(end(store, late, 20.0).id, Attempt(at=21.0)))
        step(store, early, JobState.REMOVED, 10.0)
        told = end(store, waiting, 12.0)
        now(store.postpone(told.id, Attempt(at=7.0, problem="away"), 1e8))
        step(store, alive, JobState.RUNNING, 5.0)
        now(store.abandon(end(store, dead, 15.0).id, Attempt(at=16.0, problem="gone")))
        assert now(store.expired(10.0, 9)) == []
        assert now(store.expired(10.5, 9)) == [early]
        assert now(store.expired(1e9, 9)) == [early, dead, late]
        assert now(store.expired(1e9, 2)) == [early, dead]
        now(store.delivered(told.id, Attempt(at=17.0)))
        assert now(store.expired(1e9, 9)) == [early, waiting, dead, late]

    def test_one_of_two_messages_waits(self, store: IStore) -> None:
        [job_id] = add(store)
        first = a_message(job_id)
        step(store, job_id, JobState.RUNNING, messages=(first,))
        last = end(store, job_id)
        now(store.delivered(last.id, Attempt(at=4.0)))
        assert now(store.expired(1e9, 9)) == []
        now(store.abandon(first.id, Attempt(at=4.0, problem="gone")))
        assert now(store.expired(1e9, 9)) == [job_id]

    def test_forgotten(self, store: IStore) -> None:
        gone, kept = add(store, 2, name="n", labels={"k": "v"})
        end(store, gone)
        message = end(store, kept)
        before = get(store, kept)
        for _ in range(2):
            now(store.forget([gone]))
            assert now(store.get(gone)) is None
            assert page(store) == page(store, name="n") == page(store, labels=(("k", "v"),)) == [kept]
            assert now(store.due(1e9, 9)) == [Delivery(message, 0)]
        assert get(store, kept) == before

    def test_forgotten_id_is_free(self, store: IStore) -> None:
        request = a_request(labels={"k": "v"})
        now(store.add([request]))
        end(store, request.id)
        now(store.forget([request.id]))
        [job] = now(store.add([request]))
        assert get(store, request.id) == job
        assert job.history == (StateChange(JobState.IDLE, request.submitted),)

    def test_many_forgotten(self, store: IStore) -> None:
        everything = add(store, 1200)
        now(store.forget(set(everything[:-1])))
        assert page(store) == everything[-1:]
        now(store.forget([]))
        assert page(store) == everything[-1:]
