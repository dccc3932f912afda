"""Measure the chances on readers that neither ranker nor calibration have seen.

    OMP_NUM_THREADS=1 python -m benchmarks.calibration

The readers of listings-2025 are put into folds as in `benchmarks.alone`: each is ranked by a ranker
without the lists that share papers with theirs, and so is the prior of chances fitted. A reader's
past digests are the ten best of each listing day before July 2025 with a like; a like in the
reading list is a vote for, and every other paper of these digests is not liked. The answers only
judge. `after 150 votes` is of the readers with 150 papers in past digests, of which the newest 150
are used.

The baseline is the logistic regression of each reader, with Platt scaling fitted on the answers of
the other folds' readers: better than any program could have it.
"""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks import peers
from benchmarks.alone import BENCH, PRETRAINED_ON, folds
from benchmarks.figures import record, skip
from benchmarks.pretrain import groups
from triage.domain.records import F32, F64, I64, Bools
from triage.ranking.calibration import Calibration, Correction, Prior
from triage.ranking.cold_start import ColdStartScorer
from triage.ranking.serving.model_store import ModelStore
from triage.training import pretrain
from triage.training.dataset import Group
from triage.training.evaluation import benchmark
from triage.training.evaluation.baselines import LR
from triage.training.evaluation.benchmark import Benchmark, Ranker
from triage.training.evaluation.metrics import calibration
from triage.training.past_days import PastDay

SIZE = 10
VOTES = 150
LIKELY = 0.8

Scored = dict[str, tuple[F64, Bools]]
"""Scores and which papers were liked, by slate."""


def main() -> None:
    if not BENCH.exists():
        skip("there is no benchmark data beside the checkout")
    data = benchmark.read(BENCH / PRETRAINED_ON)
    with tempfile.TemporaryDirectory() as folder:
        store = ModelStore(Path(folder), b"for this run", ColdStartScorer())
        known = benchmark.prepare(data, store, alone=True)
        past = list(pretrain.make_days(known.history, benchmark.first_day(data)))
        lists, ranker = groups(data), Ranker(known, data, ColdStartScorer())
        slates = score_slates(data, lists, ranker)
        baseline = score_baseline(slates)
    days = [day for day, _ in past]
    chances = measure_chances(data, days, score_days(data, lists, past), slates)
    record("python -m benchmarks.calibration", summarise(data, slates, baseline, chances))


def score_days(
    data: Benchmark, lists: Sequence[Group], past: Sequence[tuple[PastDay, F32]]
) -> list[F64]:
    """Return the scores of each past day by a ranker that has not seen its reader."""
    users, scores = list(data.interests), [np.zeros(0)] * len(past)
    for judged, related in folds(data):
        scorer = pretrain.fit(each for each in lists if users[each.reader] not in related)
        for number, (day, X) in enumerate(past):
            if users[day.subscriber] in judged:
                scores[number] = scorer.score(X)
    return scores


def score_slates(data: Benchmark, lists: Sequence[Group], ranker: Ranker) -> Scored:
    """Return the scores of each slate by a ranker that has not seen its reader, best first."""
    answers = read_answers()
    users = list(data.interests)
    found: Scored = {}
    for judged, related in folds(data):
        ranker.scorer = pretrain.fit(each for each in lists if users[each.reader] not in related)
        for slate in sorted(data.slates, key=lambda each: (each.user, each.on)):
            if slate.user in judged:
                papers, scores = zip(*ranker.ranked(slate), strict=True)
                liked = [each.source_id in answers[slate.qid] for each in papers]
                found[slate.qid] = np.array(scores), np.array(liked)
    return found


def read_answers() -> Mapping[str, set[str]]:
    answers: dict[str, set[str]] = defaultdict(set)
    for line in (BENCH / PRETRAINED_ON / "qrels.txt").read_text("utf-8").splitlines():
        qid, _, paper, _ = line.split()
        answers[qid].add(paper)
    return answers


def score_baseline(slates: Scored) -> Scored:
    """Return the scores of the logistic regression, for slates of readers with likes."""
    data, answers = peers.load(BENCH / PRETRAINED_ON), read_answers()
    rows: dict[str, list[tuple[float, bool]]] = defaultdict(list)
    with tempfile.TemporaryFile("w+", encoding="utf-8") as run:
        peers.write_run(data, peers.fit(data), LR, run)
        run.seek(0)
        for line in run:
            qid, _, paper, _, score, _ = line.split()
            rows[qid].append((float(score), paper in answers[qid]))
    return {
        qid: (np.array([s for s, _ in own]), np.array([y for _, y in own]))
        for qid, own in rows.items()
        if qid in slates
    }


