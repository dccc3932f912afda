"""Which days must have papers."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triage.domain.announcement_calendar import (
    announcement_before,
    announcement_days,
    arxiv_holiday,
    arxiv_today,
    empty_verdict,
    is_announcement_day,
)
from triage.domain.records import Verdict

FRIDAY = date(2026, 2, 27)


def test_papers_are_due_from_monday_to_friday() -> None:
    due = [is_announcement_day(FRIDAY + timedelta(days=n)) for n in range(5)]
    assert due == [True, False, False, True, True]


@pytest.mark.parametrize(
    ("now", "today"),
    [
        (datetime(2026, 3, 2, 4, 59, tzinfo=UTC), date(2026, 3, 1)),  # 23:59 in winter
        (datetime(2026, 3, 2, 5, 0, tzinfo=UTC), date(2026, 3, 2)),
        (datetime(2026, 7, 2, 3, 59, tzinfo=UTC), date(2026, 7, 1)),  # 23:59 in summer
        (datetime(2026, 7, 2, 4, 0, tzinfo=UTC), date(2026, 7, 2)),
        (datetime(2026, 3, 8, 4, 59, tzinfo=UTC), date(2026, 3, 7)),  # clocks go forward
        (datetime(2026, 3, 9, 4, 0, tzinfo=UTC), date(2026, 3, 9)),
    ],
)
def test_arxivs_day_begins_at_midnight_eastern_time(now: datetime, today: date) -> None:
    assert arxiv_today(now) == today


@given(st.dates(date(2000, 1, 1), date(2090, 1, 1)), st.integers(-3, 40))
def test_announcement_days_are_all_days_but_week_ends(first: date, n: int) -> None:
    days = announcement_days(first, first + timedelta(days=n))
    every = [first + timedelta(days=i) for i in range(n + 1)]
    assert days == [day for day in every if day.isoweekday() <= 5]


def test_an_empty_week_end_is_expected_and_an_empty_working_day_is_suspect() -> None:
    assert empty_verdict(FRIDAY) is Verdict.EMPTY_SUSPECT
    assert empty_verdict(FRIDAY + timedelta(days=1)) is Verdict.EMPTY_EXPECTED
    # Hugging Face and the preprint servers have no holidays that are known here.
    assert empty_verdict(date(2026, 12, 25)) is Verdict.EMPTY_SUSPECT


def test_the_announcement_before_monday_is_fridays() -> None:
    assert announcement_before(FRIDAY + timedelta(days=3)) == FRIDAY
    assert announcement_before(FRIDAY) == FRIDAY - timedelta(days=1)


# Days from Monday to Friday on which arXiv made no list, as archives of its lists show.
WITHOUT_A_LIST = [
    date(2024, 12, 26),
    date(2024, 12, 27),
    date(2025, 1, 2),
    date(2025, 1, 21),
    date(2025, 6, 20),
    date(2025, 7, 7),
    date(2025, 9, 2),
    date(2025, 11, 28),
    date(2025, 12, 26),
    date(2026, 1, 2),
    date(2026, 1, 20),
]


@pytest.mark.parametrize("on", sorted({*WITHOUT_A_LIST} - {date(2024, 12, 27)}))
def test_the_day_after_a_holiday_has_no_list(on: date) -> None:
    assert arxiv_holiday(on)


def test_days_that_arxiv_defers_without_a_rule_are_not_called_holidays() -> None:
    assert arxiv_holiday(date(2024, 12, 27)) == ""
    assert arxiv_holiday(date(2024, 5, 23)) == ""  # the day after a retreat


def test_all_other_working_days_of_a_year_have_a_list() -> None:
    due = announcement_days(date(2025, 12, 1), date(2026, 5, 29))
    assert [on for on in due if arxiv_holiday(on)] == [
        date(2025, 12, 26),
        date(2025, 12, 31),
        date(2026, 1, 2),
        date(2026, 1, 20),
    ]


@pytest.mark.parametrize(
    ("on", "name"),
    [
        (date(2026, 6, 22), "Juneteenth"),  # a Friday: the list of Monday
        (date(2026, 7, 6), "Independence Day"),  # kept on Friday, the 3rd
        (date(2027, 7, 6), "Independence Day"),  # kept on Monday, the 5th
        (date(2026, 9, 8), "Labor Day"),
        (date(2026, 11, 27), "Thanksgiving"),
        (date(2026, 12, 28), "Christmas Day"),
        (date(2026, 12, 25), ""),  # announced on Christmas Eve
        (date(2026, 5, 26), ""),  # Memorial Day is none of arXiv's
    ],
)
def test_holidays_keep_the_list_of_the_next_day_from_being_made(on: date, name: str) -> None:
    assert arxiv_holiday(on) == name
