"""Check this machine: the secret key, clock, disk, libraries and time zones."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from datetime import datetime, timedelta
from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, available_timezones

from triage.operations.doctor.finding import Result, ok, red, warning
from triage.settings import SECRET_FILE, read_secret, read_signing_secret
from triage.store import health

if TYPE_CHECKING:
    from triage.operations.doctor.probes import Probes, Reply
    from triage.settings import Settings
    from triage.store import Database

MOST_SKEW = timedelta(seconds=60)
LEAST_FREE_BYTES = 500_000_000
_SET_THE_CLOCK = "set the clock: run an NTP service, for example systemd-timesyncd"
_SET_ASIDE = "nothing: digests, days and jobs of later times are set aside and delay nothing"


def secret_key(settings: Settings) -> Result:
    read_signing_secret(settings.folder)
    if read_secret("SECRET_KEY") is not None:
        return ok("a strong secret from the environment")
    path = settings.folder / SECRET_FILE
    if path.stat().st_mode & 0o077:
        return red(f"{path} can be read by other accounts", f"chmod 600 {path}")
    return ok("a strong secret, which only this account can read")


def disk(settings: Settings, database: Database | None, probes: Probes) -> Result:
    places = [settings.mail_path, settings.models_path, settings.folder]
    file = database.file if database else None
    places += [file.parent] if file else []
    free = {}
    for place in places:
        folder = next(each for each in (place, *place.parents) if each.exists())
        free[folder] = probes.free_bytes(folder)
    fullest, n_bytes = min(free.items(), key=lambda item: item[1])
    what = f"{n_bytes / 1e9:.1f} GB free at {fullest}"
    if n_bytes < LEAST_FREE_BYTES:
        return red(what, f"free at least {LEAST_FREE_BYTES / 1e9:.1f} GB there")
    return ok(what)


def libraries() -> Result:
    # Importing them also finds system libraries that are missing.
    for name in ("lightgbm", "sklearn"):
        import_module(name)
    versions = ", ".join(
        f"{name} {version(name)}" for name in ("lightgbm", "scikit-learn", "sqlalchemy", "httpx")
    )
    return ok(f"Python {platform.python_version()}, {versions}")


def clock(
    now: datetime, database: Database | None, replies: Mapping[str, Reply] | None, probes: Probes
) -> Result:
    """Compare the clock with the newest time in the database and with the clocks of the sources.

    If the sources or NTP confirm it, later times in the database come from a clock that was wrong.

    Args:
        replies: of the sources that answered; None if no source is enabled.
        probes: asks whether NTP keeps the clock.
    """
    newest = database.fetch(health.newest_time) if database else None
    behind = _format(newest - now) if newest and newest - now > MOST_SKEW else ""
    is_behind = f"{behind} behind the newest entry of the database"
    if behind and not any(reply.date for reply in (replies or {}).values()):
        if probes.is_synchronized():
            return warning(f"kept by NTP, but is {is_behind}: the clock was wrong once", _SET_ASIDE)
        return red(is_behind, _SET_THE_CLOCK)
    if replies is None:
        return ok("agrees with the database; there is no source to compare it with")
    skews = {
        name: _skew(now, reply.date, reply.age_s) for name, reply in replies.items() if reply.date
    }
    if not skews:
        return warning(
            "no source reported its time, so the clock could not be compared",
            "see the sources below; run `timedatectl` to check whether the clock is synchronised",
        )
    # The clock of one server may be wrong, but not the clocks of all.
    name, skew = min(skews.items(), key=lambda item: abs(item[1]))
    if abs(skew) > MOST_SKEW:
        side = "ahead of" if skew > timedelta(0) else "behind"
        return red(f"{_format(abs(skew))} {side} {name}", _SET_THE_CLOCK)
    if behind:
        return warning(
            f"agrees with {name}, but is {is_behind}: the clock was wrong once", _SET_ASIDE
        )
    return ok(f"agrees with {name}")


def _skew(now: datetime, date: datetime, age_s: float) -> timedelta:
    """Return how far this clock is ahead of a server, whose answer may have been cached."""
    ahead = now - date
    return ahead if ahead < timedelta(0) else max(timedelta(0), ahead - timedelta(seconds=age_s))


def _format(duration: timedelta) -> str:
    seconds = round(duration.total_seconds())
    return f"{seconds} s" if seconds < 600 else f"{seconds / 3600:.1f} hours"


def zones(database: Database | None) -> Result:
    ZoneInfo("Europe/Berlin")
    known = available_timezones()
    if database is None:
        return ok(f"{len(known)} are known")
    unknown = {zone: n for zone, n in database.fetch(health.zones).items() if zone not in known}
    if unknown:
        names = ", ".join(f"{zone!r}" for zone in sorted(unknown)[:5])
        return warning(
            f"{sum(unknown.values())} subscribers are in time zones that are not known: {names}",
            "update the Python package tzdata; `triage subscriber list` shows who they are",
        )
    return ok(f"{len(known)} are known, with those of all subscribers")
