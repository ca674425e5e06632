"""SQLKeys keeps the contract of IKeys on both databases, and the store adds jobs with their keys."""

import uuid
from collections.abc import Iterator

import msgspec
import pytest
from zope.interface.verify import verifyObject

from modabatchd.idempotency import Answered, IKeys, Key
from modabatchd.store.keys import SQLKeys
from modabatchd.store.sql import SQLStore
from tests.deferreds import now
from tests.store.databases import opened
from tests.store.values import a_request, page

ANSWER = Answered(status=201, location="/jobs/x", body=b'{"a": "\xff"}\n')


@pytest.fixture
def store(url: str) -> Iterator[SQLStore]:
    store = opened(url)
    yield store
    now(store.stopService())


@pytest.fixture
def keys(store: SQLStore) -> SQLKeys:
    return SQLKeys(store.write, store.read)


def a_key(name: str = "k", **fields: object) -> Key:
    return Key(**{"scope": "POST /jobs", "name": name, "digest": bytes(range(32)), "at": 1.5, **fields})


def test_interface(keys: SQLKeys) -> None:
    assert verifyObject(IKeys, keys)


def test_a_key_counts_within_its_scope(keys: SQLKeys) -> None:
    one, other = a_key(), a_key(scope="POST /other", digest=bytes(32))
    assert now(keys.find(one.scope, one.name)) is None
    for key in (one, other):
        now(keys.begin(key))
    assert now(keys.find(one.scope, one.name)) == (one, None)
    assert now(keys.find(other.scope, other.name)) == (other, None)
    assert now(keys.find(one.scope, "K")) is None


def test_a_key_is_begun_once(keys: SQLKeys) -> None:
    now(keys.begin(a_key()))
    with pytest.raises(Exception, match=r"(?i)unique"):
        now(keys.begin(a_key(digest=bytes(32))))
    now(keys.drop(a_key()))
    now(keys.drop(a_key()))
    assert now(keys.find("POST /jobs", "k")) is None


@pytest.mark.parametrize("begun", [True, False])
def test_an_answer_is_kept_with_its_key(keys: SQLKeys, begun: bool) -> None:
    if begun:
        now(keys.begin(a_key()))
    now(keys.answer(a_key(), ANSWER))
    assert now(keys.find("POST /jobs", "k")) == (a_key(), ANSWER)
    bare = Answered(status=200, location=None, body=b"")
    now(keys.answer(a_key(), bare))
    assert now(keys.find("POST /jobs", "k")) == (a_key(), bare)


def test_a_job_and_its_key_are_one_transaction(store: SQLStore, keys: SQLKeys) -> None:
    requests = [a_request(), a_request()]
    key = a_key(job_id=requests[1].id)
    now(store.add(requests, [key]))
    assert now(keys.find(key.scope, key.name)) == (key, None)
    lost = a_request()
    with pytest.raises(Exception, match=r"(?i)unique"):
        now(store.add([lost], [msgspec.structs.replace(key, job_id=lost.id)]))
    taken = a_key("other", job_id=requests[0].id)
    with pytest.raises(Exception, match=r"(?i)unique"):
        now(store.add([requests[0]], [taken]))
    assert page(store) == [request.id for request in requests]
    assert now(keys.find(taken.scope, taken.name)) is None
    # A key outlives its job.
    now(store.forget([requests[1].id]))
    assert now(keys.find(key.scope, key.name)) == (key, None)


def test_keys_expire_the_oldest_first(keys: SQLKeys) -> None:
    for number in range(5):
        now(keys.begin(a_key(str(number), at=float(number), scope=str(uuid.uuid4()) if number == 3 else "POST /jobs")))
    assert now(keys.expire(0.0, 9)) == 0
    assert now(keys.expire(9.0, 2)) == 2
    assert [now(keys.find("POST /jobs", str(number))) is None for number in (0, 1, 2, 4)] == [True, True, False, False]
    assert now(keys.expire(4.0, 9)) == 2
    assert now(keys.find("POST /jobs", "4")) is not None
