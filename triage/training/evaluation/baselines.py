"""The rankers of other programs, to be compared with on the same papers and votes.

All of them look at one TF-IDF of title, abstract and authors, and know nothing of days, votes
against a paper, or other subscribers:

    asl     arxiv-sanity-lite: a linear support vector machine a reader, all other papers against it
    zotero  zotero-arxiv-daily: the mean cosine to the likes, newer ones weighing more
    lr      in the manner of Scholar Inbox: logistic regression against papers drawn at random
    text    the cosine to what the reader wrote of their interests

A score orders the papers of one reader and means nothing else.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np

from triage.domain.records import F64, I64, Paper, Subscriber

if TYPE_CHECKING:
    from numpy.random import Generator
    from scipy.sparse import csr_matrix


ASL, ZOTERO, LR, TEXT = "asl", "zotero", "lr", "text"
NAMES = (ASL, ZOTERO, LR, TEXT)

MAX_TERMS = 20_000
MIN_PAPERS_OF_TERM = 5
MAX_SHARE_OF_TERM = 0.1
FEW_PAPERS = 1_000
N_RANDOM = 5_000
SEED = 0


def peer_text(title: str, abstract: str, authors: Sequence[str]) -> str:
    """Return what the peers' rankers read of a paper."""
    return f"{title} {abstract} {' '.join(authors)}"


class Baselines:
    """The peers' rankers over n papers; rows are papers, in the order in which they were given.

    Attributes:
        words: float32 CSR (n, v), TF-IDF with rows of unit length.
    """

    def __init__(self, vectorizer: Any, words: csr_matrix) -> None:
        self._vectorizer = vectorizer
        self.words = words
        self._all = np.arange(words.shape[0])

    def __len__(self) -> int:
        return int(self.words.shape[0])

    @classmethod
    def fit(cls, texts: Sequence[str]) -> Baselines:
        """Learn one vocabulary from texts made by `peer_text`, and take these as the papers.

        Below FEW_PAPERS every term counts: among so few, a tenth may well be one topic, whose words
        the peers' thresholds would forbid. Texts without one usable word give zero vectors.
        """
        from sklearn.feature_extraction.text import TfidfVectorizer

        many = len(texts) >= FEW_PAPERS
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
            words = vectorizer.fit_transform(texts)
        except ValueError:
            # There was no term to learn; with one that nobody writes all rows are empty.
            vectorizer.set_params(vocabulary=["no_term_at_all"])
            words = vectorizer.fit_transform([*texts, ""])[: len(texts)]
        return cls(vectorizer, words)

    def over(self, texts: Sequence[str]) -> Baselines:
        """Return the same vocabulary and weights over other papers."""
        return Baselines(self._vectorizer, self._vectorizer.transform(texts))

    def scores(
        self,
        name: str,
        interests: str,
        liked: Sequence[int] | I64,
        rng: Generator,
        *,
        n_known: int | None = None,
    ) -> F64:
        """Score all papers for one reader as the named peer would.

        Args:
            name: one of NAMES.
            interests: what the reader wrote; `text` alone reads it.
            liked: rows of the liked papers, newest like first; `text` ignores them.
            rng: draws what `lr` sets against the likes; the others draw nothing.
            n_known: `asl` and `lr` may learn from the first so many papers only, because the later
                ones were not listed yet; all if None. Likes are always known.

        Returns:
            float64 (n,); zeros where a peer has nothing to go by, which leaves the stored order.

        Raises:
            KeyError: there is no such peer.
        """
        rows = np.asarray(liked, dtype=np.int64)
        known = len(self) if n_known is None else n_known
        if name == TEXT:
            return self._text(interests)
        if name not in NAMES:
            raise KeyError(name)
        if not len(rows):
            return np.zeros(len(self))
        if name == ZOTERO:
            return self._zotero(rows)
        return self._lr(rows, known, rng) if name == LR else self._asl(rows, known)

    def _text(self, interests: str) -> F64:
        return _column(self.words @ self._vectorizer.transform([interests]).T)

    def _zotero(self, liked: I64) -> F64:
        weights = 1 / (1 + np.log10(np.arange(1, len(liked) + 1)))
        mean = self.words[liked].T @ (weights / weights.sum())
        return np.asarray(self.words @ mean, dtype=np.float64)

    def _asl(self, liked: I64, n_known: int) -> F64:
        from sklearn.svm import LinearSVC

        svm = LinearSVC(class_weight="balanced", C=0.01, max_iter=10_000, tol=1e-6, random_state=0)
        known = np.union1d(np.arange(n_known), liked)
        return self._decide(svm, self._all if len(known) == len(self) else known, liked)

    def _lr(self, liked: I64, n_known: int, rng: Generator) -> F64:
        from sklearn.linear_model import LogisticRegression

        drawn = rng.choice(n_known, min(N_RANDOM, n_known), replace=False)
        against = np.setdiff1d(drawn, liked)
        regression = LogisticRegression(C=10, class_weight="balanced", max_iter=300)
        return self._decide(regression, np.r_[liked, against], liked)

    def _decide(self, classifier: Any, rows: I64, liked: I64) -> F64:
        """Fit on some rows and return how far on the side of the likes each paper lies."""
        is_liked = np.isin(rows, liked)
        if is_liked.all() or not self.words.nnz:
            return np.zeros(len(self))
        from threadpoolctl import threadpool_limits

        # Threads cost such a small problem ten times what it takes alone.
        with threadpool_limits(1):
            classifier.fit(self.words if rows is self._all else self.words[rows], is_liked)
        return np.asarray(classifier.decision_function(self.words), dtype=np.float64)


class PastBaselines:
    """The peers' rankers as they would have scored papers on past days.

    Their vocabulary is learned from the papers listed up to the first day. A ranker is fitted anew
    when the likes have changed, on what was listed by then, and asked again until they change.

    Args:
        papers: in listing order, at least one.
        first: no day before this one is asked for.
    """

    def __init__(self, papers: Sequence[Paper], first: date) -> None:
        self._days = [paper.listed_on for paper in papers]
        self._rows = {paper.id: row for row, paper in enumerate(papers)}
        texts = [peer_text(paper.title, paper.abstract, paper.authors) for paper in papers]
        # Where nothing was listed by then, what there is teaches the words.
        learned = Baselines.fit(texts[: bisect_right(self._days, first)] or texts)
        self._baselines = learned if len(learned) == len(texts) else learned.over(texts)
        self._fitted: dict[str, tuple[tuple[int, tuple[int, ...]], F64]] = {}

    def scores(
        self,
        name: str,
        subscriber: Subscriber,
        liked: Iterable[int],
        on: date,
        papers: Sequence[int],
    ) -> F64:
        """Score some papers as the named peer would have on a day.

        Args:
            liked: ids of what the subscriber had liked before, newest first.
            papers: ids.

        Returns:
            float64 (n,); zero for a paper that is not among those given.
        """
        likes = tuple(self._rows[id] for id in liked if id in self._rows)
        asked = (subscriber.id, likes)
        if name not in self._fitted or self._fitted[name][0] != asked:
            found = self._baselines.scores(
                name,
                subscriber.interests,
                likes,
                np.random.default_rng([SEED, subscriber.id, on.toordinal()]),
                n_known=bisect_right(self._days, on),
            )
            self._fitted[name] = (asked, found)
        rows = np.array([self._rows.get(id, -1) for id in papers], dtype=np.int64)
        return np.where(rows < 0, 0.0, self._fitted[name][1][rows])


def _column(product: csr_matrix) -> F64:
    return np.asarray(product.toarray(), dtype=np.float64).ravel()
