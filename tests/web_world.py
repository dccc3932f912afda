"""A small installation for the tests of pages and feedback: two subscribers, a digest each."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import select
from starlette.types import ASGIApp

from tests.databases import new_database
from tests.factories import DAY, NOON, impression, slate, subscriber
from tests.fakes import StoppedClock
from triage import store
from triage.records import (
    EventKind,
    OutgoingMessage,
    Paper,
    Slate,
    Subscriber,
    SubscriberState,
)
from triage.store import Database
from triage.tables import metadata
from triage.tokens import Claims, Keyring, Purpose
from triage.web import create_app

SECRET = "a secret of the tests, 32 or more characters"
ADDRESS = "ada.reader@example.org"
INTERESTS = "knitting with optical fibres"


@dataclass(frozen=True)
class StillSite:
    name: str = "Morning papers"
    base_url: str = "https://triage.example"
    contact: str = "Papers <help@triage.example>"


@dataclass(frozen=True)
class Client:
    """Asks the application itself, without a socket; an error inside becomes its answer."""

    app: ASGIApp
    base_url: str

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        return asyncio.run(self._request(method, path, options))

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.request("GET", path, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        return self.request("POST", path, **options)

    async def _request(self, method: str, path: str, options: dict[str, Any]) -> httpx.Response:
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url=self.base_url) as client:
            return await client.request(method, path, **options)


def everything(db: Database) -> str:
    """Return the content of all tables as one text: equal texts, equal databases."""
    with db.read() as conn:
        return "\n".join(
            f"{table.name} {tuple(row)!r}"
            for table in metadata.sorted_tables
            for row in conn.execute(select(table).order_by(*table.primary_key.columns))
        )


@dataclass
class World:
    """An open database with people, papers, slates and messages, and ways to ask about it."""

    db: Database
    clock: StoppedClock
    keyring: Keyring
    readers: list[Subscriber]
    slates: list[Slate]
    papers: list[Paper]
    site: StillSite = field(default_factory=StillSite)

    def client(self) -> Client:
        return Client(create_app(self.db, self.keyring, self.clock, self.site), self.site.base_url)

    def claims(self, position: int = 1, action: EventKind | None = None, reader: int = 0) -> Claims:
        chosen = self.slates[reader]
        return Claims(
            chosen.subscriber.public_id, self.clock.now(), chosen.public_id, position, action
        )

    def token(
        self,
        purpose: Purpose,
        position: int = 1,
        action: EventKind | None = None,
        reader: int = 0,
    ) -> str:
        return self.keyring.sign(purpose, self.claims(position, action, reader))

    def vote(self, kind: EventKind = EventKind.VOTE_UP, position: int = 1) -> str:
        return self.token(Purpose.VOTE, position, kind)

    def everything(self) -> str:
        return everything(self.db)

    def events(self) -> list[tuple[Any, ...]]:
        """Return (subscriber, paper, kind) of every event in the order they were stored."""
        table = metadata.tables["events"]
        columns = [table.c.subscriber_id, table.c.paper_id, table.c.kind]
        with self.db.read() as conn:
            return [tuple(row) for row in conn.execute(select(*columns).order_by(table.c.id))]

    def state(self, reader: int = 0) -> SubscriberState:
        with self.db.read() as conn:
            found = store.subscribers.by_public_id(conn, self.readers[reader].public_id)
        assert found is not None
        return found.state


def paper_row(n: int, **fields: Any) -> dict[str, Any]:
    return {
        "source": "arxiv",
        "source_id": f"2603.{n:05d}",
        "version": 1,
        "title": f"Speculative decoding with {n} drafts",
        "title_key": f"speculativedecodingwith{n}drafts",
        "abstract": f"We study drafts of length {n}. They make decoding faster at no loss.",
        "authors": ["Ada Lovelace", "Charles Babbage"],
        "categories": ["cs.CL", "cs.LG"],
        "listed_on": DAY,
        "first_seen_at": NOON,
        "updated_at": NOON,
    } | fields


def add_papers(db: Database, rows: list[dict[str, Any]]) -> list[Paper]:
    with db.write() as conn:
        ids = store.papers.insert_papers(conn, rows)
        keys = [
            ((row["source"], row["source_id"]), id)
            for row, id in zip(rows, ids, strict=True)
            if row["source_id"]
        ]
        store.papers.add_ids(conn, keys)
        found = store.papers.load(conn, ids)
    return [found[id] for id in ids]


def new_world(folder: Path, **paper_fields: Any) -> World:
    """Make a world in which reader 0 has papers 1 to 3 and reader 1 papers 1 and 2."""
    db = new_database(folder)
    papers = add_papers(db, [paper_row(n, **paper_fields) for n in (1, 2, 3)])
    readers, slates = [], []
    with db.write() as conn:
        run_id = store.runs.begin(conn, DAY, NOON)
        for n, (email, n_papers) in enumerate(((ADDRESS, 3), ("other@example.org", 2)), start=1):
            reader = store.subscribers.add(
                conn,
                subscriber(n, email=email, interests=INTERESTS),
                email_key=email,
                consent="test",
                at=NOON,
            )
            shown = tuple(
                impression(i, paper=paper) for i, paper in enumerate(papers[:n_papers], start=1)
            )
            chosen = slate(public_id=f"{n}" * 20, subscriber=reader, impressions=shown)
            slate_id = store.slates.save(conn, chosen, run_id, NOON)
            message = OutgoingMessage(
                f"<d.{chosen.public_id}@triage.example>", email, b"frozen for " + email.encode()
            )
            store.messages.add(conn, chosen, slate_id, message, NOON)
            readers.append(reader)
            slates.append(chosen)
    return World(db, StoppedClock(), Keyring(SECRET), readers, slates, papers)
