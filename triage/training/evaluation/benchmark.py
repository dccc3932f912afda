"""The ranking benchmark: the encoder, features, training and scorer of triage on other data.

papers ─→ encoder ─→ vectors
likes before the first slate ─→ past days ─→ scorer
each slate: what was known before it ─→ ranked candidates, as a TREC run
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from operator import attrgetter
from pathlib import Path
from typing import Any, TextIO, TypeVar

import numpy as np

from triage.domain.protocols import Encoder, Progress, Scorer, silent
from triage.domain.records import (
    EncodedPapers,
    Frequency,
    Paper,
    Profile,
    Subscriber,
    SubscriberState,
)
from triage.errors import BadBenchmark
from triage.ranking.features import feature_matrix, split_phrases
from triage.ranking.serving.model_store import ModelStore
from triage.training.dataset import Examples, History, LikeHistory
from triage.training.past_days import Likes
from triage.training.plain_rankers import choose_start

Record = TypeVar("Record")

N_PAST_DAYS = 1_200
SEED = 0
TAG = "triage"


@dataclass(frozen=True, slots=True)
class Slate:
    """A slate to rank: the candidates are the day's papers without feedback of the user."""

    qid: str
    user: str
    on: date


@dataclass(frozen=True, slots=True)
class Feedback:
    user: str
    paper_id: str
    liked: bool
    on: date


@dataclass(frozen=True, slots=True)
class Benchmark:
    """The data of the four files; papers in listing order, slates in the order of the file."""

    papers: tuple[Paper, ...]
    interests: dict[str, str]
    feedback: tuple[Feedback, ...]
    slates: tuple[Slate, ...]


def read(folder: Path) -> Benchmark:
    """Read papers, subscribers, feedback and slates; the file of answers is never opened.

    Raises:
        BadBenchmark: a file is missing or empty, or a line is not valid.
    """
    papers = _read(folder / "papers.jsonl.gz", _paper)
    papers.sort(key=lambda paper: paper.listed_on)
    interests = dict(_read(folder / "subscribers.jsonl.gz", _interests))
    slates = _read(folder / "slates.jsonl.gz", _slate)
    for slate in slates:
        if slate.user not in interests:
            raise BadBenchmark(f"slate {slate.qid}: {slate.user} is not in subscribers.jsonl.gz")
    return Benchmark(
        papers=tuple(replace(paper, id=number) for number, paper in enumerate(papers, start=1)),
        interests=interests,
        feedback=tuple(_read(folder / "feedback.jsonl.gz", _feedback, may_be_empty=True)),
        slates=tuple(slates),
    )


def _paper(row: dict[str, Any]) -> Paper:
    return Paper(
        id=0,
        source="arxiv",
        source_id=str(row["id"]),
        version=None,
        title=str(row["title"]),
        abstract=str(row["abstract"]),
        authors=tuple(map(str, row.get("authors") or ())),
        categories=tuple(map(str, row.get("categories") or ())),
        listed_on=date.fromisoformat(row["listed_date"]),
    )


def _interests(row: dict[str, Any]) -> tuple[str, str]:
    return str(row["user"]), str(row.get("interests") or "")


def _feedback(row: dict[str, Any]) -> Feedback:
    on = datetime.fromisoformat(row["at"]).date()
    return Feedback(str(row["user"]), str(row["paper_id"]), row["label"] == 1, on)


def _slate(row: dict[str, Any]) -> Slate:
    return Slate(str(row["qid"]), str(row["user"]), date.fromisoformat(row["date"]))


def _read(
    file: Path, make: Callable[[dict[str, Any]], Record], *, may_be_empty: bool = False
) -> list[Record]:
    records: list[Record] = []
    try:
        with gzip.open(file, "rt", encoding="utf-8") as lines:
            for line in lines:
                records.append(make(json.loads(line)))
    except FileNotFoundError:
        raise BadBenchmark(f"{file} is missing: --data names the folder of a benchmark") from None
    except (KeyError, OSError, EOFError, ValueError, TypeError, AttributeError) as error:
        missing = isinstance(error, KeyError)
        problem = f": {error.args[0]} is missing" if missing else f", cannot be read: {error}"
        raise BadBenchmark(f"{file}, line {len(records) + 1}{problem}") from error
    if not records and not may_be_empty:
        raise BadBenchmark(f"{file} is empty")
    return records


