"""A month of digests, with all that keeps a paper out of one: votes, filters, merges, delays."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import numpy as np

from tests.support import databases
from tests.support.factories import DAY
from tests.support.fakes import StoppedClock
from tests.support.installation import ListedSource, fetched
from tests.support.topics import CATEGORIES, TOPICS
from triage import store
from triage.app.application import App, open_app
from triage.app.installation import create_installation
from triage.domain.records import EventKind, Frequency, Subscriber
from triage.domain.source_records import Batch, FetchedPaper
from triage.papers.deduplicate import merge
from triage.papers.ingest import ingest
from triage.ranking.serving.active_models import encode_new, load_active_models
from triage.ranking.serving.interest_settings import set_interest_pause
from triage.store.events import Event
from triage.subscribers.preferences import SubscriberPreferences
from triage.subscribers.subscriptions import add, add_likes

N_DAYS = 30
N_EACH = 8
MAX_AGE_DAYS = 5
READERS = {
    "daily@example.org": SubscriberPreferences(interests="speculative decoding", size=3),
    "weekly@example.org": SubscriberPreferences(
        interests="protein folding", frequency=Frequency.WEEKLY, size=4
    ),
    "strict@example.org": SubscriberPreferences(
        interests="robot grasping", exclude_keywords=("gripper", "docking"), size=2
    ),
    "muted@example.org": SubscriberPreferences(size=2, explores=False),
    "east@example.org": SubscriberPreferences(
        interests="graph neural network", zone="Pacific/Auckland", size=3, recap=True
    ),
}
WRITER = "Ada Lovelace"
LATE_COMER = "late@example.org"
MERGE_AFTER = (12, 20)
FIRST_MERGE_ON = DAY + timedelta(days=MERGE_AFTER[0])


@dataclass(frozen=True)
class Month:
    """An installation after the month; `app.clock` shows the evening of the last day.

    `rows` are those of the papers, the last one for a paper that came after the last digest.
    """

    app: App
    readers: list[Subscriber]
    rows: list[int]

    @property
    def now(self) -> datetime:
        return self.app.clock.now()


def _papers(rng: np.random.Generator, n_days: int) -> Iterator[FetchedPaper]:
    for n in range(n_days * N_EACH):
        topic = list(TOPICS)[int(rng.integers(len(TOPICS)))]
        words = rng.permutation(TOPICS[topic].split()).tolist()
        yield fetched(
            n,
            title=f"{words[0]} {words[1]} study{n} of {words[2]}".capitalize(),
            abstract=f"We study {words[3]} and case{n} with {' and '.join(words[4:8])}.",
            authors=(f"Author{n} Of{topic}", WRITER if n % 10 == 3 else f"Second{n} Name"),
            categories=(CATEGORIES[topic],),
            listed_on=DAY + timedelta(days=n // N_EACH),
            # A few are known only because people named them.
            named=n % 29 == 28,
        )


def _take_in(app: App, papers: list[FetchedPaper], name: str) -> None:
    source = ListedSource(Batch(papers=tuple(papers)), name=name)
    for _ in ingest(app.database, source, app.clock, resume=False):
        pass


def _vote(app: App, reader: Subscriber, paper_id: int, kind: EventKind, age_days: int = 0) -> None:
    now = app.clock.now()
    with app.database.write() as conn:
        event = Event(reader.id, paper_id, kind, now - timedelta(days=age_days), now)
        store.events.append(conn, event)


def _vote_on_some(app: App, readers: list[Subscriber], on: date, rng: np.random.Generator) -> None:
    """Vote on papers of the digests and, now and then, on papers found elsewhere."""
    with app.database.read() as conn:
        listed = [paper.id for paper in store.papers.listed_between(conn, DAY, on)]
        slates = [store.slates.by_day(conn, reader.id, on) for reader in readers]
    for reader, slate in zip(readers, slates, strict=True):
        shown = [each.paper.id for each in slate.impressions] if slate else []
        for paper_id in shown:
            if rng.random() < 0.4:
                _vote(app, reader, paper_id, EventKind.VOTE_UP)
        if rng.random() < 0.4:
            kind = EventKind.SAVE if rng.random() < 0.8 else EventKind.VOTE_DOWN
            # An imported vote is older than its record.
            _vote(app, reader, int(rng.choice(listed)), kind, age_days=int(rng.integers(2)) * 4)


def _like(app: App, reader: Subscriber, papers: list[FetchedPaper]) -> None:
    for row in _rows_of(app, papers):
        _vote(app, reader, row, EventKind.VOTE_UP)


def _say_who_wrote(app: App, reader: Subscriber, paper: FetchedPaper) -> None:
    own = dict.fromkeys(_rows_of(app, [paper]), WRITER)
    with app.database.write() as conn:
        add_likes(conn, reader.id, (), app.clock.now(), "own papers", own)


def _mute_first_interest(app: App, reader: Subscriber) -> None:
    with app.database.read() as conn:
        number = store.interests.of(conn, reader.id)[0].number
    set_interest_pause(app.database, app.clock, reader, number, muted=True)


def _rows_of(app: App, papers: list[FetchedPaper]) -> list[int]:
    with app.database.read() as conn:
        found = store.works.find_rows(conn, [paper.key for paper in papers])
    return sorted(found.values())


@contextmanager
def replay_month(folder: Path, n_days: int = N_DAYS) -> Iterator[Month]:
    """Yield an installation in which digests were made and sent on each of so many days."""
    rng = np.random.default_rng(3)
    papers = list(_papers(rng, n_days))
    with databases.url_without_tables(folder) as url:
        text = databases.config_naming(url)
        text = text.replace("max_age_days = 14", f"max_age_days = {MAX_AGE_DAYS}")
        assert f"max_age_days = {MAX_AGE_DAYS}" in text
        config, _ = create_installation(folder, text)
        clock = StoppedClock(datetime.combine(DAY, time(3), UTC))
        app = open_app(config, clock=clock)
        readers = [
            add(app.database, email, clock, each).subscriber for email, each in READERS.items()
        ]
        old = fetched(9_000, title="Yarn", listed_on=DAY - timedelta(days=40))
        _take_in(app, [old], "archive")
        late: list[FetchedPaper] = []
        for n in range(n_days):
            on = DAY + timedelta(days=n)
            today = papers[n * N_EACH : (n + 1) * N_EACH]
            clock.at = datetime.combine(on, time(4), UTC)
            # One paper of each day comes two days late.
            late.append(today.pop())
            _take_in(app, [*today, *late[-3:-2]], f"day {n}")
            if n == 0:
                _like(app, readers[3], today)
                _like(app, readers[1], [old])
                _say_who_wrote(app, readers[1], old)
            clock.at = datetime.combine(on, time(7), UTC)
            app.new_nightly().run(on, (), app.new_outbox())
            clock.at = datetime.combine(on, time(18), UTC)
            _vote_on_some(app, readers, on, rng)
            if n == 10:
                readers.append(add(app.database, LATE_COMER, clock).subscriber)
                _mute_first_interest(app, readers[3])
            if n in (*MERGE_AFTER, n_days - 2):
                merge(app.database, str(today[0].source_id), str(today[1].source_id), clock)
        evening = fetched(9_001, title="Late decoding", listed_on=on)
        _take_in(app, [evening], "evening")
        pair = load_active_models(app.database, app.model_store)
        assert pair is not None
        encode_new(app.database, pair.encoder)
        withdrawn = {"withdrawn_at": clock.now()}
        with app.database.write() as conn:
            some = _rows_of(app, papers[125::20])
            store.works.save(conn, [(row, withdrawn) for row in some])
        with app.database.read() as conn:
            readers = [store.subscribers.by_id(conn, each.id) or each for each in readers]
        yield Month(app, readers, _rows_of(app, [*papers, old, evening]))
        app.close()
