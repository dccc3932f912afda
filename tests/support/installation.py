"""What the tests of storing and of the use cases stand on: a migrated database and papers in it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import select, text

from tests.support.databases import installed as installed  # whoever adds papers opens it, too
from tests.support.factories import DAY, NOON, slate, subscriber
from tests.support.fakes import StoppedClock
from triage import store
from triage.domain.protocols import Clock
from triage.domain.records import OutgoingMessage, Paper, Slate, Subscriber, SubscriberState
from triage.domain.source_records import Batch, FetchedPaper
from triage.errors import SourceError
from triage.papers.ingest import IngestReport, ingest
from triage.store import Connection, Database
from triage.store.tables import metadata


def fetched(n: int = 1, **fields: object) -> FetchedPaper:
    """Return the n-th paper of a source, an arXiv one unless `fields` say otherwise."""
    title = str(fields.get("title", f"Speculative decoding with {n} drafts"))
    abstract = str(fields.get("abstract", f"We study drafts of length {n}."))
    defaults: dict[str, object] = {
        "source": "arxiv",
        "source_id": f"2603.{n:05d}",
        "title": title,
        "abstract": abstract,
        "raw_title": title,
        "raw_abstract": abstract,
        "version": 1,
        "authors": ("Ada Lovelace",),
        "categories": ("cs.CL",),
        "listed_on": DAY,
    }
    return FetchedPaper(**(defaults | fields))  # type: ignore[arg-type]


def unnamed(n: int = 1, **fields: object) -> FetchedPaper:
    """Return the n-th paper as a listing page has it: known by its title alone."""
    defaults = {"source": "listing", "source_id": None, "version": None, "authors": ()}
    return fetched(n, **(defaults | {"categories": ()} | fields))


class ListedSource:
    """Gives its batches, from the one after the cursor on, and breaks at the end if it is told."""

    def __init__(self, *batches: Batch, name: str = "listed", breaks: bool = False) -> None:
        self.name = name
        self._batches = batches
        self._breaks = breaks

    def fetch(self, cursor: str | None) -> Iterator[Batch]:
        cursors = [batch.cursor for batch in self._batches]
        start = cursors.index(cursor) + 1 if cursor in cursors and cursor else 0
        yield from self._batches[start:]
        if self._breaks:
            raise SourceError("the wire was cut: plug it in again")


def take_in(
    database: Database, papers: Iterable[FetchedPaper], origin: str = "listed"
) -> IngestReport:
    """Ingest papers in one batch and return what became of them."""
    source = ListedSource(Batch(papers=tuple(papers)), name=origin)
    return list(ingest(database, source, StoppedClock(), resume=False))[-1]


def stored_papers(database: Database) -> list[Paper]:
    """Return all papers in stored order."""
    with database.read() as conn:
        return sorted(store.papers.iterate(conn), key=lambda paper: paper.id)


def add_papers(database: Database, papers: Sequence[Paper]) -> list[Paper]:
    """Store works as they are, but for their ids, and return them as stored."""
    take_in(
        database,
        [
            fetched(
                source=paper.source,
                source_id=paper.source_id,
                title=paper.title,
                abstract=paper.abstract,
                authors=paper.authors,
                categories=paper.categories,
                listed_on=paper.listed_on,
                upvotes=paper.upvotes,
            )
            for paper in papers
        ],
    )
    return stored_papers(database)


def add_reader(database: Database, n: int = 1, **fields: object) -> Subscriber:
    reader = subscriber(n, **fields)
    with database.write() as conn:
        key = store.subscribers.email_key(reader.email)
        return store.subscribers.add(conn, reader, email_key=key, consent="test", at=NOON)


def queue_once(
    conn: Connection,
    slate: Slate,
    message: OutgoingMessage | None,
    run_id: int,
    at: datetime,
    *,
    skipped_because: str = "",
    not_before: datetime | None = None,
) -> bool:
    """Store one digest; False if the subscriber has a slate for that date."""
    digest = store.messages.Digest(slate, message, skipped_because, not_before)
    return bool(store.messages.queue_each(conn, [digest], run_id, at))


def queue(
    database: Database,
    chosen: Slate,
    mime: bytes = b"Subject: papers\r\n\r\nfor you",
    at: datetime = NOON,
) -> str:
    """Store a slate with its message, as the nightly run does, and return the message's id."""
    message_id = f"<d.{chosen.public_id}@triage.example>"
    with database.write() as conn:
        run_id = store.jobs.begin_run(conn, chosen.on, at)
        message = OutgoingMessage(message_id, chosen.subscriber.email, mime)
        assert queue_once(conn, chosen, message, run_id, at)
    return message_id


def empty_slate(reader: Subscriber, n: int = 1, **fields: object) -> Slate:
    """Return a slate without papers, for tests that are about its message."""
    return slate(0, public_id=f"{n:020x}", subscriber=reader, **fields)


def rows(database: Database, table: str) -> list[dict[str, Any]]:
    """Return all rows of a table in the order of its primary key."""
    chosen = metadata.tables[table]
    with database.read() as conn:
        query = select(chosen).order_by(*chosen.primary_key.columns)
        return [dict(row._mapping) for row in conn.execute(query)]


def unsubscribe(database: Database, public_id: str, clock: Clock) -> bool:
    """Stop all mail to a subscriber, as the link in a mail does; return whether it was active."""
    with database.write() as conn:
        subscriber = store.subscribers.by_public_id(conn, public_id)
        assert subscriber is not None
        return store.messages.stop(conn, subscriber.id, SubscriberState.UNSUBSCRIBED, clock.now())


UNMAILABLE = (
    "käse@example.org",
    "почта@почта.рф",
    "用户@xn--fsqu00a.xn--0zwm56d",
    f"u@{'a.' * 90}example.org",
    "u@aא.example",
    "nobody",
)
"""Addresses that an earlier release may have stored, and to which no mail can go."""

SPOILT: dict[str, tuple[str, object]] = {
    "JSON that ends early": ("categories", '["cs.CL"'),
    "no JSON at all": ("followed_authors", "Ada"),
    "JSON of another kind": ("include_keywords", '{"a": 1}'),
    "a list of numbers": ("exclude_keywords", "[1, 2]"),
    "an unknown frequency": ("frequency", "hourly"),
    "an unknown detail": ("detail", "all"),
    "an hour that is none": ("hour", 25),
    "hour in words": ("hour", "seven"),
    "a date that is none": ("paused_until", "tomorrow"),
    "a time that is none": ("state_changed_at", "yesterday"),
    "a number in words": ("score_floor", "high"),
    "bytes instead of a text": ("zone", b"\xff\xfe"),
}
"""What another program may have written into a row of a subscriber: column and value."""


def spoil(database: Database, email: str, column: str, value: object) -> None:
    """Write any value into a column of a subscriber's row, past the checks of this program."""
    with database.write() as conn:
        conn.execute(
            text(f"UPDATE subscribers SET {column} = :value WHERE email = :email"),  # noqa: S608
            {"value": value, "email": email},
        )
