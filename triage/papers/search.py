"""Search: finds papers by words and by vectors, fused; and papers similar to given ones.

    query → ids → those papers first
          → six words or more → the few papers with that phrase
          → words → papers that have them, best first ┐
          → vector → nearest papers ┐                 ├ ranks fused → hits
            with the ten best so far ┴→ nearest papers ┘

Ranks are fused by their reciprocals (Cormack, Clarke & Büttcher 2009), because scores of words and
cosines have no common scale. The second vector search adds the mean of the ten best papers of the
first (Rocchio 1971). Both were chosen on users' interests texts and later likes.

Nothing is stored or fitted. Without an encoder, only words are used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import accumulate, chain, pairwise
from pathlib import Path
from threading import Event, Thread
from typing import Final

import numpy as np

from triage import store
from triage.domain.chunks import chunks
from triage.domain.paper_ids import identify
from triage.domain.protocols import Encoder
from triage.domain.records import F32, I64, Paper
from triage.domain.search_query import LONGEST, Query, Term, parse, words_of
from triage.errors import NotFound
from triage.papers.paper_vectors import LoadEncoder, PaperVectors
from triage.papers.vector_index import Nearest
from triage.store import Connection, Database
from triage.store.search import IN_TITLES, Filters, MatchTerms

Ranked = tuple[int, float]
"""The id of a found paper, and its score as in a `Hit`."""
EVERYTHING: Final = Filters()
# The constant of Cormack, Clarke & Büttcher.
_RANKS: Final = 60
# Maximum number of matches ranked by words; more are too slow.
_BUDGET: Final = 10_000
# If fewer papers than this match all words, papers that match some are added.
_FEW: Final = 20
_FEEDBACK: Final = 10
_ENOUGH: Final = 4
_MOST_COUNTED: Final = 50_000
_MOST_TOGETHER: Final = 6
_AT_LEAST: Final = 200
_TERMS_OF_A_PAPER: Final = 8
_MOST_IDS: Final = 20
_WORDS_OF_A_QUOTE: Final = 6
# If more papers have a phrase, it is a common one.
_MOST_VERBATIM: Final = 10


@dataclass(frozen=True, slots=True)
class Hit:
    """A found paper. `score` is in (0, 1] and is comparable only within one search."""

    paper: Paper
    score: float


class Search:
    """Searches one database, from any thread.

    If the text of a paper changes, its new words are found at once, and its new vector later: see
    `PaperVectors`.

    Args:
        load_encoder: loads an encoder by its version; without it, only words are used.
        folder: for a file with the vectors; without it, they are in memory.
    """

    def __init__(
        self,
        database: Database,
        load_encoder: LoadEncoder | None = None,
        folder: Path | None = None,
    ) -> None:
        self._database = database
        self._vectors = PaperVectors(database, load_encoder, folder)
        # The number of papers with each term that was searched for, until there are new papers.
        self._counted: dict[Term, int] = {}
        self._newest_counted = 0

    def keep_ready(self, stopped: Event) -> Thread:
        """Load encoder and vectors in a thread, and keep them up to date until `stopped` is set.

        Until they are loaded, searches use only words.
        """
        return self._vectors.keep(stopped)

    def find(self, text: str, filters: Filters = EVERYTHING, limit: int = 20) -> list[Hit]:
        """Return up to `limit` papers that match a query best, best first.

        Papers whose arXiv id or DOI is in the text come first, whatever the filters. For six words
        or more, the few papers with the phrase around the rarest word are next. Without text,
        filters give the newest matching papers, and no filters give nothing.
        """
        return self.load(self.rank(text, filters, limit))

    def load(self, ranked: Sequence[Ranked]) -> list[Hit]:
        """Return found papers, without those that were deleted since."""
        with self._database.read() as conn:
            papers = store.papers.load(conn, [id for id, _ in ranked])
        return [Hit(papers[id], score) for id, score in ranked if id in papers]

    def rank(self, text: str, filters: Filters = EVERYTHING, limit: int = 20) -> list[Ranked]:
        """Return what `find` finds, without loading it: a page shows only some of it."""
        if limit <= 0:
            return []
        n = max(_AT_LEAST, 2 * limit)
        with self._database.read() as conn:
            named, rest = _named(conn, text)
            query = parse(rest)
            if query.terms:
                counts = self._counts(conn, query.terms)
                named += _verbatim(conn, query, counts, filters)
                lists = self._lists(conn, query, counts, filters, n)
            elif named or not filters:
                lists = []
            else:
                lists = [store.search.newest(conn, filters, limit)]
            return _best(conn, lists, limit, first=named)

    def newest(
        self, text: str, filters: Filters = EVERYTHING, limit: int = 20
    ) -> list[tuple[Paper, datetime]]:
        """Return up to `limit` of the newest papers that have all words of a query, newest first.

        Unlike `find`, it needs the words themselves, so that what is new is a match. Each is a pair
        of the paper and when it was first stored. Papers that no list has had are left out.
        """
        query = parse(text)
        if not query.terms and not filters:
            return []
        wanted = MatchTerms(all_of=query.terms, required=query.required, excluded=query.excluded)
        with self._database.read() as conn:
            found = store.search.newest_matching(conn, wanted, filters, limit)
            papers = store.papers.load(conn, [id for id, _ in found])
        return [(papers[id], at) for id, at in found]

    def similar(
        self, paper_ids: Sequence[int], filters: Filters = EVERYTHING, limit: int = 20
    ) -> list[Hit]:
        """Return papers similar to the mean of some stored ones, without these, best first.

        Raises:
            NotFound: one of them is not stored.
        """
        return self.load(self.rank_similar(paper_ids, filters, limit))

    def rank_similar(
        self, paper_ids: Sequence[int], filters: Filters = EVERYTHING, limit: int = 20
    ) -> list[Ranked]:
        """Return what `similar` finds; see `rank`."""
        if limit <= 0 or not paper_ids:
            return []
        n = max(_AT_LEAST, 2 * limit)
        with self._database.read() as conn:
            stored = store.papers.load(conn, paper_ids)
            missing = [id for id in paper_ids if id not in stored]
            if missing:
                raise NotFound(f"no paper is stored under the number {missing[0]}")
            texts = [stored[id].encoded_text for id in dict.fromkeys(paper_ids)]
            encoder, nearest = self._encoder_and_index(conn)
            near: list[int] = []
            if encoder is None:
                several = [parse(stored[id].title).terms for id in paper_ids]
            else:
                encoded = encoder.encode(texts)
                several = [
                    tuple(map(words_of, encoder.terms(encoded.tfidf[row], _TERMS_OF_A_PAPER)))
                    for row in range(len(texts))
                ]
                vector = encoded.semantic.mean(axis=0)
                near = nearest.find(vector, n, _among(conn, MatchTerms(), filters))
            terms = list(dict.fromkeys(chain.from_iterable(several)))
            matching = _with_some_terms(conn, self._counts(conn, terms), MatchTerms(), filters, n)
            return _best(conn, [matching, near], limit, without=paper_ids)

    def _lists(
        self, conn: Connection, query: Query, counts: dict[Term, int], filters: Filters, n: int
    ) -> list[list[int]]:
        matching = _by_words(conn, query, counts, filters, n)
        encoder, nearest = self._encoder_and_index(conn)
        if encoder is None:
            return [matching]
        vector = encoder.encode([query.text]).semantic[0]
        must = MatchTerms(required=query.required, excluded=query.excluded)
        among = _among(conn, must, filters)
        near = nearest.find(vector, n, among)
        best = [id for id, _ in _fused([matching, near])[:_FEEDBACK]]
        vectors = nearest.vectors(np.array(best, dtype=np.int64))
        if len(near) and len(vectors):
            vector = vector + _unit(vectors.mean(axis=0))
            near = nearest.find(vector, n, among)
        return [matching, near]

    def _encoder_and_index(self, conn: Connection) -> tuple[Encoder | None, Nearest]:
        encoder, nearest = self._vectors.current(conn)
        if encoder is None or nearest.newest != self._newest_counted:
            self._counted.clear()
            self._newest_counted = nearest.newest
        return encoder, nearest

    def _counts(self, conn: Connection, terms: Sequence[Term]) -> dict[Term, int]:
        """Return the number of papers with each known term; unknown phrases are split."""
        found: dict[Term, int] = {}
        for term in terms:
            n = self._counted.get(term, 0) or store.search.count(
                conn, MatchTerms(any_of=(term,)), _BUDGET + 1
            )
            if n:
                if len(self._counted) >= _MOST_COUNTED:
                    self._counted.clear()
                self._counted[term] = found[term] = n
            elif len(term) > 1:
                found |= self._counts(conn, [(word,) for word in term if (word,) not in found])
        return found


def _among(conn: Connection, must: MatchTerms, filters: Filters) -> I64 | None:
    """Return the ids that may be found, ascending; None is all."""
    if must == MatchTerms() and not filters:
        return None
    return store.search.find_all_matching(conn, must, filters)


# -- ids -------------------------------------------------------------------------------------------


def _named(conn: Connection, text: str) -> tuple[list[int], str]:
    """Return the papers whose ids are in a text, and the rest of the text."""
    whole = store.papers.resolve(conn, text)
    if whole is not None:
        return [whole], ""
    named: list[int] = []
    rest: list[str] = []
    for piece in text[:LONGEST].split():
        id = None
        if len(named) < _MOST_IDS and identify(piece) is not None:
            id = store.papers.resolve(conn, piece)
        if id is None:
            rest.append(piece)
        else:
            named.append(id)
    return list(dict.fromkeys(named)), " ".join(rest)


# -- words -----------------------------------------------------------------------------------------


def _verbatim(
    conn: Connection, query: Query, counts: dict[Term, int], filters: Filters
) -> list[int]:
    """Return the papers with the phrase around the rarest word of a query, if they are few.

    A search for the whole text would be slow.
    """
    words = words_of(query.text)
    known = [at for at, word in enumerate(words) if (word,) in counts]
    if len(words) < _WORDS_OF_A_QUOTE or not known:
        return []
    rarest = min(known, key=lambda at: counts[(words[at],)])
    start = min(max(rarest - _WORDS_OF_A_QUOTE // 2, 0), len(words) - _WORDS_OF_A_QUOTE)
    quote = words[start : start + _WORDS_OF_A_QUOTE]
    wanted = MatchTerms(required=(quote, *query.required), excluded=query.excluded)
    found = store.search.find_matching(conn, wanted, filters, _MOST_VERBATIM + 1)
    return found if len(found) <= _MOST_VERBATIM else []


def _by_words(
    conn: Connection, query: Query, counts: dict[Term, int], filters: Filters, n: int
) -> list[int]:
    """Return papers with all words or with two adjacent words; if they are few, with some words."""
    must = MatchTerms(required=query.required, excluded=query.excluded)
    terms = list(counts)
    # If enough words are rare, common ones are left out, and only the rarest must be together: the
    # index counts the papers of every word, which is slow.
    rarest = sorted(terms, key=counts.__getitem__)[:_MOST_TOGETHER]
    rare = [term for term in rarest if counts[term] <= _BUDGET]
    together = {a + b: min(counts[a], counts[b]) for a, b in pairwise(terms)}
    wanted = replace(
        must,
        any_of=_affordable(together),
        all_of=tuple(rare if len(rare) >= _ENOUGH else rarest),
    )
    # No more papers can match than have a pair, or the rarest word.
    most = sum(together[pair] for pair in wanted.any_of) + min(counts.values(), default=0)
    at_most = None
    if most > _BUDGET and store.search.count(conn, wanted, _BUDGET + 1) > _BUDGET:
        wanted, at_most = replace(wanted, columns=IN_TITLES), _BUDGET
    found = store.search.best(conn, wanted, filters, n, at_most) if terms else []
    if len(found) < _FEW and len(terms) > 1:
        found += _with_some_terms(conn, counts, must, filters, n)
    return list(dict.fromkeys(found))


def _with_some_terms(
    conn: Connection, counts: dict[Term, int], must: MatchTerms, filters: Filters, n: int
) -> list[int]:
    """Return the papers that have some of these terms, the rarest ones."""
    terms = _affordable(counts) or tuple(sorted(counts, key=counts.__getitem__)[:1])
    if not terms:
        return []
    return store.search.best(conn, replace(must, any_of=terms), filters, n, _BUDGET)


def _affordable(counts: dict[Term, int]) -> tuple[Term, ...]:
    """Return the rarest terms that together have at most _BUDGET papers."""
    terms = sorted(counts, key=counts.__getitem__)
    totals = accumulate(counts[term] for term in terms)
    return tuple(term for term, total in zip(terms, totals, strict=True) if total <= _BUDGET)


# -- fusion ----------------------------------------------------------------------------------------


def _fused(lists: Sequence[Sequence[int]]) -> list[tuple[int, float]]:
    """Return ids with scores, best first; an id that is first in all lists has 1."""
    scores: dict[int, float] = {}
    for ranked in lists:
        for rank, id in enumerate(ranked, start=_RANKS + 1):
            scores[id] = scores.get(id, 0.0) + (_RANKS + 1) / rank / len(lists)
    # The newer one of two equal ones is first.
    ids = sorted(sorted(scores, reverse=True), key=scores.__getitem__, reverse=True)
    return [(id, scores[id]) for id in ids]


def _best(
    conn: Connection,
    lists: Sequence[Sequence[int]],
    limit: int,
    *,
    first: Sequence[int] = (),
    without: Sequence[int] = (),
) -> list[Ranked]:
    """Return the best of some lists, the first of which has only papers that may be found."""
    found = dict.fromkeys(first, 1.0)
    visible = {*lists[0]} if lists else set()
    for id, score in _fused(lists):
        found.setdefault(id, score)
    wanted = [id for id in found if id not in without]
    ids: list[int] = []
    # Nearly all papers are visible, so the first chunk is usually enough.
    for some in chunks(wanted, limit):
        hidden = store.search.hidden(conn, {*some} - visible)
        ids += [id for id in some if id not in hidden]
        if len(ids) >= limit:
            break
    return [(id, found[id]) for id in ids[:limit]]


def _unit(vector: F32) -> F32:
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-12), dtype=np.float32)
