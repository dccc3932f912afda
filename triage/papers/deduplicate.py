"""Deduplication: groups the rows of papers that are one work, by records and by hand.

    new records → rows that share a blocking key → match reason → groups → columns of every row

The order of the records has no effect. Two rows with ids are one work if any two of their records
match, also through other rows. A row that has only a title joins the most similar work, and never
joins two works with each other.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain, product
from operator import itemgetter
from typing import Any

from triage import store
from triage.domain.protocols import Clock
from triage.errors import NotFound
from triage.papers.merge_records import merge_records
from triage.papers.record_matching import (
    RecordTraits,
    archive_of,
    match_reason,
    share_of_runs,
    title_blocking_key,
)
from triage.store import Connection, Database

BY_HAND = "said so by hand"


class _Groups:
    """The works of some rows, in memory; `save` stores the changes.

    Attributes:
        of: the rows of each row's work, one set for all rows of a work.
    """

    def __init__(self, conn: Connection, rows: Collection[int]) -> None:
        self._conn = conn
        self.of = {row: group for group in store.works.groups(conn, rows) for row in group}
        self._split = store.works.find_split_pairs(conn, self.of)
        self._before = store.works.merged(conn, self.of)
        self._reasons = {row: reason for row, (_, reason) in self._before.items()}

    def may_join(self, some: Iterable[int], others: Collection[int]) -> bool:
        return self._split.isdisjoint(product(some, others))

    def join(self, one: int, other: int, reason: str) -> None:
        """Make two works one, unless a person split them."""
        group, joined = self.of[one], self.of[other]
        if group is joined or not self.may_join(group, joined):
            return
        self._reasons.setdefault(max(min(group), min(joined)), reason)
        group |= joined
        self.of |= dict.fromkeys(joined, group)

    def leave(self, row: int) -> None:
        """Make a row a work of its own."""
        self.of[row].discard(row)
        self.of[row] = {row}
        self._reasons.pop(row, None)

    def save(self, nameless: Collection[int]) -> None:
        """Store which row is the main one: the first with an id, or else the first."""
        changes = []
        for row, group in self.of.items():
            root = min(group.difference(nameless), default=None) or min(group)
            into = None if row == root else root
            reason = self._reasons.get(row, "the same work") if into else ""
            if (into, reason) != self._before.get(row, (None, "")):
                changes.append((row, {"merged_into": into, "merged_because": reason}))
        store.works.save(self._conn, changes)


def link_works(
    conn: Connection,
    fresh: Collection[int],
    same_id: Mapping[tuple[int, int], str],
    new: Mapping[int, Sequence[RecordTraits]],
) -> set[int]:
    """Find the works of the rows with new records, and store the changes.

    Args:
        new: the traits of all records of new rows, which need not be read again.
        same_id: pairs of rows, the smaller first, to which another service gave the same id.

    Returns:
        All rows of the works that changed.
    """
    pairs = _find_candidates(conn, fresh, same_id)
    if not pairs:
        return set()
    groups = _Groups(conn, set(chain.from_iterable(pairs)))
    bare = store.works.find_without_ids(conn, groups.of)
    # A row without an id is always compared again: a more similar work may be new.
    pairs = {
        (one, other)
        for one, other in pairs
        if bare & {one, other} or groups.of[one] is not groups.of[other]
    }
    before = {row: frozenset(group) for row, group in groups.of.items()}
    records = store.works.records(conn, set(chain.from_iterable(pairs)).difference(new))
    traits = dict(new) | {
        row: [RecordTraits(each.paper) for each in several] for row, several in records.items()
    }
    named = sorted(pair for pair in pairs if bare.isdisjoint(pair))
    for one, other in named:
        if groups.of[one] is not groups.of[other]:
            reason = _reason(traits[one], traits[other], same_id.get((one, other), ""))
            if reason:
                groups.join(one, other, reason)
    for row in sorted(bare):
        others = {sum(pair) - row for pair in pairs if row in pair} - bare
        _join_most_similar(groups, row, sorted(others), traits)
    groups.save(bare)
    return {row for row in before if before[row] != groups.of[row]}


def _find_candidates(
    conn: Connection, fresh: Collection[int], same_id: Iterable[tuple[int, int]]
) -> set[tuple[int, int]]:
    """Return the pairs of rows, one of them fresh or without an id, that may be one work."""
    share_id = store.works.find_pairs_with_common_key(conn, fresh) | dict.fromkeys(same_id, True)
    rows = set(chain.from_iterable(share_id))
    own = store.works.find_own_ids(conn, rows)
    archives = defaultdict(set, {row: {archive_of(*key) for key in own[row]} for row in own})
    # Most pairs are of two papers in one archive, which are two works unless they share an id.
    pairs = {
        (one, other)
        for (one, other), is_id in share_id.items()
        if is_id or len(archives[one] | archives[other]) > 1
    }
    return pairs | store.works.find_pairs_with_common_key(conn, rows - own.keys()).keys()


def _join_most_similar(
    groups: _Groups, row: int, others: Sequence[int], traits: Mapping[int, Sequence[RecordTraits]]
) -> None:
    """Let a row without an id join the most similar work that matches, if any."""
    # The same title comes first, then the most similar abstract, then the id.
    matches = [
        ((bare.key != named.key, -share_of_runs(bare, named), *named.paper.key), other, reason)
        for other in others
        if groups.may_join([row], groups.of[other] - {row})
        for bare, named in product(traits[row], traits[other])
        if (reason := _reason([bare], [named], ""))
    ]
    if matches:
        _, best, reason = min(matches, key=itemgetter(0))
        if best not in groups.of[row]:
            groups.leave(row)
            groups.join(best, row, reason)


def _reason(some: Sequence[RecordTraits], others: Sequence[RecordTraits], known_as: str) -> str:
    for one, other in product(some, others):
        reason = match_reason(one, other, known_as)
        # Records without a common blocking key never match, so that the result does not depend on
        # the other records of their rows.
        if reason and (known_as or not one.blocking_keys.isdisjoint(other.blocking_keys)):
            return reason
    return ""


def refresh(conn: Connection, rows: Collection[int], now: datetime, *, anew: bool = False) -> None:
    """Compute the columns of these rows' works from all their records, and store them.

    Args:
        anew: remove what enrichers added, so that it is requested again.
    """
    groups = store.works.groups(conn, rows)
    members = {row for group in groups for row in group}
    records = store.works.records(conn, members)
    stored = store.works.columns(conn, members)
    # Rows without ids may come from another work, with its columns. Enrichers never add to them,
    # because they need ids.
    bare = store.works.find_without_ids(conn, members)
    changes: list[tuple[int, dict[str, Any]]] = []
    rewritten: set[int] = set()
    for group in groups:
        columns = merge_records([each.paper for row in group for each in records[row]])
        if not anew:
            _keep_enrichments(columns, [stored[row] for row in group - bare])
        for row in group:
            changed = differing(columns, stored[row], now)
            if changed and anew:
                changed["enriched_at"] = None
            if changed:
                changes.append((row, changed | {"updated_at": now}))
            if changed.keys() & {"title", "abstract"}:
                rewritten.add(row)
    store.works.save(conn, changes)
    store.encodings.forget(conn, rewritten)


def _keep_enrichments(columns: dict[str, Any], rows: Sequence[dict[str, Any]]) -> None:
    """Fill gaps of `columns` with what enrichers added to the rows."""
    for name in ("tldr", "venue"):
        columns[name] = columns[name] or max((row[name] for row in rows), default="")
    counts = [columns["citations"], *(row["citations"] for row in rows)]
    columns["citations"] = max((n for n in counts if n is not None), default=None)


def differing(columns: dict[str, Any], row: dict[str, Any], now: datetime) -> dict[str, Any]:
    """Return the columns in which a stored row differs from its work, with the new values."""
    wanted = dict(columns)
    withdrawn = wanted.pop("withdrawn")
    wanted["withdrawn_at"] = (row["withdrawn_at"] or now) if withdrawn else None
    return {name: value for name, value in wanted.items() if value != row[name]}


@dataclass(frozen=True, slots=True)
class Provenance:
    """One record of a work: source, time, id, and why it matches; `why` is empty for the first."""

    origin: str
    received_at: datetime
    id: str
    why: str


def provenance(conn: Connection, row: int) -> list[Provenance]:
    """Return the records of a row's work, those of the main row first."""
    [group] = store.works.groups(conn, [row])
    merged = store.works.merged(conn, group)
    records = []
    for member in sorted(group, key=lambda each: (each in merged, each)):
        why = merged[member][1] if member in merged else ""
        for record in store.papers.records_of(conn, member):
            id = f"{record['source']}:{record['source_id']}"
            if record["source_id"] is None:
                id = f"title:{record['raw_title']}"
            records.append(Provenance(record["origin"], record["received_at"], id, why))
    return records


