"""Baselines: the rankers of other programs, compared on the same papers and votes.

All use one TF-IDF of title, abstract and authors. They use no dates, downvotes or other users:

    asl     arxiv-sanity-lite: a linear SVM for each user, likes against all other papers
    zotero  zotero-arxiv-daily: the mean cosine to the likes, newer likes weigh more
    lr      as Scholar Inbox: logistic regression, likes against papers drawn at random
    text    the cosine to the user's interests text

Scores are comparable only among the papers of one user.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from datetime import date
from typing import Any

import numpy as np

from triage.domain.records import CSR, F64, I64, Paper, Subscriber

ASL, ZOTERO, LR, TEXT = "asl", "zotero", "lr", "text"
NAMES = (ASL, ZOTERO, LR, TEXT)

MAX_TERMS = 20_000
MIN_PAPERS_OF_TERM = 5
MAX_SHARE_OF_TERM = 0.1
FEW_PAPERS = 1_000
N_RANDOM = 5_000
SEED = 0


def peer_text(title: str, abstract: str, authors: Sequence[str]) -> str:
    """Return the text of a paper that the baselines use."""
    return f"{title} {abstract} {' '.join(authors)}"


class Baselines:
    """The baselines over n papers; rows are papers in the given order.

    Attributes:
        words: float32 CSR (n, v), TF-IDF with rows of unit length.
    """

    def __init__(self, texts: Sequence[str], n_fitted: int | None = None) -> None:
        """Fit the TF-IDF on texts made by `peer_text`, one for each paper: the first `n_fitted`.

        Below FEW_PAPERS every term counts: a tenth of so few papers may be one topic, and the
        original thresholds would drop its words. Texts without a usable word give zero vectors.
        """
        from sklearn.feature_extraction.text import TfidfVectorizer

        fitted = texts[:n_fitted]
        many = len(fitted) >= FEW_PAPERS
        vectorizer = TfidfVectorizer(
            strip_accents="unicode",
            stop_words="english",
            token_pattern=r"(?u)\b[a-zA-Z_][a-zA-Z0-9_]+\b",  # noqa: S106 - no password
            ngram_range=(1, 2),
            max_features=MAX_TERMS,
            sublinear_tf=True,
            max_df=MAX_SHARE_OF_TERM if many else 1.0,
            min_df=MIN_PAPERS_OF_TERM if many else 1,
            dtype=np.float32,
        )
        try:
            self.words: CSR = vectorizer.fit_transform(fitted)
        except ValueError:
            # There is no term; a term that no text has makes all rows empty.
            vectorizer.set_params(vocabulary=["no_term_at_all"])
            self.words = vectorizer.fit_transform([*fitted, ""])[: len(fitted)]
        if len(fitted) < len(texts):
            self.words = vectorizer.transform(texts)
        self._vectorizer = vectorizer
        self._all = np.arange(len(self))

    def __len__(self) -> int:
        return int(self.words.shape[0])

    def scores(
        self,
        name: str,
        interests: str,
        liked: Sequence[int] | I64,
        rng: np.random.Generator,
        *,
        n_known: int | None = None,
    ) -> F64:
        """Score all papers for one user by the named baseline.

        Args:
            name: one of NAMES.
            interests: the user's interests text; only `text` uses it.
            liked: rows of the liked papers, newest like first; `text` ignores them.
            rng: draws the negatives of `lr`; no other baseline uses it.
            n_known: `asl` and `lr` take negatives only from the first `n_known` papers, those
                that were listed by then; None is all. Likes are always used.

        Returns:
            float64 (n,); zeros where there is no like or no known word.

        Raises:
            KeyError: there is no such baseline.
        """
        rows = np.asarray(liked, dtype=np.int64)
        known = len(self) if n_known is None else n_known
        if name == TEXT:
            return _column(self.words @ self._vectorizer.transform([interests]).T)
        if name not in NAMES:
            raise KeyError(name)
        if not len(rows):
            return np.zeros(len(self))
        if name == ZOTERO:
            return self._zotero(rows)
        return self._lr(rows, known, rng) if name == LR else self._asl(rows, known)

    def _zotero(self, liked: I64) -> F64:
        weights = 1 / (1 + np.log10(np.arange(1, len(liked) + 1)))
        mean = self.words[liked].T @ (weights / weights.sum())
        return np.asarray(self.words @ mean, dtype=np.float64)

    def _asl(self, liked: I64, n_known: int) -> F64:
        from sklearn.svm import LinearSVC

        svm = LinearSVC(class_weight="balanced", C=0.01, max_iter=10_000, tol=1e-6, random_state=0)
        known = np.union1d(np.arange(n_known), liked)
        return self._decide(svm, self._all if len(known) == len(self) else known, liked)

    def _lr(self, liked: I64, n_known: int, rng: np.random.Generator) -> F64:
        from sklearn.linear_model import LogisticRegression

        drawn = rng.choice(n_known, min(N_RANDOM, n_known), replace=False)
        against = np.setdiff1d(drawn, liked)
        regression = LogisticRegression(C=10, class_weight="balanced", max_iter=300)
        return self._decide(regression, np.r_[liked, against], liked)

    def _decide(self, classifier: Any, rows: I64, liked: I64) -> F64:
        """Fit on some rows and return the classifier's decision value of each paper."""
        is_liked = np.isin(rows, liked)
        if is_liked.all() or not self.words.nnz:
            return np.zeros(len(self))
        from threadpoolctl import threadpool_limits

        # For such a small problem, several threads are ten times slower than one.
        with threadpool_limits(1):
            classifier.fit(self.words if rows is self._all else self.words[rows], is_liked)
        return np.asarray(classifier.decision_function(self.words), dtype=np.float64)


