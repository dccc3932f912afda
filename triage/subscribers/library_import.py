"""Turns the library of a subscriber into likes, and likes into a file for other programs.

    library → entries → stored papers                          → likes
                      → papers not stored yet: `named_papers`  → fetched, at once or soon
                      → entries that match no paper, each with a reason

Only the operator's import stores papers with the text of the library. What a visitor of the pages
names is fetched from the archives, because everybody would see the visitor's text.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

from triage import store
from triage.domain.author_names import author_key, author_keys
from triage.domain.paper_ids import arxiv_month
from triage.domain.protocols import Clock, PaperLookup, Progress, silent
from triage.domain.records import LIKES, Subscriber
from triage.domain.source_records import FetchedPaper, NamedPaper
from triage.errors import ConfigError, RejectedRecord, SourceError
from triage.papers.ingest import PaperList, ingest
from triage.sources.text.cleaning import normalise
from triage.sources.text.decoding import decode
from triage.store import Connection, Database
from triage.store.papers import Key
from triage.store.search import Filters
from triage.subscribers import named_papers
from triage.subscribers.bibliography import entries as bibliography
from triage.subscribers.bibliography.entries import LibraryEntry, Liked
from triage.subscribers.bibliography.running_text import FORMATS
from triage.subscribers.subscriptions import add_likes

LIBRARY = "library"
ZOTERO = "zotero"
ZOTERO_AGAIN = timedelta(hours=23)
LARGEST = 20 * 1024 * 1024
MOST_OF_AN_AUTHOR = 1000
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
        absent: the entries that are `waiting`, of papers that are not stored: they become likes
            when the papers come.
        stored: papers that were stored now, from the library or from the archives.
        problems: the archives that did not answer, and what happens to the papers that wait.
    """

    new_likes: tuple[int, ...]
    known: int
    absent: tuple[LibraryEntry, ...] = ()
    unrecognised: tuple[UnknownEntry, ...] = ()
    stored: int = 0
    problems: tuple[str, ...] = ()

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
            f" known {self.known}, waiting {self.waiting}"
        )


def read_library(
    db: Database,
    clock: Clock,
    subscriber: Subscriber,
    content: bytes | str,
    *,
    new_papers: bool = False,
    own: bool = False,
    lookups: Sequence[PaperLookup] = (),
    progress: Progress = silent,
) -> LibraryReport:
    """Store likes for the papers of a library; those that are not stored here wait.

    Args:
        content: a library or list in any of the formats of `bibliography.read`.
        new_papers: store those that are not, where the library has their title and abstract.
        own: the subscriber wrote these papers.
        lookups: are asked now for up to 200 papers that are not stored.

    Raises:
        ConfigError: the content is larger than 20 MiB, no text, or of no known format; nothing was
            changed then.
    """
    entries = [replace(each, own=own or each.own) for each in bibliography.read(_text(content))]
    method = named_papers.OWN if own else LIBRARY
    return _import_entries(db, clock, subscriber, entries, new_papers, lookups, progress, method)


def _import_entries(
    db: Database,
    clock: Clock,
    subscriber: Subscriber,
    entries: Sequence[LibraryEntry],
    new_papers: bool,
    lookups: Sequence[PaperLookup],
    progress: Progress,
    method: str = LIBRARY,
) -> LibraryReport:
    n_stored = 0
    if new_papers:
        new = db.fetch(named_papers.find_unstored, entries)
        papers = PaperList(LIBRARY, library_papers(new, clock.now().date()))
        for ingested in ingest(db, papers, clock, resume=False):
            n_stored = ingested.stored
    names = [
        name
        for each in db.fetch(named_papers.find_unstored, entries)
        if (name := named_papers.to_name(each))
    ]
    looked_up = named_papers.look_up(db, lookups, clock, names, progress)
    with db.write() as conn:
        store.subscribers.lock_one(conn, subscriber.id)
        stored = named_papers.find_stored(conn, entries)
        before = {vote.paper_id for vote in store.events.votes(conn, subscriber.id)}
        report = _sort_entries(entries, stored, before, looked_up)
        now = clock.now()
        add_likes(conn, subscriber.id, report.new_likes, now, method, _find_own(conn, entries))
        waiting = [name for each in report.absent if (name := named_papers.to_name(each))]
        store.named_papers.add(conn, subscriber.id, waiting, method, now)
        store.named_papers.mark_asked(conn, looked_up.answered, now)
    lines = named_papers.describe_waiting(waiting, lookups, looked_up.answered)
    problems = (*looked_up.problems, *lines)
    return replace(report, stored=n_stored + looked_up.stored, problems=problems)


def _find_own(conn: Connection, entries: Sequence[LibraryEntry]) -> dict[int, str]:
    """Return the stored papers among the entries that the subscriber wrote, without a name."""
    own = named_papers.find_stored(conn, [each for each in entries if each.own])
    return {id: "" for id in own if id is not None}


def _sort_entries(
    entries: Sequence[LibraryEntry],
    stored: Sequence[int | None],
    before: Container[int],
    looked_up: named_papers.LookupReport,
) -> LibraryReport:
    """Say what becomes of each entry, whose paper is in `stored`; `before` have a vote already."""
    known = 0
    new_likes: dict[int, None] = {}
    absent: list[LibraryEntry] = []
    unrecognised: list[UnknownEntry] = []
    for entry, paper_id in zip(entries, stored, strict=True):
        if paper_id is not None:
            known += paper_id in before or paper_id in new_likes
            if paper_id not in before:
                new_likes[paper_id] = None
            continue
        name = named_papers.to_name(entry)
        if name is None or (name.scheme == "title" and name.key in looked_up.answered):
            unrecognised.append(UnknownEntry(entry.where, entry.title, _why(entry)))
        else:
            absent.append(entry)
    return LibraryReport(tuple(new_likes), known, tuple(absent), tuple(unrecognised))


