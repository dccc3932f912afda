"""The records that sources and enrichers return, before anything is stored."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from triage.domain.records import Verdict


@dataclass(frozen=True, slots=True)
class FetchedPaper:
    """One cleaned record of a source; `raw_title` and `raw_abstract` are the text as received.

    `source` names the scheme of `source_id` (`arxiv`, `biorxiv`, `doi`, `feed:<name>`). A record
    without an id has `source_id` None and is identified by its title. An `update_only` record
    changes a stored paper and is ignored if that is not stored. A `named` record came because a
    person named the paper, so it is no news. `doi` may be that of the journal article; `venue` is
    where the work was published. `links` are addresses of its code and its pages.
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
    links: tuple[str, ...] = ()
    update_only: bool = False
    withdrawn: bool = False
    named: bool = False

    @property
    def key(self) -> tuple[str, str]:
        """Scheme and id; the id is "" if there is none."""
        return self.source, self.source_id or ""


@dataclass(frozen=True, slots=True)
class PaperId:
    """A paper that a source only names; `where` is the place in the source."""

    source: str
    source_id: str
    version: int | None
    where: str


SCHEMES = ("arxiv", "title", "doi", "biorxiv")
"""The schemes of a `NamedPaper`."""


@dataclass(frozen=True, slots=True)
class NamedPaper:
    """A paper that a person named, and what they said about it.

    `scheme` is `arxiv`, `doi`, `biorxiv` for a DOI of bioRxiv or medRxiv, or `title` for a paper
    without an id, whose `value` is its `title_key`.
    """

    scheme: str
    value: str
    title: str = ""
    authors: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[str, str]:
        return self.scheme, self.value

    @property
    def ids(self) -> tuple[tuple[str, str], ...]:
        return () if self.scheme == "title" else (self.key,)


@dataclass(frozen=True, slots=True)
class Rejected:
    """A record that cannot be stored, and the reason."""

    reason: str
    raw: str
    where: str


@dataclass(frozen=True, slots=True)
class SourceDay:
    """The result of reading one day of a source. Counts are records; None is unknown."""

    source: str
    on: date
    verdict: Verdict
    expected: int | None
    got: int
    note: str = ""
    category: str = ""


@dataclass(frozen=True, slots=True)
class Batch:
    """The records of one step. The cursor is stored after everything else is stored."""

    papers: tuple[FetchedPaper, ...] = ()
    rejected: tuple[Rejected, ...] = ()
    cursor: str | None = None
    days: tuple[SourceDay, ...] = ()
    ids: tuple[PaperId, ...] = ()


@dataclass(frozen=True, slots=True)
class KnownPaper:
    """A stored work and its ids elsewhere, as pairs of scheme and value."""

    id: int
    ids: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Enrichment:
    """More data about a stored work; empty and None mean unknown.

    `venue` is never a preprint server. `ids` are further ids of the work.
    """

    paper_id: int
    tldr: str = ""
    venue: str = ""
    citations: int | None = None
    ids: tuple[tuple[str, str], ...] = ()