class PastBaselines:
    """The baselines as they would have scored papers on past days.

    The vocabulary comes from the papers listed up to the first day. A baseline is fitted again
    only when the subscriber or the likes differ from the call before, on the papers listed up to
    that day; else its scores are used again. Each fit has its own random generator, seeded with
    the subscriber and the day, so its draws do not depend on the other subscribers of a replay.

    Args:
        papers: in listing order, at least one.
        first: `scores` is called for no earlier day.
    """

    def __init__(self, papers: Sequence[Paper], first: date) -> None:
        self._days = [paper.listed_on for paper in papers]
        self._rows = {paper.id: row for row, paper in enumerate(papers)}
        texts = [peer_text(paper.title, paper.abstract, paper.authors) for paper in papers]
        # If no paper was listed by then, all papers give the vocabulary.
        self._baselines = Baselines(texts, bisect_right(self._days, first) or None)
        self._scores: dict[str, tuple[tuple[int, tuple[int, ...]], F64]] = {}

    def scores(
        self,
        name: str,
        subscriber: Subscriber,
        liked: Iterable[int],
        on: date,
        papers: Sequence[int],
    ) -> F64:
        """Score some papers by the named baseline, as on a past day.

        Args:
            liked: ids of the papers that the subscriber had liked before, newest first.
            on: the days of one subscriber must come in order, or a reused fit would know papers
                of later days.
            papers: ids.

        Returns:
            float64 (n,); zero for a paper that is not among those of the constructor.
        """
        likes = tuple(self._rows[id] for id in liked if id in self._rows)
        key = (subscriber.id, likes)
        if name not in self._scores or self._scores[name][0] != key:
            rng = np.random.default_rng([SEED, subscriber.id, on.toordinal()])
            n_known = bisect_right(self._days, on)
            scores = self._baselines.scores(name, subscriber.interests, likes, rng, n_known=n_known)
            self._scores[name] = (key, scores)
        rows = np.array([self._rows.get(id, -1) for id in papers], dtype=np.int64)
        return np.where(rows < 0, 0.0, self._scores[name][1][rows])


def _column(product: CSR) -> F64:
    return np.asarray(product.toarray(), dtype=np.float64).ravel()