def split(database: Database, text: str, clock: Clock) -> list[int]:
    """Split the paper known as `text` permanently from all papers it was merged with.

    Returns:
        The rows that it was split from; empty if it was not merged.

    Raises:
        NotFound: no such paper is stored.
    """
    with database.write() as conn:
        store.take_turn(conn, store.Turn.PAPERS)
        row = _row(conn, text)
        [group] = store.works.groups(conn, [row])
        others = sorted(group - {row})
        if others:
            now = clock.now()
            groups = _Groups(conn, group)
            groups.leave(row)
            groups.save(store.works.find_without_ids(conn, group))
            store.works.add_splits(conn, row, others, now)
            refresh(conn, group, now, anew=True)
    return others


def merge(database: Database, text: str, other_text: str, clock: Clock) -> bool:
    """Make two papers one work by hand; False if they were one already.

    Raises:
        NotFound: one of them is not stored.
    """
    with database.write() as conn:
        store.take_turn(conn, store.Turn.PAPERS)
        row, other = _row(conn, text), _row(conn, other_text)
        several = store.works.groups(conn, [row, other])
        if len(several) == 1:
            return False
        store.works.delete_splits(conn, several[0], several[1])
        groups = _Groups(conn, [row, other])
        groups.join(row, other, BY_HAND)
        groups.save(store.works.find_without_ids(conn, groups.of))
        refresh(conn, groups.of, clock.now())
    return True


def _row(conn: Connection, text: str) -> int:
    """Return the row of exactly that id or title, even if it is merged."""
    scheme, _, title = text.strip().partition(":")
    if scheme == "title":
        key = title_blocking_key(title.strip())
        rows = store.works.find_by_blocking_keys(conn, [key]).get(key)
        bare = store.works.find_without_ids(conn, rows or ())
        found = min(bare or rows or (), default=None)
    else:
        keys = store.papers.keys_meant(text)
        by_key = store.works.find_rows(conn, keys)
        found = next((by_key[key] for key in keys if key in by_key), None)
    if found is None:
        raise NotFound(f"no paper {text[:80]!r}: `triage papers import` brings papers in")
    return found