def find_papers_in_text(db: Database, text: str) -> tuple[list[int], list[NamedPaper], int]:
    """Return what a text names: stored papers, papers to fetch, and the number of other entries.

    Raises:
        ConfigError: the text has no known format.
    """
    entries = bibliography.read(text)
    stored = db.fetch(named_papers.find_stored, entries)
    ids = [id for id in stored if id is not None]
    missing = [each for each, id in zip(entries, stored, strict=True) if id is None]
    names = [name for each in missing if (name := named_papers.to_name(each))]
    return list(dict.fromkeys(ids)), names, len(missing) - len(names)


def read_zotero_again(
    db: Database, clock: Clock, open_library: Callable[[str], str]
) -> tuple[int, tuple[str, ...]]:
    """Read the Zotero libraries that are due; new items become likes, removed ones stop counting.

    Args:
        open_library: returns the records of the library with an API key, as JSON.

    Returns:
        The number of libraries that were read, and the errors.
    """
    n_read = 0
    problems = []
    with db.read() as conn:
        due = store.zotero_libraries.due(conn, clock.now(), ZOTERO_AGAIN)
        people = {each.id: each for each in store.subscribers.everyone(conn)}
    for subscriber_id, api_key, items in due:
        if subscriber_id not in people:
            problems.append(f"Zotero: the row of subscriber {subscriber_id} cannot be read")
            continue
        try:
            sync_zotero(db, clock, people[subscriber_id], open_library(api_key), before=items)
            n_read += 1
        except (ConfigError, SourceError) as error:
            problems.append(f"Zotero: {error}")
        with db.write() as conn:
            store.zotero_libraries.mark_read(conn, subscriber_id, clock.now())
    return n_read, tuple(problems)


def sync_zotero(
    db: Database,
    clock: Clock,
    subscriber: Subscriber,
    content: str,
    lookups: Sequence[PaperLookup] = (),
    progress: Progress = silent,
    before: Container[str] = (),
) -> LibraryReport:
    """Make the likes from a Zotero library those of the papers that it has now.

    Args:
        before: items that it had before. They do not become likes again, as the subscriber may have
            taken the likes back.
    """
    entries = bibliography.read(content)
    new = [each for each in entries if _item(each) not in before]
    report = _import_entries(db, clock, subscriber, new, True, lookups, progress, ZOTERO)
    if not entries:
        # An empty answer is more often an error than an emptied library.
        return report
    with db.write() as conn:
        store.subscribers.lock_one(conn, subscriber.id)
        # Some were not stored when the library was read before.
        add_likes(conn, subscriber.id, (), clock.now(), ZOTERO, _find_own(conn, entries))
        liked = store.events.find_liked_by(conn, subscriber.id, ZOTERO)
        for paper_id in liked.difference(named_papers.find_stored(conn, entries)):
            store.events.forget(conn, subscriber.id, paper_id)
        names = {name.key for each in entries if (name := named_papers.to_name(each))}
        store.named_papers.forget(conn, subscriber.id, ZOTERO, names)
        store.zotero_libraries.save_items(conn, subscriber.id, set(map(_item, entries)))
    return report


def _item(entry: LibraryEntry) -> str:
    """Return a text that is the same when the same item is read again."""
    name = named_papers.to_name(entry)
    return ":".join(name.key) if name else entry.title


def like_own(db: Database, clock: Clock, subscriber: Subscriber, author: str) -> LibraryReport:
    """Store likes for the stored papers of a subscriber, and under which name they wrote them.

    Raises:
        ConfigError: the name is a single word, which many share.
    """
    key = author_key(author)
    if " " not in key:
        raise ConfigError("one word is no author's name: give the first name, too")
    with db.write() as conn:
        store.subscribers.lock_one(conn, subscriber.id)
        ids = store.search.newest(conn, Filters(author=author), MOST_OF_AN_AUTHOR)
        papers = store.papers.load(conn, ids)
        own = [id for id in ids if key in author_keys(papers[id].authors)]
        before = {vote.paper_id for vote in store.events.votes(conn, subscriber.id)}
        new = [id for id in own if id not in before]
        name = " ".join(author.split())
        add_likes(conn, subscriber.id, new, clock.now(), named_papers.OWN, dict.fromkeys(own, name))
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
    try:
        return decode(content)
    except ValueError as error:
        raise ConfigError(f"this is no text: give one of {FORMATS}") from error


def _why(entry: LibraryEntry) -> str:
    if not entry.title:
        return "it has no arXiv id, no DOI and no title"
    return "it has no arXiv id or DOI, and no paper of that title is stored"


def library_papers(entries: Sequence[LibraryEntry], today: date) -> list[FetchedPaper]:
    """Return the entries with an id, a title and an abstract as papers of their month, or of today.

    An entry without a date is of the day on which it was first seen.
    """
    papers: dict[Key, FetchedPaper] = {}
    for entry in entries:
        if not entry.ids:
            continue
        source, id = entry.ids[0]
        on = arxiv_month(id) if source == "arxiv" else entry.published_on
        try:
            papers[source, id] = normalise(
                FetchedPaper(
                    source=source,
                    source_id=id,
                    title=entry.title,
                    abstract=entry.abstract,
                    authors=entry.authors,
                    listed_on=min(on or today, today),
                    doi=next((value for scheme, value in entry.ids if scheme == "doi"), None),
                    named=True,
                )
            )
        except RejectedRecord:
            continue
    return list(papers.values())
