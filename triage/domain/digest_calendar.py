"""What is due, computed from dates alone."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from triage.domain.records import Frequency, Subscriber

WEEK = timedelta(days=7)
# After a change of hour or zone the next digest comes no sooner than this.
REST = timedelta(hours=12)
EVERY_DAY = 127
LONGEST_STRETCH_DAYS = 60


@dataclass(frozen=True, slots=True)
class Last:
    """A subscriber's newest slate: the local date that it is for, and when it was made."""

    on: date
    at: datetime


def digest_due(subscriber: Subscriber, last_on: date | None, on: date) -> bool:
    """Tell whether a subscriber whose newest slate is for `last_on` is due one for `on`.

    Digests are for the subscriber's weekdays, from the end of a pause on, and each for a later date
    than the one before.
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
    """Return the local date whose digest a subscriber is due at `now`, or None.

    It is the newest of the subscriber's days whose hour has come: of several that were missed one
    is caught up, on whatever day, unless it was before the subscriber came or came back. Whoever
    moves or changes the hour waits until REST has passed since the last digest; the date is served
    then, so none is skipped and none comes twice.
    """
    on = latest_digest_on(now, subscriber.hour, subscriber.zone, subscriber.weekdays)
    if on is None or not digest_due(subscriber, last.on if last else None, on):
        return None
    since = subscriber.active_since
    if since is not None and digest_at(on, subscriber.hour, subscriber.zone) < since:
        return None
    return None if last is not None and now - last.at < REST else on


def recap_due(digests: Collection[date], on: date) -> bool:
    """Tell whether a digest looks back at the week: the first one since Sunday does.

    Args:
        digests: the days of the subscriber's digests; before the first one nothing was missed.
    """
    sunday = on - timedelta(days=(on.weekday() + 1) % 7)
    before = [day for day in digests if day < on]
    return bool(before) and max(before) < sunday


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


def digest_at(on: date, hour: int, zone: str) -> datetime:
    """Return the instant, in UTC, at which a subscriber's digest for a local date is due.

    An hour that comes twice is due the first time. One that a clock change skips is read as the
    clock stood before the change, which is the first instant after it (PEP 495, fold=0).
    """
    return datetime.combine(on, time(hour), ZoneInfo(zone)).astimezone(UTC)


def latest_digest_on(now: datetime, hour: int, zone: str, weekdays: int = EVERY_DAY) -> date | None:
    """Return the newest local date on one of the weekdays whose hour has come at `now`.

    Args:
        weekdays: as bits, bit 0 is Monday; None is returned where no bit is set.
    """
    today = now.astimezone(ZoneInfo(zone)).date()
    newest = today if digest_at(today, hour, zone) <= now else today - timedelta(days=1)
    days = (newest - timedelta(days=n) for n in range(7))
    return next((day for day in days if weekdays >> day.weekday() & 1), None)


def chore_due(at: time, last_at: datetime | None, now: datetime) -> bool:
    """Tell whether something done once a day at `at` (UTC) is due; a missed time is caught up."""
    newest = datetime.combine(now.date(), at, UTC)
    if newest > now:
        newest -= timedelta(days=1)
    return last_at is None or last_at < newest
