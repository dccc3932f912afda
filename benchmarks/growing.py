"""Measure rankers of installations whose log of feedback grows: more votes must not make it worse.

    OMP_NUM_THREADS=1 python -m benchmarks.growing [listings-2025] [libraries-citeulike]

A group of readers of a benchmark makes two labs: one begins with nothing, and one also learns from
the likes of older days, which were imported. The log grows to 500 digests with likes. Each of them
has the ten papers that the ranker of that time puts first among candidates of a past day, and those
on the reader's list are voted up. At each stage a ranker is trained as by `triage train`: on the
digests so far and on past days of the imported likes. It goes into service if it passes the
promotion test. `trained` is the ranker of a stage, promoted or not, and `serving` is what ranks
from then on. All stages are judged on the same later days.

Each reader counts with all earlier likes and again with a few of them. No lab begins with a
ranker that was trained on lists of its readers, see `benchmarks.alone`. Each reader's features are
those of an only subscriber.
"""

from __future__ import annotations

import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import numpy as np

from benchmarks.alone import BENCH, PRETRAINED_ON, folds
from benchmarks.figures import record, skip
from benchmarks.pretrain import groups as pretraining_groups
from triage.domain.protocols import Encoder, Scorer
from triage.domain.records import F32, F64, I32, I64, EventKind
from triage.errors import NotEnoughFeedback
from triage.ranking.features import FEATURES
from triage.ranking.lambdamart import LambdaMartScorer
from triage.ranking.serving.model_store import ModelStore
from triage.store.training_log import TrainingLog
from triage.training import pretrain
from triage.training.dataset import Examples, History
from triage.training.evaluation import benchmark
from triage.training.evaluation.benchmark import Benchmark, Feedback
from triage.training.evaluation.bootstrap import bootstrap_units, fixed_rng
from triage.training.evaluation.metrics import HeldOut, slate_ndcg
from triage.training.imported_likes import as_votes
from triage.training.past_days import PastDay
from triage.training.promotion_test import Winner, decide
from triage.training.train import TrainingRows, fit, label_training_log, split_by_time

LIBRARIES = "libraries-citeulike"
STAGES = (0, 5, 20, 50, 150, 500)
SIZE = 10
MOST_CANDIDATES, MOST_IMPORTED, MOST_DIGESTS, MOST_JUDGED = 150, 120, 850, 80
N_GROUPS, READERS_OF_A_LIBRARY_GROUP = 10, 40
# The newest days judge, and imported likes are of the oldest.
IMPORTED, JUDGED = 0.15, 0.15
KEY = b"for this run"


@dataclass(frozen=True, slots=True)
class Day:
    """The candidates of a subscriber's day: float32 (n, n_features) and int32 (n,)."""

    reader: int
    on: int
    features: F32
    relevance: I32


@dataclass(frozen=True, slots=True)
class Lab:
    """An installation: the days of its digests in order, the days that judge, imported likes."""

    encoder: Encoder
    start: LambdaMartScorer
    days: Sequence[Day]
    judged: Sequence[Day]
    imported: Examples | None


def main() -> None:
    if not BENCH.exists():
        skip("there is no benchmark data beside the checkout")
    for name in sys.argv[1:] or [PRETRAINED_ON, LIBRARIES]:
        values: dict[str, list[list[float]]] = defaultdict(list)
        for lab in make_labs(name):
            for ranker, of_stages in grow(lab).items():
                values[ranker].append(of_stages)
            print(name, len(values["serving"]), {n: v[-1] for n, v in values.items()}, flush=True)
        fewest = min(values.pop("digests"))[0]
        figures = {f"growing_{name}_digests": (fewest, "digests with likes of the smallest lab")}
        for ranker, rows in values.items():
            means = np.mean(rows, axis=0)
            for stage, mean in zip(STAGES, means, strict=True):
                told = f"nDCG@10, mean of {len(rows)} labs with {stage} digests with likes"
                figures[f"growing_{name}_{ranker}_{stage}"] = (round(float(mean), 4), told)
            fall = round(float(np.max(-np.diff(means))), 4)
            figures[f"growing_{name}_{ranker}_fall"] = (
                fall,
                "nDCG@10, the most from stage to stage",
            )
        record("python -m benchmarks.growing", figures)