def rank(
    data: Benchmark,
    model_store: ModelStore,
    out: Path,
    progress: Progress = silent,
    *,
    alone: bool = False,
) -> Scorer:
    """Train on the likes before the first slate, rank every slate, write a TREC run to `out`.

    Args:
        alone: rank for each user as the only subscriber of a new installation instead: with the
            pretrained ranker as it is, and nothing of other users.

    Returns:
        The scorer.

    Raises:
        NotEnoughFeedback: there is too little training data.
    """
    ranker = fit_ranker(data, model_store, progress, alone=alone)
    by_user = sorted(data.slates, key=lambda slate: (slate.user, slate.on))
    with out.open("w", encoding="utf-8") as file:
        write_run(file, ranker, by_user, progress)
    return ranker.scorer


def write_run(
    file: TextIO, ranker: Ranker, slates: Sequence[Slate], progress: Progress = silent
) -> None:
    """Write the ranked slates as a TREC run; the slates of each user come together, in order."""
    for done, slate in enumerate(slates, start=1):
        for position, (paper, score) in enumerate(ranker.ranked(slate), start=1):
            file.write(f"{slate.qid} Q0 {paper.source_id} {position} {score:.6f} {TAG}\n")
        progress("rank", done, len(slates))


def fit_ranker(
    data: Benchmark, model_store: ModelStore, progress: Progress = silent, *, alone: bool = False
) -> Ranker:
    """Fit the encoder and the scorer on what was known before the first slate, see `rank`.

    Raises:
        NotEnoughFeedback: there is too little training data.
    """
    pretrained = model_store.pretrained_scorer()
    known = prepare(data, model_store, progress, alone=alone)
    if alone:
        return Ranker(known, data, pretrained)
    examples = make_examples(known, data, pretrained, progress)
    return Ranker(known, data, fit_scorer(model_store, examples, known.encoder))


@dataclass(frozen=True, slots=True)
class Prepared:
    """The encoder, and the papers and users that it has encoded."""

    encoder: Encoder
    history: History
    readers: dict[str, LikeHistory]


def prepare(
    data: Benchmark, model_store: ModelStore, progress: Progress = silent, *, alone: bool
) -> Prepared:
    """Fit the encoder on what was known before the first slate, and encode everything.

    Args:
        alone: whether nothing of one user may reach another, see `rank`.
    """
    likes = _likes(data)
    encoder, papers = _encoded(data, {} if alone else likes, model_store, progress)
    readers = _readers(data, likes, encoder)
    history = History(papers, list(readers.values()), encoder.since, alone=alone)
    return Prepared(encoder, history, readers)


def make_examples(
    known: Prepared, data: Benchmark, scorer: Scorer, progress: Progress = silent
) -> Examples:
    """Make query groups of past days before the first slate, see `History.examples`."""
    first, rng = known.history.papers.papers[0].listed_on, np.random.default_rng(SEED)
    return known.history.examples(first, first_day(data), N_PAST_DAYS, scorer, rng, progress)


def first_day(data: Benchmark) -> date:
    """Return the day of the first slate: only what is known before it may train anything."""
    return min(slate.on for slate in data.slates)


def fit_scorer(model_store: ModelStore, examples: Examples, encoder: Encoder) -> Scorer:
    X, relevance, sizes = examples.features, examples.relevance, examples.group_sizes
    start = choose_start(model_store.pretrained_scorer(), X, relevance, sizes, examples.readers)
    return model_store.fit_scorer(X, relevance, sizes, examples.weights, encoder.version, start)


