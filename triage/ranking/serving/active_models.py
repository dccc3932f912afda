"""Which encoder and scorer serve, and the vectors that they need.

A scorer serves together with the encoder that it is bound to. If the promoted pair cannot be
loaded, the pair before it serves, and at last the cold-start scorer with a fresh encoder: mail
goes out whatever happened to the model files.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import structlog

from triage import store
from triage.domain.protocols import Clock, Encoder, ModelStore, Progress, Scorer, silent
from triage.errors import ModelError, NotFound
from triage.store import Database

log = structlog.get_logger()

CHUNK = 1000
PAIRS_KEPT = 3
ENCODER_AGE = timedelta(days=7)
ENCODER_GROWTH = 1.5


@dataclass(frozen=True, slots=True)
class Serving:
    """The pair that ranks."""

    encoder: Encoder
    scorer: Scorer


def ensure_active_models(
    database: Database, workshop: ModelStore, clock: Clock, on: date
) -> Serving:
    """Return the pair that serves; fit and promote a first or a newer encoder where due.

    Only the cold-start scorer goes with any encoder, so under a trained one the encoder stays as it
    is until the next training.

    Raises:
        NotFound: there is not one paper to fit an encoder on.
    """
    pair = load_active_models(database, workshop)
    cold = workshop.cold_scorer()
    if pair is not None and pair.scorer.version != cold.version:
        return pair
    encoder = refit_encoder_if_due(database, workshop, clock, pair.encoder if pair else None, on)
    if pair is None or encoder.version != pair.encoder.version:
        promote(database, clock, cold, encoder, "encoder fitted on the stored papers")
    return Serving(encoder, cold)


def refit_encoder_if_due(
    database: Database, workshop: ModelStore, clock: Clock, encoder: Encoder | None, on: date
) -> Encoder:
    """Return the encoder, or one fitted anew if there is none or it is due.

    Raises:
        NotFound: there is not one paper to fit an encoder on.
    """
    if encoder is not None and not _due(database, encoder, on):
        return encoder
    return fit_encoder(database, workshop, clock)


def load_active_models(database: Database, workshop: ModelStore) -> Serving | None:
    """Return the newest promoted pair that can be loaded."""
    with database.read() as conn:
        history = store.model_versions.history(conn)
    for promotion in history:
        try:
            encoder = workshop.load_encoder(promotion.encoder_version)
            return Serving(encoder, workshop.load_scorer(promotion.scorer_version))
        except ModelError as error:
            log.warning("model unusable, taking the one before", error=str(error))
    return None


def _due(database: Database, encoder: Encoder, on: date) -> bool:
    with database.read() as conn:
        n_papers = store.papers.count(conn)
        fitted = store.model_versions.get(conn, encoder.version)
    if fitted is None:
        return False
    return encoder_due(fitted.metrics["n_papers"], fitted.created_at.date(), n_papers, on)


def encoder_due(n_fitted: int, fitted_on: date, n_now: int, on: date) -> bool:
    """Tell whether an encoder should be fitted anew.

    It should once the corpus has grown by half, or after a week in which anything came.
    """
    if n_now <= n_fitted:
        return False
    return n_now >= ENCODER_GROWTH * n_fitted or on - fitted_on >= ENCODER_AGE


def fit_encoder(database: Database, workshop: ModelStore, clock: Clock) -> Encoder:
    """Fit an encoder on all stored papers and what readers like, and note it.

    Raises:
        NotFound: no papers are stored.
    """
    with database.read() as conn:
        known = [
            (each.id, each.encoded_text, each.authors, each.listed_on)
            for each in store.papers.iterate(conn)
        ]
        liked = store.events.liked(conn)
    if not known:
        raise NotFound("there are no papers yet: `triage papers import FILE…` brings some in")
    ids, texts, authors, listed = zip(*known, strict=True)
    rows = {id: row for row, id in enumerate(ids)}
    likes = {
        who: np.array([rows[id] for id in own if id in rows], dtype=np.int64)
        for who, own in liked.items()
    }
    encoder = workshop.fit_encoder(texts, authors, likes, listed)
    with database.write() as conn:
        metrics = {"n_papers": len(texts)}
        store.model_versions.add(conn, encoder.version, "encoder", None, metrics, clock.now())
    log.info("encoder fitted", version=encoder.version, papers=len(texts))
    return encoder


def promote(database: Database, clock: Clock, scorer: Scorer, encoder: Encoder, why: str) -> None:
    """Let a pair serve from now on; vectors that no recent pair needs are dropped."""
    with database.write() as conn:
        store.model_versions.promote(conn, scorer.version, encoder.version, why, clock.now())
        recent = store.model_versions.history(conn)[:PAIRS_KEPT]
        store.encodings.drop_others(conn, [pair.encoder_version for pair in recent])
    log.info("promoted", scorer=scorer.version, encoder=encoder.version, why=why)


def taught_until(database: Database, scorer: Scorer) -> date | None:
    """Return the newest day that a kept scorer has learned from, None if from none."""
    with database.read() as conn:
        row = store.model_versions.get(conn, scorer.version)
    told = row.metrics.get("taught_until") if row else None
    return date.fromisoformat(told) if told else None


def encode_new(
    database: Database,
    encoder: Encoder,
    progress: Progress = silent,
) -> int:
    """Encode the papers that this encoder has not seen; return how many those were.

    Args:
        progress: told of the stage "encode".
    """
    with database.read() as conn:
        missing = store.encodings.missing(conn, encoder.version)
    for start in range(0, len(missing), CHUNK):
        with database.read() as conn:
            papers = list(store.papers.load(conn, missing[start : start + CHUNK]).values())
        encoded = encoder.encode([paper.encoded_text for paper in papers])
        with database.write() as conn:
            store.encodings.save(conn, encoder.version, [paper.id for paper in papers], encoded)
        progress("encode", start + len(papers), len(missing))
    return len(missing)