def make_labs(name: str) -> Iterator[Lab]:
    """Yield the labs of a data set."""
    data = benchmark.read(BENCH / name)
    with tempfile.TemporaryDirectory() as folder:
        store = ModelStore(Path(folder), KEY)
        known = benchmark.prepare(with_answers(data, BENCH / name), store, alone=True)
    history, rng = known.history, np.random.default_rng(0)
    first, last = (history.papers.papers[row].listed_on for row in (0, -1))
    # The fewer likes are drawn anew in each.
    every = [day for _ in range(2) for day in history.days(first, last, sys.maxsize, rng)]
    begins, ends = np.quantile([day.day for day in every], [IMPORTED, 1 - JUDGED])
    for start, readers in find_groups(name, data, store, rng):
        own = [day for day in every if day.subscriber in readers]
        older = choose([day for day in own if day.day < begins], MOST_IMPORTED, rng)
        of_log = choose([day for day in own if begins <= day.day < ends], MOST_DIGESTS, rng)
        judged = choose([day for day in own if day.day >= ends], MOST_JUDGED, rng)
        imported = as_votes(history.examples_of(older, start, rng))
        days, later = compute(history, of_log, rng), compute(history, judged, rng)
        for likes in (None, imported):
            yield Lab(known.encoder, start, days, later, likes)


def find_groups(
    name: str, data: Benchmark, store: ModelStore, rng: np.random.Generator
) -> Iterator[tuple[LambdaMartScorer, set[int]]]:
    """Yield groups of readers, by index, with the ranker that they begin with."""
    users = list(data.interests)
    if name != PRETRAINED_ON:
        some = rng.permutation(len(users))[: READERS_OF_A_LIBRARY_GROUP * N_GROUPS]
        for part in np.array_split(some, N_GROUPS):
            yield store.pretrained_scorer(), set(part.tolist())
        return
    lists = pretraining_groups(data)
    for judged, related in folds(data)[:N_GROUPS]:
        start = pretrain.fit(each for each in lists if users[each.reader] not in related)
        yield start, {users.index(user) for user in judged}


def with_answers(data: Benchmark, folder: Path) -> Benchmark:
    """Return the data with the answers of the slates as later likes."""
    slates = {slate.qid: slate for slate in data.slates}
    later = []
    for line in (folder / "qrels.txt").read_text("utf-8").splitlines():
        qid, _, paper, _ = line.split()
        later.append(Feedback(slates[qid].user, paper, True, slates[qid].on))
    return replace(data, feedback=(*data.feedback, *later))


def choose(days: Sequence[PastDay], most: int, rng: np.random.Generator) -> list[PastDay]:
    """Return at most so many of the days, in order of time."""
    some = rng.permutation(len(days))[:most]
    return sorted((days[row] for row in some), key=lambda day: day.day)


def compute(history: History, days: Sequence[PastDay], rng: np.random.Generator) -> list[Day]:
    """Return the feature rows of MOST_CANDIDATES of each day's candidates, all likes among them."""
    fewer = []
    for day in days:
        others = rng.permutation(np.flatnonzero(day.relevance == 0))[:MOST_CANDIDATES]
        rows = np.sort(np.concatenate([np.flatnonzero(day.relevance), others]))
        fewer.append(replace(day, candidates=day.candidates[rows], relevance=day.relevance[rows]))
    return [
        Day(history.readers[day.subscriber].subscriber.id, day.day, X, day.relevance)
        for day, X in zip(fewer, history.feature_matrices(fewer), strict=True)
    ]


