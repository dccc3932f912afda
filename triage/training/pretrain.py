"""Trains the ranker that comes with the program, on the reading lists of a benchmark.

    papers ─→ encoder without likes ─┐
    likes, all or a few of them ─────┴→ past days of each reader alone ─→ pretrained ranker

Each reader is the only subscriber of an installation: nothing of other readers reaches the encoder
or the features. Each counts twice, with and without the interests text, so that the ranker does
well with either. The answers of the benchmark are not read.

The ranker has to do well in other fields than that of the lists. So its linear model starts from
equal weights of all kinds of similarity, is drawn back to these, and no similarity may lower a
score: without that, it was worse than a single cosine on reviews of biomedicine.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import date

import numpy as np

from triage.domain.protocols import Progress, silent
from triage.domain.records import F32, F64, RELEVANCE, EventKind
from triage.ranking.calibration import Prior
from triage.ranking.cold_start import ColdStartScorer
from triage.ranking.features import FEATURES
from triage.ranking.lambdamart import MONOTONE, LambdaMartScorer
from triage.ranking.linear_scorer import N_CONTEXTS, LinearPrior
from triage.ranking.serving.model_store import ModelStore
from triage.ranking.serving.pretrained_ranker import SHARE
from triage.training.dataset import Group, History, join_groups
from triage.training.evaluation.benchmark import Benchmark, first_day, prepare
from triage.training.past_days import PastDay

N_PAST_DAYS = 800
EVERY_DAY = 10_000
SEED = 0

# One z-score of each kind; those of text count less, the more likes there are. The neighbours of a
# text rank better than its own words, so they count double.
WEIGHT = 0.07
PENALTY = 0.15
_OF_LIKES = (
    "words_like_mean_z", "dense_like_mean_z", "sense_like_mean_z",
    "taste_likes_z", "taste_helped_z", "taste_meaning_z", "taste_helped_meaning_z",
)  # fmt: skip
_OF_INTERESTS = ("cluster_likes_z", "cluster_meaning_z", "cluster_sense_z", "cluster_words_z")
_OF_TEXT = (
    "words_interest_max_z", "dense_interest_max_z", "sense_interest_max_z", "anchor_max_z",
    "interest_cover_z",
)  # fmt: skip
_OF_NEIGHBOURS = ("anchor_dense_z", "anchor_sense_z")


def make_groups(
    data: Benchmark, model_store: ModelStore, progress: Progress = silent
) -> list[Group]:
    """Return query groups of past days before the first slate.

    `Group.reader` is the position of the reader in `data.interests`.
    """
    from threadpoolctl import threadpool_limits

    history = prepare(data, model_store, progress, alone=True).history
    none = history.papers.encodings.select(slice(0, 0))
    without_text = [replace(each, phrases=(), interests=none) for each in history.readers]
    both = History(history.papers, [*history.readers, *without_text], alone=True)
    rng = np.random.default_rng(SEED)
    first, until = history.papers.papers[0].listed_on, first_day(data)
    days = both.days(first, until, N_PAST_DAYS, rng)
    # A text and no likes is what most subscribers begin with; nothing at all teaches nothing.
    days = [day for day in days if len(day.known) or len(both.readers[day.subscriber].phrases)]
    # The number of threads changes the order of sums, and so the last bits.
    with threadpool_limits(1):
        found = list(both.groups(days, ColdStartScorer(), rng, progress))
    return [replace(each, reader=each.reader % len(history.readers)) for each in found]


def fit(groups: Iterable[Group]) -> LambdaMartScorer:
    """Fit a pretrained ranker; the same groups give the same bytes."""
    examples = join_groups(groups)
    return LambdaMartScorer.fit(
        examples.features,
        examples.relevance * np.int32(RELEVANCE[EventKind.VOTE_UP]),
        examples.group_sizes,
        examples.weights,
        start=ColdStartScorer(SHARE),
        encoder_version=None,
        prior=_prior(),
        seed=SEED,
    )


def make_days(history: History, until: date) -> Iterator[tuple[PastDay, F32]]:
    """Yield single listing days before `until` with their feature rows, oldest first.

    Each day of a reader comes with all earlier likes, and some again with a few. They are as the
    days of digests are: all candidates, and no days joined.
    """
    from threadpoolctl import threadpool_limits

    first = history.papers.papers[0].listed_on
    days = history.days(first, until, EVERY_DAY, np.random.default_rng(SEED), longest=1)
    days = [day for day in days if len(day.known) or len(history.readers[day.subscriber].phrases)]
    with threadpool_limits(1):
        yield from zip(days, history.feature_matrices(days), strict=True)


def fit_prior(days: Sequence[PastDay], scores: Sequence[F64]) -> Prior:
    """Fit the prior of chances, see `Prior.fit`; `scores` are of rankers that have not seen them.

    No reader counts much more than the others.
    """
    counts = Counter(day.subscriber for day in days)
    return Prior.fit(
        (own, day.relevance > 0, counts[day.subscriber] ** -0.5)
        for day, own in zip(days, scores, strict=True)
    )


def _prior() -> LinearPrior:
    worth = np.zeros((N_CONTEXTS, len(FEATURES)))
    always, few_likes = 0, 1
    for context, share, names in (
        (always, 1.0, _OF_LIKES),
        (always, 0.5, _OF_INTERESTS),
        (few_likes, 1.0, _OF_TEXT),
        (few_likes, 2.0, _OF_NEIGHBOURS),
        (always, 0.5, ("liked_author_overlap",)),
    ):
        worth[context, [FEATURES.index(name) for name in names]] = share * WEIGHT
    return LinearPrior(worth, np.zeros_like(worth), MONOTONE, PENALTY)
