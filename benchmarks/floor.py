"""Two other prices of a subscriber's night: of its bare steps, and of arxiv-sanity-lite's way.

The bare steps are one call each of numpy, LightGBM, Jinja, `email` and SQLite, on data of the same
size, without anything that makes a digest right. Both are in ms of processor time a subscriber.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, date, datetime
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from triage import store
from triage.app.application import App, open_app
from triage.digest import render
from triage.ranking.features import FEATURES
from triage.ranking.serving.active_models import load_active_models
from triage.ranking.serving.ranker import load_pool
from triage.training.evaluation.baselines import ASL, Baselines, peer_text

N_VECTORS = 4
"""How many vectors a subscriber has in each of the three spaces: a mean, models, a phrase."""

N_SHORTLISTED = 300
TOGETHER, ROUNDS = 32, 30
N_READERS = 50


def floor_ms(folder: Path, on: date, days: int, n_bytes: int) -> dict[str, float]:
    """Return the price of each bare step.

    Args:
        folder: an installation, for its pool of that date and its models.
        n_bytes: what a night adds to the database for each subscriber.
    """
    with closing(open_app(folder / "triage.toml")) as app:
        pair = load_active_models(app.database, app.model_store)
        assert pair is not None
        with app.database.read() as conn:
            vectors = load_pool(conn, pair.encoder, on, days).encodings
        templates = _capture(app, on)
    rng = np.random.default_rng(0)
    spaces = [
        (papers, rng.random((papers.shape[1], TOGETHER * N_VECTORS), dtype=np.float32))
        for papers in (vectors.latent, vectors.tfidf, vectors.semantic)
    ]
    rows = rng.random((N_SHORTLISTED, len(FEATURES)), dtype=np.float32)
    text, html = (template.render(context) for template, context in templates)
    found = {
        "matrix product": _ms(lambda: [papers @ wanted for papers, wanted in spaces]) / TOGETHER,
        "LightGBM": _ms(lambda: pair.scorer.score(rows)),
        "Jinja": _ms(lambda: [template.render(context) for template, context in templates]),
        "MIME": _ms(lambda: _message(text, html)),
    }
    with TemporaryDirectory() as other, closing(sqlite3.connect(Path(other) / "bare.db")) as bare:
        bare.executescript("PRAGMA journal_mode = WAL; CREATE TABLE night (content BLOB)")
        rows_of_night = [(rng.bytes(n_bytes),)] * TOGETHER

        def insert() -> None:
            with bare:
                bare.executemany("INSERT INTO night VALUES (?)", rows_of_night)

        found["INSERT"] = _ms(insert) / TOGETHER
    return found


def _capture(app: App, on: date) -> list[tuple[Any, dict[str, Any]]]:
    """Return the templates of text and HTML with what a real digest gives them."""
    captured = []

    class Noting:
        def __init__(self, template: Any) -> None:
            self._template = template

        def render(self, context: Any = None, **more: Any) -> str:
            captured.append((self._template, context or more))
            return str(self._template.render(context or more))

    subject, *both = render._digest()
    render._digest = lambda: (subject, *map(Noting, both))
    with app.database.read() as conn:
        everyone = store.subscribers.everyone(conn)
    slate = app.new_nightly().preview(everyone[-1], on)
    app.build_message(slate, datetime.now(UTC))
    return captured[-2:]


def _message(text: str, html: str) -> bytes:
    message = MIMEMultipart("alternative")
    message["From"], message["To"] = "triage@example.org", "reader@example.org"
    message["Subject"] = "Papers for you"
    message.attach(MIMEText(text, "plain", "utf-8"))
    message.attach(MIMEText(html, "html", "utf-8"))
    return message.as_bytes()


def _ms(work: Callable[[], object]) -> float:
    """Return the median of milliseconds of processor time, after a first call."""
    work()
    spent = []
    for _ in range(ROUNDS):
        started = time.process_time()
        work()
        spent.append(1e3 * (time.process_time() - started))
    return median(spent)


def peer_ms(folder: Path, first: date = date.min) -> float:
    """Return the price of arxiv-sanity-lite's algorithm: one support vector machine a subscriber.

    It is fitted on all stored papers, as that program does, and orders them. TF-IDF, which is
    fitted once for all, is not counted. Subscribers without likes cost nothing.

    Args:
        first: take only the likes and the papers that were listed on this day or later.
    """
    with closing(open_app(folder / "triage.toml")) as app, app.database.read() as conn:
        readers = [each.id for each in store.subscribers.everyone(conn)][:N_READERS]
        all_likes = store.events.liked(conn)
        stored = list(store.papers.iterate(conn))
    likes = {id: all_likes.get(id, [])[::-1] for id in readers}
    kept = {id for own in likes.values() for id in own}
    stored = [paper for paper in stored if paper.listed_on >= first or paper.id in kept]
    row_of = {paper.id: row for row, paper in enumerate(stored)}
    baselines = Baselines([peer_text(p.title, p.abstract, p.authors) for p in stored])
    rng = np.random.default_rng(0)
    started = time.process_time()
    for own in likes.values():
        scores = baselines.scores(ASL, "", [row_of[id] for id in own], rng)
        np.argsort(-scores, kind="stable")
    return 1e3 * (time.process_time() - started) / len(likes)
