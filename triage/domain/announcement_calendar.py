"""The days on which arXiv and Hugging Face announce papers.

arXiv closes submissions at 14:00 and announces papers at 20:00 Eastern US time, from Sunday to
Thursday. Its feeds follow at midnight, so lists are dated Monday to Friday. On holidays it does
neither, so the list of the next day is missing.
(https://info.arxiv.org/help/availability.html and rss.html, November 2026.)

arXiv publishes its holidays each year. This module computes those of every year from 2023 to 2026
and lists the known other days of the winter breaks. Other postponed days are unknown here: if such
a day is empty, it is suspect.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from triage.domain.records import Verdict

EASTERN: Final = ZoneInfo("America/New_York")
_MONDAY, _THURSDAY, _FRIDAY, _SATURDAY, _SUNDAY = 0, 3, 4, 5, 6
_DAY: Final = timedelta(days=1)
_WINTER_BREAK: Final = frozenset({date(2025, 12, 30), date(2026, 12, 29), date(2026, 12, 31)})


def arxiv_today(now: datetime) -> date:
    """Return the date of arXiv's newest list at `now`, an aware time."""
    return now.astimezone(EASTERN).date()


def is_announcement_day(on: date) -> bool:
    """Return whether arXiv's feeds and Hugging Face should have papers on `on`."""
    return on.weekday() < _SATURDAY


def announcement_days(first: date, last: date) -> list[date]:
    """Return the announcement days from `first` to `last`, inclusive; none if `last` is earlier."""
    span = range((last - first).days + 1)
    return [day for n in span if is_announcement_day(day := first + timedelta(days=n))]


def announcement_before(on: date) -> date:
    """Return the last announcement day before `on`."""
    return announcement_days(on - 7 * _DAY, on - _DAY)[-1]


def empty_verdict(on: date) -> Verdict:
    """Return the verdict for a day without papers: expected at weekends, else suspect."""
    return Verdict.EMPTY_SUSPECT if is_announcement_day(on) else Verdict.EMPTY_EXPECTED


def arxiv_holiday(on: date) -> str:
    """Return the holiday because of which arXiv has no list dated `on`, Monday to Friday, or "".

    A list is announced on the evening before. Submissions for Monday's list close on Friday.
    """
    evening = on - _DAY
    frozen_on = on - 3 * _DAY if on.weekday() == _MONDAY else evening
    return _holiday(frozen_on) or _holiday(evening)


def _holiday(on: date) -> str:
    year = on.year
    named = {
        _nth(year, 1, _MONDAY, 3): "Martin Luther King Day",
        _observed(date(year, 6, 19)): "Juneteenth",
        _observed(date(year, 7, 4)): "Independence Day",
        _nth(year, 9, _MONDAY, 1): "Labor Day",
        _nth(year, 11, _THURSDAY, 4): "Thanksgiving",
        date(year, 12, 25): "Christmas Day",
        date(year, 1, 1): "New Year's Day",
        **dict.fromkeys(_WINTER_BREAK, "its winter break"),
    }
    return named.get(on, "")


def _nth(year: int, month: int, weekday: int, n: int) -> date:
    first = date(year, month, 1)
    return first + timedelta(days=(weekday - first.weekday()) % 7 + 7 * (n - 1))


def _observed(on: date) -> date:
    """Return the working day on which a holiday with a fixed date is observed."""
    return on + {_SATURDAY: -_DAY, _SUNDAY: _DAY}.get(on.weekday(), timedelta())
