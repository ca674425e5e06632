"""Reading policies: every mistake at once, each with its line, and whatever can be used all the same."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modabatchd.errors import ConfigurationError
from modabatchd.infrastructure.node import Capacity
from modabatchd.infrastructure.policies import examine, load_policy, read_policy
from modabatchd.infrastructure.policies.drivers import drivers
from modabatchd.infrastructure.policies.lines import Lines
from modabatchd.infrastructure.policies.sense import sense
from modabatchd.infrastructure.policies.tables import LIMITS, POOL, SCALING, SCHEDULE, SIZE
from modabatchd.infrastructure.policy import Limits, Objective, Policy, Pool, Schedule, Size, Spot
from modabatchd.infrastructure.schedules import window

EXAMPLES = Path(__file__).parent.parent.parent / "conf/policies"
WHOLE = """\
[scaling]
objective = "latency"
idle = "10m"
dry_run = true
[scaling.limits]
max_nodes = 50
max_cores = 400
max_hourly_cost = "4.00 EUR"
monthly_budget = "600 EUR"
[[pool]]
name = "burst"
driver = "openstack"
sizes = [
    {name = "m1.small", cpus = 1, memory = "2G", price = 0.02},
    {name = "m1.xl", cpus = 8, memory = "16G", disk = "1G", gpus = 1, price = "0.16 EUR", spot_price = 0.05},
]
boot_timeout = "10m"
drain_timeout = "1h"
spot = "preferred"
requirements = 'TARGET.RequestGPUs =?= undefined'
[pool.labels]
group = "physics"
[[schedule]]
cron = "0 8 * * MON-FRI"
min_nodes = 2
until = "18:00"
timezone = "Europe/Rome"
"""
SMALL = """\
[scaling.limits]
max_nodes = 5
[[pool]]
name = "a"
driver = "local"
sizes = [{name = "s", cpus = 1, memory = "1G", price = 0}]
"""


def mistakes(text: str) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        read_policy(text, "FILE")
    return caught.value.cause.splitlines()


def test_a_whole_policy() -> None:
    assert read_policy(WHOLE, "FILE") == Policy(
        objective=Objective.LATENCY,
        idle=600.0,
        dry_run=True,
        currency="EUR",
        limits=Limits(max_nodes=50, max_cores=400, max_hourly_cost=4.0, monthly_budget=600.0),
        pools=(
            Pool(
                name="burst",
                driver="openstack",
                sizes=(
                    Size(id="m1.small", capacity=Capacity(cpus=1, memory=2048), price=0.02),
                    Size(
                        id="m1.xl", capacity=Capacity(cpus=8, memory=16384, disk=1 << 20, gpus=1), price=0.16, spot_price=0.05
                    ),
                ),
                boot_timeout=600.0,
                drain_timeout=3600.0,
                spot=Spot.PREFERRED,
                requirements="TARGET.RequestGPUs =?= undefined",
                labels={"group": "physics"},
            ),
        ),
        schedules=(Schedule(cron="0 8 * * MON-FRI", until="18:00", min_nodes=2, pool="burst", timezone="Europe/Rome"),),
    )


def test_what_is_not_said_has_its_default() -> None:
    policy = read_policy(SMALL, "FILE")
    assert (policy.objective, policy.idle, policy.dry_run, policy.currency) == (Objective.BALANCED, None, False, "")
    assert policy.pools[0] == Pool(name="a", driver="local", sizes=policy.pools[0].sizes)


def test_every_mistake_is_told_with_its_line_and_what_would_be_right() -> None:
    text = (
        WHOLE.replace('"latency"', '"speed"')
        .replace("max_cores", "max_core")
        .replace('"2G"', "2")
        .replace('"10m"\ndrain', '"soon"\ndrain')
    )
    text = text.replace('"0 8 * * MON-FRI"', '"0 25 * * *"').replace("min_nodes = 2\n", "")
    assert mistakes(text) == [
        'FILE:2: scaling.objective: \'speed\' does not fit (expected "cost" or "balanced" or "latency")',
        "FILE:7: scaling.limits.max_core: there is no such key (did you mean max_cores?)",
        'FILE:14: pool \'burst\'.sizes 1.memory: 2 does not fit (expected a text like "512M", "16G" or "1.5T", a whole number of MiB)',  # noqa: E501
        "FILE:17: pool 'burst'.boot_timeout: 'soon' does not fit "
        '(expected seconds, above 0, or a text like "500ms", "90s", "15m", "2h", "30d")',
        "FILE:23: schedule 1: the key min_nodes is missing (expected a whole number, 1 or more)",
        "FILE:24: schedule 1.cron: '0 25 * * *' does not fit: Bad hour (expected minute, hour, day of month, month and day of week, "  # noqa: E501
        'for instance "0 8 * * MON-FRI")',
    ]


@pytest.mark.parametrize(
    ("old", "new", "line", "told"),
    [
        ("max_nodes = 5\n", "", 1, "scaling.limits: the key max_nodes is missing (expected a whole number, 0 or more)"),
        ("[[pool]]", "[[pol]]", 3, "pol: there is no such table (did you mean pool?)"),
        ("[[pool]]", "[pool]", 3, "pool: this is not a list of tables (expected [[pool]])"),
        ('name = "a"', 'name = "a b"', 4, "pool 'a b'.name: 'a b' does not fit"),
        ('name = "a"\n', "", 3, "pool 'number 1': the key name is missing"),
        ('driver = "local"', 'driver = ""', 5, "pool 'a'.driver: '' does not fit"),
        ('driver = "local"', 'drivr = "local"', 5, "pool 'a'.drivr: there is no such key (did you mean driver?)"),
        ("sizes = [{", "sizes = []#", 6, "pool 'a'.sizes: there is no size"),
        ("cpus = 1", "cpus = 0", 6, "pool 'a'.sizes 1.cpus: 0 does not fit"),
        ("cpus = 1, ", "", 6, "pool 'a'.sizes 1: the key cpus is missing"),
        ('"1G"', '"1"', 6, "pool 'a'.sizes 1.memory: '1' does not fit"),
        ('"1G"', '"1.5K"', 6, "pool 'a'.sizes 1.memory: '1.5K' does not fit"),
        ("price = 0", "price = -1", 6, "pool 'a'.sizes 1.price: -1 does not fit"),
        ("price = 0", 'price = "1 euro"', 6, "pool 'a'.sizes 1.price: '1 euro' does not fit"),
        ("price = 0", "price = true", 6, "pool 'a'.sizes 1.price: true does not fit"),
        ("sizes =", 'zones = []\nsizes =', 6, "pool 'a'.zones: [] does not fit"),
        ("sizes =", 'min_nodes = 3\nmax_nodes = 2\nsizes =', 6, "pool 'a'.min_nodes: 3 is more than max_nodes, which is 2"),
        ("sizes =", 'spot = "only"\nsizes =', 6, "pool 'a'.spot: no size has a spot_price, so none is to be had on the spot market"),  # noqa: E501
        ("sizes =", 'requirements = "a\\nb"\nsizes =', 6, "pool 'a'.requirements: 'a\\nb' does not fit"),
        ("sizes =", "labels = {a = 1}\nsizes =", 6, "pool 'a'.labels: 1 does not fit"),
        ("sizes =", 'credentials = "here"\nsizes =', 6, "pool 'a'.credentials: 'here' does not fit"),
        ("max_nodes = 5", "max_nodes = 5\nmax_hourly_cost = \"1 EUR\"\nmonthly_budget = \"1 USD\"", 4, "scaling.limits.monthly_budget: this is in USD"),  # noqa: E501
        ("[scaling.limits]", "[scaling]\nlimits = 3\n[scalin.limits]", 2, "scaling.limits: this is a value, not a table"),
        ("[[pool]]", "[[pool", 3, "this is not TOML"),
        ("[[pool]]", '[scaling]\nidle = "forever"\n[[pool]]', 4, "scaling.idle: 'forever' does not fit (expected \"learned\", or seconds"),  # noqa: E501
    ],
)  # fmt: skip
def test_mistakes(old: str, new: str, line: int, told: str) -> None:
    found = mistakes(SMALL.replace(old, new, 1))
    assert any(text.startswith(f"FILE:{line}: {told}") for text in found), found


SCHEDULE_TEXT = '[[schedule]]\ncron = "0 8 * * *"\nuntil = "18:00"\nmin_nodes = 1\n'


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('"18:00"', '"6 pm"', "schedule 1.until: '6 pm' does not fit"),
        ('"18:00"', '"25:00"', "schedule 1.until: '25:00' does not fit"),
        ('"0 8 * * *"', '"0 8 * *"', "schedule 1.cron: '0 8 * *' does not fit"),
        ("min_nodes = 1", 'min_nodes = 1\npool = "b"', "schedule 1.pool: there is no pool 'b'"),
        ("min_nodes = 1", 'min_nodes = 1\ntimezone = "Rome"', "schedule 1.timezone: 'Rome' does not fit"),
        (
            "min_nodes = 1",
            'min_nodes = 1\ntimezone = "../../etc/passwd"',
            "schedule 1.timezone: '../../etc/passwd' does not fit",
        ),
    ],
)
def test_mistakes_in_schedules(old: str, new: str, told: str) -> None:
    (found,) = mistakes(SMALL + SCHEDULE_TEXT.replace(old, new))
    assert told in found


def test_a_schedule_must_say_its_pool_where_there_are_several() -> None:
    second = SMALL[SMALL.index("[[pool]]") :].replace('"a"', '"b"')
    (found,) = mistakes(SMALL + second + SCHEDULE_TEXT)
    assert found.endswith("the key pool is missing, and there are several pools")


def test_names_are_there_once() -> None:
    assert mistakes(SMALL + SMALL[SMALL.index("[[pool]]") :]) == ["FILE:8: pool 'a'.name: there are two pools 'a'"]
    twice = SMALL.replace("sizes = [", 'sizes = [{name = "s", cpus = 2, memory = "2G", price = 1},\n')
    assert mistakes(twice) == ["FILE:7: pool 'a'.sizes 2: there are two sizes 's'"]


def test_a_broken_pool_leaves_the_others_usable() -> None:
    broken = SMALL[SMALL.index("[[pool]]") :].replace('"a"', '"b"').replace("cpus = 1", "cpus = 0")
    reading = examine(SMALL + broken)
    assert reading.policy is not None
    assert [pool.name for pool in reading.policy.pools] == ["a"]
    assert [(mistake.pool, mistake.line) for mistake in reading.mistakes] == [("b", 10)]


def test_broken_limits_leave_nothing_usable() -> None:
    assert examine(SMALL.replace("max_nodes", "max_node")).policy is None


def test_lines_of_sizes_in_tables_of_their_own() -> None:
    text = SMALL.replace('sizes = [{name = "s", cpus = 1, memory = "1G", price = 0}]\n', "")
    text += '[[pool.sizes]]\nname = "s"\ncpus = 1\nmemory = "1G"\nprice = 0\n[[pool.sizes]]\nname = "t"\ncpus = 0\nmemory = "1G"\nprice = 0\n'  # noqa: E501
    assert mistakes(text) == ["FILE:13: pool 'a'.sizes 2.cpus: 0 does not fit (expected a whole number, 1 or more)"]


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read: No such file"):
        load_policy(tmp_path / "none.toml")
    (tmp_path / "latin.toml").write_bytes(b"# a\n# \xe9\n")
    with pytest.raises(ConfigurationError, match=":2: this is not UTF-8"):
        load_policy(tmp_path / "latin.toml")


@settings(max_examples=100, deadline=None)
@given(st.integers(0, len(WHOLE)), st.integers(0, 12), st.text(max_size=6))
def test_whatever_stands_there_is_a_policy_or_told_to_be_none(start: int, length: int, text: str) -> None:
    reading = examine(WHOLE[:start] + text + WHOLE[start + length :])
    assert reading.policy is not None or reading.mistakes
    assert all(1 <= mistake.line <= WHOLE.count("\n") + text.count("\n") + 2 for mistake in reading.mistakes)


# Examples


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.toml")), ids=lambda path: path.stem)
def test_the_examples_are_without_a_mistake_or_a_warning(path: Path) -> None:
    assert warned(path.read_text()) == []


def test_the_complete_example_has_every_key_and_each_works() -> None:
    text = (EXAMPLES / "complete.toml").read_text()
    uncommented = "\n".join(
        line[1:] if line.startswith("#") and not line.startswith("# ") and line != "#" else line for line in text.splitlines()
    )
    policy = read_policy(uncommented, "complete.toml")
    assert policy.schedules
    lines = uncommented.splitlines()
    for table in (SCALING, LIMITS, POOL, SCHEDULE):
        for key in table.keys:
            assert any(line.startswith(f"{key} = ") for line in lines), key
    for key in SIZE.keys:
        assert f"{key} = " in uncommented or f"{key} " in text, key


def test_the_defaults_that_it_tells_are_the_defaults() -> None:
    path = EXAMPLES / "complete.toml"
    example, told = False, []
    for line in path.read_text().split("# A time at which")[0].splitlines():
        if line.startswith("# "):
            example = "xample" in line
        told.append(line[1:] if line.startswith("#") and not line.startswith("# ") and not example else line)
    assert sum(line.split(" ")[0] in POOL.keys for line in told) >= 10
    assert read_policy("\n".join(told), "FILE") == load_policy(path)


# Warnings


def warned(text: str) -> list[str]:
    reading = examine(text)
    assert reading.policy is not None
    return [reading.at(remark).text("FILE") for remark in (*sense(reading.policy), *drivers(reading.policy))]


#: SMALL's limits are in line 2, its pool begins in line 3, its sizes are in line 6.
@pytest.mark.parametrize(
    ("old", "new", "warning"),
    [
        ("max_nodes = 5", "max_nodes = 0", "FILE:2: scaling.limits.max_nodes: the limit is 0 nodes, so nothing is ever started"),  # noqa: E501
        ("max_nodes = 5", "max_nodes = 5\nmax_cores = 0", "FILE:7: pool 'a'.sizes: the limits forbid even one node of any size, so no job can ever run there"),  # noqa: E501
        ("max_nodes = 5", "max_nodes = 5\nmax_cores = 6", "FILE:3: scaling.limits.max_cores: is never reached: all nodes together have 5 cores at most"),  # noqa: E501
        ("price = 0", "price = 1", None),
        ("sizes =", "max_nodes = 6\nsizes =", "FILE:6: pool 'a'.max_nodes: is never reached: the limit of all pools is 5 nodes"),  # noqa: E501
        ("sizes =", "max_nodes = 4\nsizes =", "FILE:2: scaling.limits.max_nodes: is never reached: the pools may have 4 nodes together"),  # noqa: E501
        ("sizes =", "min_nodes = 9\nsizes =", "FILE:2: scaling.limits.max_nodes: the pools' min_nodes add up to 9, and the limit is 5 nodes"),  # noqa: E501
        ("price = 0", "price = 1, spot_price = 2", "FILE:6: pool 'a'.sizes 1: the spot_price of size s is not used"),
        ("max_nodes = 5", "max_nodes = 5\nmonthly_budget = 9", "FILE:7: pool 'a'.sizes 1: the price of size s is 0, so it counts for no limit of money"),  # noqa: E501
        ('"local"', '"dummy"', "FILE:5: pool 'a'.driver: the driver dummy cannot be used. libcloud's driver cannot pass user-data to a machine, so it could not be told which pool to join."),  # noqa: E501
        ('"local"', '"gce"', "FILE:3: pool 'a': driver gce: The option image is missing."),
        ('"local"', '"gce"', "FILE:3: pool 'a': driver gce: Zones must be named."),
        ('"local"', '"local"\noptions = {key = "x"}', "FILE:3: pool 'a': driver local: There is no option key."),
    ],
)  # fmt: skip
def test_what_can_hardly_be_meant_is_told_with_its_line(old: str, new: str, warning: str | None) -> None:
    told = warned(SMALL.replace(old, new, 1))
    assert (warning in told) if warning else told == []


@pytest.mark.parametrize(
    ("limits", "pools", "warning"),
    [
        ("monthly_budget = 0.5", "", "is less than one hour of the cheapest node costs, which is 1"),
        ("monthly_budget = 4000", "", "is never reached: a whole month of all nodes costs 3720.00 at most"),
        (
            "monthly_budget = 3000",
            "min_nodes = 5",
            "does not last for the pools' min_nodes, which cost 3720.00 a month at least",
        ),
        (
            "monthly_budget = 3000\nmax_hourly_cost = 2",
            "",
            "is never reached: a whole month of all nodes costs 1488.00 at most",
        ),
        ("max_hourly_cost = 6", "", "is never reached: all nodes together cost 5.00 an hour at most"),
        ("monthly_budget = 1000\nmax_hourly_cost = 4", "", None),
    ],
)
def test_money_that_is_too_little_or_never_spent(limits: str, pools: str, warning: str | None) -> None:
    text = SMALL.replace("price = 0", "price = 1").replace("max_nodes = 5", f"max_nodes = 5\n{limits}")
    told = warned(text.replace("sizes =", f"{pools}\nsizes ="))
    assert (any(line.endswith(warning) for line in told)) if warning else told == []


def test_spot_pools_without_prices() -> None:
    both = SMALL.replace(
        "sizes = [", 'spot = "SPOT"\nsizes = [{name = "t", cpus = 1, memory = "1G", price = 1, spot_price = 0.5}, '
    )
    for spot, told in (("only", "so it is never started"), ("preferred", "so it is never a spot node")):
        text = both.replace("SPOT", spot).replace('"local"', '"ec2"\nimage = "i"')
        assert f"FILE:8: pool 'a'.sizes 2: size s has no spot_price, {told}" in warned(text)


def test_warnings_of_the_pools_that_can_be_used_have_the_right_lines() -> None:
    text = SMALL + '[[pool]]\nname = "b"\ndriver = "dummy"\nsizes = [{name = "s", cpus = 1, memory = "1G", price = 1}]\n'
    reading = examine(text.replace('name = "a"', 'name = "!"'))
    assert [mistake.line for mistake in reading.mistakes] == [4]
    assert reading.policy is not None
    [remark] = drivers(reading.policy)
    line = text.splitlines().index('driver = "dummy"') + 1
    assert reading.at(remark).text("FILE").startswith(f"FILE:{line}: pool 'b'.driver: the driver dummy")


# Schedules


def moment(day: int, hour: int, minute: int = 0) -> float:
    return datetime(2026, 7, day, hour, minute, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("now", "holds", "changes"),
    [
        (moment(6, 5, 59), False, moment(6, 6)),
        (moment(6, 6), True, moment(6, 16)),
        (moment(6, 15, 59), True, moment(6, 16)),
        (moment(6, 16), False, moment(7, 6)),
        (moment(10, 17), False, moment(13, 6)),
    ],
)
def test_a_schedule_holds_in_its_timezone(now: float, holds: bool, changes: float) -> None:
    schedule = Schedule(cron="0 8 * * MON-FRI", until="18:00", min_nodes=1, pool="a", timezone="Europe/Rome")
    found = window(schedule, now + 12.5)
    assert (found.holds, found.changes) == (holds, changes)


def test_a_schedule_can_hold_over_midnight() -> None:
    schedule = Schedule(cron="0 22 * * *", until="06:00", min_nodes=1, pool="a")
    assert [window(schedule, moment(6, hour)).holds for hour in (21, 22, 23)] == [False, True, True]
    assert [window(schedule, moment(7, hour)).holds for hour in (0, 5, 6)] == [True, True, False]


def test_lines_of_what_is_not_there_are_those_around_it() -> None:
    lines = Lines(SMALL)
    assert lines.line(("pool", 0, "sizes", 0, "cpus")) == 6
    assert lines.line(("pool", 0, "nothing")) == 3
    assert lines.line(("nothing",)) == 1
