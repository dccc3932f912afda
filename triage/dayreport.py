"""One honest line about what the day's sources gave."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date

from triage.identity import source_name
from triage.records import SourceDay, Verdict

_UNSETTLED = frozenset({Verdict.PARTIAL, Verdict.EMPTY_SUSPECT, Verdict.FAILED})


def day_report(
    counts: Mapping[str, int],
    days: Sequence[SourceDay],
    *,
    since: date,
    on: date,
    n_candidates: int,
) -> str:
    """Say in one line where the papers came from and what is missing.

    Args:
        counts: papers listed after `since`, of each source; it speaks for sources without days.
        days: how the sources' days ended, from `since` to `on`.
        since: the day of the digest before. What became of it is told again only where a source
            has no later day: where the reader's date is ahead of the source's.
        n_candidates: how many papers the slate was chosen from.

    Returns:
        For example "27 Jun: 270 new on arXiv, complete. Chosen from 757 papers."
    """
    by_source: dict[str, list[SourceDay]] = {}
    for day in sorted(days, key=lambda day: day.on):
        by_source.setdefault(day.source, []).append(day)
    parts = []
    for source in dict.fromkeys((*counts, *by_source)):
        told = by_source.get(source, [])
        fresh = [day for day in told if day.on > since] or told[-1:]
        parts.append(_about(source_name(source), fresh, counts.get(source, 0), on))
    read = "; ".join(parts) if parts else "nothing new"
    return f"{_short(on)}: {read}. Chosen from {n_candidates:,} papers."


def _about(name: str, days: Sequence[SourceDay], count: int, on: date) -> str:
    """Say how the days of one source stand: what was read of them, then what is missing."""
    if not days:
        return f"{count:,} new on {name}"
    got = sum(day.got for day in days if day.verdict is Verdict.COMPLETE)
    missing = [_missing(name, day, on) for day in days if day.verdict in _UNSETTLED]
    if missing:
        return ", ".join([f"{got:,} new on {name}", *missing] if got else missing)
    if all(day.verdict is Verdict.EMPTY_EXPECTED for day in days):
        return f"no announcement on {name}"
    return f"{got:,} new on {name}, complete"


def _missing(name: str, day: SourceDay, on: date) -> str:
    when = "" if day.on == on else f" of {_short(day.on)}"
    if day.verdict is Verdict.PARTIAL:
        of = f" of {day.expected:,}" if day.expected else ""
        return f"{day.got:,}{of} on {name}{when} so far, the rest will follow"
    if day.verdict is Verdict.EMPTY_SUSPECT:
        return f"{name}{when} gave nothing although papers were due; they will follow"
    return f"{name}{when} could not be read"


def _short(on: date) -> str:
    return f"{on.day} {on:%b}"
