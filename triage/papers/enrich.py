"""Asks those who know more of recent papers: a summary, a venue, citations, other ids.

No digest waits for it. What is asked can be asked again: it fills gaps, and of counts the largest
stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import structlog

from triage import store
from triage.domain.chunks import chunks
from triage.domain.protocols import Clock, Enricher, Progress, silent
from triage.domain.records import Paper
from triage.domain.source_records import Enrichment, KnownPaper
from triage.errors import DatabaseError, SourceError
from triage.papers import deduplicate
from triage.store import Database

if TYPE_CHECKING:
    from sqlalchemy import Connection

log = structlog.get_logger()

# A summary is written in the days after a paper is listed, a venue is known in the months after.
ASKED_AGAIN: Final = timedelta(days=7)
# More than a day lists, so that a week's backlog is caught up.
MOST_PAPERS: Final = 2_000
# Stored together, so that what one run learned stays when it dies.
_TOGETHER: Final = 500


@dataclass(frozen=True, slots=True)
class EnrichReport:
    """How many papers were asked about and of how many something was learned; what failed."""

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
    """Ask about the papers that digests may still show, at most 2,000, and store what is new.

    One that fails is not asked further in this run and holds nobody up; the papers that it was not
    asked about stay due.

    Args:
        enrichers: where two know a venue, the first is believed.
        max_age_days: papers listed longer ago are not asked about.
    """
    willing = list(enrichers)
    asked = enriched = 0
    problems: list[str] = []
    for papers, n_waiting in _due(database, clock.now(), max_age_days) if willing else ():
        learned: list[Enrichment] = []
        for enricher in tuple(willing):
            problem = _ask(enricher, papers, learned)
            if problem:
                willing.remove(enricher)
                problems.append(problem)
        now = clock.now()
        with database.write() as conn:
            enriched += _store(conn, learned, now)
            if not problems:
                store.enrichment.asked(conn, [paper.id for paper in papers], now)
        asked += len(papers)
        progress("enrich", asked, n_waiting)
        if not willing:
            break
    return EnrichReport(asked, enriched, tuple(problems))


def _due(
    database: Database, now: datetime, max_age_days: int
) -> Iterator[tuple[Sequence[KnownPaper], int]]:
    """Yield the papers to ask about in a few lots, each with the number of all."""
    since = now.date() - timedelta(days=max_age_days)
    with database.read() as conn:
        waiting = store.enrichment.waiting(conn, since, now - ASKED_AGAIN, MOST_PAPERS)
    for some in chunks(waiting, _TOGETHER):
        yield some, len(waiting)


def _ask(enricher: Enricher, papers: Sequence[KnownPaper], learned: list[Enrichment]) -> str:
    """Add what an enricher knows to what was learned; return in words what failed."""
    try:
        for each in enricher.enrich(papers):
            learned.append(each)  # what came before a failure stands
    except SourceError as error:
        log.warning("enricher failed", enricher=enricher.name, error=str(error))
        return f"{enricher.name}: {error}"
    except DatabaseError:
        raise
    except Exception as error:
        # An answer that no parser was ready for must not cost what the others know.
        log.exception("enricher broken", enricher=enricher.name)
        return f"{enricher.name}: {type(error).__name__}, see the log"
    return ""


def _store(conn: Connection, learned: Iterable[Enrichment], now: datetime) -> int:
    """Store what was learned and return of how many papers it was news."""
    about: dict[int, list[Enrichment]] = {}
    for each in learned:
        about.setdefault(each.paper_id, []).append(each)
    # Minutes may have passed since we asked.
    standing = store.search.findable(conn, about)
    stored = store.papers.load(conn, standing)
    ids = [(key, id) for id in stored for each in about[id] for key in each.ids]
    known = store.papers.find(conn, [key for key, _ in ids])
    new_to = {id for key, id in ids if key not in known}
    store.papers.add_ids(conn, ids)
    for id, paper in stored.items():
        changes = improved(paper, about[id])
        if changes:
            store.enrichment.save(conn, id, changes | {"updated_at": now})
            new_to.add(id)
    # An id that another row bears says that the two are one work.
    told = {
        (min(id, known[key]), max(id, known[key])): ":".join(key)
        for key, id in ids
        if known.get(key, id) != id
    }
    deduplicate.refresh(conn, deduplicate.link_works(conn, (), told), now)
    return len(new_to)


def improved(stored: Paper, learned: Iterable[Enrichment]) -> dict[str, Any]:
    """Return the columns of a stored paper that change by what was learned of it.

    Summary and venue fill a gap, the first that is known; of citations the most stay. The same
    again changes nothing.
    """
    changes: dict[str, Any] = {}
    for each in learned:
        if each.tldr and not stored.tldr:
            changes.setdefault("tldr", each.tldr)
        if each.venue and not stored.venue:
            changes.setdefault("venue", each.venue)
        if each.citations is not None:
            changes["citations"] = max(changes.get("citations", -1), each.citations)
    if changes.get("citations", -1) <= (-1 if stored.citations is None else stored.citations):
        changes.pop("citations", None)
    return changes
