"""Turns the library of a subscriber into likes, and likes into a file for other programs.

    library → entries → stored papers                  → likes
                      → ids of papers not stored yet   → they wait
                      → entries that match no paper, each with a reason

Papers of a library are stored only if the operator imports it. A visitor of the pages cannot store
papers, because everybody would see them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from triage import store
from triage.domain.author_names import author_key, author_keys
from triage.domain.paper_ids import title_key
from triage.domain.protocols import Clock
from triage.domain.records import LIKES, Subscriber
from triage.domain.source_records import Batch, FetchedPaper, PaperId
from triage.errors import ConfigError, RejectedRecord
from triage.papers.ingest import ingest
from triage.sources.text.cleaning import normalise
from triage.store import Database
from triage.store.papers import Key
from triage.store.search import Filters
from triage.subscribers.bibliography import entries as bibliography
from triage.subscribers.bibliography.entries import LibraryEntry, Liked
from triage.subscribers.bibliography.running_text import FORMATS
from triage.subscribers.subscriptions import add_likes

if TYPE_CHECKING:
    from sqlalchemy import Connection

ORIGIN = "library"
LARGEST = 20 * 1024 * 1024
MOST_OF_AN_AUTHOR = 1000
# Shorter ones are borne by several papers: "Introduction", "Attention".
_SHORTEST_TITLE = 15
_LONGEST_TITLE = 1_000
_NO_TEXT = {
    "a PDF": b"%PDF",
    "a ZIP or Office file": b"PK\x03\x04",
    "an Office file": b"\xd0\xcf\x11\xe0",
}


@dataclass(frozen=True, slots=True)
class UnknownEntry:
    """An entry that matches no paper: its place, its name, and the reason."""

    where: str
    title: str
    why: str


@dataclass(frozen=True, slots=True)
class LibraryReport:
    """The result of an import: `read` = `liked` + `known` + `waiting` + unknown entries.

    Attributes:
        new_likes: the papers that are liked from now on, in their order.
        known: entries of papers that were voted on before, or that the library names twice.
        absent: the entries that are `waiting`, with an arXiv id or a DOI of papers that are not
            stored: they become likes when the library is read again after the papers have come.
        stored: papers that were stored because the library holds all that is needed.
    """

    new_likes: tuple[int, ...]
    known: int
    absent: tuple[LibraryEntry, ...] = ()
    unrecognised: tuple[UnknownEntry, ...] = ()
    stored: int = 0

    @property
    def liked(self) -> int:
        return len(self.new_likes)

    @property
    def waiting(self) -> int:
        return len(self.absent)

    @property
    def read(self) -> int:
        return self.recognised + len(self.unrecognised)

    @property
    def recognised(self) -> int:
        return self.liked + self.known + self.waiting

    def __str__(self) -> str:
        return (
            f"read {self.read}, recognised {self.recognised}: new likes {self.liked},"
            f" known {self.known}, not stored here {self.waiting}"
        )


def read_library(
    db: Database,
    clock: Clock,
    subscriber: Subscriber,
    content: bytes | str,
    *,
    new_papers: bool = False,
) -> LibraryReport:
    """Store likes for the papers of a library that are stored here.

    Args:
        content: any of the formats of `bibliography.read`.
        new_papers: store those that are not, where the library has their title, abstract and day,
            and keep the ids of the others aside.

    Raises:
        ConfigError: the content is larger than 20 MiB, no text, or of no known format; nothing was
            changed then.
    """
    entries = bibliography.read(_text(content))
    n_stored = 0
    if new_papers:
        with db.read() as conn:
            known = _papers_of(conn, entries)
        strange = [each for each, id in zip(entries, known, strict=True) if id is None and each.ids]
        source = _EntrySource(strange, clock.now().date())
        for told in ingest(db, source, clock, resume=False):
            n_stored = told.stored
    known_already = 0
    new_likes: list[int] = []
    absent: list[LibraryEntry] = []
    unrecognised: list[UnknownEntry] = []
    with db.write() as conn:
        chosen = _papers_of(conn, entries)
        before = {vote.paper_id for vote in store.events.votes(conn, subscriber.id)}
        for entry, paper_id in zip(entries, chosen, strict=True):
            if paper_id is None and entry.ids:
                absent.append(entry)
            elif paper_id is None:
                unrecognised.append(UnknownEntry(entry.where, entry.title, _why(entry)))
            elif paper_id in before:
                known_already += 1
            else:
                before.add(paper_id)
                new_likes.append(paper_id)
        add_likes(conn, subscriber.id, new_likes, clock.now(), "library")
    return LibraryReport(
        tuple(new_likes), known_already, tuple(absent), tuple(unrecognised), n_stored
    )


def find_papers_in_text(db: Database, text: str) -> tuple[list[int], int]:
    """Return the stored papers that a text names, and the number of entries without one.

    Raises:
        ConfigError: the text is no list.
    """
    entries = bibliography.read(text)
    with db.read() as conn:
        chosen = _papers_of(conn, entries)
    ids = [id for id in chosen if id is not None]
    return list(dict.fromkeys(ids)), len(entries) - len(ids)


def like_own(db: Database, clock: Clock, subscriber: Subscriber, author: str) -> LibraryReport:
    """Store likes for the stored papers of one author.

    Raises:
        ConfigError: the name is a single word, which many share.
    """
    key = author_key(author)
    if " " not in key:
        raise ConfigError("one word is no author's name: give the first name, too")
    with db.write() as conn:
        ids = store.search.newest(conn, Filters(author=author), MOST_OF_AN_AUTHOR)
        papers = store.papers.load(conn, ids)
        own = [id for id in ids if key in author_keys(papers[id].authors)]
        before = {vote.paper_id for vote in store.events.votes(conn, subscriber.id)}
        new = [id for id in own if id not in before]
        add_likes(conn, subscriber.id, new, clock.now(), "library")
    return LibraryReport(tuple(new), known=len(own) - len(new))


def likes(db: Database, subscriber: Subscriber) -> list[Liked]:
    """Return the likes of a subscriber, newest first."""
    with db.read() as conn:
        votes = [vote for vote in store.events.votes(conn, subscriber.id) if vote.kind in LIKES]
        papers = store.papers.load(conn, [vote.paper_id for vote in votes])
        dois = store.papers.dois(conn, [vote.paper_id for vote in votes])
    return [
        Liked(papers[vote.paper_id], vote.at, dois.get(vote.paper_id, ""))
        for vote in votes
        if vote.paper_id in papers
    ]


def _text(content: bytes | str) -> str:
    if len(content) > LARGEST:
        raise ConfigError("this library is larger than 20 MiB: export a part of it at a time")
    if isinstance(content, str):
        return content
    for kind, beginning in _NO_TEXT.items():
        if content.startswith(beginning):
            raise ConfigError(f"this is no text but {kind}: give one of {FORMATS}")
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16", "replace")
    if b"\0" in content:
        # UTF-16 has a NUL in every Latin letter, in the first byte if it is big-endian.
        n_first, n_second = content[::2].count(0), content[1::2].count(0)
        if max(n_first, n_second) < len(content) / 4:
            raise ConfigError(f"this is no text: give one of {FORMATS}")
        return content.decode("utf-16-be" if n_first > n_second else "utf-16-le", "replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", "replace")


def _why(entry: LibraryEntry) -> str:
    if not entry.title:
        return "it has no arXiv id, no DOI and no title"
    return "it has no arXiv id or DOI, and no paper of that title is stored"


def _keys(id: Key) -> list[Key]:
    source, value = id
    return [
        (each, value) for each in (("doi", "biorxiv", "medrxiv") if source == "doi" else (source,))
    ]


def _papers_of(conn: Connection, entries: Sequence[LibraryEntry]) -> list[int | None]:
    """Return the stored paper of each entry: by its ids, else by title and authors."""
    wanted = {key for entry in entries for id in entry.ids for key in _keys(id)}
    by_key = store.papers.find(conn, wanted)
    titles = [title_key(entry.title[:_LONGEST_TITLE]) for entry in entries]
    long = {title for title in titles if len(title) >= _SHORTEST_TITLE}
    by_title = store.papers.find_titles(conn, long)
    papers = store.papers.load(conn, set(by_title.values()))
    found: list[int | None] = []
    for entry, title in zip(entries, titles, strict=True):
        ids = [by_key[key] for id in entry.ids for key in _keys(id) if key in by_key]
        paper_id = by_title.get(title)
        if paper_id is not None and not _share_an_author(entry.authors, papers[paper_id].authors):
            paper_id = None
        found.append(ids[0] if ids else paper_id)
    return found


def _share_an_author(some: tuple[str, ...], others: tuple[str, ...]) -> bool:
    """Return whether the two share a last name, or one has no authors."""

    def last(names: tuple[str, ...]) -> set[str]:
        return {author_key(name).rpartition(" ")[2] for name in names} - {""}

    return not last(some) or not last(others) or not last(some).isdisjoint(last(others))


class _EntrySource:
    """Entries that are not stored, as a source: papers if complete, else ids."""

    name = ORIGIN

    def __init__(self, entries: Sequence[LibraryEntry], today: date) -> None:
        self._entries = entries
        self._today = today

    def fetch(self, cursor: str | None) -> Iterator[Batch]:  # noqa: ARG002  (it has none)
        papers = {each.ids[0]: _fetched(each, self._today) for each in self._entries}
        # Where it stands would tell whose library it was.
        ids = [PaperId(*id, None, ORIGIN) for id, paper in papers.items() if paper is None]
        whole = [paper for paper in papers.values() if paper is not None]
        if ids or whole:
            yield Batch(papers=tuple(whole), ids=tuple(ids))


def _fetched(entry: LibraryEntry, today: date) -> FetchedPaper | None:
    """Return an entry as a paper of its month, or else of today; None without title or abstract."""
    source, id = entry.ids[0]
    on = _month_of(id) if source == "arxiv" else entry.published_on or today
    try:
        return normalise(
            FetchedPaper(
                source=source,
                source_id=id,
                title=entry.title,
                abstract=entry.abstract,
                raw_title=entry.title,
                raw_abstract=entry.abstract,
                authors=entry.authors,
                listed_on=min(on, today),
                doi=next((value for scheme, value in entry.ids if scheme == "doi"), None),
            )
        )
    except RejectedRecord:
        return None


def _month_of(arxiv_id: str) -> date:
    """Return the first day of the month in an arXiv id; both forms of ids begin with YYMM."""
    digits = arxiv_id.rpartition("/")[2]
    year = int(digits[:2])
    return date(1900 + year if "/" in arxiv_id and year > 90 else 2000 + year, int(digits[2:4]), 1)
