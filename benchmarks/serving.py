"""Measure one subscriber's ranking on a large day: 1,000 candidates, 30 likes, cached models.

    python -m benchmarks.serving

It computes feature rows and scores of 100 trees, as every nightly run does. The user model is
fitted before, because the database keeps it until a vote changes it.
"""

from __future__ import annotations

import os

# As the command line has it.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.figures import SHARED, record, skip
from triage.ranking.features import feature_matrix
from triage.ranking.serving.model_store import ModelStore
from triage.training.evaluation import benchmark

COMMAND = "python -m benchmarks.serving"
DATA = SHARED / "bench" / "listings-2025"
N_CANDIDATES = 1_000
N_LIKES = 30
TIMES = 60


def main() -> None:
    if not DATA.exists():
        skip(f"{DATA.name} is not here")
    data = benchmark.read(DATA)
    benchmark.N_PAST_DAYS = 300
    with tempfile.TemporaryDirectory() as folder:
        ranker = benchmark.fit_ranker(data, ModelStore(Path(folder), b"k" * 32))
    history = ranker.history
    slate = min(data.slates, key=lambda slate: slate.on)
    reader = max(history.readers, key=lambda reader: len(reader.likes.rows))
    newest = reader.likes.rows[reader.likes.days < slate.on.toordinal()][::-1][:N_LIKES]
    profile = history.profile(reader, newest, slate.on)
    first = int(np.searchsorted(history.listed, slate.on.toordinal()))
    candidates = history.papers.select(slice(first, first + N_CANDIDATES))
    X = feature_matrix(profile, candidates, slate.on)
    rows_s = _cpu_s(lambda: feature_matrix(profile, candidates, slate.on))
    score_s = _cpu_s(lambda: ranker.scorer.score(X))
    record(
        COMMAND,
        {
            "serving.features_ms": (1e3 * rows_s, "ms of CPU"),
            "serving.scores_ms": (1e3 * score_s, "ms of CPU"),
            "serving.subscriber_ms": (1e3 * (rows_s + score_s), "ms of CPU"),
        },
    )


def _cpu_s(work: Callable[[], object]) -> float:
    """Return the median of processor seconds, after a first call that fills caches."""
    work()
    spent = []
    for _ in range(TIMES):
        started = time.process_time()
        work()
        spent.append(time.process_time() - started)
    return statistics.median(spent)


if __name__ == "__main__":
    main()
