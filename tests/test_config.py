"""The configuration: one reading of file, environment and option, every mistake at once."""

import re
import tomllib
from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from twisted.internet.endpoints import serverFromString
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactorClock

from modabatchd.config import Settings, listener, load, refuse_open_listener
from modabatchd.config.document import parse
from modabatchd.config.loading import keys
from modabatchd.errors import ConfigurationError

DOCUMENTED = Path(__file__).parent.parent / "conf/modabatchd.toml"
HOME = {"HOME": "/home/ada"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "modabatchd.toml"


def mistakes(path: Path | None, environ: Mapping[str, str] = HOME, listen: str | None = None) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        load(path, {**HOME, **environ}, listen)
    return [line.replace(f"{path}:", "FILE:") for line in caught.value.cause.splitlines()]


def value(settings: msgspec.Struct, key: tuple[str, ...]) -> object:
    result: object = settings
    for name in key:
        result = getattr(result, name)
    return result


# Defaults and places


def test_without_a_file_the_defaults_hold_with_the_places_filled_in() -> None:
    settings = load(None, HOME)
    assert settings.daemon.directory == Path("/home/ada/.local/state/modabatchd")
    assert settings.spool.directory == Path("/home/ada/.local/state/modabatchd/spool")
    assert settings.store.url == "sqlite:////home/ada/.local/state/modabatchd/modabatchd.sqlite"
    assert settings.queue == Settings().queue
    assert settings.notifications.allowed_private == (ip_network("127.0.0.0/8"), ip_network("::1/128"))


@pytest.mark.parametrize(
    ("environ", "directory"),
    [
        ({"STATE_DIRECTORY": "/var/lib/modabatchd", "XDG_STATE_HOME": "/x"}, "/var/lib/modabatchd"),
        ({"STATE_DIRECTORY": "/var/lib/a:/var/lib/b"}, "/var/lib/a"),
        ({"XDG_STATE_HOME": "/x"}, "/x/modabatchd"),
        ({"XDG_STATE_HOME": "relative"}, "/home/ada/.local/state/modabatchd"),
    ],
)
def test_the_state_directory(environ: Mapping[str, str], directory: str) -> None:
    assert load(None, {**HOME, **environ}).daemon.directory == Path(directory)


def test_places_that_are_given_stay(file: Path) -> None:
    file.write_text('[daemon]\ndirectory = "/srv/m"\n[store]\nurl = "postgresql://u:p@h/d"\n[spool]\ndirectory = "/big"\n')
    settings = load(file, HOME)
    assert (settings.daemon.directory, settings.spool.directory) == (Path("/srv/m"), Path("/big"))
    assert settings.store.url == "postgresql://u:p@h/d"


def test_an_odd_directory_survives_in_the_database_url() -> None:
    from sqlalchemy import make_url

    url = load(None, {"MODABATCH_DAEMON__DIRECTORY": "/srv/a b?c#d%20é"}).store.url
    assert make_url(url).database == "/srv/a b?c#d%20é/modabatchd.sqlite"


# The documented file


def uncommented() -> str:
    return re.sub(r"^#(?=[a-z_]+ = )", "", DOCUMENTED.read_text(), flags=re.MULTILINE)


def test_the_documented_file_changes_nothing() -> None:
    assert load(DOCUMENTED, HOME) == load(None, HOME)


def test_the_documented_file_holds_every_key_with_its_default_and_nothing_else() -> None:
    document = parse(uncommented())
    written = {}

    def collect(table: Mapping[str, object], path: tuple[str, ...]) -> None:
        for name, entry in table.items():
            if isinstance(entry, dict):
                collect(entry, (*path, name))
            else:
                written[(*path, name)] = entry

    collect(document.tables, ())
    assert set(written) == set(keys())
    for key, kind in keys().items():
        assert kind.read(written[key]) == value(Settings(), key), key


def test_every_key_of_the_documented_file_is_explained_right_above() -> None:
    lines = DOCUMENTED.read_text().splitlines()
    entries = [number for number, line in enumerate(lines) if re.match(r"#[a-z_]+ = ", line)]
    assert len(entries) == len(keys())
    assert all(lines[number - 1].startswith("# ") for number in entries)


def test_what_the_documented_file_says_of_endpoints_is_true() -> None:
    for endpoint in ("unix:/run/modabatchd/http", "tcp:5000:interface=127.0.0.1", r"tcp6:5000:interface=\:\:1"):
        assert endpoint in DOCUMENTED.read_text()
        refuse_open_listener(endpoint)


# Values


def test_values_are_read_in_every_form(file: Path) -> None:
    file.write_text(
        """
        queue.poll_interval = "500ms"
        spool = { quota = "1.5G", retention = 3600 }
        [http]
        listen = 8080
        allowed_hosts = ["Batch.Example.org", "[fd00::1]"]
        [queue.embedded]
        slots = 4.0
        on_shutdown = "remove"
        [notifications]
        allowed_private = ["10.0.0.0/8"]
        """
    )
    settings = load(file, HOME)
    assert settings.queue.poll_interval == 0.5
    assert (settings.spool.quota, settings.spool.retention) == (3 * 2**29, 3600.0)
    assert settings.http.listen == "tcp:8080:interface=127.0.0.1"
    assert settings.http.allowed_hosts == ("batch.example.org", "[fd00::1]")
    assert repr(settings.queue.embedded.slots) == "4"
    assert settings.notifications.allowed_private == (ip_network("10.0.0.0/8"),)


BAD = [
    ("http.max_request_size = -1", "-1 does not fit (expected bytes, 0 or more"),
    ('http.max_request_size = "2X"', "'2X' does not fit (expected bytes"),
    ("http.access_log = 1", "1 does not fit (expected true or false)"),
    ("http.allowed_hosts = 'x'", "'x' does not fit (expected a list of host names"),
    ("http.allowed_hosts = ['a:80']", "'a:80' does not fit"),
    ("http.listen = 70000", "'70000' is not a port"),
    ("http.listen = true", "true does not fit"),
    ("http.header_timeout = 0", "0 does not fit (expected seconds, above 0"),
    ("http.header_timeout = nan", "nan does not fit"),
    ("http.header_timeout = inf", "inf does not fit"),
    ("queue.poll_interval = 'soon'", "'soon' does not fit (expected seconds, above 0, or a text like"),
    ("queue.poll_interval = 2024-01-01", "2024-01-01 does not fit"),
    ("queue.backend = 'slurm'", '\'slurm\' does not fit (expected "embedded" or "htcondor")'),
    ("queue.backend = []", "[] does not fit"),
    ("queue.embedded.slots = 1.5", "1.5 does not fit (expected a whole number, 0 or more)"),
    ("queue.embedded.slots = true", "true does not fit"),
    ("queue.htcondor.schedd = 5", "5 does not fit (expected a text in quotes"),
    ('queue.htcondor.schedd = "a\\u0000b"', "does not fit"),
    ("daemon.directory = 'state'", "'state' does not fit (expected an absolute path"),
    ("notifications.allowed_private = ['10.0.0.1/8']", "10.0.0.1/8 has host bits set"),
    ("store.url = 'mysql://root:hush@h/d'", "this is not the URL of a database that can be used"),
    ("queue = 5", "this is a table, not a value (expected [queue]"),
]


@pytest.mark.parametrize(("text", "problem"), BAD)
def test_a_bad_value_is_named_with_its_place_and_what_would_be_right(file: Path, text: str, problem: str) -> None:
    file.write_text(f"\n{text}\n")
    [mistake] = mistakes(file)
    assert mistake.startswith(f"FILE:2: {text.partition(' =')[0]}: ")
    assert problem in mistake


def test_a_password_is_never_shown(file: Path) -> None:
    file.write_text("[store]\nurl = 'mysql://root:hush@h/d'\n")
    assert "hush" not in mistakes(file)[0]
    assert "hush" not in mistakes(None, {"MODABATCH_STORE__URL": "mysql://root:hush@h/d"})[0]


def test_all_mistakes_are_told_at_once(file: Path) -> None:
    file.write_text(
        '[http]\nlisten = "tcp:5000"\nmax_request_size = "much"\n\n[queue]\npol_interval = 3\n\n[queue.embedded]\nslots = -1\n'
        '\n[qeue]\nbackend = "htcondor"\n'
    )
    found = mistakes(
        file, {"MODABATCH_QUEUE__POLL_INTERVAL": "0", "MODABATCH_QUEUE__BACKENDS": "x"}, "tcp:80:interface=0.0.0.0"
    )
    assert [mistake.partition(": ")[0] for mistake in found] == [
        "FILE:2",
        "FILE:3",
        "FILE:6",
        "FILE:9",
        "FILE:11",
        "MODABATCH_QUEUE__BACKENDS",
        "MODABATCH_QUEUE__POLL_INTERVAL",
        "--port",
    ]
    assert found[2] == "FILE:6: queue.pol_interval: there is no such setting (did you mean queue.poll_interval?)"
    assert found[4] == "FILE:11: qeue: there is no such setting (did you mean queue?)"
    assert found[5].endswith("(did you mean MODABATCH_QUEUE__BACKEND?)")


def test_a_key_in_the_wrong_table_is_led_to_the_right_one(file: Path) -> None:
    file.write_text("[http]\npoll_interval = 3\n")
    assert mistakes(file) == ["FILE:2: http.poll_interval: there is no such setting (did you mean queue.poll_interval?)"]


@pytest.mark.parametrize(
    ("text", "line"),
    [(b"a = 1\n[http\n", 2), (b"a = 1\na = 2\n", 2), (b"\n\n[http]\nlisten = ", 4), (b"a = 1\n# \xff\n", 2), (b'a = """\n', 2)],
)
def test_what_is_not_toml_is_told_with_its_line(file: Path, text: bytes, line: int) -> None:
    file.write_bytes(text)
    [mistake] = mistakes(file)
    assert re.match(rf"FILE:{line}: this is not (TOML: .|UTF-8)", mistake)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    assert mistakes(tmp_path / "none.toml") == ["FILE: cannot be read: No such file or directory"]
    assert mistakes(tmp_path) == ["FILE: cannot be read: Is a directory"]


@given(st.text() | st.binary())
@example('"a\\nb" = 1')
def test_no_text_breaks_the_reading(tmp_path_factory: pytest.TempPathFactory, text: str | bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "replace"))
    try:
        load(path, HOME)
    except ConfigurationError as error:
        strays = [line for line in error.cause.split("\n") if not line.startswith(f"{path}:")]
    else:
        strays = []
    assert strays == []