class Ranker:
    """Ranks slates; a user's profile is kept until the likes or the background change."""

    def __init__(self, known: Prepared, data: Benchmark, scorer: Scorer) -> None:
        self.scorer = scorer
        self.history = known.history
        self._readers = known.readers
        self._rated: dict[str, set[str]] = {}
        for each in data.feedback:
            self._rated.setdefault(each.user, set()).add(each.paper_id)
        self._profiles: dict[str, tuple[object, Profile]] = {}

    def ranked(self, slate: Slate) -> Iterator[tuple[Paper, float]]:
        """Yield the candidates of a slate with their scores, best first."""
        candidates = self.candidates(slate)
        X = feature_matrix(self.profile(slate), candidates, slate.on)
        scores = self.scorer.score(X)
        for row in np.argsort(-scores, kind="stable"):
            yield candidates.papers[row], float(scores[row])

    def candidates(self, slate: Slate) -> EncodedPapers:
        """Return the papers of the slate's day without feedback of the user."""
        day = slate.on.toordinal()
        begin, end = np.searchsorted(self.history.listed, [day, day + 1])
        rated = self._rated.get(slate.user, set())
        papers = self.history.papers.papers
        rows = [row for row in range(begin, end) if papers[row].source_id not in rated]
        return self.history.papers.select(np.array(rows, dtype=np.int64))

    def profile(self, slate: Slate) -> Profile:
        """Return the user's profile from what was known before the slate."""
        reader = self._readers[slate.user]
        known = reader.likes.rows[reader.likes.days < slate.on.toordinal()][::-1]
        key = (len(known), self.history.background(slate.on).name)
        if slate.user not in self._profiles or self._profiles[slate.user][0] != key:
            self._profiles[slate.user] = key, self.history.profile(reader, known, slate.on)
        return self._profiles[slate.user][1]


def _likes(data: Benchmark) -> dict[str, Likes]:
    """Return each user's likes, oldest first."""
    rows = {paper.source_id: row for row, paper in enumerate(data.papers)}
    liked: dict[str, list[tuple[int, int]]] = {user: [] for user in data.interests}
    for each in sorted(data.feedback, key=attrgetter("on")):
        if each.liked and each.paper_id in rows and each.user in liked:
            liked[each.user].append((rows[each.paper_id], each.on.toordinal()))
    return {
        user: Likes(*np.array(own, dtype=np.int64).reshape(-1, 2).T.copy())
        for user, own in liked.items()
    }


def _encoded(
    data: Benchmark,
    likes: dict[str, Likes],
    model_store: ModelStore,
    progress: Progress,
) -> tuple[Encoder, EncodedPapers]:
    first = first_day(data)
    progress("encode", 0, len(data.papers))
    texts = [paper.encoded_text for paper in data.papers]
    n_before = sum(paper.listed_on < first for paper in data.papers)
    authors = [paper.authors for paper in data.papers[:n_before]]
    listed = [paper.listed_on for paper in data.papers[:n_before]]
    liked = {
        number: own.rows[(own.days < first.toordinal()) & (own.rows < n_before)]
        for number, own in enumerate(likes.values(), start=1)
    }
    encoder = model_store.fit_encoder(texts[:n_before], authors, liked, listed)
    papers = EncodedPapers(data.papers, encoder.encode(texts))
    progress("encode", len(texts), len(texts))
    return encoder, papers


def _readers(data: Benchmark, likes: dict[str, Likes], encoder: Encoder) -> dict[str, LikeHistory]:
    readers = {}
    for number, (user, interests) in enumerate(data.interests.items(), start=1):
        wanted = split_phrases(interests)
        readers[user] = LikeHistory(
            Subscriber(
                id=number,
                public_id=user,
                email="",
                state=SubscriberState.ACTIVE,
                zone="UTC",
                hour=6,
                frequency=Frequency.DAILY,
                interests=interests,
            ),
            wanted,
            encoder.encode(wanted),
            likes[user],
        )
    return readers
