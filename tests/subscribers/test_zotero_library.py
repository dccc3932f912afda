"""A Zotero library of papers that are not stored becomes likes, with few requests to arXiv."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from tests.support import databases
from tests.support.emulator import Upstreams
from tests.support.factories import NOON
from tests.support.fakes import StoppedClock
from tests.support.zotero_server import KEY, ZoteroServer
from triage import store
from triage.app.application import App, open_app
from triage.app.installation import create_installation
from triage.cli.demo.story import PAPERS
from triage.domain.records import Subscriber
from triage.papers.ingest import ingest
from triage.sources.files.json_lines import JsonLines
from triage.sources.http.client import PoliteClient
from triage.sources.zotero import Zotero
from triage.subscribers.library_import import likes, sync_zotero
from triage.subscribers.named_papers import fetch_waiting
from triage.subscribers.preferences import SubscriberPreferences
from triage.subscribers.subscriptions import add

TODAY = date(2025, 6, 27)
N_ITEMS, N_STORED, N_BY_TITLE, N_UNKNOWN = 300, 20, 40, 10
SPACING_S = 3.0
MOST_REQUESTS = 8


@dataclass
class Office:
    """An installation that has the papers of one day, between Zotero and arXiv on loopback."""

    app: App
    zotero: ZoteroServer
    arxiv: Upstreams
    library: list[dict[str, Any]]

    def read_library(self, subscriber: Subscriber) -> str:
        with PoliteClient(self.app.clock, "triage/test", 1.0) as client:
            content = Zotero(client, KEY, self.zotero.url).library()
        lookups = self.app.live_sources.lookups()
        return str(sync_zotero(self.app.database, self.app.clock, subscriber, content, lookups))


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    with gzip.open(PAPERS) as file:
        records = [json.loads(line) for line in file]
    # The papers of one field, as a library is.
    older = [each for each in records if each["listed_date"] != str(TODAY)]
    older.sort(key=lambda each: "cs.CV" not in each["categories"])
    library = older[:N_ITEMS]
    today = [each for each in records if each["listed_date"] == str(TODAY)]
    stored = tmp_path / "stored.jsonl"
    stored.write_text("\n".join(map(json.dumps, [*library[:N_STORED], *today])))
    clock = StoppedClock(NOON)
    with ExitStack() as stack:
        arxiv = stack.enter_context(Upstreams(library, clock))
        arxiv.unknown_to_api = {each["id"] for each in library[-N_UNKNOWN:]}
        url = stack.enter_context(databases.url_without_tables(tmp_path))
        sources = f'[sources.arxiv]\napi_url = "{arxiv.api_url}"\n'
        settings = f'[database]\nurl = "{url}"\n{sources}'
        config, _ = create_installation(tmp_path / "home", settings)
        app = open_app(config, clock=clock)
        stack.callback(app.close)
        for _ in ingest(app.database, JsonLines(stored, TODAY), clock, resume=False):
            pass
        zotero = ZoteroServer([_item(n, each) for n, each in enumerate(library)])
        stack.callback(zotero.close)
        yield Office(app, zotero, arxiv, library)


def _item(n: int, paper: dict[str, Any]) -> dict[str, Any]:
    """Return a record as Zotero has it; some have no id, and an id is in one field or another."""
    people = [name.rpartition(" ") for name in paper["authors"]]
    names = [{"creatorType": "author", "firstName": a, "lastName": b} for a, _, b in people]
    data = {"itemType": "preprint", "title": paper["title"], "creators": names}
    if not N_STORED <= n < N_STORED + N_BY_TITLE:
        url = f"http://arxiv.org/abs/{paper['id']}"
        where = {"archiveID": f"arXiv:{paper['id']}"} if n % 2 else {"url": url}
        data |= where
    return {"key": f"K{n:07d}", "data": data}


def add_reader(office: Office, email: str) -> Subscriber:
    preferences = SubscriberPreferences(interests="")
    return add(office.app.database, email, office.app.clock, preferences).subscriber


def test_a_zotero_library_becomes_likes_with_abstracts_and_changes_the_first_digest(
    office: Office,
) -> None:
    app = office.app
    ada, ben = add_reader(office, "ada@example.org"), add_reader(office, "ben@example.org")
    assert f"new likes {N_STORED}, known 0, waiting {N_ITEMS - N_STORED}" in (
        office.read_library(ada)
    )
    assert office.arxiv.log == []

    assert fetch_waiting(app.database, app.live_sources.lookups(), app.clock) == ()

    liked = likes(app.database, ada)
    n_known_to_arxiv = N_ITEMS - N_UNKNOWN
    assert len(liked) >= 0.95 * n_known_to_arxiv
    assert all(each.paper.abstract for each in liked)
    assert len(office.arxiv.log) <= MOST_REQUESTS
    assert min(office.arxiv.gaps_s("api")) >= SPACING_S

    first, empty = (app.new_nightly().preview(each, TODAY) for each in (ada, ben))
    ids = [[each.paper.id for each in slate.impressions] for slate in (first, empty)]
    assert ids[0] != ids[1]
    assert f"{len(liked) - N_STORED} were found and are liked" in first.day_report
    assert f"{N_UNKNOWN} were not found" in first.day_report


def test_papers_of_a_library_are_no_news(office: Office) -> None:
    app = office.app
    ada, ben = add_reader(office, "ada@example.org"), add_reader(office, "ben@example.org")
    office.read_library(ada)
    fetch_waiting(app.database, app.live_sources.lookups(), app.clock)
    of_lists = {each["id"] for each in office.library[:N_STORED]}
    liked = [each.paper for each in likes(app.database, ada)]
    named = {each.id for each in liked if each.source_id not in of_lists}
    with app.database.read() as conn:
        assert store.listing_days.newest(conn) == TODAY
        days = [date.fromisoformat(each["listed_date"]) for each in office.library]
        listed = store.listing_days.papers_between(conn, min(days), max(days))
    slate = app.new_nightly().preview(ben, TODAY)
    assert named
    assert named.isdisjoint(each.paper.id for each in listed)
    assert slate.n_candidates == N_STORED + 270


def test_what_leaves_the_zotero_library_stops_counting(office: Office) -> None:
    ada = add_reader(office, "ada@example.org")
    office.read_library(ada)
    before = len(likes(office.app.database, ada))
    office.zotero.records = office.zotero.records[1:]
    office.read_library(ada)
    assert len(likes(office.app.database, ada)) == before - 1
