"""Loads or fits the encoder and scorer in use, and computes the vectors of new papers.

A trained scorer works only with its encoder. If the promoted pair cannot be loaded, the pair before
it is used, and in the end the pretrained ranker with a new encoder: a damaged model file never
stops the mail.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import structlog

from triage import store
from triage.domain.protocols import Clock, Encoder, Progress, Scorer, silent
from triage.errors import ModelError, NotFound
from triage.ranking.serving.model_store import ModelStore
from triage.store import Database

log = structlog.get_logger()

CHUNK = 1000
PAIRS_KEPT = 3
ENCODER_AGE = timedelta(days=7)
ENCODER_GROWTH = 1.5


@dataclass(frozen=True, slots=True)
class ActiveModels:
    """The encoder and the scorer in use."""

    encoder: Encoder
    scorer: Scorer


def ensure_active_models(
    database: Database, model_store: ModelStore, clock: Clock, on: date
) -> ActiveModels:
    """Return the active pair; fit and promote a new encoder if there is none or it is old.

    The pretrained ranker works with any encoder. A trained one keeps its encoder until the next
    training. Raises what `fit_encoder` raises.
    """
    pair = load_active_models(database, model_store)
    pretrained = model_store.pretrained_scorer()
    if pair is not None and pair.scorer.version != pretrained.version:
        return pair
    encoder = refit_encoder_if_due(database, model_store, clock, pair.encoder if pair else None, on)
    if pair is None or encoder.version != pair.encoder.version:
        promote(database, clock, pretrained, encoder, "encoder fitted on the stored papers")
    return ActiveModels(encoder, pretrained)


def refit_encoder_if_due(
    database: Database, model_store: ModelStore, clock: Clock, encoder: Encoder | None, on: date
) -> Encoder:
    """Return the encoder, or a new one if there is none or it is old, see `fit_encoder`."""
    if encoder is None:
        return fit_encoder(database, model_store, clock)
    with database.read() as conn:
        n_papers = store.papers.count(conn)
        row = store.model_versions.get(conn, encoder.version)
    if row and encoder_due(row.metrics["n_papers"], row.created_at.date(), n_papers, on):
        return fit_encoder(database, model_store, clock)
    return encoder


def load_active_models(database: Database, model_store: ModelStore) -> ActiveModels | None:
    """Return the newest promoted pair that can be loaded, None if there is none."""
    with database.read() as conn:
        history = store.model_versions.history(conn)
    for promotion in history:
        try:
            encoder = model_store.load_encoder(promotion.encoder_version)
            return ActiveModels(encoder, model_store.load_scorer(promotion.scorer_version))
        except ModelError as error:
            log.warning("model unusable, taking the one before", error=str(error))
    return None


def encoder_due(n_fitted: int, fitted_on: date, n_now: int, on: date) -> bool:
    """Return whether the corpus has grown by half, or at all and the encoder is a week old."""
    is_old = on - fitted_on >= ENCODER_AGE
    return n_now > n_fitted and (is_old or n_now >= ENCODER_GROWTH * n_fitted)


def fit_encoder(database: Database, model_store: ModelStore, clock: Clock) -> Encoder:
    """Fit an encoder on all stored papers and likes, and store its version.

    Raises:
        NotFound: no papers are stored.
    """
    with database.read() as conn:
        papers = [
            (each.id, each.encoded_text, each.authors, each.listed_on)
            for each in store.papers.iterate(conn)
        ]
        liked = store.events.liked(conn)
    if not papers:
        raise NotFound("there are no papers yet: `triage papers import FILE…` brings some in")
    ids, texts, authors, listed = zip(*papers, strict=True)
    rows = {id: row for row, id in enumerate(ids)}
    likes = {
        who: np.array([rows[id] for id in own if id in rows], dtype=np.int64)
        for who, own in liked.items()
    }
    encoder = model_store.fit_encoder(texts, authors, likes, listed)
    with database.write() as conn:
        metrics = {"n_papers": len(texts)}
        store.model_versions.add(conn, encoder.version, "encoder", None, metrics, clock.now())
    log.info("encoder fitted", version=encoder.version, papers=len(texts))
    return encoder


def promote(database: Database, clock: Clock, scorer: Scorer, encoder: Encoder, why: str) -> None:
    """Make a pair active, and delete the vectors that none of the last PAIRS_KEPT pairs needs."""
    with database.write() as conn:
        store.take_turn(conn, store.Turn.MODELS)
        store.model_versions.promote(conn, scorer.version, encoder.version, why, clock.now())
        recent = store.model_versions.history(conn)[:PAIRS_KEPT]
        store.encodings.drop_others(conn, [pair.encoder_version for pair in recent])
    log.info("promoted", scorer=scorer.version, encoder=encoder.version, why=why)


def find_training_end(database: Database, scorer: Scorer) -> date | None:
    """Return the last day of a scorer's training data, None if there is none."""
    with database.read() as conn:
        row = store.model_versions.get(conn, scorer.version)
    day = row.metrics.get("taught_until") if row else None
    return date.fromisoformat(day) if day else None


def encode_stored(database: Database, model_store: ModelStore, clock: Clock) -> int:
    """Encode the papers without vectors of the active encoder; return their number.

    The first encoder is fitted if there is none. A later one is left to `ensure_active_models`.
    """
    with database.read() as conn:
        newest = store.model_versions.history(conn)[:1]
        if newest and not store.encodings.missing(conn, newest[0].encoder_version):
            return 0
        if not store.papers.count(conn):
            return 0
    pair = load_active_models(database, model_store) or ensure_active_models(
        database, model_store, clock, clock.now().date()
    )
    return encode_new(database, pair.encoder)


def encode_new(database: Database, encoder: Encoder, progress: Progress = silent) -> int:
    """Encode and store the papers without vectors of this encoder; return their number."""
    with database.read() as conn:
        missing = store.encodings.missing(conn, encoder.version)
    for start in range(0, len(missing), CHUNK):
        with database.read() as conn:
            loaded = store.papers.load(conn, missing[start : start + CHUNK])
        # The last bits of a vector depend on its row, so the order must not be the database's.
        papers = [loaded[id] for id in sorted(loaded)]
        encoded = encoder.encode([paper.encoded_text for paper in papers])
        with database.write() as conn:
            store.encodings.save(conn, encoder.version, [paper.id for paper in papers], encoded)
        progress("encode", start + len(papers), len(missing))
    return len(missing)