# The environment


def test_the_environment_wins_over_the_file_and_the_option_over_both(file: Path) -> None:
    file.write_text("[queue]\npoll_interval = 9\n[http]\nlisten = 1\n")
    environ = {**HOME, "MODABATCH_QUEUE__POLL_INTERVAL": "2", "MODABATCH_HTTP__LISTEN": "2"}
    assert load(file, environ).queue.poll_interval == 2.0
    assert load(file, environ).http.listen == "tcp:2:interface=127.0.0.1"
    assert load(file, environ, "3").http.listen == "tcp:3:interface=127.0.0.1"


@pytest.mark.parametrize(
    ("name", "text", "key", "read"),
    [
        ("HTTP__ACCESS_LOG", "true", ("http", "access_log"), True),
        ("HTTP__ALLOWED_HOSTS", '["a", "b"]', ("http", "allowed_hosts"), ("a", "b")),
        ("SPOOL__QUOTA", "2G", ("spool", "quota"), 2 << 30),
        ("SPOOL__QUOTA", '"2G"', ("spool", "quota"), 2 << 30),
        ("QUEUE__BACKEND", "htcondor", ("queue", "backend"), "htcondor"),
        ("QUEUE__HTCONDOR__SCHEDD", "2024-01-01", ("queue", "htcondor", "schedd"), "2024-01-01"),
        ("QUEUE__HTCONDOR__SCHEDD", "5", ("queue", "htcondor", "schedd"), "5"),
        ("QUEUE__HTCONDOR__SCHEDD", '"a"\nvalues = 2', ("queue", "htcondor", "schedd"), '"a"\nvalues = 2'),
        ("QUEUE__HTCONDOR__SCHEDD", "", ("queue", "htcondor", "schedd"), ""),
        ("QUEUE__HTCONDOR__TOKEN_DIRECTORY", "/t", ("queue", "htcondor", "token_directory"), Path("/t")),
    ],
)
def test_variables_are_toml_or_plain_text(name: str, text: str, key: tuple[str, ...], read: object) -> None:
    assert value(load(None, {**HOME, f"MODABATCH_{name}": text}), key) == read


