"""The data set of training and benchmarks: listed papers and likes, as known on any day.

    papers in listing order + likes ─→ background of a month ─→ profile of a day
                                    ─→ past days ─→ feature rows and relevance

Nothing uses data later than the requested day.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time

import numpy as np

from triage.domain.protocols import Progress, Scorer, silent
from triage.domain.records import (
    F32,
    I32,
    I64,
    Background,
    EncodedPapers,
    Encodings,
    Profile,
    Subscriber,
)
from triage.ranking.blend import PLAIN
from triage.ranking.features import FEATURES, feature_matrix
from triage.ranking.user_model import (
    FEWEST_BACKGROUND,
    FEWEST_SUBSCRIBERS,
    MOST_LIKES_EACH,
    MOST_LIKES_OF_ALL,
    N_BACKGROUND,
    fit_background,
    fit_user_model,
)
from triage.training.past_days import (
    LONGEST_DAYS,
    Likes,
    PastDay,
    past_days,
    select_training_rows,
    subscriber_weights,
)

# The solvers of the user models release Python's lock, so two past days are processed at once. An
# interrupt waits for one batch.
AT_ONCE = 2
BATCH = 64


@dataclass(frozen=True, slots=True)
class LikeHistory:
    """A subscriber with the encoded phrases of their interests, and likes as rows of the papers."""

    subscriber: Subscriber
    phrases: tuple[str, ...]
    interests: Encodings
    likes: Likes


@dataclass(frozen=True, slots=True)
class Group:
    """A query group: the index of its reader, float32 (n, n_features), and int32 (n,)."""

    reader: int
    features: F32
    relevance: I32


@dataclass(frozen=True, slots=True)
class Examples:
    """Query groups to fit on: float32 (n, n_features), int32 (n,), sizes, float32 (n,).

    `readers` has the number of each group's reader, int64 (n_groups,).
    """

    features: F32
    relevance: I32
    group_sizes: tuple[int, ...]
    weights: F32
    readers: I64

    def __len__(self) -> int:
        return len(self.relevance)


def join_groups(groups: Iterable[Group]) -> Examples:
    """Return the groups, in their order, with the weights of `subscriber_weights`."""
    every = list(groups)
    sizes = tuple(len(each.relevance) for each in every)
    return Examples(
        np.concatenate([np.zeros((0, len(FEATURES)), np.float32), *(g.features for g in every)]),
        np.concatenate([np.zeros(0, dtype=np.int32), *(g.relevance for g in every)]),
        sizes,
        subscriber_weights([each.reader for each in every], sizes),
        np.array([each.reader for each in every], dtype=np.int64),
    )


class History:
    """The listed papers and the subscribers' likes.

    Args:
        papers: in listing order.
        like_histories: subscribers; their likes are rows of `papers`.
        alone: whether each is the only subscriber, so that no model of all likes is known.
        since: `Encoder.since`; no past day is earlier. If it is set, past days use the encodings
            `for_training()`: the encoder was fitted on later likes, and with these, features of
            past days would look better than those of coming days.
    """

    def __init__(
        self,
        papers: EncodedPapers,
        readers: Sequence[LikeHistory],
        since: date | None = None,
        *,
        alone: bool = False,
    ) -> None:
        self._alone = alone
        self.papers = papers
        self.readers = readers
        self.since = since or date.min
        self._then = self
        if since:
            self._then = History(
                replace(papers, encodings=papers.encodings.for_training()),
                [replace(each, interests=each.interests.for_training()) for each in readers],
                alone=alone,
            )
        self.listed: I64 = np.array(
            [paper.listed_on.toordinal() for paper in papers.papers], dtype=np.int64
        )
        self._backgrounds: dict[date, Background] = {}

    def background(self, on: date) -> Background:
        """Return the background at the start of the month, or of the day in the first month.

        It has only papers that were listed or liked before.
        """
        until = on.replace(day=1)
        if np.searchsorted(self.listed, until.toordinal()) < FEWEST_BACKGROUND:
            until = on
        if until not in self._backgrounds:
            self._backgrounds[until] = self._background(until)
        return self._backgrounds[until]

    def profile(self, reader: LikeHistory, known: I64, on: date) -> Profile:
        """Return a profile with a user model, fitted on `known` likes, newest first, on a day."""
        liked = self.papers.select(known)
        profile = Profile(
            subscriber=reader.subscriber,
            liked=liked,
            liked_at=tuple(
                datetime.combine(paper.listed_on, time(), tzinfo=UTC) for paper in liked.papers
            ),
            disliked=self.papers.select(slice(0, 0)),
            disliked_at=(),
            phrases=reader.phrases,
            interests=reader.interests,
        )
        return replace(profile, user_model=fit_user_model(profile, self.background(on)))

    def days(
        self,
        first: date,
        until: date,
        n: int,
        rng: np.random.Generator,
        longest: int = LONGEST_DAYS,
    ) -> list[PastDay]:
        """Choose past days, see `past_days.past_days`; none is before `since`."""
        likes = [reader.likes for reader in self.readers]
        first = max(first, self.since)
        return past_days(likes, self.listed, first.toordinal(), until.toordinal(), n, rng, longest)

    def examples(
        self,
        first: date,
        until: date,
        n: int,
        scorer: Scorer,
        rng: np.random.Generator,
        progress: Progress = silent,
    ) -> Examples:
        """Make query groups of past days before `until`.

        Args:
            first: no day is earlier.
            n: maximum number of days, before some are repeated with fewer likes.
            scorer: its scores choose the hard negatives.
        """
        return self.examples_of(self.days(first, until, n, rng), scorer, rng, progress)

    def examples_of(
        self,
        days: Sequence[PastDay],
        scorer: Scorer,
        rng: np.random.Generator,
        progress: Progress = silent,
    ) -> Examples:
        """Make query groups of past days, see `examples`; `readers` are ids of subscribers.

        The best negatives of each plain ranker are among the rows, so that its nDCG@10 is right.
        """
        made = join_groups(self.groups(days, scorer, rng, progress, plain=PLAIN))
        ids = np.array([reader.subscriber.id for reader in self.readers], dtype=np.int64)
        return replace(made, readers=ids[made.readers])

    def groups(
        self,
        days: Sequence[PastDay],
        scorer: Scorer,
        rng: np.random.Generator,
        progress: Progress = silent,
        plain: Sequence[str] = (),
    ) -> Iterator[Group]:
        """Yield a query group of each past day, see `examples`.

        Args:
            plain: features whose best negatives are among the rows.
        """
        columns = [FEATURES.index(name) for name in plain]
        matrices = self.feature_matrices(days)
        for done, (day, X) in enumerate(zip(days, matrices, strict=True), start=1):
            rows = select_training_rows(day.relevance, scorer.score(X), rng, X[:, columns].T)
            yield Group(day.subscriber, X[rows], day.relevance[rows])
            progress("past days", done, len(days))

    def feature_matrices(self, days: Sequence[PastDay]) -> Iterator[F32]:
        """Yield the feature rows of each day's candidates, float32 (n, n_features), in order."""
        for day in days:
            # Threads share the backgrounds, so they are fitted before the threads start.
            self._then.background(date.fromordinal(day.day))
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for begin in range(0, len(days), BATCH):
                yield from pool.map(self._rows, days[begin : begin + BATCH])

    def _rows(self, day: PastDay) -> F32:
        on, then = date.fromordinal(day.day), self._then
        profile = then.profile(then.readers[day.subscriber], day.known, on)
        return feature_matrix(profile, then.papers.select(day.candidates), on)

    def _background(self, until: date) -> Background:
        end = int(np.searchsorted(self.listed, until.toordinal()))
        liked = [
            reader.likes.rows[reader.likes.days < until.toordinal()][-MOST_LIKES_EACH:]
            for reader in self.readers
        ]
        if self._alone or sum(map(bool, map(len, liked))) < FEWEST_SUBSCRIBERS:
            liked = []
        newest = np.unique(np.concatenate([np.zeros(0, dtype=np.int64), *liked]))
        return fit_background(
            str(until),
            self.papers.select(slice(max(end - N_BACKGROUND, 0), end)),
            self.papers.encodings.tfidf[newest[-MOST_LIKES_OF_ALL:]],
        )
