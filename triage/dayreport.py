"""One honest line about what the day's sources gave."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date

from triage.identity import source_name
from triage.records import SourceDay, Verdict


def day_report(
    counts: Mapping[str, int], days: Sequence[SourceDay], *, on: date, n_candidates: int
) -> str:
    """Say in one line where the papers came from and what is missing.

    Args:
        counts: new papers of each source since the last digest.
        days: how the sources' days ended, for those that say so.
        n_candidates: how many papers the slate was chosen from.

    Returns:
        For example "27 Jun: 270 new on arXiv, complete. Chosen from 757 papers."
    """
    latest = {day.source: day for day in sorted(days, key=lambda day: day.on)}
    parts = [
        _about(source, counts.get(source, 0), latest.get(source))
        for source in dict.fromkeys((*counts, *latest))
    ]
    read = "; ".join(parts) if parts else "nothing new"
    return f"{on.day} {on:%b}: {read}. Chosen from {n_candidates:,} papers."


def _about(source: str, n: int, day: SourceDay | None) -> str:
    name = source_name(source)
    if day is None:
        return f"{n:,} new on {name}"
    match day.verdict:
        case Verdict.COMPLETE:
            return f"{n:,} new on {name}, complete"
        case Verdict.PARTIAL:
            of = f" of {day.expected:,}" if day.expected else ""
            return f"{day.got:,}{of} on {name} so far, the rest will follow"
        case Verdict.EMPTY_EXPECTED:
            return f"no announcement on {name}"
        case Verdict.EMPTY_SUSPECT:
            return f"{name} gave nothing although papers were due; they will follow"
        case Verdict.FAILED:
            return f"{name} could not be read; its papers will follow"
