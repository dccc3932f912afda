"""A small installation for the tests of pages and feedback: two subscribers, a digest each."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import httpx
from bs4 import BeautifulSoup
from bs4.element import Tag
from sqlalchemy import select
from starlette.types import ASGIApp

from tests.support.databases import new_database
from tests.support.factories import DAY, NOON, impression, slate, subscriber
from tests.support.fakes import StoppedClock
from tests.support.installation import queue_once
from triage import store
from triage.app.account_mail import account_mail_builder
from triage.digest.links import digest_links
from triage.digest.message import build_digest, part_of
from triage.digest.preview import Preview
from triage.digest.render import render_digest
from triage.domain.link_tokens import Claims, Keyring, Purpose
from triage.domain.paper_outcome import Outcome, PaperOutcome
from triage.domain.protocols import Clock
from triage.domain.records import (
    DigestLinks,
    EventKind,
    OutgoingMessage,
    Paper,
    Slate,
    Subscriber,
    SubscriberState,
)
from triage.settings import MailSettings, Settings, Site
from triage.store import Database
from triage.store.tables import metadata
from triage.subscribers.signup import Signup
from triage.web import create_app
from triage.web.context import DayRanking, RankingAnswers

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
    peer: str = "127.0.0.1"

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        return asyncio.run(self._request(method, path, options))

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.request("GET", path, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        return self.request("POST", path, **options)

    async def _request(self, method: str, path: str, options: dict[str, Any]) -> httpx.Response:
        came_from = (self.peer, 123)
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False, client=came_from)
        async with httpx.AsyncClient(transport=transport, base_url=self.base_url) as client:
            return await client.request(method, path, **options)


@dataclass(frozen=True)
class Note:
    """A mail that is no digest."""

    recipient: str
    kind: str
    mime: bytes = field(repr=False)

    @property
    def text(self) -> str:
        return part_of(self.mime, "plain")

    @property
    def path(self) -> str:
        """The path of its one link."""
        [link] = [line for line in self.text.splitlines() if "://" in line]
        return urlsplit(link).path


@dataclass
class Visitor:
    """A browser without scripts: keeps cookies, fills in forms, presses buttons."""

    client: Client
    headers: dict[str, str] = field(default_factory=dict)
    cookies: dict[str, str] = field(default_factory=dict)

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        headers = self.headers | options.pop("headers", {})
        if self.cookies:
            headers["cookie"] = "; ".join(f"{k}={v}" for k, v in self.cookies.items())
        answer = self.client.request(method, path, headers=headers, **options)
        for line in answer.headers.get_list("set-cookie"):
            name, _, rest = line.partition("=")
            value = rest.partition(";")[0].strip('"')
            self.cookies.pop(name, None)
            if value:
                self.cookies[name] = value
        return answer

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.ask("GET", path, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        return self.ask("POST", path, **options)

    def submit(
        self, page: httpx.Response, button: str | None = None, **typed: str | list[str]
    ) -> httpx.Response:
        """Fill in the form that has a button, press it, and go where the answer leads.

        Args:
            button: its value, or what is written on it; the first one below the head of the page
                if left out.
            typed: replaces what the form holds; a list stands for ticks.
        """
        form, pressed = _form_of(page, button)
        fields: dict[str, str | list[str]] = {}
        for name, value in _held(form):
            before = fields.get(name, [])
            fields[name] = [*before, value] if isinstance(before, list) else [before, value]
        if pressed.get("name"):
            fields[str(pressed["name"])] = str(pressed.get("value", ""))
        sent = urlencode(fields | typed, doseq=True)
        kind = {"content-type": "application/x-www-form-urlencoded"}
        path = str(pressed.get("formaction") or form.get("action") or page.request.url.path)
        answer = self.post(path, content=sent.encode(), headers=kind)
        if answer.status_code != 303:
            return answer
        page = self.get(answer.headers["location"])
        page.history = [answer]
        return page


def _form_of(page: httpx.Response, button: str | None) -> tuple[Tag, Tag]:
    html = BeautifulSoup(page.text, "html.parser")
    for each in (html.main or html).find_all("button") if button is None else html("button"):
        form = each.find_parent("form")
        if form and button in (None, each.get("value"), each.get_text()):
            return form, each
    raise AssertionError(f"no button {button!r} on this page")


def _held(form: Tag) -> Iterator[tuple[str, str]]:
    for each in form.find_all(["input", "select", "textarea"]):
        name = str(each.get("name"))
        if each.name == "textarea":
            # Browsers drop a line break at the beginning (HTML, "in body" insertion mode).
            yield name, each.get_text().removeprefix("\n")
        elif each.name == "select":
            options = each.find_all("option")
            [chosen] = [o for o in options if o.has_attr("selected")] or options[:1]
            yield name, str(chosen.get("value", chosen.get_text()))
        elif each.get("type") != "checkbox" or each.has_attr("checked"):
            yield name, str(each.get("value", ""))


def everything(db: Database) -> str:
    """Return the content of all tables as one text: equal texts, equal databases."""
    with db.read() as conn:
        return "\n".join(
            f"{table.name} {tuple(row)!r}"
            for table in metadata.sorted_tables
            for row in conn.execute(select(table).order_by(*table.primary_key.columns))
        )


def new_enrolment(db: Database, clock: Clock, keyring: Keyring, site: StillSite) -> Signup:
    """Return what takes wishes, with real mails and no address suppressed."""
    told = Site(name=site.name, base_url=site.base_url, contact=site.contact)
    settings = Settings(site=told, mail=MailSettings(sender="Papers <digest@triage.example>"))
    return Signup(
        db, clock, keyring, account_mail_builder(settings), address_hash=lambda email: email
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
    shown: Preview = Preview()  # noqa: RUF009 - it is frozen
    refreshed: list[Subscriber] = field(default_factory=list)
    ranking: DayRanking | None = None
    outcome: PaperOutcome = PaperOutcome(Outcome.UNKNOWN)  # noqa: RUF009 - it is frozen
    headers: dict[str, str] = field(default_factory=dict)
    seen_notes: set[str] = field(default_factory=set)
    _clients: dict[tuple[StillSite, Keyring], Client] = field(default_factory=dict)

    @cached_property
    def enrolment(self) -> Signup:
        return new_enrolment(self.db, self.clock, self.keyring, self.site)

    def client(self) -> Client:
        """Return a client of an application, which is made once for a site and its keys."""
        known = self.site, self.keyring
        if known not in self._clients:
            app = create_app(
                self.db,
                self.keyring,
                self.clock,
                self.site,
                self.enrolment,
                RankingAnswers(
                    lambda *_: self.shown,
                    lambda *_: self.outcome,
                    lambda *_: self.ranking,
                    self.refreshed.append,
                ),
            )
            self._clients[known] = Client(app, self.site.base_url)
        return self._clients[known]

    def visitor(self, peer: str = "127.0.0.1") -> Visitor:
        """Return somebody with a browser of their own, at an address that others may share."""
        return Visitor(replace(self.client(), peer=peer), dict(self.headers))

    def answers(self) -> list[Note]:
        """Return the notes that are queued for who asked."""
        self.enrolment.answer()
        return self.notes()

    def notes(self) -> list[Note]:
        """Return the notes that were queued since the last look."""
        messages, bodies = metadata.tables["messages"], metadata.tables["message_bodies"]
        query = (
            select(messages.c.message_id, messages.c.recipient, messages.c.kind, bodies.c.mime)
            .join(bodies, bodies.c.message_id == messages.c.id)
            .where(messages.c.kind != "digest")
            .order_by(messages.c.id)
        )
        with self.db.read() as conn:
            # The numbers of rows that were erased are given again.
            rows = [row for row in conn.execute(query) if row.message_id not in self.seen_notes]
        self.seen_notes |= {row.message_id for row in rows}
        return [Note(row.recipient, row.kind, bytes(row.mime)) for row in rows]

    def logged_in(self, reader: int = 0) -> Visitor:
        """Return a subscriber who has just logged in."""
        visitor = self.visitor()
        visitor.submit(visitor.get("/login"), email=self.readers[reader].email)
        [note] = self.answers()
        visitor.submit(visitor.get(note.path), "enter")
        return visitor

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

    def links(self, reader: int = 0) -> DigestLinks:
        """Return the links of a reader's digest."""
        site = self.site
        return digest_links(
            self.slates[reader], self.keyring, site.base_url, site.contact, self.clock.now().date()
        )

    def mail(self, reader: int = 0) -> OutgoingMessage:
        """Return a reader's digest as it is sent."""
        links = self.links(reader)
        return build_digest(
            self.slates[reader],
            links,
            render_digest(self.slates[reader], links, self.site.name),
            sender="Papers <digest@triage.example>",
            reply_to=self.site.contact,
            site_name=self.site.name,
            date=self.clock.now(),
        )

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
    readers = {ADDRESS: 3, "other@example.org": 2}
    return _peopled(folder, readers, [paper_row(n, **paper_fields) for n in (1, 2, 3)])


