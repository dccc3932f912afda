"""Measure the ranker for subscribers whose likes are their own papers.

    nice -n 10 python -m benchmarks.own_papers

A proxy, as no public data says what authors read: where one author has three or more papers, but at
most half, on a reading list of listings-2025, these papers are the profile, and the rest of the
list is to be found on later days. Papers by that author are neither candidates nor answers. Each
list counts once, as the mean over its authors. The encoder has no other reader's likes.

Each list is ranked by a pretrained ranker that was trained without it, and by the cold-start
formula. Targets: nDCG@10 at least 1.10 times the support vector machine's and at least the
formula's; own papers beside the other likes cost at most 0.005.
"""

from __future__ import annotations

import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import lru_cache
from pathlib import Path

import numpy as np

from benchmarks.alone import fit_fold_rankers
from benchmarks.figures import SHARED, record, skip
from triage.domain.author_names import author_keys
from triage.domain.protocols import Scorer
from triage.domain.records import (
    F64,
    I64,
    EncodedPapers,
    Frequency,
    Profile,
    Subscriber,
    SubscriberState,
)
from triage.ranking.cold_start import ColdStartScorer
from triage.ranking.features import FEATURES, feature_matrix
from triage.ranking.own_papers import ENOUGH_LIKES, FEWEST
from triage.ranking.serving.model_store import ModelStore
from triage.training.dataset import History, LikeHistory
from triage.training.evaluation.baselines import ASL, Baselines, peer_text
from triage.training.evaluation.benchmark import Benchmark, Slate, read
from triage.training.evaluation.metrics import ndcg
from triage.training.past_days import Likes

DATA = SHARED / "bench" / "listings-2025"
MOST_AUTHORS = 3
TOP = 10
COMMAND = "python -m benchmarks.own_papers"
READER = Subscriber(
    id=1,
    public_id="author",
    email="",
    state=SubscriberState.ACTIVE,
    zone="UTC",
    hour=6,
    frequency=Frequency.DAILY,
)
_OVERLAP = FEATURES.index("liked_author_overlap")


@dataclass(frozen=True, slots=True)
class Author:
    """An author on a reading list: rows of all its papers, of their own, and of the others.

    The newest like comes first.
    """

    user: str
    key: str
    all: I64
    own: I64
    rest: I64


def find_authors(data: Benchmark) -> Iterator[Author]:
    """Yield the most frequent authors of each list; composites of lists are left out."""
    rows = {paper.source_id: row for row, paper in enumerate(data.papers)}
    liked: dict[str, list[int]] = defaultdict(list)
    for each in sorted(data.feedback, key=lambda each: each.on, reverse=True):
        if each.liked and each.user.startswith("u"):
            liked[each.user].append(rows[each.paper_id])
    for user, likes in sorted(liked.items()):
        keys = [author_keys(data.papers[row].authors) for row in likes]
        counts = Counter(key for each in keys for key in sorted(each))
        for key, n in sorted(counts.items(), key=lambda each: (-each[1], each[0]))[:MOST_AUTHORS]:
            if FEWEST <= n <= len(likes) / 2:
                is_own = np.array([key in each for each in keys])
                rows_liked = np.array(likes, dtype=np.int64)
                yield Author(user, key, rows_liked, rows_liked[is_own], rows_liked[~is_own])