def measure_chances(
    data: Benchmark, days: Sequence[PastDay], scores: Sequence[F64], slates: Scored
) -> dict[str, dict[str, F64]]:
    """Return the chances in each slate: of the `prior`, after all votes, and after 150 votes."""
    users = list(data.interests)
    found: dict[str, dict[str, F64]] = {"prior": {}, "votes": {}, "150": {}}
    for judged, related in folds(data):
        others = [n for n, day in enumerate(days) if users[day.subscriber] not in related]
        prior = pretrain.fit_prior([days[n] for n in others], [scores[n] for n in others])
        for user in judged:
            log_odds, liked = past_digests(users.index(user), days, scores, prior)
            corrected = {"prior": Correction(), "votes": Correction().refine(log_odds, liked)}
            if len(liked) >= VOTES:
                corrected["150"] = Correction().refine(log_odds[-VOTES:], liked[-VOTES:])
            for slate in data.slates:
                if slate.user == user:
                    for name, each in corrected.items():
                        chances, _ = Calibration(prior, each).chances(slates[slate.qid][0])
                        found[name][slate.qid] = chances
    return found


def past_digests(
    reader: int, days: Sequence[PastDay], scores: Sequence[F64], prior: Prior
) -> tuple[F64, Bools]:
    """Return the prior log-odds of a reader's mailed papers, oldest first, and which were liked."""
    first: dict[int, int] = {}
    for number, day in enumerate(days):
        if day.subscriber == reader:
            first.setdefault(day.day, number)  # the one with all likes
    parts = [(np.zeros(0), np.zeros(0, dtype=np.bool_))]
    for number in first.values():
        best = _best(scores[number])
        parts.append((prior.log_odds(scores[number])[best], days[number].relevance[best] > 0))
    log_odds, liked = (np.concatenate(each) for each in zip(*parts, strict=True))
    return log_odds, liked


def _best(scores: F64) -> I64:
    return np.argsort(-scores, kind="stable")[:SIZE]


def platt(data: Benchmark, scored: Scored) -> dict[str, F64]:
    """Return the chances in each slate by Platt scaling, fitted on the other folds' readers."""
    from sklearn.linear_model import LogisticRegression

    user_of = {slate.qid: slate.user for slate in data.slates}
    found: dict[str, F64] = {}
    for judged, related in folds(data):
        others = [own for qid, own in scored.items() if user_of[qid] not in related]
        X, y = (np.concatenate(each) for each in zip(*others, strict=True))
        sigmoid = LogisticRegression(C=1e6).fit(X[:, None], y)
        for qid, (scores, _) in scored.items():
            if user_of[qid] in judged:
                found[qid] = sigmoid.predict_proba(scores[:, None])[:, 1]
    return found


def summarise(
    data: Benchmark, slates: Scored, baseline: Scored, chances: Mapping[str, Mapping[str, F64]]
) -> dict[str, tuple[float, str]]:
    def join(found: Mapping[str, F64], scored: Scored, qids: Sequence[str]) -> tuple[F64, Bools]:
        return (
            np.concatenate([found[qid] for qid in qids]),
            np.concatenate([scored[qid][1] for qid in qids]),
        )

    def mailed(name: str) -> tuple[F64, Bools]:
        best = {qid: _best(slates[qid][0]) for qid in chances[name]}
        return (
            np.concatenate([chances[name][qid][rows] for qid, rows in best.items()]),
            np.concatenate([slates[qid][1][rows] for qid, rows in best.items()]),
        )

    both = list(baseline)
    told, liked = join(chances["votes"], slates, list(slates))
    likely = told >= LIKELY
    figures = {
        "brier": (calibration(*join(chances["votes"], slates, both)).brier, "Brier score"),
        "brier_prior": (calibration(*join(chances["prior"], slates, both)).brier, "Brier score"),
        "brier_lr_platt": (
            calibration(*join(platt(data, baseline), baseline, both)).brier, "Brier score"
        ),
        "likely_liked": (float(liked[likely].mean()), "share liked of those with 80 % or more"),
        "likely_share": (float(liked[likely].sum() / liked.sum()), "share of all likes"),
        "ece_prior": (calibration(*mailed("prior")).error, "ECE of mailed papers"),
        "ece_votes": (calibration(*mailed("votes")).error, "ECE of mailed papers"),
        "ece_150_votes": (calibration(*mailed("150")).error, "ECE of mailed papers"),
    }  # fmt: skip
    for each in calibration(*mailed("150")).bins:
        print(f"{each.low:.3f} to {each.high:.3f}: {each.n} papers, mean chance"
              f" {each.mean_chance:.3f}, liked {each.share_liked:.3f}")  # fmt: skip
    return {f"calibration_{name}": figure for name, figure in figures.items()}


if __name__ == "__main__":
    main()
