"""Measure whether exactly the records of one work are joined.

    python -m benchmarks.identity

Targets on 1,000 pairs of known truth: precision at least 0.999, recall at least 0.98.

Every second pair of `benchmarks.pairs` is held out: no constant was chosen on it. The first record
of each pair is stored with six months of listings. Then the second ones are ingested as from
another archive. A record counts as joined with all records of its work, right or wrong.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from benchmarks.figures import record, skip
from benchmarks.pairs import PAPERS, Pair, corpus, pairs
from triage import store
from triage.domain.source_records import Batch, FetchedPaper
from triage.papers.ingest import ingest
from triage.papers.record_matching import title_blocking_key
from triage.store import Database, open_database
from triage.store.migrate import upgrade

if TYPE_CHECKING:
    from sqlalchemy import Connection


class _Source:
    name = "pairs"

    def __init__(self, papers: Sequence[FetchedPaper]) -> None:
        self._papers = papers

    def fetch(self, _cursor: str | None) -> Iterator[Batch]:
        for start in range(0, len(self._papers), 500):
            yield Batch(papers=tuple(self._papers[start : start + 500]))


class _Clock:
    def now(self) -> datetime:
        return datetime(2026, 9, 1, tzinfo=UTC)

    def sleep(self, seconds: float) -> None:
        raise NotImplementedError


@dataclass(frozen=True)
class Verdict:
    """Whether a pair was joined, and whether its second record was joined with another paper."""

    pair: Pair
    joined: bool
    elsewhere: bool


def judged(
    database: Database, made: Sequence[Pair], others: Sequence[FetchedPaper]
) -> list[Verdict]:
    """Store the other papers and the first records, then the second ones; return the verdicts."""
    firsts = [pair.first for pair in made]
    begun = {first.source_id for first in firsts}
    for source in (
        [*(each for each in others if each.source_id not in begun), *firsts],
        [pair.second for pair in made],
    ):
        for _ in ingest(database, _Source(source), _Clock(), resume=False):
            pass
    verdicts = []
    with database.read() as conn:
        for pair in made:
            group = _work(conn, pair.second)
            joined = not group.isdisjoint(_work(conn, pair.first))
            arxiv = {
                record.paper.source_id
                for several in store.works.records(conn, group).values()
                for record in several
                if record.paper.source == "arxiv"
            }
            verdicts.append(Verdict(pair, joined, bool(arxiv - {pair.origin}) and not joined))
    return verdicts


def _work(conn: Connection, paper: FetchedPaper) -> set[int]:
    """Return the rows of a record's work."""
    if paper.source_id is None:
        rows = store.works.find_by_blocking_keys(conn, [title_blocking_key(paper.title)])[
            title_blocking_key(paper.title)
        ]
        row = min(store.works.find_without_ids(conn, rows))
    else:
        row = store.works.find_rows(conn, [(paper.source, paper.source_id)])[
            paper.source, paper.source_id
        ]
    [group] = store.works.groups(conn, [row])
    return group


def scores(verdicts: Sequence[Verdict]) -> dict[str, float]:
    """Return precision, recall and their counts."""
    right = sum(each.joined and each.pair.one for each in verdicts)
    wrong = sum((each.joined and not each.pair.one) or each.elsewhere for each in verdicts)
    missed = sum(each.pair.one and not each.joined for each in verdicts)
    return {
        "pairs": len(verdicts),
        "right": right,
        "wrong": wrong,
        "missed": missed,
        "precision": right / max(right + wrong, 1),
        "recall": right / max(right + missed, 1),
    }


def main() -> None:
    if not PAPERS.exists():
        skip("there is no listings-2026 beside the checkout")
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    papers = corpus()
    made = pairs(papers, n)
    with tempfile.TemporaryDirectory() as folder:
        database = open_database(f"sqlite:///{folder}/triage.db")
        upgrade(database)
        verdicts = judged(database, made, papers)
        database.close()
    for kind in dict.fromkeys(pair.kind for pair in made):
        of_kind = [each for each in verdicts if each.pair.kind == kind]
        joined = sum(each.joined for each in of_kind)
        print(f"{kind:<36}{joined:>5} joined of {len(of_kind)}")
    for each in verdicts:
        if each.elsewhere or each.joined != each.pair.one:
            print(f"{each.pair.kind}: {each.pair.first.title!r} | {each.pair.second.title!r}")
    held_out = [each for i, each in enumerate(verdicts) if i // 2 % 2]
    told = {"all": scores(verdicts), "held out": scores(held_out)}
    for name, figures in told.items():
        print(name, figures)
    record(
        "python -m benchmarks.identity",
        {
            "identity_precision": (round(told["all"]["precision"], 4), f"on {n} pairs"),
            "identity_recall": (round(told["all"]["recall"], 4), f"on {n} pairs"),
            "identity_held_out_precision": (round(told["held out"]["precision"], 4), "on half"),
            "identity_held_out_recall": (round(told["held out"]["recall"], 4), "on half"),
        },
    )


if __name__ == "__main__":
    main()
