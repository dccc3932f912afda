"""Builds installations of real papers and made-up subscribers, to measure nightly runs on them.

The papers are those of listings-2026, the newest of them listed again within the sixteen days that
two nights need. A subscriber likes papers near one to three papers that were drawn; text,
categories, keywords and followed authors come from these. So cosines, clusters, and the number of
different words and of candidates are as real subscribers have them.
"""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from sqlalchemy import Connection, Table, bindparam, func, insert, select, update

from benchmarks.figures import SHARED
from triage import store
from triage.app.application import open_app
from triage.domain.protocols import Encoder
from triage.domain.records import I64, EventKind, MessageState, Origin, Paper, Policy
from triage.ranking.features import FEATURE_VERSION, FEATURES
from triage.ranking.serving.active_models import encode_new, ensure_active_models
from triage.ranking.serving.ranker import load_library
from triage.store.tables import (
    events,
    impressions,
    messages,
    papers,
    slates,
    subscribers,
)

PAPERS = SHARED / "bench" / "listings-2026" / "papers.jsonl.gz"
LIKES = (0, 1, 3, 10, 30, 60, 100, 300)
"""How many papers a subscriber likes; as many subscribers have each of these numbers."""

USUAL_NIGHT = date(2026, 5, 29)
FIRST_NIGHT = USUAL_NIGHT - timedelta(days=1)
DAYS = 14
# A night has papers of its own date and of DAYS before it, and there are two nights.
N_DATES = DAYS + 2
N_PAST_SLATES, SIZE = 7, 10
N_TOPICS, N_NEAR, N_NEAR_NOW = 1_000, 640, 150
CHUNK = 500
SEED = 27


def build_papers(folder: Path, n_papers: int) -> None:
    """Install triage in a folder with the newest papers of the listings and their vectors."""
    with gzip.open(PAPERS, "rt", encoding="utf-8") as lines:
        newest = sorted(lines, key=lambda line: str(json.loads(line)["listed_date"]))[-n_papers:]
    triage = [sys.executable, "-m", "triage"]
    with TemporaryDirectory() as other:
        file = Path(other) / "papers.jsonl"
        file.write_text("".join(newest), encoding="utf-8")
        for command in (
            ["init", "--dir", str(folder)],
            ["--config", str(folder / "triage.toml"), "papers", "import", str(file)],
        ):
            subprocess.run([*triage, *command], check=True, stdout=subprocess.DEVNULL)
    with closing(open_app(folder / "triage.toml")) as app:
        pair = ensure_active_models(app.database, app.model_store, app.clock, FIRST_NIGHT)
        encode_new(app.database, pair.encoder)


