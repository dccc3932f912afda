"""All that was listed and liked, as it was known on any day: what training and benchmarks learn on.

    papers in listing order + readers' likes ─→ background of a month ─→ profile of a day
                                             ─→ past days ─→ feature rows and relevance

Nothing later than the day that is asked for has a part in anything of this.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
from triage.ranking.features import FEATURES, feature_matrix
from triage.ranking.user_model import (
    FEWEST_BACKGROUND,
    MOST_LIKES_EACH,
    MOST_LIKES_OF_ALL,
    N_BACKGROUND,
    fit_background,
    fit_user_model,
)
from triage.training.past_days import Likes, PastDay, past_days, reader_weights, telling_rows

# The solvers of readers' models run outside Python's lock, so two past days are read at once; who
# interrupts waits for one batch of them.
AT_ONCE = 2
BATCH = 64


@dataclass(frozen=True, slots=True)
class Reader:
    """A subscriber with what they wrote, encoded, and what they liked, as rows of the papers."""

    subscriber: Subscriber
    phrases: tuple[str, ...]
    interests: Encodings
    likes: Likes


@dataclass(frozen=True, slots=True)
class Examples:
    """Query groups to learn from: float32 (n, n_features), int32 (n,), sizes, float32 (n,)."""

    features: F32
    relevance: I32
    group_sizes: tuple[int, ...]
    weights: F32

    def __len__(self) -> int:
        return len(self.relevance)


class History:
    """What was listed and liked.

    Args:
        papers: in listing order.
        readers: their likes are rows of `papers`.
        since: no past day is before it, if the encoder has learned from likes: see `ports.Encoder`.
            Past days show what it had learned by then, or they would promise what no coming day
            holds.
    """

    def __init__(
        self, papers: EncodedPapers, readers: Sequence[Reader], since: date | None = None
    ) -> None:
        self.papers = papers
        self.readers = readers
        self.since = since or date.min
        self._then = self._as_of_then() if since else self
        self.listed: I64 = np.array(
            [paper.listed_on.toordinal() for paper in papers.papers], dtype=np.int64
        )
        self._backgrounds: dict[date, Background] = {}

    def background(self, on: date) -> Background:
        """Return the past of a month, or of a day in the first month of all.

        Nothing listed or liked from then on is part of it.
        """
        until = on.replace(day=1)
        if np.searchsorted(self.listed, until.toordinal()) < FEWEST_BACKGROUND:
            until = on
        if until not in self._backgrounds:
            self._backgrounds[until] = self._background(until)
        return self._backgrounds[until]

    def profile(self, reader: Reader, known: I64, on: date) -> Profile:
        """Return a reader as known on a day by these likes, newest first, with taste."""
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
        return replace(profile, taste=fit_user_model(profile, self.background(on)))

    def days(self, first: date, until: date, n: int, rng: np.random.Generator) -> list[PastDay]:
        """Choose past days, see `pastdays.past_days`; none is before `since`."""
        likes = [reader.likes for reader in self.readers]
        first = max(first, self.since)
        return past_days(likes, self.listed, first.toordinal(), until.toordinal(), n, rng)

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
            first: no day before this one.
            n: at most so many days.
            scorer: knows a little of what is hard to tell apart.
        """
        days = self.days(first, until, n, rng)
        parts, relevance = [], []
        for done, (day, X) in enumerate(zip(days, self.described(days), strict=True), start=1):
            rows = telling_rows(day.relevance, scorer.score(X), rng)
            parts.append(X[rows])
            relevance.append(day.relevance[rows])
            progress("past days", done, len(days))
        sizes = [len(marks) for marks in relevance]
        return Examples(
            np.concatenate([np.zeros((0, len(FEATURES)), dtype=np.float32), *parts]),
            np.concatenate([np.zeros(0, dtype=np.int32), *relevance]),
            tuple(sizes),
            reader_weights([day.reader for day in days], sizes),
        )

    def described(self, days: Sequence[PastDay]) -> Iterator[F32]:
        """Yield float32 (n, n_features) for each day in turn: its candidates."""
        for day in days:
            # What threads share is made before they start.
            self._then.background(date.fromordinal(day.day))
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for begin in range(0, len(days), BATCH):
                yield from pool.map(self._rows, days[begin : begin + BATCH])

    def _rows(self, day: PastDay) -> F32:
        on, then = date.fromordinal(day.day), self._then
        profile = then.profile(then.readers[day.reader], day.known, on)
        return feature_matrix(profile, then.papers.select(day.candidates), on)

    def _as_of_then(self) -> History:
        return History(
            replace(self.papers, encodings=self.papers.encodings.for_training()),
            [replace(each, interests=each.interests.for_training()) for each in self.readers],
        )

    def _background(self, until: date) -> Background:
        end = int(np.searchsorted(self.listed, until.toordinal()))
        liked = [
            reader.likes.rows[reader.likes.days < until.toordinal()][-MOST_LIKES_EACH:]
            for reader in self.readers
        ]
        newest = np.unique(np.concatenate([np.zeros(0, dtype=np.int64), *liked]))
        return fit_background(
            str(until),
            self.papers.select(slice(max(end - N_BACKGROUND, 0), end)),
            self.papers.encodings.tfidf[newest[-MOST_LIKES_OF_ALL:]],
        )
