"""Summarises in one line which sources were read for a digest, and what is missing.

Another line says what became of papers that the subscriber named.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from itertools import groupby

from triage.domain.paper_ids import source_name
from triage.domain.plain_text import clean, shorten
from triage.domain.records import Verdict
from triage.domain.source_records import SourceDay
from triage.store.named_papers import Outcome

_UNSETTLED = frozenset({Verdict.PARTIAL, Verdict.EMPTY_SUSPECT, Verdict.FAILED})
# More than so many names or feeds are counted, so that a line stays a line.
_MOST_NAMES = 3
_NAME_CHARS = 80


def day_report(
    counts: Mapping[str, int],
    days: Sequence[SourceDay],
    *,
    since: date,
    on: date,
    n_candidates: int,
) -> str:
    """Return one line: the number of papers of each source, and what is missing.

    Args:
        counts: papers listed after `since`, of each source; it speaks for sources without days.
        days: how the sources' days ended, from a little before `since` to `on`; those of single
            categories only say which of them are missing.
        since: the day of the digest before. Where the newest day of a source lies behind `on`, for
            it ends later than the reader's date begins, so did that which was told then.
        n_candidates: how many papers the slate was chosen from.

    Returns:
        For example "27 Jun: 270 new on arXiv, complete; bioRxiv could not be read. Chosen from
        757 papers."
    """
    by_source: dict[str, list[SourceDay]] = {}
    for day in sorted(days, key=lambda day: (day.on, day.category)):
        by_source.setdefault(day.source, []).append(day)
    # What the digest before reported is left out.
    fresh = {
        source: [day for day in told if day.on > since - (on - told[-1].on)]
        for source, told in by_source.items()
    }
    parts = [
        *(f"{n:,} new on {source_name(each)}" for each, n in counts.items() if each not in fresh),
        *_complete(fresh),
        *_missing(fresh, on),
        *_quiet(fresh),
    ]
    read = "; ".join(parts) if parts else "nothing new"
    return f"{_short(on)}: {read}. Chosen from {n_candidates:,} papers."


def named_report(outcome: Outcome) -> str:
    """Return a sentence on what became of the papers that a subscriber named; "" without news."""
    found, missing = outcome.n_found, outcome.missing
    parts = []
    if found:
        parts.append(
            f"{found:,} {'was found and is' if found == 1 else 'were found and are'} liked"
        )
    if missing:
        names = [f"“{shorten(clean(each.title or each.value), _NAME_CHARS)}”" for each in missing]
        verb = "was" if len(missing) == 1 else "were"
        parts.append(f"{len(missing):,} {verb} not found: {_listed(names)}")
    return f"Of the papers that you named, {'; '.join(parts)}." if parts else ""


def _complete(fresh: Mapping[str, Sequence[SourceDay]]) -> Iterator[str]:
    """Return the text about sources that are complete."""
    whole = {
        source: sum(day.got for day in _whole_days(days))
        for source, days in fresh.items()
        if not _unsettled(days) and any(day.verdict is Verdict.COMPLETE for day in days)
    }
    feeds = [source for source in whole if _is_feed(source) and whole[source]]
    many = len(feeds) > _MOST_NAMES
    for source, n in whole.items():
        if not _is_feed(source) or (n and not many):
            yield f"{n:,} new on {source_name(source)}, complete"
    if many:
        yield f"{sum(whole[source] for source in feeds):,} new on {len(feeds)} feeds, complete"


def _missing(fresh: Mapping[str, Sequence[SourceDay]], on: date) -> Iterator[str]:
    """Return the text about sources that are not complete, after what was read from them."""
    unread: dict[tuple[Verdict, str], list[str]] = {}
    for source, days in fresh.items():
        name, told = source_name(source), _unsettled(days)
        got = sum(day.got for day in _whole_days(days) if day.verdict is Verdict.COMPLETE)
        verdicts = {day.verdict for day in told}
        if not got and len(verdicts) == 1 and Verdict.PARTIAL not in verdicts:
            unread.setdefault((told[0].verdict, _when(told, on)), []).append(name)
        elif told:
            lead = [f"{got:,} new on {name}"] if got else []
            by_verdict = groupby(sorted(told, key=_severity), key=_severity)
            late = _late(days)
            gone = [_gone(name, list(same), late, on) for _, same in by_verdict]
            yield ", ".join([*lead, *gone])
    for (verdict, when), names in unread.items():
        yield _unread(_listed(names) + when, verdict)


def _unread(who: str, verdict: Verdict) -> str:
    if verdict is Verdict.FAILED:
        return f"{who} could not be read"
    return f"{who} gave nothing although papers were due; they will follow"


def _late(days: Sequence[SourceDay]) -> dict[date, list[str]]:
    """Return the categories that are not announced yet, by day; none if no category is.

    One that has all it counts and is not settled waits for papers that nobody has named yet.
    """
    late: dict[date, list[str]] = {}
    for on, parts in groupby((day for day in days if day.category), key=lambda day: day.on):
        parts_of_day = list(parts)
        waiting = [
            day.category
            for day in parts_of_day
            if day.verdict in _UNSETTLED and day.expected in (None, day.got)
        ]
        if len(waiting) < len(parts_of_day):
            late[on] = waiting
    return late


def _gone(name: str, days: Sequence[SourceDay], late: Mapping[date, list[str]], on: date) -> str:
    """Return the text about missing days with the same verdict."""
    when, verdict = _when(days, on), days[0].verdict
    if verdict is not Verdict.PARTIAL:
        return _unread(name + when, verdict)
    got, expected = sum(day.got for day in days), sum(day.expected or 0 for day in days)
    of = f" of {expected:,}" if expected > got and None not in {d.expected for d in days} else ""
    categories = list(dict.fromkeys(each for day in days for each in late.get(day.on, ())))
    if categories:
        follows = f"{_listed(categories)} not yet announced, will follow"
    elif _is_feed(days[0].source):
        follows = "the oldest of them were left out"
    else:
        follows = "the rest will follow"
    return f"{got:,}{of} on {name}{when} so far, {follows}"


def _quiet(fresh: Mapping[str, Sequence[SourceDay]]) -> Iterator[str]:
    """Return the text about sources without news: those that announce on some days, and feeds."""
    silent = [
        source
        for source, days in fresh.items()
        if all(day.verdict is Verdict.EMPTY_EXPECTED for day in days)
        or (_is_feed(source) and not _unsettled(days) and not sum(day.got for day in days))
    ]
    announcing = [source_name(source) for source in silent if not _is_feed(source)]
    feeds = [source_name(source) for source in silent if _is_feed(source)]
    if announcing:
        yield f"no announcement on {_listed(announcing)}"
    if feeds:
        yield f"nothing new on {_listed(feeds)}"


def _whole_days(days: Iterable[SourceDay]) -> list[SourceDay]:
    return [day for day in days if not day.category]


def _unsettled(days: Iterable[SourceDay]) -> list[SourceDay]:
    return [day for day in _whole_days(days) if day.verdict in _UNSETTLED]


def _severity(day: SourceDay) -> int:
    return (Verdict.PARTIAL, Verdict.EMPTY_SUSPECT, Verdict.FAILED).index(day.verdict)


def _is_feed(source: str) -> bool:
    return source.startswith("feed:")


def _when(days: Sequence[SourceDay], on: date) -> str:
    """Return the names of days, unless it is the day of the digest."""
    if len(days) > 1:
        return f" of {len(days)} days since {_short(min(day.on for day in days))}"
    return "" if days[0].on == on else f" of {_short(days[0].on)}"


def _listed(names: Sequence[str]) -> str:
    shown, n_more = names[:_MOST_NAMES], len(names) - _MOST_NAMES
    if n_more > 0:
        return f"{', '.join(shown)} and {n_more} more"
    return " and ".join(filter(None, [", ".join(shown[:-1]), shown[-1]]))


def _short(on: date) -> str:
    return f"{on.day} {on:%b}"
