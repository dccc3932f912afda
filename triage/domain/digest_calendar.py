"""Computes which digests and daily jobs are due, from dates alone."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from zoneinfo import ZoneInfo

from triage.domain.records import Frequency, Subscriber

WEEK = timedelta(days=7)
# The shortest time between two digests after the hour or zone has changed.
REST = timedelta(hours=12)
EVERY_DAY = 127
LONGEST_STRETCH_DAYS = 60
# The date of the zones that are furthest ahead is the date of UTC after so many hours.
FURTHEST_AHEAD = timedelta(hours=14)


@dataclass(frozen=True, slots=True)
class Last:
    """A subscriber's newest slate: its local date, and when it was made."""

    on: date
    at: datetime


def digest_due(subscriber: Subscriber, last_on: date | None, on: date) -> bool:
    """Return whether a subscriber whose newest slate is for `last_on` should get one for `on`.

    Digests come on the subscriber's weekdays, not in a pause, and never twice for a date.
    """
    if not subscriber.weekdays >> on.weekday() & 1:
        return False
    if subscriber.paused_until is not None and on < subscriber.paused_until:
        return False
    if last_on is None:
        return True
    weekly = subscriber.frequency is Frequency.WEEKLY
    return on - last_on >= (WEEK if weekly else timedelta(days=1))


def due_on(subscriber: Subscriber, last: Last | None, now: datetime) -> date | None:
    """Return the local date of the digest that a subscriber should get at `now`, or None.

    It is the newest of the subscriber's days whose hour has passed. If several digests were missed,
    only this one is made, and only if the subscriber was active then. After a change of the hour or
    zone, the digest waits until REST has passed since the last one; it is neither skipped nor sent
    twice.

    A subscriber who became active later than `now` did so by a wrong clock, which delays nothing.
    """
    on = latest_digest_on(now, subscriber.hour, subscriber.zone, subscriber.weekdays)
    if on is None or not digest_due(subscriber, last.on if last else None, on):
        return None
    since = subscriber.active_since
    if since is not None and digest_at(on, subscriber.hour, subscriber.zone) < since <= now:
        return None
    return None if last is not None and now - last.at < REST else on


def latest_date(now: datetime) -> date:
    """Return the latest local date anywhere; what is of a later one comes from a wrong clock."""
    return (now + FURTHEST_AHEAD).date()


def recap_due(digests: Collection[date], on: date) -> bool:
    """Return whether a digest has a recap: the first one since Sunday has, but not the very first.

    Args:
        digests: the days of the subscriber's digests.
    """
    sunday = on - timedelta(days=(on.weekday() + 1) % 7)
    before = [day for day in digests if day < on]
    return bool(before) and max(before) < sunday


def window_days(max_age_days: int, digests: Collection[date], on: date) -> int:
    """Return the maximum age in days of the candidates on a date.

    Each day without a digest extends the window by one, so that no paper is lost in an outage or
    between weekly digests. The extension lasts for `max_age_days` after a gap, because one digest
    cannot show everything that was missed. It is at most LONGEST_STRETCH_DAYS.

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


def digest_at(on: date, hour: int, zone: str) -> datetime:
    """Return the time, in UTC, at which a subscriber's digest for a local date is due.

    If a clock change repeats the hour, the first one counts. If it skips the hour, the offset
    before the change is used (PEP 495, fold=0).
    """
    return datetime.combine(on, time(hour), zone_or_utc(zone)).astimezone(UTC)


def zone_or_utc(name: str) -> tzinfo:
    """Return a time zone; UTC if this machine does not know it, so that digests come all the same.

    It may have been stored with a newer tzdata. `is_known_zone` tells which it was.
    """
    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError):
        # zoneinfo opens a file of that name, so each error of opening and reading may come.
        return UTC


def is_known_zone(name: str) -> bool:
    """Return whether this machine knows a time zone."""
    return isinstance(zone_or_utc(name), ZoneInfo)


def latest_digest_on(now: datetime, hour: int, zone: str, weekdays: int = EVERY_DAY) -> date | None:
    """Return the newest local date on one of the weekdays whose hour has passed at `now`.

    Args:
        weekdays: as bits, bit 0 is Monday; without any bit the result is None.
    """
    today = now.astimezone(zone_or_utc(zone)).date()
    newest = today if digest_at(today, hour, zone) <= now else today - timedelta(days=1)
    days = (newest - timedelta(days=n) for n in range(7))
    return next((day for day in days if weekdays >> day.weekday() & 1), None)


def job_due(at: time, last_at: datetime | None, now: datetime) -> bool:
    """Return whether a daily job at `at` (UTC) is due, also if its time was missed.

    A last time later than `now` comes from a wrong clock, and says nothing.
    """
    newest = datetime.combine(now.date(), at, UTC)
    if newest > now:
        newest -= timedelta(days=1)
    return last_at is None or not newest <= last_at <= now
