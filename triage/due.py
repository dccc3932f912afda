"""What is due, computed from dates alone."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from triage.records import Frequency

WEEK = timedelta(days=7)
LONGEST_STRETCH_DAYS = 60
ENCODER_AGE = timedelta(days=7)
ENCODER_GROWTH = 1.5


def digest_due(frequency: Frequency, last_on: date | None, on: date) -> bool:
    """Tell whether a subscriber whose newest slate is for `last_on` is due one for `on`."""
    if last_on is None:
        return True
    return on - last_on >= (WEEK if frequency is Frequency.WEEKLY else timedelta(days=1))


def window_days(max_age_days: int, digests: Collection[date], on: date) -> int:
    """Return how many days back papers are offered on a date.

    Every day on which the subscriber got no digest stretches the window by one, so that an outage
    or a weekly rhythm hides nothing. A gap stretches it for as long as papers are usually offered,
    for the one digest after it cannot show all that was missed. The stretch ends at
    LONGEST_STRETCH_DAYS.

    Args:
        digests: the days of the subscriber's digests, in any order: all of the last `max_age_days`
            and the newest before these.
    """
    before = {day for day in digests if day < on}
    if not before:
        return max_age_days
    usual = on - timedelta(days=max_age_days)
    begin = max((day for day in before if day <= usual), default=min(before))
    missed = (on - begin).days - sum(day >= begin for day in before)
    return max_age_days + min(missed, LONGEST_STRETCH_DAYS)


def encoder_due(n_fitted: int, fitted_on: date, n_now: int, on: date) -> bool:
    """Tell whether an encoder should be fitted anew.

    It should once the corpus has grown by half, or after a week in which anything came.
    """
    if n_now <= n_fitted:
        return False
    return n_now >= ENCODER_GROWTH * n_fitted or on - fitted_on >= ENCODER_AGE


def digest_at(on: date, hour: int, zone: str) -> datetime:
    """Return the instant, in UTC, at which a subscriber's digest for a local date is due.

    An hour that comes twice is due the first time. One that a clock change skips is read as the
    clock stood before the change, which is the first instant after it (PEP 495, fold=0).
    """
    return datetime.combine(on, time(hour), ZoneInfo(zone)).astimezone(UTC)


def latest_digest_on(now: datetime, hour: int, zone: str) -> date:
    """Return the newest local date whose digest is due at `now`."""
    today = now.astimezone(ZoneInfo(zone)).date()
    return today if digest_at(today, hour, zone) <= now else today - timedelta(days=1)


def chore_due(at: time, last_at: datetime | None, now: datetime) -> bool:
    """Tell whether something done once a day at `at` (UTC) is due; a missed time is caught up."""
    newest = datetime.combine(now.date(), at, UTC)
    if newest > now:
        newest -= timedelta(days=1)
    return last_at is None or last_at < newest
