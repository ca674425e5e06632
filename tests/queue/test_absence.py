"""For how long jobs were looked for in vain."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from modabatchd.queue.absence import Absences


def test_a_job_is_given_up_once_it_was_missing_for_long_enough() -> None:
    absences = Absences()
    assert [absences.missed("a", now, 60) for now in (0, 20, 40, 59, 60)] == [False, False, False, False, True]


def test_what_is_found_starts_anew() -> None:
    absences = Absences()
    for now in (0, 30):
        absences.missed("a", now, 60)
        absences.missed("b", now, 60)
    absences.found(["a"])
    assert (absences.missed("a", 60, 60), absences.missed("b", 60, 60)) == (False, True)
    absences.only(["a"])
    assert (absences.missed("a", 90, 60), absences.missed("b", 90, 60)) == (False, False)


@given(st.lists(st.floats(-1e9, 1e9), max_size=20))
def test_however_the_clock_leaps_a_job_is_looked_for_three_times(times: list[float]) -> None:
    absences = Absences()
    given_up = [absences.missed("a", now, 60) for now in times]
    assert not any(given_up[:2])


@given(st.floats(0.1, 1000), st.floats(0.1, 1000))
def test_with_a_steady_clock_every_job_is_given_up_some_day(interval: float, enough: float) -> None:
    absences = Absences()
    looks = max(3, int(enough / interval) + 3)
    given_up = [absences.missed("a", number * interval, enough) for number in range(looks)]
    assert given_up[-1]
    assert not any(gone and number * interval < enough - 1e-6 for number, gone in enumerate(given_up))
