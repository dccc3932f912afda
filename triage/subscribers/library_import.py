"""Turns the library of a subscriber into likes, and likes into a file for other programs.

    library → entries → stored papers                          → likes
                      → papers not stored yet: `named_papers`  → fetched, at once or soon
                      → entries that match no paper, each with a reason

Only the operator's import stores papers with the text of the library. What a visitor of the pages
names is fetched from the archives, because everybody would see the visitor's text.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

from triage import store
from triage.domain.author_names import author_key, author_keys
from triage.domain.paper_ids import arxiv_month
from triage.domain.protocols import Clock, PaperLookup, Progress, silent
from triage.domain.records import LIKES, Subscriber
from triage.domain.source_records import Batch, FetchedPaper, NamedPaper
from triage.errors import ConfigError, SourceError
from triage.papers.ingest import ingest
from triage.store import Database
from triage.store.search import Filters
from triage.subscribers.bibliography import entries as bibliography
from triage.subscribers.bibliography.entries import LibraryEntry, Liked
from triage.subscribers.named_papers import (
    LookupReport,
    describe_waiting,
    find_stored,
    look_up,
    to_name,
)
from triage.subscribers.subscriptions import add_likes

ORIGIN = LIBRARY = "library"
ZOTERO = "zotero"
ZOTERO_AGAIN = timedelta(hours=23)
LARGEST = 20 * 1024 * 1024
MOST_OF_AN_AUTHOR = 1000
_LONGEST_TITLE, _LONGEST_ABSTRACT, _MOST_AUTHORS = 1_000, 20_000, 2_000


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
    lookups: Sequence[PaperLookup] = (),
    progress: Progress = silent,
) -> LibraryReport:
    """Store likes for the papers of a library; those that are not stored here wait.

    Args:
        content: of a library in any of the formats, or text with arXiv ids, DOIs and links.
        new_papers: store those that are not, where the library has their title, abstract and day.
        lookups: are asked now for up to 200 papers that are not stored.

    Raises:
        ConfigError: the content is larger than 20 MiB or no library; nothing was changed then.
    """
    entries = bibliography.read(_text(content))
    return _import_entries(db, clock, subscriber, entries, new_papers, lookups, progress)


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
        with db.read() as conn:
            stored = find_stored(conn, entries)
        new = [each for each, id in zip(entries, stored, strict=True) if id is None and each.ids]
        for ingested in ingest(db, _EntrySource(new, clock.now().date()), clock, resume=False):
            n_stored = ingested.stored
    with db.read() as conn:
        stored = find_stored(conn, entries)
    names = [to_name(each) for each, id in zip(entries, stored, strict=True) if id is None]
    looked_up = look_up(db, lookups, clock, [each for each in names if each], progress)
    with db.write() as conn:
        stored = find_stored(conn, entries)
        before = {vote.paper_id for vote in store.events.votes(conn, subscriber.id)}
        report = _sort_entries(entries, stored, before, looked_up)
        now = clock.now()
        add_likes(conn, subscriber.id, report.new_likes, now, method)
        waiting = [name for each in report.absent if (name := to_name(each))]
        store.named_papers.add(conn, subscriber.id, waiting, method, now)
        store.named_papers.mark_asked(conn, looked_up.answered, now)
    lines = describe_waiting(waiting, lookups, looked_up.answered)
    problems = (*looked_up.problems, *lines)
    return replace(report, stored=n_stored + looked_up.stored, problems=problems)


def _sort_entries(
    entries: Sequence[LibraryEntry],
    stored: Sequence[int | None],
    before: Container[int],
    looked_up: LookupReport,
) -> LibraryReport:
    """Say what becomes of each entry.

    Args:
        stored: the stored paper of each entry.
        before: papers that have a vote.
    """
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
        name = to_name(entry)
        if name is None or (name.scheme == "title" and name.key in looked_up.answered):
            unrecognised.append(UnknownEntry(entry.where, entry.title, _why(entry)))
        else:
            absent.append(entry)
    return LibraryReport(tuple(new_likes), known, tuple(absent), tuple(unrecognised))


def find_papers_in_text(db: Database, text: str) -> tuple[list[int], list[NamedPaper], int]:
    """Return what a text names: stored papers, papers to fetch, and the number of other entries."""
    entries = bibliography.read(text)
    with db.read() as conn:
        stored = find_stored(conn, entries)
    ids = [id for id in stored if id is not None]
    missing = [each for each, id in zip(entries, stored, strict=True) if id is None]
    names = [name for each in missing if (name := to_name(each))]
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
        due = store.zotero_libraries.due(conn, clock.now() - ZOTERO_AGAIN)
        people = {each.id: each for each in store.subscribers.everyone(conn)}
    for subscriber_id, api_key, items in due:
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
        liked = store.events.find_liked_by(conn, subscriber.id, ZOTERO)
        for paper_id in liked.difference(find_stored(conn, entries)):
            store.events.forget(conn, subscriber.id, paper_id)
        names = {name.key for each in entries if (name := to_name(each))}
        store.named_papers.forget(conn, subscriber.id, ZOTERO, names)
        store.zotero_libraries.save_items(conn, subscriber.id, set(map(_item, entries)))
    return report


def _item(entry: LibraryEntry) -> str:
    """Return a text that is the same when the same item is read again."""
    name = to_name(entry)
    return ":".join(name.key) if name else entry.title


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
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16", "replace")
    if b"\0" in content:
        raise ConfigError(
            "this is no text: export the library as BibTeX, RIS or CSL-JSON and give that file"
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", "replace")


def _why(entry: LibraryEntry) -> str:
    if not entry.title:
        return "it has no arXiv id, no DOI and no title"
    return "it has no arXiv id or DOI, and no paper of that title is stored"


class _EntrySource:
    """Entries that are not stored, as a source of those that are complete."""

    name = ORIGIN

    def __init__(self, entries: Sequence[LibraryEntry], today: date) -> None:
        self._entries = entries
        self._today = today

    def fetch(self, cursor: str | None) -> Iterator[Batch]:  # noqa: ARG002  (it has none)
        papers = {each.ids[0]: _fetched(each, self._today) for each in self._entries}
        whole = [paper for paper in papers.values() if paper is not None]
        if whole:
            yield Batch(papers=tuple(whole))


def _fetched(entry: LibraryEntry, today: date) -> FetchedPaper | None:
    """Return an entry as a paper of its month, or None if a field is missing."""
    source, id = entry.ids[0]
    on = arxiv_month(id) if source == "arxiv" else entry.published_on
    title, abstract = _clean(entry.title, _LONGEST_TITLE), _clean(entry.abstract, _LONGEST_ABSTRACT)
    if on is None or not title or not abstract:
        return None
    doi = next((value for scheme, value in entry.ids if scheme == "doi"), None)
    return FetchedPaper(
        source=source,
        source_id=id,
        title=title,
        abstract=abstract,
        raw_title=title,
        raw_abstract=abstract,
        authors=tuple(_clean(name, 200) for name in entry.authors[:_MOST_AUTHORS]),
        listed_on=min(on, today),
        doi=doi,
        named=True,
    )


def _clean(text: str, longest: int) -> str:
    return "".join(c for c in " ".join(text.split()) if c.isprintable())[:longest].strip()
