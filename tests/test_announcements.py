"""Which days must have papers."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triage.announcements import (
    announcement_days,
    arxiv_today,
    empty_verdict,
    is_announcement_day,
)
from triage.records import Verdict

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
    # Nothing here knows of holidays: better one doubt too many than a missed day.
    assert empty_verdict(date(2026, 12, 25)) is Verdict.EMPTY_SUSPECT