class Proxy:
    """Ranks the slates of the lists' users from other likes than they have.

    Args:
        answers: the papers to be found on each slate, by its qid.
    """

    def __init__(
        self, data: Benchmark, answers: Mapping[str, set[str]], model_store: ModelStore
    ) -> None:
        papers, first = data.papers, min(slate.on for slate in data.slates)
        before = [paper for paper in papers if paper.listed_on < first]
        encoder = model_store.fit_encoder(
            [paper.encoded_text for paper in before],
            [paper.authors for paper in before],
            listed=[paper.listed_on for paper in before],
        )
        vectors = encoder.encode([paper.encoded_text for paper in papers])
        self._data, self._answers = data, answers
        self._history = History(EncodedPapers(papers, vectors), [], encoder.since)
        self._no_interests = encoder.encode(())

    def rank(self, author: Author, scorers: Mapping[str, Scorer], svm: F64) -> dict[str, float]:
        """Return the mean nDCG@10 of one author's slates, by scorer and likes.

        Args:
            svm: float64, the support vector machine's score of each paper from `author.own`.
        """
        found: dict[str, list[float]] = defaultdict(list)
        for slate, rows, relevance in self._slates(author):
            candidates = self._history.papers.select(rows)
            found["asl"].append(ndcg_of(svm[rows], relevance))
            room = max(ENOUGH_LIKES - len(author.rest), 0)
            both = np.setdiff1d(author.all, author.own[room:], assume_unique=True)
            for likes, known in (("", author.own), ("_rest", author.rest), ("_all", both)):
                profile = self._profile(author, known, slate)
                X = feature_matrix(profile, candidates, slate.on)
                named = X.copy()
                named[:, _OVERLAP] = count_shared_authors(profile, candidates)
                for name, scorer in scorers.items():
                    found[name + likes].append(ndcg_of(scorer.score(X), relevance))
                    found[f"{name}{likes}_named"].append(ndcg_of(scorer.score(named), relevance))
        return {name: float(np.mean(values)) for name, values in found.items()}

    def _slates(self, author: Author) -> Iterator[tuple[Slate, I64, F64]]:
        """Yield slates with something to find, the rows of their candidates, and the relevance."""
        papers = self._data.papers
        rated = {each.paper_id for each in self._data.feedback if each.user == author.user}
        for slate in self._data.slates:
            answers = self._answers.get(slate.qid, set())
            if slate.user != author.user or not answers:
                continue
            day = slate.on.toordinal()
            begin, end = np.searchsorted(self._history.listed, [day, day + 1])
            rows = [
                row
                for row in range(begin, end)
                if papers[row].source_id not in rated
                and author.key not in author_keys(papers[row].authors)
            ]
            relevance = np.array([papers[row].source_id in answers for row in rows], np.float64)
            if relevance.any():
                yield slate, np.array(rows, dtype=np.int64), relevance

    @lru_cache(maxsize=16)  # noqa: B019 - there is one proxy, until the end
    def _fitted(self, known: tuple[int, ...], on: date) -> Profile:
        rows = np.array(known, dtype=np.int64)
        reader = LikeHistory(READER, (), self._no_interests, Likes(rows, rows))
        return self._history.profile(reader, rows, on)

    def _profile(self, author: Author, known: I64, slate: Slate) -> Profile:
        # The background, and so the user model, is the same for all days of a month.
        fitted = self._fitted(tuple(known.tolist()), slate.on.replace(day=1))
        return replace(fitted, own_authors=frozenset({author.key}))


def count_shared_authors(profile: Profile, candidates: EncodedPapers) -> F64:
    """Return the feature `liked_author_overlap` as if nobody wrote papers and liked them."""
    liked = frozenset().union(*(author_keys(paper.authors) for paper in profile.liked.papers))
    shared = [len(liked & author_keys(paper.authors)) for paper in candidates.papers]
    return np.minimum(np.array(shared, dtype=np.float64), 3)


def ndcg_of(scores: F64, relevance: F64) -> float:
    """Return the nDCG@10 of a slate; ties are in the order of the papers."""
    return ndcg(relevance[np.argsort(-scores, kind="stable")].astype(np.int64), TOP)


def read_answers() -> dict[str, set[str]]:
    answers: dict[str, set[str]] = defaultdict(set)
    for line in (DATA / "qrels.txt").read_text("utf-8").splitlines():
        qid, _, paper, _ = line.split()
        answers[qid].add(paper)
    return answers


def main() -> None:
    if not DATA.exists():
        skip("there is no benchmark data beside the checkout")
    data, answers = read(DATA), read_answers()
    texts = [peer_text(paper.title, paper.abstract, paper.authors) for paper in data.papers]
    baselines = Baselines(texts)
    lists: dict[str, list[dict[str, float]]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        model_store = ModelStore(Path(folder), b"benchmark")
        proxy = Proxy(data, answers, model_store)
        rankers = {user: each for judged, each in fit_fold_rankers(data) for user in judged}
        for author in find_authors(data):
            svm = baselines.scores(ASL, "", author.own, np.random.default_rng(0))
            scorers = {"formula": ColdStartScorer(), "ranker": rankers[author.user]}
            found = proxy.rank(author, scorers, svm)
            print(f"{author.user} {author.key}: {found}", flush=True)
            if found:
                lists[author.user].append(found)
    record(COMMAND, summarize(list(lists.values())))


def summarize(lists: Sequence[Sequence[Mapping[str, float]]]) -> dict[str, tuple[float, str]]:
    """Return the figures to record from those of the authors of each list."""

    def mean(name: str) -> float:
        return float(np.mean([np.mean([author[name] for author in each]) for each in lists]))

    ndcgs = ("asl", "formula", "ranker", "ranker_named", "ranker_rest", "ranker_all")
    figures = {f"own_papers_{name}": (round(mean(name), 4), "nDCG@10") for name in ndcgs}
    ratio = round(mean("ranker") / mean("asl"), 3)
    gain = round(mean("ranker_all") - mean("ranker_rest"), 4)
    return figures | {
        "own_papers_lists": (len(lists), "lists"),
        "own_papers_ratio": (ratio, "times asl's nDCG@10"),
        "own_papers_added": (gain, "nDCG@10 more with own papers beside the other likes"),
    }


if __name__ == "__main__":
    main()