def grow(lab: Lab) -> dict[str, list[float]]:
    """Return the nDCG@10 of each stage by ranker."""
    with tempfile.TemporaryDirectory() as folder:
        store = ModelStore(Path(folder), KEY, lab.start)
        serving: Scorer = lab.start
        taught_until: date | None = None
        log, days = DigestLog(), iter(lab.days)
        found: dict[str, list[float]] = {"trained": [], "serving": []}
        for stage in STAGES:
            while len(log.shown) < stage and (day := next(days, None)):
                log.show(day, serving)
            trained: Scorer = lab.start
            if stage or lab.imported:
                lessons = log.lessons()
                trained = fit_if_enough(store, lab, lessons)
                serving, taught_until = promote(store, lab, trained, serving, taught_until, lessons)
            found["trained"].append(judge(trained, lab.judged))
            found["serving"].append(judge(serving, lab.judged))
        return found | {"digests": [float(len(log.shown))]}


def fit_if_enough(store: ModelStore, lab: Lab, lessons: TrainingRows) -> Scorer:
    try:
        return fit(store, lessons, lab.encoder, lab.imported)
    except NotEnoughFeedback:
        return lab.start


def promote(
    store: ModelStore,
    lab: Lab,
    trained: Scorer,
    serving: Scorer,
    taught_until: date | None,
    lessons: TrainingRows,
) -> tuple[Scorer, date | None]:
    """Return the ranker that serves from now on, and the last day of its training data."""
    earlier, later = split_by_time(lessons, taught_until)
    if not len(later):
        return serving, taught_until
    X, held_out = later.log.features, later.held_out()
    rankers = (fit_if_enough(store, lab, earlier), serving, lab.start)
    challenger, before, start = (slate_ndcg(each.score(X), held_out) for each in rankers)
    against = None if serving is lab.start else start
    winner, _ = decide(challenger, before, against, held_out.subscriber_ids, fixed_rng())
    if winner is Winner.CHALLENGER:
        return trained, date.fromordinal(lessons.days[-1])
    return lab.start if winner is Winner.PRETRAINED else serving, taught_until


class DigestLog:
    """The digests with likes so far, each with the rows and scores of its papers."""

    def __init__(self) -> None:
        self.shown: list[tuple[Day, I64, F64]] = []

    def show(self, day: Day, scorer: Scorer) -> None:
        """Log the best papers of a day if one of them is liked."""
        scores = scorer.score(day.features)
        best = np.argsort(-scores, kind="stable")[:SIZE]
        if day.relevance[best].any():
            self.shown.append((day, best, scores[best]))

    def lessons(self) -> TrainingRows:
        """Return the digests as training reads them from the database."""
        n = len(self.shown) * SIZE
        features = [day.features[rows] for day, rows, _ in self.shown]
        log = TrainingLog(
            slate_ids=np.arange(n) // SIZE,
            subscriber_ids=np.repeat([day.reader for day, *_ in self.shown], SIZE).astype(np.int64),
            paper_ids=np.arange(n),
            days=np.repeat([day.on for day, *_ in self.shown], SIZE).astype(np.int32),
            positions=(np.arange(n) % SIZE + 1).astype(np.int32),
            scores=np.array([scores for *_, scores in self.shown]).ravel(),
            propensities=np.ones(n, np.float32),
            features=np.array(features, np.float32).reshape(n, len(FEATURES)),
        )
        liked = np.array([day.relevance[rows] for day, rows, _ in self.shown]).ravel()
        votes = [
            (int(log.subscriber_ids[row]), int(row), EventKind.VOTE_UP)
            for row in np.flatnonzero(liked)
        ]
        return label_training_log(log, votes)[0]


def judge(scorer: Scorer, days: Sequence[Day]) -> float:
    """Return the mean nDCG@10 over readers."""
    sizes = np.array([len(day.relevance) for day in days])
    worth = np.concatenate([day.relevance for day in days]).astype(np.float64)
    readers = np.array([day.reader for day in days])
    held_out = HeldOut(np.cumsum(sizes) - sizes, worth, readers)
    scores = scorer.score(np.concatenate([day.features for day in days]))
    return float(bootstrap_units(slate_ndcg(scores, held_out), readers).mean())


if __name__ == "__main__":
    main()
