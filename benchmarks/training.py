"""Measure training on 1,000,000 impressions, from the database to the active sealed model.

    python -m benchmarks.training [--impressions N]

Targets, on two cores: at most 150 s and 3 GiB. The log is made up: 50 days of digests of ten
papers, with as many features as triage has. Users look at position r with probability 1 / r. Their
preferences can be learned by trees, so the model passes the promotion test and both fits of a night
are measured. The encoder is fitted before.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import Table, insert

from benchmarks.figures import peak_gib, record
from triage import store
from triage.app.application import App, open_app
from triage.domain.records import EventKind, Origin, Policy
from triage.domain.source_records import Batch, FetchedPaper
from triage.ranking.features import FEATURE_VERSION, FEATURES
from triage.ranking.serving.active_models import ensure_active_models
from triage.store.tables import events, impressions, slates, subscribers

START = date(2026, 3, 2)
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
N_DAYS = 50
PAPERS_PER_DAY = 200
SIZE = 10
CHUNK = 20_000

TRAIN = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from triage.app.application import open_app
from triage.training.train import train
app = open_app(Path(sys.argv[1]))
report = train(app.database, app.model_store, app.clock)
assert report.promoted, report.why
"""


class MadeUp:
    """A source of short made-up papers."""

    name = "made"

    def fetch(self, cursor: str | None) -> Iterator[Batch]:
        rng = np.random.default_rng(1)
        for start in range(0, 0 if cursor else N_DAYS * PAPERS_PER_DAY, 500):
            yield Batch(papers=tuple(self._paper(start + n, rng) for n in range(500)))

    def _paper(self, n: int, rng: np.random.Generator) -> FetchedPaper:
        words = " ".join(f"word{i}" for i in rng.integers(0, 2_000, 20))
        title = f"Paper number {n}"
        return FetchedPaper(
            source="made",
            source_id=str(n),
            title=title,
            abstract=words,
            raw_title=title,
            raw_abstract=words,
            listed_on=START + timedelta(days=n // PAPERS_PER_DAY),
        )


def fill(app: App, n_impressions: int) -> None:
    """Store papers, subscribers, and a log of that many impressions."""
    from triage.papers.ingest import ingest

    for _ in ingest(app.database, MadeUp(), app.clock, resume=False):
        pass
    with app.database.read() as conn:
        papers = np.array(sorted(paper.id for paper in store.papers.iterate(conn)))
    n_readers = n_impressions // (N_DAYS * SIZE)
    put(app, subscribers, [reader(n) for n in range(1, n_readers + 1)])
    ensure_active_models(app.database, app.model_store, app.clock, START)
    rng = np.random.default_rng(2)
    for day in range(N_DAYS):
        on = START + timedelta(days=day)
        with app.database.write() as conn:
            run_id = store.jobs.begin_run(conn, on, NOON)
        X = rng.random((n_readers, SIZE, len(FEATURES)), dtype=np.float32)
        X[rng.random(X.shape) < 0.3] = 0
        liking = X[:, :, -1] + 0.5 * X[:, :, 0] + rng.normal(0, 0.2, X.shape[:2])
        looked = rng.random(liking.shape) < 1 / np.arange(1, SIZE + 1)
        chosen = rng.permuted(np.tile(np.arange(PAPERS_PER_DAY), (n_readers, 1)), axis=1)[:, :SIZE]
        shown = papers[day * PAPERS_PER_DAY + chosen]
        first = day * n_readers + 1
        put(app, slates, [slate(first + n, n + 1, on, run_id) for n in range(n_readers)])
        put(
            app,
            impressions,
            [
                {
                    "slate_id": first + n, "subscriber_id": n + 1, "paper_id": int(shown[n, i]),
                    "position": i + 1, "score": 0.9 - i / 20,
                    "propensity": 1.0 if i < SIZE - 1 else 0.05,
                    "policy": Policy.RANKED if i < SIZE - 1 else Policy.EXPLORATION,
                    "features": X[n, i].tobytes(), "reasons": [],
                }
                for n in range(n_readers)
                for i in range(SIZE)
            ],
        )  # fmt: skip
        put(
            app,
            events,
            [
                {
                    "subscriber_id": int(n) + 1, "paper_id": int(shown[n, i]),
                    "slate_id": first + int(n), "kind": kind(float(liking[n, i])),
                    "origin": Origin.PERSON, "at": NOON + timedelta(days=day),
                    "recorded_at": NOON, "evidence": {},
                }
                for n, i in np.argwhere(looked)
            ],
        )  # fmt: skip


def kind(liking: float) -> EventKind:
    if liking > 1.1:
        return EventKind.SAVE
    return EventKind.VOTE_UP if liking > 0.8 else EventKind.VOTE_DOWN


def put(app: App, table: Table, rows: list[dict[str, Any]]) -> None:
    for start in range(0, len(rows), CHUNK):
        with app.database.write() as conn:
            conn.execute(insert(table), rows[start : start + CHUNK])


def reader(n: int) -> dict[str, Any]:
    address = f"reader{n}@example.org"
    lists = ("categories", "followed_authors", "include_keywords", "exclude_keywords")
    return {
        "id": n, "public_id": f"{n:020x}", "email": address, "email_key": address,
        "state": "active", "zone": "UTC", "hour": 7, "frequency": "daily", "detail": "abstract",
        **{name: [] for name in lists}, "created_at": NOON, "state_changed_at": NOON,
    }  # fmt: skip


def slate(id: int, subscriber_id: int, on: date, run_id: int) -> dict[str, Any]:
    return {
        "id": id, "public_id": f"{id:020x}", "subscriber_id": subscriber_id, "on": on,
        "run_id": run_id, "n_candidates": PAPERS_PER_DAY, "scorer_version": "cold-2",
        "encoder_version": "made", "feature_version": FEATURE_VERSION, "day_report": "",
        "created_at": NOON,
    }  # fmt: skip


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--impressions", type=int, default=1_000_000)
    wanted = options.parse_args().impressions
    with tempfile.TemporaryDirectory() as folder:
        triage = [sys.executable, "-m", "triage"]
        subprocess.run([*triage, "init", "--dir", folder], check=True, stdout=subprocess.DEVNULL)
        config = Path(folder) / "triage.toml"
        app = open_app(config)
        fill(app, wanted)
        app.close()
        started = time.perf_counter()
        gib = peak_gib([sys.executable, "-c", TRAIN, str(config)])
        seconds = time.perf_counter() - started
    told = f"{wanted:,} impressions of {len(FEATURES)} features"
    if wanted < 1_000_000:
        print(f"{seconds:.1f} s and {gib:.2f} GiB for {told}: a trial, not recorded")
        return
    record(
        "python -m benchmarks.training",
        {
            "retrain_s": (round(seconds, 1), f"s to retrain on {told}, two fits and the gate"),
            "retrain_memory": (round(gib, 2), "GiB"),
        },
    )


if __name__ == "__main__":
    main()
