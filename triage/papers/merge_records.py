"""What all records of one work say together: pure, and the same in whatever order they came."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from typing import Any, Final, TypeVar

from triage.domain.paper_ids import title_key
from triage.domain.source_records import FetchedPaper
from triage.papers.record_matching import RecordTraits, alike

T = TypeVar("T")

# Whose text stands for a work that several archives have; what is not named comes after.
_RANK: Final = {"arxiv": 0, "biorxiv": 1, "medrxiv": 1, "doi": 2}
_RANK_OF_OTHERS: Final = 3
# A new version that keeps less of the title or of the abstract before it is a major revision.
_KEPT: Final = 0.7


def merge_records(records: Sequence[FetchedPaper]) -> dict[str, Any]:
    """Return what is known of a work, by column of `papers`.

    The newest version in the foremost archive gives text and ids; others fill its gaps. Categories
    add up, counts are the largest, the listing day is the first. `withdrawn` is that of the newest
    version, or of a record without one, and `revised_on` the day of the last major revision.

    Args:
        records: all of the work, at least one; those without a title only add to the others.
    """
    ranked = sorted(records, key=_order)
    main = ranked[0]
    same_text = [each for each in ranked if each.key == main.key]
    newest = [each for each in same_text if each.version == main.version]
    days = [each.listed_on for each in records if each.listed_on is not None]
    others = {each for record in records for each in record.categories} - set(main.categories)
    return {
        "source": main.source,
        "source_id": main.source_id,
        "version": main.version,
        "title": main.title,
        "title_key": title_key(main.title) or main.title,
        "abstract": main.abstract,
        "authors": list(_first(each.authors for each in ranked) or ()),
        "categories": [*main.categories, *sorted(others)],
        "listed_on": min(days),
        "comment": _first(each.comment for each in newest) or "",
        "upvotes": _most(each.upvotes for each in records),
        "tldr": _first(each.tldr for each in ranked) or "",
        "venue": _first(each.venue for each in ranked) or "",
        "citations": _most(each.citations for each in records),
        "withdrawn": _is_withdrawn(ranked),
        "revised_on": _revised_on(same_text),
    }


def _order(record: FetchedPaper) -> tuple[Any, ...]:
    """Return what sorts records: the one that speaks for the work comes first."""
    return (
        not record.title,
        record.source_id is None,
        _RANK.get(record.source, _RANK_OF_OTHERS),
        record.key,
        -(record.version or 0),
        not record.authors,
        -len(record.abstract),
        record.abstract,
        record.title,
        record.authors,
        record.comment,
        record.tldr,
        record.venue,
        record.categories,
    )


def _first(values: Iterable[T]) -> T | None:
    return next(filter(None, values), None)


def _is_withdrawn(ranked: Sequence[FetchedPaper]) -> bool:
    newest = {each.key: each.version for each in reversed(ranked) if each.version}
    return any(
        each.withdrawn and (each.version is None or each.version == newest[each.key])
        for each in ranked
    )


def _most(counts: Iterable[int | None]) -> int | None:
    return max((each for each in counts if each is not None), default=None)


def _revised_on(versions: Sequence[FetchedPaper]) -> date | None:
    """Return when the last version came that says something else than the one before it."""
    spoken: dict[int, FetchedPaper] = {}
    for each in versions:
        if each.version and each.title:
            spoken.setdefault(each.version, each)
    if len(spoken) < 2:
        return None
    numbers = sorted(spoken)
    for before, number in zip(numbers[-2::-1], numbers[:0:-1], strict=True):
        old, new = RecordTraits(spoken[before]), RecordTraits(spoken[number])
        n = max(len(old.runs), len(new.runs))
        kept = len(old.runs & new.runs) / n if n else 1.0
        if min(kept, alike(old.letters, new.letters)) < _KEPT:
            days = [v.listed_on for v in versions if v.version == number and v.listed_on]
            return min(days, default=None)
    return None