def copy(source: Path, folder: Path) -> None:
    """Copy an installation that no process has open."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(source, folder)


def build_subscribers(folder: Path, n_subscribers: int, pool: int) -> None:
    """Give an installation of `build_papers` subscribers, past digests, votes and a pool.

    Args:
        pool: the number of papers that are listed in the days of each of the two nights.
    """
    with closing(open_app(folder / "triage.toml")) as app:
        pair = ensure_active_models(app.database, app.model_store, app.clock, FIRST_NIGHT)
        with app.database.write() as conn:
            _list_again(conn, pool)
        with app.database.read() as conn:
            topics = _Topics(conn, pair.encoder)
        with app.database.write() as conn:
            run_ids = [
                store.jobs.begin_run(conn, on, _morning(on))
                for on in _days_before(FIRST_NIGHT, N_PAST_SLATES)
            ]
        version = pair.scorer.version, pair.encoder.version
        for start in range(0, n_subscribers, CHUNK):
            rows = _Rows(version, run_ids)
            for n in range(start, min(start + CHUNK, n_subscribers)):
                _Reader(n, topics).add_to(rows)
            with app.database.write() as conn:
                for table, own in rows.of.items():
                    conn.execute(insert(table), own)


def vote_on_first_night(folder: Path) -> None:
    """Send the digests of the first night, and let every third subscriber vote on them."""
    with closing(open_app(folder / "triage.toml")) as app, app.database.write() as conn:
        of_night = messages.c.on == FIRST_NIGHT
        at = _morning(FIRST_NIGHT)
        for state in (MessageState.CLAIMED, MessageState.IN_DOUBT, MessageState.SENT):
            change = update(messages).where(of_night, messages.c.state != MessageState.SKIPPED)
            conn.execute(change.values(state=state, sent_at=at))
        shown = select(impressions, slates.c.run_id).join(slates).where(slates.c.on == FIRST_NIGHT)
        voted = conn.execute(shown.where(impressions.c.subscriber_id % 3 == 0)).all()
        rng = np.random.default_rng(SEED)
        liked_at = 1 + rng.integers(0, 3, 1 + max((row.subscriber_id for row in voted), default=0))
        conn.execute(
            insert(events),
            [
                _event(row.subscriber_id, row.paper_id, at, slate_id=row.slate_id, kind=kind)
                for row in voted
                # The paper at the top or below is liked, and sometimes the fifth is not.
                for place, kind in ((liked_at[row.subscriber_id], EventKind.VOTE_UP),
                                    (5, EventKind.VOTE_DOWN))
                if row.position == place and (place < 5 or row.subscriber_id % 4 == 0)
            ],
        )  # fmt: skip


def n_subscribers(folder: Path) -> int:
    with closing(open_app(folder / "triage.toml")) as app, app.database.read() as conn:
        return conn.scalar(select(func.count()).select_from(subscribers)) or 0


def _list_again(conn: Connection, pool: int) -> None:
    """List the newest papers in the days of the two nights, and all others before this month.

    User models are fitted on the papers of earlier months, if these are enough.
    """
    order = select(papers.c["id", "listed_on"]).order_by(papers.c.listed_on, papers.c.id)
    rows = conn.execute(order.where(papers.c.merged_into.is_(None))).all()
    n = min(len(rows), pool * N_DATES // (N_DATES - 1))
    first = FIRST_NIGHT - timedelta(days=DAYS)
    new = {
        row.id: first + timedelta(days=i * N_DATES // n)
        for i, row in enumerate(rows[len(rows) - n :])
    }
    before = FIRST_NIGHT.replace(day=1) - timedelta(days=1)
    new |= {row.id: min(row.listed_on, before) for row in rows[: len(rows) - n]}
    changed = [{"of": row.id, "day": new[row.id]} for row in rows if new[row.id] != row.listed_on]
    change = update(papers).where(papers.c.id == bindparam("of")).values(listed_on=bindparam("day"))
    conn.execute(change, changed)
    # Few papers have upvotes, as on Hugging Face.
    upvoted = [{"of": row.id, "n": 1 + row.id % 97} for row in rows[::12]]
    change = update(papers).where(papers.c.id == bindparam("of")).values(upvotes=bindparam("n"))
    conn.execute(change, upvoted)


class _Topics:
    """Papers that were drawn, and the papers near each, nearest first.

    `old` and `now` are ids of the papers before the pool, and of those that all past slates could
    show. `near[i]` and `near_now[i]` are rows of them.
    """

    def __init__(self, conn: Connection, encoder: Encoder) -> None:
        begin = FIRST_NIGHT - timedelta(days=DAYS)
        end = FIRST_NIGHT - timedelta(days=N_PAST_SLATES)
        stored = sorted(store.papers.iterate(conn), key=lambda paper: (paper.listed_on, paper.id))
        self.old = [paper for paper in stored if paper.listed_on < begin]
        self.now = [paper for paper in stored if begin <= paper.listed_on < end]
        old = load_library(conn, encoder, self.old).encodings
        now = load_library(conn, encoder, self.now).encodings
        self.drawn = np.random.default_rng(SEED).permutation(len(self.old))[:N_TOPICS]
        centres = old.semantic[self.drawn]
        self.near = _nearest(centres, old.semantic, N_NEAR)
        self.near_now = _nearest(centres, now.semantic, N_NEAR_NOW)
        self.terms = [encoder.terms(old.tfidf[row], 4) for row in self.drawn]


def _nearest(centres: Any, vectors: Any, k: int) -> I64:
    """Return int64 (n, k), for each centre the rows of the nearest vectors, nearest first."""
    rows = [
        np.argsort(-(vectors @ centres[start : start + 100].T), axis=0, kind="stable")[:k].T
        for start in range(0, len(centres), 100)
    ]
    return np.concatenate(rows).astype(np.int64)


@dataclass
class _Reader:
    """A made-up subscriber; `n` counts from 0."""

    n: int
    topics: _Topics

    def add_to(self, rows: _Rows) -> None:
        rng = np.random.default_rng([SEED, self.n])
        id, n_likes, topics = self.n + 1, LIKES[self.n % len(LIKES)], self.topics
        own = rng.permutation(len(topics.drawn))[: max(1, min(n_likes, int(rng.integers(1, 4))))]
        likes, others = self._choose(rng, own, n_likes)
        now = [topics.now[row] for topic in own for row in topics.near_now[topic]]
        now = list({paper.id: paper for paper in now}.values())
        now = [now[i] for i in rng.permutation(len(now))]
        from_slates = likes[: min(len(likes), 5)]
        shown = [*from_slates, *now[:20], *others][: N_PAST_SLATES * SIZE]
        rows.of[subscribers].append(self._row(rng, own, likes))
        slate_of = rows.add_slates(id, [shown[i] for i in rng.permutation(len(shown))])
        disliked = [paper for paper in shown if paper not in from_slates][: 4 * (n_likes > 1)]
        for paper in likes:
            days = int(rng.integers(1, 240))
            at = max(paper.listed_on, FIRST_NIGHT - timedelta(days=days))
            at = min(at, FIRST_NIGHT - timedelta(days=1))
            event = _event(id, paper.id, _morning(at), slate_id=slate_of.get(paper.id))
            rows.of[events].append(event)
        for paper in disliked:
            at = _morning(FIRST_NIGHT - timedelta(days=1))
            kind = EventKind.VOTE_DOWN
            event = _event(id, paper.id, at, slate_id=slate_of[paper.id], kind=kind)
            rows.of[events].append(event)

    def _choose(
        self, rng: np.random.Generator, own: I64, n_likes: int
    ) -> tuple[list[Paper], list[Paper]]:
        """Return the liked papers, and others of the same topics, both in random order."""
        old = self.topics.old
        near = [self.topics.near[topic][: max(40, 2 * n_likes // len(own))] for topic in own]
        drawn = np.unique(np.concatenate(near))
        liked = rng.permutation(drawn)[:n_likes]
        # Nobody likes papers of a few topics only.
        stray = rng.integers(0, len(old), len(liked) // 10)
        liked = np.unique(np.concatenate([stray, liked[: n_likes - len(stray)]]))
        wider = np.unique(np.concatenate([self.topics.near[topic] for topic in own]))
        others = rng.permutation(np.setdiff1d(wider, liked))
        return [old[row] for row in rng.permutation(liked)], [old[row] for row in others]

    def _row(self, rng: np.random.Generator, own: I64, likes: list[Paper]) -> dict[str, Any]:
        topics = self.topics
        seeds = [topics.old[topics.drawn[topic]] for topic in own]
        terms = [term for topic in own for term in topics.terms[topic]]
        other = topics.terms[int(rng.integers(len(topics.terms)))]
        authors = [author for paper in (likes[:3] or seeds) for author in paper.authors]

        def some(share: float, of: Any) -> list[str]:
            return list(dict.fromkeys(of)) if rng.random() < share else []

        writes = rng.random() < (0.6 if likes else 0.9)
        address = f"reader{self.n + 1}@example.org"
        at = _morning(date(2025, 9, 1))
        return {
            "id": self.n + 1, "public_id": f"{self.n + 1:020x}", "email": address,
            "email_key": address, "state": "active", "zone": "UTC", "hour": 7,
            "frequency": "daily", "detail": "abstract",
            "interests": ", ".join(terms[: 2 + 2 * len(own)]) if writes else "",
            "categories": some(0.5, [name for paper in seeds for name in paper.categories[:2]]),
            "followed_authors": some(0.25, authors[:4]),
            "include_keywords": some(0.15, terms[:2]),
            "exclude_keywords": some(0.1, other[:1]),
            "revisions": bool(rng.random() < 0.1), "recap": bool(rng.random() < 0.1),
            "created_at": at, "state_changed_at": at, "confirmed_at": at,
        }  # fmt: skip


class _Rows:
    """Rows of several subscribers, by table in the order of their storing."""

    def __init__(self, version: tuple[str, str], run_ids: list[int]) -> None:
        self._version = version
        self._run_ids = run_ids
        self.of: dict[Table, list[dict[str, Any]]] = {
            table: [] for table in (subscribers, slates, impressions, messages, events)
        }

    def add_slates(self, subscriber_id: int, shown: list[Paper]) -> dict[int, int]:
        """Add a digest for each of the last days, and return the id of the slate by paper."""
        slate_of = {}
        days = _days_before(FIRST_NIGHT, N_PAST_SLATES)
        for k, (on, run_id) in enumerate(zip(days, self._run_ids, strict=True)):
            id, at = (subscriber_id - 1) * N_PAST_SLATES + k + 1, _morning(on)
            own = shown[k * SIZE : (k + 1) * SIZE]
            slate_of |= dict.fromkeys((paper.id for paper in own), id)
            self.of[slates].append({
                "id": id, "public_id": f"{id:020x}", "subscriber_id": subscriber_id, "on": on,
                "run_id": run_id, "n_candidates": 1000, "scorer_version": self._version[0],
                "encoder_version": self._version[1], "feature_version": FEATURE_VERSION,
                "day_report": "", "created_at": at,
            })  # fmt: skip
            self.of[messages].append({
                "message_id": f"<{id:020x}@example.org>", "subscriber_id": subscriber_id,
                "slate_id": id, "on": on, "state": MessageState.SENT,
                "recipient": f"reader{subscriber_id}@example.org",
                "created_at": at, "updated_at": at, "sent_at": at,
            })  # fmt: skip
            for position, paper in enumerate(own, start=1):
                self.of[impressions].append({
                    "slate_id": id, "subscriber_id": subscriber_id, "paper_id": paper.id,
                    "position": position, "score": 0.5 - position / 40,
                    "prior": 0.5 - position / 40, "propensity": 1.0, "policy": Policy.RANKED,
                    "features": bytes(4 * len(FEATURES)), "reasons": [["likes", "near a like"]],
                })  # fmt: skip
        return slate_of


def _event(
    subscriber_id: int,
    paper_id: int,
    at: datetime,
    *,
    slate_id: int | None,
    kind: EventKind = EventKind.VOTE_UP,
) -> dict[str, Any]:
    return {
        "subscriber_id": subscriber_id, "paper_id": paper_id, "slate_id": slate_id, "kind": kind,
        "origin": Origin.PERSON, "at": at, "recorded_at": at, "evidence": {},
    }  # fmt: skip


def _days_before(on: date, n: int) -> list[date]:
    return [on - timedelta(days=back) for back in range(n, 0, -1)]


def _morning(on: date) -> datetime:
    return datetime.combine(on, time(7), UTC)
