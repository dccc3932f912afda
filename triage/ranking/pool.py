"""The papers of some days, from which all subscribers get theirs, with what is the same for all."""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import date
from functools import cached_property

import numpy as np

from triage.domain.arxiv_categories import watched
from triage.domain.author_names import author_keys
from triage.domain.records import CSR, F32, I64, Bools, EncodedPapers, Subscriber
from triage.ranking.features import find_keywords
from triage.ranking.interest_clusters import mean_row, similarity_threshold
from triage.ranking.term_names import find_common_terms

_WORD = re.compile(r"\w+")


class Pool(EncodedPapers):
    """Encoded papers, with values that are computed once and used for each subscriber."""

    @classmethod
    def of(cls, several: EncodedPapers) -> Pool:
        """Return these papers as a pool."""
        return cls(several.papers, several.encodings)

    @cached_property
    def ids(self) -> I64:
        """The ids of the papers, int64 (n,)."""
        return np.array([paper.id for paper in self.papers], dtype=np.int64)

    @cached_property
    def listed(self) -> I64:
        """The day on which each paper was listed, as an ordinal, int64 (n,)."""
        return np.array([paper.listed_on.toordinal() for paper in self.papers], dtype=np.int64)

    @cached_property
    def upvotes(self) -> F32:
        """The logarithm of one plus the upvotes, float32 (n,)."""
        return np.log1p([max(paper.upvotes or 0, 0) for paper in self.papers]).astype(np.float32)

    @cached_property
    def threshold(self) -> float:
        """The cosine in latent space below which two papers are unrelated."""
        return similarity_threshold(self.encodings.latent)

    @cached_property
    def common_terms(self) -> Bools:
        """Which terms many of the papers have, bool (v,)."""
        return find_common_terms(self.encodings.tfidf)

    @cached_property
    def mean_tfidf(self) -> CSR:
        """The mean of the TF-IDF rows, CSR (1, v)."""
        return mean_row(self.encodings.tfidf)

    @cached_property
    def _rows_by_author(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for row, paper in enumerate(self.papers):
            for key in author_keys(paper.authors):
                found.setdefault(key, []).append(row)
        return found

    @cached_property
    def _rows_by_keyword(self) -> dict[str, list[int]]:
        return {}

    @cached_property
    def _in_category(self) -> dict[str, Bools]:
        return {}

    @cached_property
    def _rows_by_word(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for row, paper in enumerate(self.papers):
            for word in set(_WORD.findall(paper.text.casefold())):
                found.setdefault(word, []).append(row)
        return found

    def _rows_with_words(self, text: str) -> Collection[int]:
        words = _WORD.findall(text.casefold())
        rows = sorted((self._rows_by_word.get(word, []) for word in words), key=len)
        return set(rows[0]).intersection(*rows[1:]) if rows else range(len(self))

    def by_authors(self, keys: Collection[str]) -> Bools:
        """Return bool (n,): which papers have one of these authors, by their keys."""
        return self._mark([row for key in keys for row in self._rows_by_author.get(key, ())])

    def in_categories(self, chosen: tuple[str, ...]) -> Bools:
        """Return bool (n,): which papers are in one of these categories or archives."""
        marked = np.zeros(len(self), dtype=bool)
        for name in chosen:
            if name not in self._in_category:
                hits = [bool(watched((name,), paper.categories)) for paper in self.papers]
                self._in_category[name] = np.array(hits, dtype=np.bool_)
            marked |= self._in_category[name]
        return marked

    def with_keywords(self, keywords: Collection[str]) -> Bools:
        """Return bool (n,): which papers have one of the keywords in title or abstract."""
        for keyword in set(keywords) - self._rows_by_keyword.keys():
            self._rows_by_keyword[keyword] = [
                row
                for row in sorted(self._rows_with_words(keyword))
                if find_keywords([keyword], self.papers[row].text)
            ]
        return self._mark([row for word in keywords for row in self._rows_by_keyword[word]])

    def find_eligible(
        self,
        subscriber: Subscriber,
        seen: Collection[int],
        on: date,
        max_age_days: int,
        own_authors: frozenset[str] = frozenset(),
    ) -> I64:
        """Return int64 (m,), ascending: the rows without a filter, see `candidates.find_filter`."""
        age = on.toordinal() - self.listed
        barred = ~((age >= 0) & (age <= max_age_days))
        barred |= np.isin(self.ids, np.fromiter(seen, np.int64, len(seen)))
        if own_authors:
            barred |= self.by_authors(own_authors)
        if subscriber.exclude_keywords:
            barred |= self.with_keywords(subscriber.exclude_keywords)
        return np.flatnonzero(~barred)

    def _mark(self, rows: list[int]) -> Bools:
        marked = np.zeros(len(self), dtype=bool)
        marked[rows] = True
        return marked
