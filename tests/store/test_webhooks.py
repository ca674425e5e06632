"""SQLWebhooks keeps the contract of IWebhooks on both databases."""

from collections.abc import Iterator

import msgspec
import pytest
from zope.interface.verify import verifyObject

from modabatchd.notifications.endpoint import Endpoint, Event, Secret
from modabatchd.notifications.interfaces import IWebhooks
from modabatchd.notifications.message import Attempt, Delivery, Message, Told
from modabatchd.queue.job import JobState
from modabatchd.store.sql import SQLStore
from modabatchd.store.webhooks import SQLWebhooks
from tests.deferreds import now
from tests.store.databases import opened
from tests.store.values import a_message, add, step

NEWEST = 2**62


@pytest.fixture
def store(url: str) -> Iterator[SQLStore]:
    store = opened(url)
    yield store
    now(store.stopService())


@pytest.fixture
def webhooks(store: SQLStore) -> SQLWebhooks:
    return SQLWebhooks(store.write, store.read)


def an_endpoint(id: str, **fields: object) -> Endpoint:
    return Endpoint(**{"id": id, "url": "http://e/", "secrets": (Secret("s", 3.5), Secret("t")), "created": 1.0, **fields})


def sent(store: SQLStore, job_id: str, endpoint: str | None = None, state: JobState = JobState.COMPLETED) -> Message:
    message = a_message(job_id, endpoint=endpoint, event=Event.HELD)
    step(store, job_id, state, messages=(message,))
    return message


def test_interface(webhooks: SQLWebhooks) -> None:
    assert verifyObject(IWebhooks, webhooks)


def test_endpoints(webhooks: SQLWebhooks) -> None:
    assert now(webhooks.endpoints()) == []
    late = an_endpoint("a", created=2.0, events=(Event.HELD,), label=("k", None), enabled=False, problem="gone")
    early = an_endpoint("b")
    for endpoint in (late, early):
        now(webhooks.write(endpoint))
    assert now(webhooks.endpoints()) == [early, late]
    changed = msgspec.structs.replace(late, enabled=True, label=("k", "v"))
    now(webhooks.write(changed))
    assert now(webhooks.endpoints()) == [early, changed]
    for _ in range(2):
        now(webhooks.delete("b"))
        assert now(webhooks.endpoints()) == [changed]


def test_a_deleted_endpoint_takes_its_messages_along(store: SQLStore, webhooks: SQLWebhooks) -> None:
    one, other = add(store, 2)
    now(webhooks.write(an_endpoint("e")))
    sent(store, one, "e")
    kept = sent(store, other)
    now(webhooks.delete("e"))
    assert now(webhooks.told(one)) == []
    assert now(store.due(1e9, 9)) == [Delivery(kept, 0)]


def test_what_was_told_of_a_job(store: SQLStore, webhooks: SQLWebhooks) -> None:
    job_id, other = add(store, 2)
    first, second = sent(store, job_id, "e", JobState.HELD), sent(store, job_id)
    sent(store, other)
    tries = [Attempt(at=4.0, status=503, problem="p"), Attempt(at=6.0, problem="q"), Attempt(at=8.0, status=200)]
    now(store.postpone(first.id, tries[0], 5.0))
    now(store.postpone(first.id, tries[1], 7.0))
    told = now(webhooks.told(job_id))
    assert [one.message for one in told] == [first, second]
    assert [(one.due, one.delivered, one.abandoned) for one in told] == [(7.0, None, None), (3.5, None, None)]
    assert [one.attempts for one in told] == [tuple(tries[:2]), ()]
    now(store.delivered(first.id, tries[2]))
    now(store.delivered(first.id, tries[2]))
    [done, _] = now(webhooks.told(job_id))
    assert (done.due, done.delivered, done.attempts) == (None, 8.0, tuple(tries))
    now(store.forget([job_id]))
    assert now(webhooks.told(job_id)) == []


def test_what_was_told_to_an_endpoint_comes_in_pages(store: SQLStore, webhooks: SQLWebhooks) -> None:
    messages = [sent(store, job_id, "e") for job_id in add(store, 5)]
    for job_id in add(store, 2):
        sent(store, job_id, "f")
    now(store.postpone(messages[3].id, Attempt(at=4.0, problem="p"), 5.0))
    assert pages(lambda before: now(webhooks.told_to("e", 2, before))) == messages[::-1]
    assert now(webhooks.told_to("g", 2, NEWEST)) == []


def test_dead_letters_and_their_resurrection(store: SQLStore, webhooks: SQLWebhooks) -> None:
    messages = [sent(store, job_id) for job_id in add(store, 4)]
    gone = Attempt(at=4.0, status=410, problem="gone")
    for message in messages[:3]:
        now(store.abandon(message.id, gone))
    assert pages(lambda before: now(webhooks.dead(2, before))) == messages[2::-1]
    assert now(webhooks.revive(messages[1].id, 9.0))
    assert not now(webhooks.revive(messages[1].id, 9.0))
    assert not now(webhooks.revive(messages[3].id, 9.0))
    assert not now(webhooks.revive("unknown", 9.0))
    assert now(store.due(9.0, 9)) == [Delivery(messages[3], 0), Delivery(messages[1], 0)]
    assert [told.message for told in now(webhooks.dead(9, NEWEST))] == [messages[2], messages[0]]
    now(store.delivered(messages[1].id, Attempt(at=10.0, status=204)))
    [told] = now(webhooks.told(messages[1].job_id))
    assert told.attempts == (gone, Attempt(at=10.0, status=204))


def pages(read: object) -> list[Message]:
    seen: list[Told] = []
    while page := read(seen[-1].seq if seen else NEWEST):
        assert len(page) <= 2
        seen += page
    return [told.message for told in seen]
