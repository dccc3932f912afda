"""Looks at this machine: its secret, clock, disk, libraries and time zones."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from datetime import datetime, timedelta
from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, available_timezones

from triage.operations.doctor.finding import Seen, ok, red, warning
from triage.settings import SECRET_FILE, secret, signing_secret
from triage.store import health

if TYPE_CHECKING:
    from triage.operations.doctor.probes import Probes, Reply
    from triage.settings import Settings
    from triage.store import Database

MOST_SKEW = timedelta(seconds=60)
LEAST_FREE_BYTES = 500_000_000
_SET_THE_CLOCK = "set the clock: run an NTP service, for example systemd-timesyncd"


def config(settings: Settings) -> Seen:
    # A wrong key or value ends every command before it begins.
    return ok(f"read from {settings.folder}; every key and value is as it must be")


def signing(settings: Settings) -> Seen:
    signing_secret(settings.folder)
    if secret("SECRET_KEY") is not None:
        return ok("a strong signing secret from the environment")
    path = settings.folder / SECRET_FILE
    if path.stat().st_mode & 0o077:
        return red(f"{path} can be read by other accounts", f"chmod 600 {path}")
    return ok("a strong signing secret, readable by this account only")


def disk(settings: Settings, database: Database | None, probes: Probes) -> Seen:
    places = [settings.mail_path, settings.models_path, settings.folder]
    file = health.file_of(database) if database else None
    places += [file.parent] if file else []
    free = {}
    for place in places:
        there = next(folder for folder in (place, *place.parents) if folder.exists())
        free[there] = probes.free_bytes(there)
    tightest = min(free, key=lambda place: free[place])
    what = f"{free[tightest] / 1e9:.1f} GB free at {tightest}"
    if free[tightest] < LEAST_FREE_BYTES:
        return red(what, f"free at least {LEAST_FREE_BYTES / 1e9:.1f} GB there")
    return ok(what)


def libraries() -> Seen:
    # That they are installed is not enough: their own libraries must be there as well.
    for name in ("lightgbm", "sklearn"):
        import_module(name)
    versions = ", ".join(
        f"{name} {version(name)}" for name in ("lightgbm", "scikit-learn", "sqlalchemy", "httpx")
    )
    return ok(f"Python {platform.python_version()}, {versions}")


def clock(now: datetime, database: Database | None, replies: Mapping[str, Reply] | None) -> Seen:
    """Compare the clock with what was written down and with the sources' own.

    Args:
        replies: of those sources that answered; None where no source is switched on.
    """
    newest = None
    if database:
        with database.read() as conn:
            newest = health.newest_time(conn)
    if newest is not None and newest - now > MOST_SKEW:
        return red(
            f"{_lasting(newest - now)} behind the newest entry of the database", _SET_THE_CLOCK
        )
    if replies is None:
        return ok("agrees with the database; there is no source to compare it with")
    skews = {name: _skew(now, reply) for name, reply in replies.items() if reply.date}
    if not skews:
        return warning(
            "no source told the time, so it could not be compared",
            "see the sources below; run `timedatectl` to see whether the clock is kept",
        )
    # One server may be wrong about the time; all of them are not.
    name = min(skews, key=lambda name: abs(skews[name]))
    if abs(skews[name]) > MOST_SKEW:
        side = "ahead of" if skews[name] > timedelta(0) else "behind"
        return red(f"{_lasting(abs(skews[name]))} {side} {name}", _SET_THE_CLOCK)
    return ok(f"agrees with {name}")


def _skew(now: datetime, reply: Reply) -> timedelta:
    """Return how far we are ahead of a server, whose answer a cache may have kept for a while."""
    assert reply.date is not None  # noqa: S101 - the caller has looked
    ahead = now - reply.date
    if ahead > timedelta(0):
        return max(timedelta(0), ahead - timedelta(seconds=reply.age_s))
    return ahead


def _lasting(span: timedelta) -> str:
    seconds = round(span.total_seconds())
    return f"{seconds} s" if seconds < 600 else f"{seconds / 3600:.1f} hours"


def zones(database: Database | None) -> Seen:
    ZoneInfo("Europe/Berlin")
    known = available_timezones()
    if database is None:
        return ok(f"{len(known)} are known")
    with database.read() as conn:
        lost = {zone: n for zone, n in health.zones(conn).items() if zone not in known}
    if lost:
        named = ", ".join(f"{zone!r}" for zone in sorted(lost)[:5])
        return warning(
            f"{sum(lost.values())} subscribers are in zones that are not known: {named}",
            "update the Python package tzdata; `triage subscriber list` shows who they are",
        )
    return ok(f"{len(known)} are known, and every subscriber's is among them")
