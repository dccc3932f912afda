"""When a digest and an encoder are due, and how far back papers are offered."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.factories import DAY, subscriber
from triage.domain.digest_calendar import (
    LONGEST_STRETCH_DAYS,
    REST,
    Last,
    digest_due,
    due_on,
    latest_digest_on,
    recap_due,
    window_days,
)
from triage.domain.records import Frequency, Subscriber

DAYS = st.dates(date(2020, 1, 1), date(2040, 1, 1))


def reader(**fields: object) -> Subscriber:
    return subscriber(**fields)


def days(n: int) -> timedelta:
    return timedelta(days=n)


@pytest.mark.parametrize("frequency", list(Frequency))
def test_a_first_digest_is_always_due(frequency: Frequency) -> None:
    assert digest_due(reader(frequency=frequency), None, DAY)


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
    assert digest_due(reader(frequency=frequency), DAY, DAY + days(after)) is due


@given(DAYS, st.integers(1, 127))
def test_digests_are_for_the_readers_weekdays_alone(on: date, weekdays: int) -> None:
    of_week = {on + days(n) for n in range(7)}
    due = {day for day in of_week if digest_due(reader(weekdays=weekdays), None, day)}
    assert {day.weekday() for day in due} == {bit for bit in range(7) if weekdays >> bit & 1}


@pytest.mark.parametrize(("until", "due"), [(-1, True), (0, True), (1, False), (30, False)])
def test_a_pause_ends_by_itself_on_its_day(until: int, due: bool) -> None:
    assert digest_due(reader(paused_until=DAY + days(until)), None, DAY) is due


def test_a_weekly_reader_of_one_weekday_stays_with_it() -> None:
    tuesdays = reader(frequency=Frequency.WEEKLY, weekdays=0b10)
    served: list[date] = []
    for n in range(60):
        on = DAY + days(n)
        if digest_due(tuesdays, served[-1] if served else None, on):
            served.append(on)
    assert {day.weekday() for day in served} == {1}
    assert len(served) == 9


def at(day: int, hour: int) -> datetime:
    """Return an hour of a March day in UTC; the second is DAY, a Monday."""
    return datetime(2026, 3, day, hour, tzinfo=UTC)


@pytest.mark.parametrize(
    ("now", "on"),
    [(at(2, 6), None), (at(2, 7), 2), (at(3, 12), 2), (at(8, 23), 2), (at(9, 7), 9)],
)
def test_a_day_that_was_missed_is_caught_up_until_the_readers_next_one(
    now: datetime, on: int | None
) -> None:
    found = due_on(reader(weekdays=1, active_since=at(1, 0)), None, now)
    assert found == (on and date(2026, 3, on))


def test_who_comes_after_the_hour_waits_for_the_next_day_of_theirs() -> None:
    new = reader(weekdays=1, active_since=at(2, 8))
    assert due_on(new, None, at(4, 12)) is None
    assert due_on(new, None, at(9, 7)) == date(2026, 3, 9)


@pytest.mark.parametrize(("hours", "due"), [(8, False), (11, False), (12, True), (20, True)])
def test_after_a_change_of_the_hour_the_next_digest_leaves_half_a_day(
    hours: int, due: bool
) -> None:
    last = Last(DAY, at(2, 23))
    earlier = reader(hour=7)
    assert timedelta(hours=12) == REST
    found = due_on(earlier, last, last.at + timedelta(hours=hours))
    assert found == (DAY + days(1) if due else None)


def test_a_reader_without_any_day_is_never_due() -> None:
    assert latest_digest_on(at(2, 7), 7, "UTC", 0) is None
    assert due_on(reader(weekdays=0), None, at(2, 7)) is None


@given(DAYS, st.sets(st.integers(1, 90)))
def test_a_week_is_looked_back_at_by_its_first_digest(begin: date, gaps: set[int]) -> None:
    """Weeks begin on Sundays; whoever got nothing yet has missed nothing."""
    served = [begin + days(gap) for gap in sorted(gaps)]
    recaps = [on for n, on in enumerate(served) if recap_due(served[: n + 1], on)]
    weeks = [(on + days(1)).isocalendar()[:2] for on in served]
    firsts = [on for n, on in enumerate(served) if n and weeks[n] != weeks[n - 1]]
    assert recaps == firsts


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
