"""When the scheduler is asked for changes."""

from modabatchd.queue.htcondor.asking import OVERLAP, Asking


def asked(asking: Asking, at: float, took: float = 0.0) -> int:
    """Ask, and store the answer."""
    assert asking.due(at)
    span = asking.span(at)
    asking.rest(at, at + took, 9.0)
    asking.answered(at)
    return span


def test_without_hints_the_interval_counts() -> None:
    asking = Asking(0.0, interval=2.0)
    assert asked(asking, 0.0) == OVERLAP
    assert not asking.due(1.9)
    assert asked(asking, 2.0) == 2 + OVERLAP


def test_a_scheduler_that_is_slow_is_asked_less_often() -> None:
    asking = Asking(0.0, interval=2.0)
    asked(asking, 0.0, took=1.0)
    assert not asking.due(9.9)
    asking.hint(1.0, 0.0)
    assert not asking.due(1.3)
    assert asked(asking, 2.0) == 2 + OVERLAP
    asked(asking, 20.0, took=10.0)
    assert asking.due(46.0)


def test_a_hint_is_followed_by_more_than_one_question() -> None:
    asking = Asking(0.0, interval=60.0)
    asked(asking, 0.0)
    asking.hint(10.0, 9.8)
    assert asked(asking, 10.0) == 10 + OVERLAP
    assert not asking.due(10.2)
    assert asked(asking, 10.3) == 1 + OVERLAP
    assert not asking.due(11.9)
    assert asked(asking, 12.0) == 3 + OVERLAP
    assert not asking.due(60.0)


def test_what_was_not_stored_is_asked_for_again() -> None:
    asking = Asking(0.0, interval=2.0)
    asked(asking, 0.0)
    assert asking.span(2.0) == 2 + OVERLAP
    asking.rest(2.0, 2.0, 9.0)
    assert asking.span(4.0) == 4 + OVERLAP
