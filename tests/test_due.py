"""When a digest and an encoder are due, and how far back papers are offered."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.factories import DAY
from triage.due import LONGEST_STRETCH_DAYS, digest_due, encoder_due, window_days
from triage.records import Frequency

DAYS = st.dates(date(2020, 1, 1), date(2040, 1, 1))


def days(n: int) -> timedelta:
    return timedelta(days=n)


@pytest.mark.parametrize("frequency", list(Frequency))
def test_a_first_digest_is_always_due(frequency: Frequency) -> None:
    assert digest_due(frequency, None, DAY)


@pytest.mark.parametrize(
    ("frequency", "after", "due"),
    [
        (Frequency.DAILY, 0, False),
        (Frequency.DAILY, 1, True),
        (Frequency.DAILY, 30, True),
        (Frequency.DAILY, -1, False),
        (Frequency.WEEKLY, 6, False),
        (Frequency.WEEKLY, 7, True),
        (Frequency.WEEKLY, 8, True),
    ],
)
def test_the_next_digest_is_due_after_a_day_or_a_week(
    frequency: Frequency, after: int, due: bool
) -> None:
    assert digest_due(frequency, DAY, DAY + days(after)) is due


def test_a_first_digest_looks_back_as_far_as_the_config_says() -> None:
    assert window_days(14, [], DAY) == 14


@given(DAYS, st.integers(1, 365), st.integers(0, 800))
def test_days_without_a_digest_stretch_the_window(last: date, age: int, gap: int) -> None:
    window = window_days(age, [last], last + days(gap))
    assert window == age + min(max(gap - 1, 0), LONGEST_STRETCH_DAYS)


@given(DAYS, st.integers(1, 60), st.integers(0, LONGEST_STRETCH_DAYS))
def test_an_outage_hides_no_paper(last: date, age: int, outage: int) -> None:
    """What could have been shown on a day without digest can be shown after it."""
    on = last + days(outage + 1)
    oldest_offered_then = last + days(1) - days(age)
    assert on - days(window_days(age, [last], on)) <= oldest_offered_then


@given(DAYS, st.integers(1, 30), st.integers(0, LONGEST_STRETCH_DAYS), st.integers(1, 30))
def test_what_an_outage_hid_is_offered_as_long_as_other_papers_are(
    last: date, age: int, outage: int, later: int
) -> None:
    """One digest cannot show all that was missed; so the next ones may go on with it."""
    digests = [last - days(n) for n in range(40)]
    digests += [last + days(outage + n) for n in range(1, later)]
    on = last + days(outage + later)
    oldest = on - days(window_days(age, digests, on))
    if later <= age:
        assert oldest == last + days(later - age)
    else:
        assert oldest == on - days(age)


@given(DAYS, st.lists(st.integers(1, 200), max_size=40), st.integers(1, 60))
def test_digests_in_any_order_and_of_later_days_make_no_difference(
    on: date, before: list[int], age: int
) -> None:
    digests = [on - days(n) for n in before]
    window = window_days(age, digests, on)
    assert age <= window <= age + LONGEST_STRETCH_DAYS
    assert window_days(age, [*reversed(digests), on, on + days(3)], on) == window


@pytest.mark.parametrize(("age", "window"), [(7, 13), (14, 26), (15, 33)])
def test_a_weekly_reader_is_offered_the_days_between(age: int, window: int) -> None:
    weekly = [DAY - days(7 * n) for n in range(1, 20)]
    assert window_days(age, weekly, DAY) == window


@pytest.mark.parametrize(
    ("n_now", "after", "due"),
    [
        (1000, 0, False),
        (1000, 400, False),
        (999, 400, False),
        (1001, 6, False),
        (1001, 7, True),
        (1499, 0, False),
        (1500, 0, True),
    ],
)
def test_an_encoder_is_fitted_anew_when_the_corpus_grew_by_half_or_a_week_brought_papers(
    n_now: int, after: int, due: bool
) -> None:
    assert encoder_due(1000, DAY, n_now, DAY + days(after)) is due