def new_crowd(folder: Path, n_readers: int, n_papers: int) -> World:
    """Make a world of many readers, each with the same papers."""
    readers = {f"reader.{n}@example.org": n_papers for n in range(n_readers)}
    return _peopled(folder, readers, [paper_row(n) for n in range(1, n_papers + 1)])


def _peopled(folder: Path, n_papers: dict[str, int], rows: list[dict[str, Any]]) -> World:
    db = new_database(folder)
    papers = add_papers(db, rows)
    readers, slates = [], []
    with db.write() as conn:
        run_id = store.jobs.begin_run(conn, DAY, NOON)
        for n, (email, n_shown) in enumerate(n_papers.items(), start=1):
            public_id = f"{n}" * 20 if n < 10 else f"{n:020d}"
            reader = store.subscribers.add(
                conn,
                subscriber(n, email=email, interests=INTERESTS),
                email_key=email,
                consent="test",
                at=NOON,
            )
            shown = tuple(
                impression(i, paper=paper) for i, paper in enumerate(papers[:n_shown], start=1)
            )
            chosen = slate(public_id=public_id, subscriber=reader, impressions=shown)
            message = OutgoingMessage(
                f"<d.{chosen.public_id}@triage.example>", email, b"frozen for " + email.encode()
            )
            assert queue_once(conn, chosen, message, run_id, NOON)
            readers.append(reader)
            slates.append(chosen)
    return World(db, StoppedClock(), Keyring(SECRET), readers, slates, papers)
