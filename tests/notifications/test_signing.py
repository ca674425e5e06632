"""Signatures, checked by the package that the specification's authors maintain."""

import base64
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from modabatchd.notifications.endpoint import Endpoint, Secret, rotated
from modabatchd.notifications.signing import key, new_secret, signature


def secret(fill: bytes, length: int = 32) -> str:
    return new_secret(lambda count: fill * min(count, length))


@given(st.text(st.characters(codec="utf-8")), st.integers(1, 4))
def test_any_one_of_the_secrets_verifies(body: str, count: int) -> None:
    secrets, at = [secret(bytes([number])) for number in range(count)], int(time.time())
    headers = {
        "webhook-id": "m1",
        "webhook-timestamp": str(at),
        "webhook-signature": signature(secrets, "m1", at, body.encode()),
    }
    for one in secrets:
        Webhook(one).verify(body, headers, json_parse=False)
    for changed in ({"webhook-id": "m2"}, {"webhook-timestamp": str(at - 1)}):
        with pytest.raises(WebhookVerificationError):
            Webhook(secrets[0]).verify(body, headers | changed, json_parse=False)
    with pytest.raises(WebhookVerificationError):
        Webhook(secrets[0]).verify(body + " ", headers, json_parse=False)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret(b"x")).verify(body, headers, json_parse=False)


def test_the_example_of_the_specification() -> None:
    known = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    signed = signature([known], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize("length", [24, 32, 64])
def test_secrets_that_can_be_used(length: int) -> None:
    assert key("whsec_" + base64.b64encode(bytes(length)).decode()) == bytes(length)


@pytest.mark.parametrize("text", ["", "whsec_", "whsec_" + "A" * 28, "whsec_" + "A" * 92, "A" * 32, "whsec_" + "é" * 32])
def test_secrets_that_cannot(text: str) -> None:
    with pytest.raises(ValueError, match="whsec_"):
        key(text)


def test_old_secrets_go_on_for_a_while() -> None:
    first = Endpoint(id="e", url="http://e/", secrets=(Secret("a"),), created=0.0)
    second = rotated(first, "b", 100.0, 50.0)
    assert [second.keys(now) for now in (100.0, 149.0, 150.0)] == [("b", "a"), ("b", "a"), ("b",)]
    third = rotated(second, "c", 120.0, 50.0)
    assert [third.keys(now) for now in (149.0, 150.0, 169.0, 170.0)] == [("c", "b", "a"), ("c", "b"), ("c", "b"), ("c",)]
    assert rotated(third, "d", 200.0, 0.0).secrets == (Secret("d"),)
