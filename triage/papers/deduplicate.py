"""Which rows are one work, kept true as records come, and by a person's word.

    fresh records → rows that share a mark → why are they one? → groups → columns of every row

A group is what its records make it, whatever the order in which they came. Two rows with ids are
one work if any two of their records are, and so on from row to row. A row that has only a title
joins the one work that it is likest to, and never joins two works with each other.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain, product
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from triage import store
from triage.domain.protocols import Clock
from triage.errors import NotFound
from triage.papers.merge_records import merge_records
from triage.papers.record_matching import RecordTraits, match_reason, share_of_runs, title_mark
from triage.store import Database

if TYPE_CHECKING:
    from sqlalchemy import Connection

BY_HAND = "said so by hand"


class _Groups:
    """The works that some rows belong to, in memory; `save` stores what changed."""

    def __init__(self, conn: Connection, rows: Collection[int]) -> None:
        self._conn = conn
        self._of = {row: group for group in store.works.groups(conn, rows) for row in group}
        self._parted = store.works.parted(conn, self._of)
        self._before = store.works.merged(conn, self._of)
        self._why = {row: why for row, (_, why) in self._before.items()}

    def of(self, row: int) -> set[int]:
        return self._of[row]

    def rows(self) -> set[int]:
        return set(self._of)

    def may_join(self, some: Iterable[int], others: Collection[int]) -> bool:
        return not any((one, other) in self._parted for one in some for other in others)

    def join(self, one: int, other: int, why: str) -> bool:
        """Make two works one, unless a person parted them; tell whether they are one now."""
        mine, theirs = self._of[one], self._of[other]
        if mine is theirs:
            return True
        if not self.may_join(mine, theirs):
            return False
        self._why.setdefault(max(min(mine), min(theirs)), why)
        for row in theirs:
            self._of[row] = mine
        mine |= theirs
        return True

    def leave(self, row: int) -> None:
        """Make a row a work of its own."""
        self._of[row].discard(row)
        self._of[row] = {row}
        self._why.pop(row, None)

    def save(self, nameless: Collection[int]) -> None:
        """Store who is merged into whom: the earliest row that has an id, or else the earliest."""
        changes = []
        for row, group in self._of.items():
            root = min(group - set(nameless), default=None) or min(group)
            into = None if row == root else root
            why = self._why.get(row, "the same work") if into else ""
            if (into, why) != self._before.get(row, (None, "")):
                changes.append((row, {"merged_into": into, "merged_because": why}))
        store.works.save(self._conn, changes)


def link_works(
    conn: Connection, fresh: Collection[int], told: Mapping[tuple[int, int], str] | None = None
) -> set[int]:
    """Find what the rows with fresh records are one work with, and store it.

    Args:
        told: pairs of rows, the lesser first, that somebody else gave one id, and that id.

    Returns:
        All rows of the works that changed.
    """
    known_as = told or {}
    pairs = store.works.sharing_marks(conn, fresh) | known_as.keys()
    bare = store.works.nameless(conn, set(chain.from_iterable(pairs)))
    pairs |= store.works.sharing_marks(conn, bare)
    groups = _Groups(conn, set(chain.from_iterable(pairs)))
    bare = store.works.nameless(conn, groups.rows())
    # A row without an id is weighed again even where it is at home: a likelier work may have come.
    pairs = {
        (one, other)
        for one, other in pairs
        if bare & {one, other} or groups.of(one) is not groups.of(other)
    }
    before = {row: frozenset(groups.of(row)) for row in groups.rows()}
    records = store.works.records(conn, set(chain.from_iterable(pairs)))
    traits = {
        row: [RecordTraits(each.paper) for each in several] for row, several in records.items()
    }
    named = sorted(pair for pair in pairs if bare.isdisjoint(pair))
    for one, other in named:
        if groups.of(one) is not groups.of(other):
            why = _why(traits[one], traits[other], known_as.get((one, other), ""))
            if why:
                groups.join(one, other, why)
    for row in sorted(bare):
        others = {sum(pair) - row for pair in pairs if row in pair} - bare
        _move_to_likeliest(groups, row, sorted(others), traits)
    groups.save(bare)
    return {row for row in before if before[row] != groups.of(row)}


def _move_to_likeliest(
    groups: _Groups, row: int, others: Sequence[int], traits: Mapping[int, Sequence[RecordTraits]]
) -> None:
    """Let a row without an id join the work that it is likest to, if it is like any."""
    # The same title comes first, then the likest abstract; the id decides what is left.
    hosts = [
        ((bare.key != named.key, -share_of_runs(bare, named), *named.paper.key), other, why)
        for other in others
        if groups.may_join([row], groups.of(other) - {row})
        for bare, named in product(traits[row], traits[other])
        if (why := _why([bare], [named], ""))
    ]
    if hosts:
        _, host, why = min(hosts, key=itemgetter(0))
        if host not in groups.of(row):
            groups.leave(row)
            groups.join(host, row, why)


def _why(some: Sequence[RecordTraits], others: Sequence[RecordTraits], known_as: str) -> str:
    for one, other in product(some, others):
        # Records that share no mark are not compared, whichever rows they stand in: what is one
        # work may not depend on what else is known of a row by then.
        if known_as or not one.blocking_keys.isdisjoint(other.blocking_keys):
            why = match_reason(one, other, known_as)
            if why:
                return why
    return ""


def refresh(conn: Connection, rows: Collection[int], now: datetime, *, anew: bool = False) -> None:
    """Make the columns of these rows' works from all that was said of them.

    Args:
        anew: forget what was learned of them elsewhere than in records, and have it asked again.
    """
    groups = store.works.groups(conn, rows)
    members = {row for group in groups for row in group}
    records = store.works.records(conn, members)
    stored = store.works.columns(conn, members)
    # These alone change works, and still look like the one that they came from. Nothing is learned
    # of them elsewhere: that goes by ids.
    bare = store.works.nameless(conn, members)
    changes: list[tuple[int, dict[str, Any]]] = []
    rewritten: set[int] = set()
    for group in groups:
        said = [each.paper for row in group for each in records[row]]
        columns = merge_records(said)
        if not anew:
            _keep_learned(columns, [stored[row] for row in group - bare])
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


def _keep_learned(columns: dict[str, Any], rows: Sequence[dict[str, Any]]) -> None:
    """Fill gaps with what enrichment wrote into rows and no record says."""
    for name in ("tldr", "venue"):
        columns[name] = columns[name] or max((row[name] for row in rows), default="")
    counts = [columns["citations"], *(row["citations"] for row in rows)]
    columns["citations"] = max((n for n in counts if n is not None), default=None)


def differing(columns: dict[str, Any], row: dict[str, Any], now: datetime) -> dict[str, Any]:
    """Return the columns in which a stored row differs from what is known of its work."""
    wanted = dict(columns)
    withdrawn = wanted.pop("withdrawn")
    wanted["withdrawn_at"] = (row["withdrawn_at"] or now) if withdrawn else None
    return {name: value for name, value in wanted.items() if value != row[name]}


@dataclass(frozen=True, slots=True)
class Provenance:
    """One record of a work: who said it, when, under which id, and why it belongs there.

    `why` is empty for what the work began with.
    """

    origin: str
    received_at: datetime
    id: str
    why: str


def provenance(conn: Connection, row: int) -> list[Provenance]:
    """Return what a work is made of, what it began with first."""
    [group] = store.works.groups(conn, [row])
    merged = store.works.merged(conn, group)
    told = []
    for member in sorted(group, key=lambda each: (each in merged, each)):
        why = merged[member][1] if member in merged else ""
        for record in store.papers.records_of(conn, member):
            id = f"{record['source']}:{record['source_id']}"
            if record["source_id"] is None:
                id = f"title:{record['raw_title']}"
            told.append(Provenance(record["origin"], record["received_at"], id, why))
    return told


def split(database: Database, text: str, clock: Clock) -> list[int]:
    """Part the paper known as `text` from all that it was merged with, for good.

    Returns:
        The rows that it was parted from; none if it stands alone.

    Raises:
        NotFound: no such paper is stored.
    """
    with database.write() as conn:
        row = _row(conn, text)
        [group] = store.works.groups(conn, [row])
        others = sorted(group - {row})
        if others:
            now = clock.now()
            groups = _Groups(conn, group)
            groups.leave(row)
            groups.save(store.works.nameless(conn, group))
            store.works.part(conn, row, others, now)
            refresh(conn, group, now, anew=True)
    return others


def merge(database: Database, text: str, other_text: str, clock: Clock) -> bool:
    """Make two papers one work because a person says so; False if they were one already.

    Raises:
        NotFound: one of them is not stored.
    """
    with database.write() as conn:
        row, other = _row(conn, text), _row(conn, other_text)
        several = store.works.groups(conn, [row, other])
        if len(several) == 1:
            return False
        store.works.unpart(conn, several[0], several[1])
        groups = _Groups(conn, [row, other])
        groups.join(row, other, BY_HAND)
        groups.save(store.works.nameless(conn, groups.rows()))
        refresh(conn, groups.rows(), clock.now())
    return True


def _row(conn: Connection, text: str) -> int:
    """Return the row that a person means: of that very id or title, though it be merged."""
    scheme, _, title = text.strip().partition(":")
    if scheme == "title":
        rows = store.works.marked(conn, [title_mark(title.strip())]).get(title_mark(title.strip()))
        bare = store.works.nameless(conn, rows or ())
        found = min(bare or rows or (), default=None)
    else:
        keys = store.papers.keys_meant(text)
        homes = store.works.homes(conn, keys)
        found = next((homes[key] for key in keys if key in homes), None)
    if found is None:
        raise NotFound(f"no paper {text[:80]!r}: `triage papers import` brings papers in")
    return found