@pytest.mark.parametrize("name", ["MODABATCH_QUEUE", "MODABATCH_CONFIG", "MODABATCH_QUEUE__POLL_INTERVAL__X", "MODABATCH_"])
def test_an_unknown_variable_of_ours_is_a_mistake(name: str) -> None:
    [mistake] = mistakes(None, {name: "1"})
    assert mistake.startswith(f"{name}: there is no such setting")


def test_variables_of_tests_and_of_others_are_left_alone() -> None:
    assert load(None, {**HOME, "MODABATCH_TEST_POOL": "/x", "MODABATCHD": "1", "PATH": "/bin"}) == load(None, HOME)


# Where it may listen


@pytest.mark.parametrize(
    ("text", "description"),
    [
        ("5000", "tcp:5000:interface=127.0.0.1"),
        ("0", "tcp:0:interface=127.0.0.1"),
        ("tcp:5000:interface=127.3.2.1", "tcp:5000:interface=127.3.2.1"),
        ("tcp:port=5000:interface=127.0.0.1:backlog=5", "tcp:port=5000:interface=127.0.0.1:backlog=5"),
        (r"tcp:5000:interface=\:\:1", r"tcp:5000:interface=\:\:1"),
        (r"tcp6:5000:interface=\:\:1", r"tcp6:5000:interface=\:\:1"),
        ("unix:/run/modabatchd/http:mode=660", "unix:/run/modabatchd/http:mode=660"),
        (r"unix:address=/run/a\:b", r"unix:address=/run/a\:b"),
    ],
)
def test_listeners_on_this_machine_are_taken(text: str, description: str) -> None:
    assert listener(text) == description


