"""What is due, computed from dates alone."""

from __future__ import annotations

from datetime import date, timedelta

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


def window_days(max_age_days: int, last_on: date | None, on: date) -> int:
    """Return how many days back papers are offered.

    Every day on which the subscriber got no digest stretches the window by one, so that an outage
    or a weekly rhythm hides nothing; the stretch ends at LONGEST_STRETCH_DAYS.
    """
    missed = 0 if last_on is None else max((on - last_on).days - 1, 0)
    return max_age_days + min(missed, LONGEST_STRETCH_DAYS)


def encoder_due(n_fitted: int, fitted_on: date, n_now: int, on: date) -> bool:
    """Tell whether an encoder should be fitted anew.

    It should once the corpus has grown by half, or after a week in which anything came.
    """
    if n_now <= n_fitted:
        return False
    return n_now >= ENCODER_GROWTH * n_fitted or on - fitted_on >= ENCODER_AGE
