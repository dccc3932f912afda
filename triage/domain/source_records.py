"""What sources give: records in their own order, before anything is stored."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from triage.domain.records import Verdict


@dataclass(frozen=True, slots=True)
class FetchedPaper:
    """One record of a source, cleaned; the text as received stands beside it.

    `source` names the scheme of `source_id` (`arxiv`, `biorxiv`, `doi`, `feed:<name>`); a record
    without an id of its own has `source_id` None and is known by its title. One that is
    `update_only` changes a stored paper, and is nothing when that is not stored. `doi` is that of
    the work, in a journal too; `venue` is where it was published.
    """

    source: str
    source_id: str | None
    title: str
    abstract: str
    raw_title: str = ""
    raw_abstract: str = ""
    version: int | None = None
    authors: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    listed_on: date | None = None
    comment: str = ""
    doi: str | None = None
    upvotes: int | None = None
    tldr: str = ""
    venue: str = ""
    citations: int | None = None
    update_only: bool = False
    withdrawn: bool = False

    @property
    def key(self) -> tuple[str, str]:
        """Scheme and id; the id is empty where there is none."""
        return self.source, self.source_id or ""


@dataclass(frozen=True, slots=True)
class PaperId:
    """A paper that a source names without its text. `where` is its place in the source."""

    source: str
    source_id: str
    version: int | None
    where: str


@dataclass(frozen=True, slots=True)
class Rejected:
    """A record that was not stored: kept with its reason so that nothing is lost."""

    reason: str
    raw: str
    where: str


@dataclass(frozen=True, slots=True)
class SourceDay:
    """The proof that a source's day was read: counts are records, None where unknown."""

    source: str
    on: date
    verdict: Verdict
    expected: int | None
    got: int
    note: str = ""
    category: str = ""


@dataclass(frozen=True, slots=True)
class Batch:
    """What a source gave in one step; its cursor is stored when all the rest is."""

    papers: tuple[FetchedPaper, ...] = ()
    rejected: tuple[Rejected, ...] = ()
    cursor: str | None = None
    days: tuple[SourceDay, ...] = ()
    ids: tuple[PaperId, ...] = ()


@dataclass(frozen=True, slots=True)
class KnownPaper:
    """A stored work by the ids that others know it under: schemes with values."""

    id: int
    ids: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Enrichment:
    """What somebody else knows of a stored work; what is empty or None says nothing.

    `venue` is where it was published, never a preprint server. `ids` are further ids of the work.
    """

    paper_id: int
    tldr: str = ""
    venue: str = ""
    citations: int | None = None
    ids: tuple[tuple[str, str], ...] = ()