REACHABLE = [
    "tcp:5000",
    "tcp:5000:interface=",
    "tcp:5000:interface=0.0.0.0",
    "tcp:5000:interface=192.168.1.2",
    "tcp:5000:interface=localhost",
    "tcp:5000:interface=2130706433",
    "tcp:5000:interface=127.1",
    "tcp:5000:127.0.0.1",
    r"tcp:5000:interface=\:\:",
    r"tcp:5000:interface=\:\:ffff\:127.0.0.1",
    r"tcp:5000:interface=\:\:1%eth0",
    "tcp:5000:interface=127.0.0.1:interface=0.0.0.0",
    r"tcp:5000\:interface=127.0.0.1",
    "tcp:5000:interface=127.0.0.1:x=1",
    "tcp6:5000",
    "ssl:5000:interface=127.0.0.1",
    "systemd:domain=INET:index=0",
    "systemd:domain=UNIX:index=0",
    "haproxy:tcp:5000",
    "TCP:5000:interface=127.0.0.1",
    "unix:",
    "unix",
    "tcp",
    "tcp:",
    "tcp:http:interface=127.0.0.1",
    "tcp:-1:interface=127.0.0.1",
    "99999",
    "-1",
    "",
    "٣",
    "0.0.0.0:5000",
    "/run/http",
]


@pytest.mark.parametrize("text", REACHABLE)
def test_any_other_listener_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        listener(text)


@given(
    st.lists(
        st.sampled_from(["interface", "127.0.0.1", "0.0.0.0", "5000", "=", ":", "\\", "port", "backlog", r"\:\:1", "1"])
    ).map("".join)
)
def test_what_is_taken_is_what_twisted_listens_on(tail: str) -> None:
    try:
        description = listener("tcp:" + tail)
    except ValueError:
        return
    reactor = MemoryReactorClock()
    try:
        serverFromString(reactor, description).listen(Factory())
    except (ValueError, TypeError):
        return
    [(_, _, _, interface)] = reactor.tcpServers
    assert interface in ("127.0.0.1", "::1")


def test_the_documented_file_is_toml_even_with_every_key() -> None:
    assert tomllib.loads(uncommented())
