"""When arXiv and Hugging Face announce papers: which days must have some, and which must not.

arXiv announces on the evenings of Sunday to Thursday, Eastern US time, and its feeds follow at
midnight, so a feed is dated Monday to Friday (https://info.arxiv.org/help/availability.html and
rss.html, November 2026). Holidays are set by hand each year: here they are unknown, and an empty
announcement day is suspect rather than explained.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from triage.records import Verdict

EASTERN: Final = ZoneInfo("America/New_York")
_SATURDAY: Final = 5


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


def empty_verdict(on: date) -> Verdict:
    """Return what a day without papers is: expected at week-ends, else suspect."""
    return Verdict.EMPTY_SUSPECT if is_announcement_day(on) else Verdict.EMPTY_EXPECTED
