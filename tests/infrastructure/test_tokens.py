"""IDTOKENs, compared with those that HTCondor's own tool makes."""

import base64
import hmac
import json

import pytest

from modabatchd.infrastructure.tokens import (
    SigningKey,
    administrator_token,
    mint,
    node_key,
    node_token,
    signature,
)

#: Made by condor_token_create 23.9.6 with these files as keys.
THEIRS = {
    "POOL": "eyJhbGciOiJIUzI1NiIsImtpZCI6IlBPT0wifQ.eyJleHAiOjE3OTU1NjQzNzcsImlhdCI6MTc5NTU2MDc3Nywi"
    "aXNzIjoibW9kYWJhdGNoZC50ZXN0"
    "IiwianRpIjoiODcyOGE1ZGVlYzM4NDk3ZTcxMGJlOWFhNDk2MTg2OTciLCJzY29wZSI6ImNvbmRvcjpcL1JFQUQiLCJzdWI"
    "iOiJub2RlQGV4YW1wbGUub3JnIn0."
    "8x9xrOJj8izFcPLBK5bRW2jDUWPUpSESmrbefn_9SS4",
    "other": "eyJhbGciOiJIUzI1NiIsImtpZCI6Im90aGVyIn0.eyJleHAiOjE3OTU1NjQzNzcsImlhdCI6MTc5NTU2MDc3Ny"
    "wiaXNzIjoibW9kYWJhdGNoZC50ZXN0"
    "IiwianRpIjoiYjM1ZWEzMDFmY2ViOGFkMGU1NzQzN2JiMmQ2ZjY2ODAiLCJzY29wZSI6ImNvbmRvcjpcL1JFQUQiLCJzdWI"
    "iOiJub2RlQGV4YW1wbGUub3JnIn0."
    "_UHNEPdwvSrNKx6C0Z1EXvQWoQSOtbEIgb0z8tmQOTM",
}
KEY = SigningKey("POOL", b"not a secret: POOL")


def claims(token: str) -> dict[str, object]:
    body = token.split(".")[1]
    decoded = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    assert isinstance(decoded, dict)
    return decoded


@pytest.mark.parametrize("name", THEIRS)
def test_signed_as_htcondor_signs(name: str) -> None:
    signed, _, theirs = THEIRS[name].rpartition(".")
    assert signature(SigningKey(name, b"not a secret: " + name.encode()), signed) == theirs


def test_the_claims_of_a_nodes_token() -> None:
    token = node_token(KEY, "example.org", "modabatch-0123456789abcdef", now=1000000.7, lifetime=600.0, serial="s")
    assert claims(token) == {
        "sub": "modabatch-0123456789abcdef@example.org",
        "iss": "example.org",
        "scope": "condor:/ADVERTISE_STARTD condor:/ADVERTISE_MASTER condor:/READ",
        "iat": 999940,
        "exp": 1000600,
        "jti": "s",
    }
    signed, _, mark = token.rpartition(".")
    assert hmac.compare_digest(signature(KEY, signed), mark)


def test_the_same_arguments_make_the_same_token() -> None:
    tokens = {mint(KEY, "d", "a@d", ["condor:/READ"], 1.0, 60.0, "s") for _ in range(3)}
    assert len(tokens) == 1
    assert mint(KEY, "d", "a@d", ["condor:/READ"], 1.0, 60.0, "t") not in tokens


def test_each_node_has_a_key_of_its_own() -> None:
    one, other = node_key(KEY, "modabatch-1"), node_key(KEY, "modabatch-2")
    assert one == node_key(KEY, "modabatch-1")
    assert one.id == "modabatch-1"
    assert one.stored != other.stored
    assert node_key(SigningKey("POOL", b"another"), "modabatch-1") != one
    # It becomes a text file by way of user-data.
    assert one.stored.isascii()
    assert len(base64.b64decode(one.stored)) == 32


def test_a_node_knows_our_orders_by_its_own_key() -> None:
    token = administrator_token(KEY, "example.org", "modabatch-1", now=1.0, lifetime=60.0, serial="s")
    signed, _, mark = token.rpartition(".")
    assert mark == signature(node_key(KEY, "modabatch-1"), signed)
    assert mark != signature(KEY, signed)
    assert claims(token)["scope"] == "condor:/ADMINISTRATOR condor:/READ"


def test_keys_do_not_show_in_logs() -> None:
    assert "secret" not in repr(KEY)
    assert "secret" not in f"{KEY}"
