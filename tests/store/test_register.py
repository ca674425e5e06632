"""The register of nodes on both databases."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine
from zope.interface.verify import verifyObject

from modabatchd.infrastructure import money
from modabatchd.infrastructure.node import Capacity, Node, NodeState, Offering
from modabatchd.infrastructure.policy import Limits
from modabatchd.infrastructure.register import Change, Entry, IRegister, Overrides, Spent
from modabatchd.notifications.message import Attempt, Delivery, Message
from modabatchd.store.connecting import read_url
from modabatchd.store.preparing import prepare
from modabatchd.store.register import SQLRegister, in_store
from modabatchd.store.schema import METADATA, VERSION_TABLE
from modabatchd.store.sql import SQLStore
from tests.deferreds import now
from tests.store.databases import opened

replace = msgspec.structs.replace
MONTH = "2023-11"


@pytest.fixture
def store(url: str) -> Iterator[SQLStore]:
    store = opened(url)
    yield store
    now(store.stopService())


@pytest.fixture
def register(store: SQLStore) -> SQLRegister:
    return in_store(store)


def an_entry(name: str, **fields: Any) -> Entry:
    node = Node(
        id=f"id-of-{name}",
        name=name,
        offering=Offering(pool="burst", size="small"),
        capacity=Capacity(cpus=2, memory=1024),
        price=0.25,
        state=NodeState.REQUESTED,
        requested=1_700_000_000.125,
    )
    return Entry(node=replace(node, **fields))


def write(register: SQLRegister, **fields: Any) -> None:
    now(register.write(Change(**fields)))


def test_interface(register: SQLRegister) -> None:
    assert verifyObject(IRegister, register)


def test_migrated_is_what_the_tables_say(url: str) -> None:
    prepare(url)
    engine = create_engine(read_url(url))
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        differences = compare_metadata(context, METADATA)
    engine.dispose()
    assert differences == []


def test_a_fresh_one_is_empty(register: SQLRegister) -> None:
    kept = now(register.load(MONTH))
    assert (kept.entries, kept.memory, kept.overrides, kept.spent) == ((), None, Overrides(), {})
    assert now(register.one("nobody")) is None
    assert list(now(register.decisions(10, 1 << 60))) == []


def test_all_of_a_change_is_there_after_a_restart(register: SQLRegister, url: str) -> None:
    one, other = an_entry("one"), an_entry("other")
    overrides = Overrides(paused=True, limits=Limits(max_nodes=3, max_hourly_cost=1.5))
    write(
        register,
        entries=(one, other),
        memory=b'{"at":1}',
        overrides=overrides,
        decision=(5.0, b'{"steps":[]}'),
        spent=(Spent(MONTH, "burst", 1.5),),
    )
    changed = replace(one, retiring=True, console="é\n", missing=3.5, node=replace(one.node, state=NodeState.UP, joined=7.0))
    write(register, entries=(changed,), spent=(Spent(MONTH, "burst", 0.25), Spent("2023-10", "burst", 9.0)))
    again = opened(url)
    kept = now(in_store(again).load(MONTH))
    now(again.stopService())
    assert {entry.node.name: entry for entry in kept.entries} == {"one": changed, "other": other}
    assert (kept.memory, kept.overrides, kept.spent) == (b'{"at":1}', overrides, {"burst": 1.75})


def test_what_the_owner_is_told_is_written_with_the_decision(register: SQLRegister, store: SQLStore) -> None:
    message = Message(id="m", job_id=None, url="http://owner/", body=b"{}", created=1.0, event="pool-closed")
    write(register, told="2023-11 5.0", messages=(message,))
    assert now(register.load(MONTH)).told == "2023-11 5.0"
    assert now(store.due(9.0, 9)) == [Delivery(message, 0)]
    now(store.delivered("m", Attempt(at=2.0)))
    assert now(store.due(9.0, 9)) == []


def test_those_that_are_gone_are_kept_apart_and_forgotten(register: SQLRegister) -> None:
    gone = [an_entry(f"n{at:g}", state=NodeState.GONE, stopped=at) for at in (10.0, 30.0, 20.0)]
    write(register, entries=(*gone, an_entry("alive")))
    assert [entry.node.name for entry in now(register.load(MONTH)).entries] == ["alive"]
    assert [entry.node.name for entry in now(register.gone(2))] == ["n30", "n20"]
    assert now(register.one("n10")) == gone[0]
    assert now(register.one("id-of-n10")) == gone[0]
    write(register, forget=25.0)
    assert [entry.node.name for entry in now(register.gone(9))] == ["n30"]
    assert now(register.one("alive")) is not None


def test_a_node_can_come_back(register: SQLRegister) -> None:
    write(register, entries=(an_entry("one", state=NodeState.GONE, stopped=1.0),))
    write(register, entries=(an_entry("one"),))
    assert [entry.node.name for entry in now(register.load(MONTH)).entries] == ["one"]


def test_the_journal_is_bounded_and_has_pages(store: SQLStore) -> None:
    register = SQLRegister(store.write, store.read, journal=5)
    for number in range(8):
        write(register, decision=(float(number), str(number).encode()))
    first = now(register.decisions(3, 1 << 60))
    assert [line.body for line in first] == [b"7", b"6", b"5"]
    assert [line.at for line in now(register.decisions(9, first[-1].seq))] == [4.0, 3.0]


def test_a_change_is_whole_or_not_there(register: SQLRegister) -> None:
    with pytest.raises(Exception, match=r"NOT NULL|not-null"):
        write(register, entries=(an_entry("one"),), spent=(Spent(MONTH, "burst", None),))  # type: ignore[arg-type]
    assert now(register.load(MONTH)).entries == ()


def test_cost_by_month() -> None:
    requested = 1_700_000_000.0  # in November 2023
    entry = an_entry("one", requested=requested)
    december = 1_701_388_800.0
    spent = list(money.due(entry, december + 7200))
    assert [(each.month, round(each.amount, 6)) for each in spent] == [
        ("2023-11", round((december - requested) / 3600 * 0.25, 6)),
        ("2023-12", 0.5),
    ]
    assert money.begin(december + 5) == december
    assert list(money.due(replace(entry, booked=december + 3600), december + 7200)) == [Spent("2023-12", "burst", 0.25)]
    assert money.unbooked([entry], december + 3600) == pytest.approx(0.25)
    assert [each.amount for each in money.due(entry, requested + 10, quantum=3600.0)] == [0.25]
    assert list(money.due(entry, requested - 10)) == []
