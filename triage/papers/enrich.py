"""Requests a summary, a venue, citations and other ids of recent papers from enrichers.

No digest waits for it. It can be repeated: it fills gaps, and the largest count stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import structlog

from triage import store
from triage.domain.chunks import chunks
from triage.domain.protocols import Clock, Enricher, Progress, silent
from triage.domain.records import Paper
from triage.domain.source_records import Enrichment, KnownPaper
from triage.errors import DatabaseError, SourceError
from triage.papers import deduplicate
from triage.store import Connection, Database

log = structlog.get_logger()

# Summaries appear in the days after a paper is listed, venues in the months after.
ASKED_AGAIN: Final = timedelta(days=7)
# More than a day lists, so that a week's backlog is caught up.
MOST_PAPERS: Final = 2_000
# Stored in batches, so that a run that stops keeps its results.
_BATCH: Final = 500


@dataclass(frozen=True, slots=True)
class EnrichReport:
    """How many papers were requested and how many changed; the errors."""

    asked: int = 0
    enriched: int = 0
    problems: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "; ".join([f"asked about {self.asked}, enriched {self.enriched}", *self.problems])


def enrich(
    database: Database,
    enrichers: Sequence[Enricher],
    clock: Clock,
    *,
    max_age_days: int,
    progress: Progress = silent,
) -> EnrichReport:
    """Enrich the papers that digests may still show, at most 2,000, and store what is new.

    An enricher that fails gets no more requests in this run; its papers stay due.

    Args:
        enrichers: where two give a venue, the first one counts.
        max_age_days: papers listed longer ago are left out.
    """
    working = list(enrichers)
    if not working:
        return EnrichReport()
    asked = enriched = 0
    problems: list[str] = []
    now = clock.now()
    since = now.date() - timedelta(days=max_age_days)
    with database.read() as conn:
        waiting = store.enrichment.waiting(conn, since, now - ASKED_AGAIN, MOST_PAPERS)
    for papers in chunks(waiting, _BATCH):
        enrichments: list[Enrichment] = []
        for enricher in tuple(working):
            problem = _request(enricher, papers, enrichments)
            if problem:
                working.remove(enricher)
                problems.append(problem)
        now = clock.now()
        with database.write() as conn:
            store.take_turn(conn, store.Turn.PAPERS)
            enriched += _store(conn, enrichments, now)
            if not problems:
                store.enrichment.mark_looked_up(conn, [paper.id for paper in papers], now)
        asked += len(papers)
        progress("enrich", asked, len(waiting))
        if not working:
            break
    return EnrichReport(asked, enriched, tuple(problems))


def _request(
    enricher: Enricher, papers: Sequence[KnownPaper], enrichments: list[Enrichment]
) -> str:
    """Append an enricher's replies to `enrichments`; return the error, empty if none."""
    try:
        for each in enricher.enrich(papers):
            enrichments.append(each)  # replies before an error are kept
    except SourceError as error:
        log.warning("enricher failed", enricher=enricher.name, error=str(error))
        return f"{enricher.name}: {error}"
    except DatabaseError:
        raise
    except Exception as error:
        # A reply that breaks a parser must not stop the other enrichers.
        log.exception("enricher broken", enricher=enricher.name)
        return f"{enricher.name}: {type(error).__name__}, see the log"
    return ""


def _store(conn: Connection, enrichments: Iterable[Enrichment], now: datetime) -> int:
    """Store enrichments and return the number of papers that changed."""
    by_paper: dict[int, list[Enrichment]] = {}
    for each in enrichments:
        by_paper.setdefault(each.paper_id, []).append(each)
    # The request may have taken minutes.
    standing = store.search.findable(conn, by_paper)
    stored = store.papers.load(conn, standing)
    ids = [(key, id) for id in stored for each in by_paper[id] for key in each.ids]
    known = store.papers.find(conn, [key for key, _ in ids])
    changed = {id for key, id in ids if key not in known}
    store.papers.add_ids(conn, ids)
    for id, paper in stored.items():
        changes = improved(paper, by_paper[id])
        if changes:
            store.enrichment.save(conn, id, changes | {"updated_at": now})
            changed.add(id)
    # An id that another row has means that the two are one work.
    same_id = {
        (min(id, known[key]), max(id, known[key])): ":".join(key)
        for key, id in ids
        if known.get(key, id) != id
    }
    deduplicate.refresh(conn, deduplicate.link_works(conn, (), same_id, {}), now)
    return len(changed)


def improved(stored: Paper, enrichments: Iterable[Enrichment]) -> dict[str, Any]:
    """Return the columns of a stored paper that enrichments change, with the new values.

    The first summary and venue fill a gap; the largest citation count stays.
    """
    changes: dict[str, Any] = {}
    for each in enrichments:
        if each.tldr and not stored.tldr:
            changes.setdefault("tldr", each.tldr)
        if each.venue and not stored.venue:
            changes.setdefault("venue", each.venue)
        n = changes.get("citations", stored.citations)
        if each.citations is not None and (n is None or each.citations > n):
            changes["citations"] = each.citations
    return changes
