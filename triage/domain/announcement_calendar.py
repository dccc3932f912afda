"""When arXiv and Hugging Face announce papers: which days must have some, and which must not.

arXiv freezes at 14:00 and announces at 20:00 on Sundays to Thursdays, Eastern US time, and its
feeds follow at midnight, so a list is dated Monday to Friday. On holidays nothing is frozen and
nothing announced: the list of the day after is not made.
(https://info.arxiv.org/help/availability.html and rss.html, November 2026.)

arXiv names its holidays each year. Here are those that it had in every year from 2023 to 2026 and
that can be computed, and the other days of its winter breaks as far as they are known. A day that
is deferred for other reasons is unknown here, and suspect when it is empty.
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
    """Return the day whose announcement is arXiv's newest at `now`, any aware instant."""
    return now.astimezone(EASTERN).date()


def is_announcement_day(on: date) -> bool:
    """Tell whether papers are due on `on`, for arXiv's feeds and Hugging Face's days alike."""
    return on.weekday() < _SATURDAY


def announcement_days(first: date, last: date) -> list[date]:
    """Return the announcement days from `first` to `last`, both included; none if out of order."""
    span = range((last - first).days + 1)
    return [day for n in span if is_announcement_day(day := first + timedelta(days=n))]


def announcement_before(on: date) -> date:
    """Return the last announcement day before `on`."""
    day = on - _DAY
    while not is_announcement_day(day):
        day -= _DAY
    return day


def empty_verdict(on: date) -> Verdict:
    """Return what a day without papers is: expected at week-ends, else suspect."""
    return Verdict.EMPTY_SUSPECT if is_announcement_day(on) else Verdict.EMPTY_EXPECTED


def arxiv_holiday(on: date) -> str:
    """Return why arXiv makes no list dated `on`, a day from Monday to Friday; else nothing.

    A list is announced on the evening before, and Monday's was frozen on Friday.
    """
    evening = on - _DAY
    frozen_on = on - 3 * _DAY if on.weekday() == _MONDAY else evening
    return _holiday(frozen_on) or _holiday(evening)


def _holiday(on: date) -> str:
    """Return the name of the holiday that arXiv keeps on `on`, if any."""
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
    """Return the working day on which a holiday of a fixed date is kept."""
    return on + {_SATURDAY: -_DAY, _SUNDAY: _DAY}.get(on.weekday(), timedelta())
