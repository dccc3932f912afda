"""Measure the models of one subscriber by the number of their likes: time of a fit, and bytes.

    python -m benchmarks.user_models

The background are 10,000 papers of listings-2026. Likes are near one to three papers that were
drawn; who likes none wrote two phrases. A refit is the fit after one more like, of a paper that is
newer than the background. Targets, means over all: first fit 60 ms of processor time, refit 30 ms,
20 kB.
"""

from __future__ import annotations

import os

# As the command line has it.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.figures import record, skip
from benchmarks.readers import FIRST_NIGHT, LIKES, PAPERS, build_papers
from triage import store
from triage.app.application import open_app
from triage.domain.protocols import Encoder
from triage.domain.records import (
    I64,
    Background,
    EncodedPapers,
    Frequency,
    Profile,
    Subscriber,
    SubscriberState,
)
from triage.ranking.features import split_phrases
from triage.ranking.serving.active_models import ensure_active_models
from triage.ranking.serving.ranker import load_library
from triage.ranking.user_model import N_BACKGROUND, fit_background, fit_user_model
from triage.ranking.user_model_format import pack_user_model, unpack_user_model

N_PAPERS = N_BACKGROUND + 2_000
READERS_EACH = 5
TEXT = "graph neural networks for molecules; reinforcement learning from human feedback"
SUBSCRIBER = Subscriber(
    1, "", "", SubscriberState.ACTIVE, zone="UTC", hour=6, frequency=Frequency.DAILY
)


@dataclass(frozen=True, slots=True)
class Fit:
    """Processor milliseconds of a first fit and of a refit, and the bytes of the packed model."""

    first_ms: float
    refit_ms: float
    n_bytes: int


def measure_fits(
    papers: EncodedPapers, past: Background, encoder: Encoder, n_likes: int
) -> Iterator[Fit]:
    """Yield what the models of some subscribers with so many likes cost.

    Args:
        papers: those of the background come first.
    """
    for seed in range(READERS_EACH):
        rows = _likes(papers, n_likes, np.random.default_rng([n_likes, seed]))
        phrases = () if n_likes else split_phrases(TEXT)
        after = Profile(
            SUBSCRIBER, papers.select(rows), (), papers.select(rows[:0]), (), phrases,
            encoder.encode(phrases),
        )  # fmt: skip
        before = replace(after, liked=papers.select(rows[1:]))
        started = time.process_time()
        model = fit_user_model(before, past)
        first = time.process_time() - started
        content = pack_user_model(model, "")
        start = unpack_user_model(content, "", past.everybody, None)
        started = time.process_time()
        fit_user_model(after, past, start)
        yield Fit(1e3 * first, 1e3 * (time.process_time() - started), len(content))


def _likes(papers: EncodedPapers, n: int, rng: np.random.Generator) -> I64:
    """Return the rows of n + 1 likes, the first of them newer than the background."""
    meaning = papers.encodings.semantic
    topics = meaning[rng.choice(N_BACKGROUND, rng.integers(1, 4))]
    near = np.argsort(-(meaning @ topics.T), axis=0)
    new = near[near[:, 0] >= N_BACKGROUND, 0][rng.integers(30)]
    pool = np.unique(near[: 2 * n // len(topics) + 1])
    old = rng.permutation(pool[pool != new])[:n]
    return np.concatenate([[new], old])


def main() -> None:
    if not PAPERS.exists():
        skip("there is no benchmark data beside the checkout")
    with TemporaryDirectory() as folder:
        build_papers(Path(folder), N_PAPERS)
        with closing(open_app(Path(folder) / "triage.toml")) as app, app.database.read() as conn:
            encoder = ensure_active_models(
                app.database, app.model_store, app.clock, FIRST_NIGHT
            ).encoder
            papers = store.papers.listed_between(conn, date.min, date.max)
            papers.sort(key=lambda paper: (paper.listed_on, paper.id))
            library = load_library(conn, encoder, papers)
    past = fit_background(
        "", library.select(slice(0, N_BACKGROUND)), library.encodings.tfidf[:N_BACKGROUND:20]
    )
    list(measure_fits(library, past, encoder, 3))
    means = []
    print(f"{'likes':>6}{'first ms':>10}{'refit ms':>10}{'kB':>8}")
    for n_likes in LIKES:
        fits = list(measure_fits(library, past, encoder, n_likes))
        means.append(np.mean([(f.first_ms, f.refit_ms, f.n_bytes) for f in fits], axis=0))
        first, refit, n_bytes = means[-1]
        print(f"{n_likes:>6}{first:>10.1f}{refit:>10.1f}{n_bytes / 1e3:>8.1f}", flush=True)
    first, refit, _ = np.mean(means, axis=0)
    record(
        "python -m benchmarks.user_models",
        {
            "user_model_first_fit_ms": (round(float(first), 1), "ms, the first fit of all models"),
            "user_model_refit_ms": (round(float(refit), 1), "ms, the fit after one vote"),
        },
    )


if __name__ == "__main__":
    main()
