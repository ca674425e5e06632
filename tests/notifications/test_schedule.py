"""When a notification is tried again, and when it is given up."""

import pytest

from modabatchd.notifications.schedule import Abandoned, Delivered, Postponed, Reply, judge, next_try, wished

NOW = 1_000_000_000.0
HOUR = 3600


def none() -> float:
    return 0.0


def test_the_schedule_of_standard_webhooks() -> None:
    waits = [next_try(attempts, NOW, none) for attempts in range(1, 11)]
    expected = [5, 300, 1800, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR]
    assert waits == [*(NOW + wait for wait in expected), None]


def test_jitter_adds_up_to_a_fifth() -> None:
    assert next_try(2, NOW, lambda: 1.0) == NOW + 360
    assert next_try(2, NOW, lambda: 0.5) == NOW + 330


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_success(status: int) -> None:
    assert judge(Reply(status=status), 1, NOW, none) == Delivered()


@pytest.mark.parametrize("status", [100, 301, 302, 307, 400, 404, 429, 500, 503])
def test_any_other_answer_is_tried_again(status: int) -> None:
    assert judge(Reply(status=status), 1, NOW, none) == Postponed(NOW + 5, f"The receiver answered with status {status}.")


def test_no_answer_is_tried_again_and_given_up_after_the_tenth_try() -> None:
    assert judge(Reply(problem="gone fishing"), 9, NOW, none) == Postponed(NOW + 24 * HOUR, "gone fishing")
    assert judge(Reply(problem="gone fishing"), 10, NOW, none) == Abandoned("gone fishing")


def test_gone_and_hopeless_are_given_up_at_once() -> None:
    assert isinstance(judge(Reply(status=410), 1, NOW, none), Abandoned)
    assert judge(Reply(problem="no URL", hopeless=True), 1, NOW, none) == Abandoned("no URL")


def test_retry_after_can_only_put_off() -> None:
    assert judge(Reply(status=503, retry_after="60"), 1, NOW, none).until == NOW + 60
    assert judge(Reply(status=503, retry_after="60"), 2, NOW, none).until == NOW + 300
    assert isinstance(judge(Reply(status=503, retry_after="60"), 10, NOW, none), Abandoned)


@pytest.mark.parametrize(
    ("header", "time"),
    [
        ("120", NOW + 120),
        ("0", NOW),
        ("99999999999", NOW + 24 * HOUR),
        ("9" * 4000, NOW + 24 * HOUR),
        ("Sun, 09 Sep 2001 01:47:40 GMT", NOW + 60),
        ("Sun, 09 Sep 2040 01:47:40 GMT", NOW + 24 * HOUR),
        ("soon", 0),
        ("-5", 0),
        ("1.5", 0),
        ("", 0),
        (None, 0),
    ],
)
def test_retry_after_is_read_and_bounded(header: str | None, time: float) -> None:
    assert wished(header, NOW) == time
