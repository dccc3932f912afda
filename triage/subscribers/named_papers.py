"""Fetches papers that people named and that are not stored, and makes them likes.

    names → stored papers          → likes
          → asked of arXiv, Crossref or bioRxiv → stored, never as news → likes
          → not found, or no answer yet: they wait, and `fetch_waiting` asks again

The next digest tells the subscriber what was found and what was not.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import chain
from typing import TYPE_CHECKING, Final, TypeVar

import structlog

from triage import store
from triage.domain.author_names import share_an_author
from triage.domain.chunks import chunks
from triage.domain.paper_ids import identify, title_key
from triage.domain.protocols import Clock, PaperLookup, Progress, silent
from triage.domain.records import EventKind
from triage.domain.source_records import NamedPaper, PaperId
from triage.errors import DatabaseError, NoAnswerInTime, SourceError
from triage.papers.ingest import PaperList, ingest
from triage.store import Connection, Database
from triage.store.named_papers import StoredName
from triage.store.papers import Key

if TYPE_CHECKING:
    from triage.subscribers.bibliography.entries import LibraryEntry

log = structlog.get_logger()

# More names are left to the scheduler, so that nobody waits for long.
MOST_AT_ONCE: Final = 200
# What a service that does not answer may cost.
PATIENCE: Final = timedelta(seconds=10)
# Requests of one run for each service, so that digests do not wait for a long list.
MOST_REQUESTS: Final = 20
ASKED_AGAIN: Final = timedelta(days=1)
MOST_ASKED: Final = 3
# Shorter ones are borne by several papers: "Introduction", "Attention".
SHORTEST_TITLE: Final = 15
LONGEST_TITLE: Final = 1_000
FOLLOWS: Final = ", and the next digest says what was found"
OWN: Final = "own papers"
"""The method of names of papers that the subscriber wrote."""
_SECTIONS: Final = {"title": "arxiv", "doi": "crossref"}
_PREPRINT_DOIS: Final = ("10.1101/", "10.64898/")
_BLOCK: Final = 500


# What somebody says about one paper; without `ids`, its title and authors identify it.
N = TypeVar("N", bound="NamedPaper | LibraryEntry")


@dataclass(frozen=True, slots=True)
class LookupReport:
    """The names that the services answered for, the number of new papers, and the errors.

    `problems` also tells which names still wait, and for what, where `describe_waiting` added that.
    """

    answered: frozenset[Key] = frozenset()
    stored: int = 0
    problems: tuple[str, ...] = ()


def to_name(named: NamedPaper | LibraryEntry) -> NamedPaper | None:
    """Return the paper to ask for; None if a title is too short or has no authors."""
    title, authors = named.title[:LONGEST_TITLE], tuple(named.authors)
    if named.ids:
        return _with_id(*named.ids[0], title, authors)
    key = title_key(title)
    if len(key) < SHORTEST_TITLE or not authors:
        return None
    return NamedPaper("title", key, title, authors)


def read_name(text: str) -> NamedPaper | None:
    """Return the paper that an arXiv id, a DOI or a link names; None for other text."""
    found = identify(text)
    return None if found is None else _with_id(found[0], found[1])


def _with_id(scheme: str, value: str, title: str = "", authors: Sequence[str] = ()) -> NamedPaper:
    is_preprint = scheme == "doi" and value.startswith(_PREPRINT_DOIS)
    return NamedPaper("biorxiv" if is_preprint else scheme, value, title, tuple(authors))


def find_stored(conn: Connection, named: Sequence[NamedPaper | LibraryEntry]) -> list[int | None]:
    """Return the stored paper of each name: by its ids, else by its title and an author.

    A name without authors needs only the title.
    """
    keys = [[key for id in each.ids for key in store.papers.spellings(id)] for each in named]
    by_key = store.papers.find(conn, set(chain.from_iterable(keys)))
    titles = [title_key(each.title[:LONGEST_TITLE]) for each in named]
    by_title = store.papers.find_titles(conn, {t for t in titles if len(t) >= SHORTEST_TITLE})
    papers = store.papers.load(conn, {id for ids in by_title.values() for id in ids})
    found: list[int | None] = []
    for each, own, title in zip(named, keys, titles, strict=True):
        ids = [by_key[key] for key in own if key in by_key]
        for id in by_title.get(title, ()):
            some, others = each.authors, papers[id].authors
            ids += [id] if not (some and others) or share_an_author(some, others) else []
        found.append(ids[0] if ids else None)
    return found


def find_unstored(conn: Connection, named: Sequence[N]) -> list[N]:
    """Return those of the names whose papers are not stored."""
    return [each for each, id in zip(named, find_stored(conn, named), strict=True) if id is None]


def look_up(
    database: Database,
    lookups: Iterable[PaperLookup],
    clock: Clock,
    names: Sequence[NamedPaper],
    progress: Progress = silent,
) -> LookupReport:
    """Ask the services now for up to 200 papers, and store those that they have.

    More are left to the scheduler. A service that fails, or needs more than ten seconds for an
    answer, gets no more requests.
    """
    if len(names) > MOST_AT_ONCE:
        return LookupReport()
    return _ask(database, lookups, clock, names, progress)


def _ask(
    database: Database,
    lookups: Iterable[PaperLookup],
    clock: Clock,
    names: Sequence[NamedPaper],
    progress: Progress,
) -> LookupReport:
    answered: set[Key] = set()
    stored = 0
    problems: list[str] = []
    failed: set[str] = set()
    left = {each.key: each for each in names}
    for lookup in lookups:
        own = [each for each in left.values() if each.scheme in lookup.schemes]
        if lookup.name in failed:
            continue
        for each in own:
            del left[each.key]
        for n, some in enumerate(chunks(own, lookup.at_once)):
            try:
                papers = lookup.find(some, clock.now() + PATIENCE)
                source = PaperList(f"named:{lookup.name.lower()}", papers)
                for report in ingest(database, source, clock, resume=False):
                    stored += report.stored
            except DatabaseError:
                raise
            except Exception as error:
                # An answer that breaks a parser must not stop the digests.
                if not isinstance(error, SourceError):
                    log.exception("lookup broken", service=lookup.name)
                problems.append(f"{lookup.name} {_why(error)}; `triage schedule` asks it again")
                failed.add(lookup.name)
                break
            answered.update(each.key for each in some)
            progress(f"ask {lookup.name}", n * lookup.at_once + len(some), len(own))
    return LookupReport(frozenset(answered), stored, tuple(problems))


def _why(error: Exception) -> str:
    if isinstance(error, NoAnswerInTime):
        return f"gave no answer within {PATIENCE.seconds} seconds"
    reason = str(error).rstrip(".") if isinstance(error, SourceError) else type(error).__name__
    return f"gave no usable answer ({reason})"


def describe_waiting(
    names: Sequence[NamedPaper],
    lookups: Sequence[PaperLookup],
    answered: Container[Key],
    follows: str = FOLLOWS,
) -> list[str]:
    """Return lines about papers that are not stored: what triage does about them.

    Args:
        answered: the names that a service has answered for.
        follows: how the person gets to know more.
    """
    schemes = find_schemes(lookups)
    unserved = [each for each in names if each.scheme not in schemes]
    missing = [each for each in names if each.key in answered]
    sections = sorted({_SECTIONS.get(each.scheme, each.scheme) for each in unserved})
    where = " and ".join(f"`[sources.{each}]`" for each in sections)
    lines = []
    for n, is_, are, rest in (
        (len(names) - len(unserved) - len(missing), "is", "are",
         f"not stored yet: `triage schedule` asks for {{}} soon{follows}"),
        (len(missing), "was", "were", "not found: `triage schedule` asks for {} again in a day"),
        (len(unserved), "is", "are",
         f"not stored, and nobody is asked for {{}}: switch on {where}"),
    ):  # fmt: skip
        if n:
            papers = f"1 paper {is_}" if n == 1 else f"{n:,} papers {are}"
            lines.append(f"{papers} {rest.format('it' if n == 1 else 'them')}")
    return lines


def find_schemes(lookups: Iterable[PaperLookup]) -> frozenset[str]:
    """Return the schemes of the names that somebody can be asked for."""
    return frozenset(scheme for lookup in lookups for scheme in lookup.schemes)


def fetch_ids(
    database: Database,
    lookups: Sequence[PaperLookup],
    clock: Clock,
    ids: Sequence[PaperId],
    progress: Progress = silent,
) -> tuple[LookupReport, tuple[PaperId, ...]]:
    """Fetch papers that the operator named; return also the ids that wait, as none came for them.

    More than 200 are left to the scheduler.
    """
    names = [_with_id(each.source, each.source_id) for each in ids]
    report = look_up(database, lookups, clock, names, progress)
    now = clock.now()
    with database.write() as conn:
        store.take_turn(conn, store.Turn.NAMES)
        left = [n for n, id in enumerate(find_stored(conn, names)) if id is None]
        store.named_papers.add(conn, None, [names[n] for n in left], "", now)
        store.named_papers.mark_asked(conn, report.answered, now)
    lines = describe_waiting([names[n] for n in left], lookups, report.answered, follows="")
    report = replace(report, problems=(*report.problems, *lines))
    return report, tuple(ids[n] for n in left)


def fetch_waiting(
    database: Database, lookups: Sequence[PaperLookup], clock: Clock
) -> tuple[str, ...]:
    """Ask for the names that wait, and make those that are stored by now likes.

    Returns:
        The errors, in words.
    """
    n_found = make_likes(database, clock)
    now = clock.now()
    # Of the services for one scheme, only the first one is asked.
    at_once = {scheme: each.at_once for each in reversed(lookups) for scheme in each.schemes}
    names = []
    with database.read() as conn:
        for scheme, n in at_once.items():
            names += store.named_papers.to_ask(
                conn, scheme, now - ASKED_AGAIN, MOST_ASKED, n * MOST_REQUESTS
            )
    report = _ask(database, lookups, clock, names, silent)
    if report.answered:
        database.execute(store.named_papers.mark_asked, report.answered, now)
        n_found += make_likes(database, clock)
    if names or n_found:
        log.info("named papers", asked=len(report.answered), found=n_found)
    for problem in report.problems:
        log.warning("named papers", problem=problem)
    return report.problems


def make_likes(database: Database, clock: Clock) -> int:
    """Make the waiting names whose papers are stored by now likes; return their number."""
    n_found = last = 0
    while True:
        with database.read() as conn:
            some = store.named_papers.waiting(conn, last, _BLOCK)
            papers = find_stored(conn, [each.named for each in some])
        if not some:
            return n_found
        last = some[-1].id
        found = [(each, id) for each, id in zip(some, papers, strict=True) if id is not None]
        if found:
            with database.write() as conn:
                people = {who for each, _ in found if (who := each.subscriber_id) is not None}
                store.subscribers.lock(conn, people)
                # In the order in which `mark_asked` changes them.
                for each, id in sorted(found, key=lambda pair: pair[0].named.key):
                    # Meanwhile the subscriber may have let it be forgotten.
                    if store.named_papers.mark_found(conn, each.id, id):
                        _like(conn, each, id, clock.now())
                        n_found += 1


def _like(conn: Connection, name: StoredName, paper_id: int, now: datetime) -> None:
    """Store a like, unless the operator named the paper or the subscriber has voted on it."""
    who = name.subscriber_id
    if who is not None and store.events.last_vote(conn, who, paper_id) is None:
        evidence = {"method": name.method} | ({"own": ""} if name.method == OWN else {})
        event = store.events.Event(who, paper_id, EventKind.VOTE_UP, now, now, evidence=evidence)
        store.events.append(conn, event)
