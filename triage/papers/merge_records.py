"""Merges all records of one work into one paper; pure, the order of the records has no effect."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from itertools import pairwise
from typing import Any, Final, TypeVar

from triage.domain.paper_ids import title_key
from triage.domain.source_records import FetchedPaper
from triage.papers.record_matching import RecordTraits, alike

T = TypeVar("T")

# The archive whose text is used for a work; others come after these.
_RANK: Final = {"arxiv": 0, "biorxiv": 1, "medrxiv": 1, "doi": 2}
_RANK_OF_OTHERS: Final = 3
# A new version that keeps a smaller share of the title or abstract is a major revision.
_KEPT: Final = 0.7


def merge_records(records: Sequence[FetchedPaper]) -> dict[str, Any]:
    """Return the columns of `papers` for a work.

    The newest version in the first archive of `_RANK` gives text and ids; others fill its gaps.
    Categories are joined, counts are the largest, the listing day is the first. `withdrawn` is that
    of the newest version, or of a record without version, `revised_on` the day of the last major
    revision. `is_listed` is False if people named the work and no list has had it.

    Args:
        records: all of the work, at least one; those without a title only fill gaps.
    """
    ranked = sorted(records, key=_order)
    main = ranked[0]
    same_text = [each for each in ranked if each.key == main.key]
    newest = [each for each in same_text if each.version == main.version]
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
        **_listing(records),
        "comment": _first(each.comment for each in newest) or "",
        "upvotes": _most(each.upvotes for each in records),
        "tldr": _first(each.tldr for each in ranked) or "",
        "venue": _first(each.venue for each in ranked) or "",
        "citations": _most(each.citations for each in records),
        "withdrawn": _is_withdrawn(ranked),
        "revised_on": _revised_on(same_text),
    }


def _listing(records: Sequence[FetchedPaper]) -> dict[str, Any]:
    """Return the columns that say when a work was listed, and whether it was at all."""
    # A new version is in a list, too, and makes no news of an old paper that somebody named.
    listed = [each for each in records if not each.named and not each.update_only]
    is_named = any(each.named for each in records)
    dated = listed if is_named and listed else records
    days = [each.listed_on for each in dated if each.listed_on is not None]
    return {"listed_on": min(days), "is_listed": bool(listed) or not is_named}


def _order(record: FetchedPaper) -> tuple[Any, ...]:
    """Return the sort key of records; the first one gives text and ids."""
    return (
        not record.title,
        not record.abstract,
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
    """Return the day of the last version that is a major revision, if any."""
    by_number: dict[int, FetchedPaper] = {}
    for each in versions:
        if each.version and each.title:
            by_number.setdefault(each.version, each)
    for number, before in pairwise(sorted(by_number, reverse=True)):
        old, new = RecordTraits(by_number[before]), RecordTraits(by_number[number])
        n = max(len(old.runs), len(new.runs))
        kept = len(old.runs & new.runs) / n if n else 1.0
        if min(kept, alike(old.letters, new.letters)) < _KEPT:
            days = [v.listed_on for v in versions if v.version == number and v.listed_on]
            return min(days, default=None)
    return None
