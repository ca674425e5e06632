"""Who may ask: names, pages of other sites, links."""

import pytest
from twisted.web.http_headers import Headers

from modabatchd.rest.front import RESPONSE_HEADERS, Head, check
from modabatchd.rest.problems import HTTPRefusal, problem

OURS = [
    *("localhost", "localhost:5000", "LOCALHOST:5000", "localhost.", "localhost.:80", "localhost:", "127.0.0.1:5000"),
    *("[::1]", "[::1]:5000", "batch.example.org", "Batch.Example.Org.:443", "[fd00::1]:5000", "[FD00::1]"),
]
OTHERS = [
    *("evil.example", "localhost.evil.example", "evil.example:5000", "127.0.0.1.nip.io", "127.0.0.2", "0.0.0.0", "[::]"),
    *("localhost..", "2130706433", "127.1", "[::ffff:127.0.0.1]", "xbatch.example.org", "[::11]"),
]
UNREADABLE = [
    *("", " ", "localhost:port", "localhost:123456", "user@localhost", "localhost/", "local host", "::1", "[::1", "a,b"),
    *("localhost:5000:5000", "localhost\u00e9", "[localhost]", "\u017f"),
]
FOREIGN = [
    *("http://evil.example", "null", "http://localhost:5001", "http://localhost", "https://localhost", "http://127.0.0.1:5000"),
    *("", "localhost:5000", "file://", "http://localhost:5000.evil.example", "http://evil.example/http://localhost:5000"),
    *(
        "ftp://localhost:5000",
        "http://localhost:5000/",
        "http://user@localhost:5000",
        "http://localhost:5000, http://localhost",
    ),
]
ALLOWED = ("batch.example.org", "[fd00::1]")


def asked(changes: bool = True, method: bytes = b"POST", **headers: str | list[str]) -> str | None:
    """The code of the refusal, if there is one; header names are written with underscores."""
    raw = Headers()
    for name, values in {"Host": "localhost:5000", **headers}.items():
        for value in [values] if isinstance(values, str) else values:
            raw.addRawHeader(name.replace("_", "-"), value)
    try:
        check(Head(method, b"/jobs", raw), ALLOWED, changes)
    except HTTPRefusal as refusal:
        assert problem(refusal).status == {"unknown-host": 421, "bad-host": 400, "cross-site": 403}[refusal.code]
        return refusal.code
    return None


@pytest.mark.parametrize("host", OURS)
def test_names_that_are_ours(host: str) -> None:
    assert asked(Host=host) is None


@pytest.mark.parametrize("host", OTHERS)
def test_names_that_are_not_ours(host: str) -> None:
    assert asked(Host=host) == "unknown-host"
    assert asked(Host=host, changes=False) == "unknown-host"


@pytest.mark.parametrize("host", UNREADABLE)
def test_hosts_that_cannot_be_read(host: str) -> None:
    assert asked(Host=host) == "bad-host"


def test_there_must_be_one_host() -> None:
    assert asked(Host=[]) == "bad-host"
    assert asked(Host=["localhost", "localhost"]) == "bad-host"
    assert asked(Host=["localhost", "evil.example"]) == "bad-host"


def test_the_cure_of_an_unknown_name_says_where_to_allow_it() -> None:
    with pytest.raises(HTTPRefusal) as raised:
        check(Head(b"GET", b"/", Headers({"Host": ["new.example.org"]})), (), False)
    assert "http.allowed_hosts" in raised.value.cure
    assert "new.example.org" in raised.value.cause


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("localhost:5000", "http://localhost:5000"),
        ("LOCALHOST:5000", "http://localhost:5000"),
        ("localhost", "http://localhost"),
        ("localhost", "http://localhost:80"),
        ("localhost:80", "http://localhost"),
        ("batch.example.org", "https://batch.example.org"),
        ("batch.example.org:443", "https://batch.example.org"),
        ("[::1]:5000", "http://[::1]:5000"),
    ],
)
def test_our_own_pages(host: str, origin: str) -> None:
    assert asked(Host=host, Origin=origin) is None


@pytest.mark.parametrize("origin", FOREIGN)
def test_pages_of_other_sites(origin: str) -> None:
    assert asked(Origin=origin) == "cross-site"
    assert asked(Origin=origin, changes=False, method=b"GET") == "cross-site"
    assert asked(Origin=origin, method=b"OPTIONS", Access_Control_Request_Method="POST", changes=False) == "cross-site"


def test_two_origins_are_refused() -> None:
    assert asked(Origin=["http://localhost:5000", "http://localhost:5000"]) == "cross-site"


@pytest.mark.parametrize("site", ["same-origin", "none"])
def test_what_browsers_say_of_our_own_pages_and_of_their_users(site: str) -> None:
    assert asked(Sec_Fetch_Site=site) is None


@pytest.mark.parametrize("site", ["cross-site", "same-site", "", "something-new"])
def test_what_browsers_say_of_other_pages(site: str) -> None:
    assert asked(Sec_Fetch_Site=site) == "cross-site"
    assert asked(Sec_Fetch_Site=site, changes=False, method=b"GET") == "cross-site"
    assert asked(Sec_Fetch_Site=["none", site]) == "cross-site"


def test_a_link_on_another_site_leads_to_what_changes_nothing_alone() -> None:
    link = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"}
    assert asked(changes=False, method=b"GET", **link) is None
    assert asked(changes=True, method=b"GET", **link) == "cross-site"
    assert asked(changes=False, method=b"POST", **link) == "cross-site"


@pytest.mark.parametrize(
    ("mode", "destination"),
    [("no-cors", "image"), ("no-cors", "script"), ("cors", "empty"), ("navigate", "iframe"), ("navigate", "object")],
)
def test_other_sites_embed_nothing_of_ours(mode: str, destination: str) -> None:
    headers = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": mode, "Sec_Fetch_Dest": destination}
    assert asked(changes=False, method=b"GET", **headers) == "cross-site"


def test_no_response_allows_another_site_anything() -> None:
    assert not [name for name in RESPONSE_HEADERS if name.startswith(b"Access-Control")]
