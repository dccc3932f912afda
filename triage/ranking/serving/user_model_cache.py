"""Every reader's taste when it is needed: kept from the last time, or learned anew.

    key of all that is known ─→ kept? ─ yes ─→ taste
                                  └ no ─→ background, loaded once a run ─ learn ─→ taste

A taste is learned when the reader's votes or words, the month or the encoder change. It is worth
much, but no digest waits for one: what cannot be read or learned is told and done without.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from hashlib import blake2b
from typing import TYPE_CHECKING

import structlog

from triage import store
from triage.domain.protocols import Encoder
from triage.domain.records import F32, Background, Paper, Profile, UserModel
from triage.ranking.features import FEATURE_VERSION
from triage.ranking.serving.ranker import Learner, load_library
from triage.ranking.user_model import (
    FEWEST_BACKGROUND,
    MOST_LIKES_EACH,
    MOST_LIKES_OF_ALL,
    N_BACKGROUND,
    fit_background,
    fit_user_model,
)

if TYPE_CHECKING:
    from sqlalchemy import Connection

log = structlog.get_logger()

# Where a day begins first: nothing that anyone did on it is from before.
FARTHEST_EAST = timedelta(hours=14)


class Tastes:
    """The tastes of readers as one encoder sees them, on any date.

    Args:
        kept: whether what earlier runs have learned may be used, and what this one learns is to be
            kept. Nothing is written before `keep`.
    """

    def __init__(self, encoder: Encoder, *, kept: bool = True) -> None:
        self._encoder = encoder
        self._kept = kept
        self._backgrounds: dict[date, Background | None] = {}
        self._everybody: dict[str, F32] = {}
        self._until: dict[date, date] = {}
        self._fresh: dict[int, _Fresh] = {}

    def of(self, conn: Connection, profile: Profile, on: date) -> UserModel | None:
        """Return a reader's taste on a date, None where it cannot be had.

        Nothing that was listed or liked on that day or later is part of what it stands out from.
        """
        until = self._past_of(conn, on)
        name = f"{self._encoder.version} {until}"
        key = _key(name, profile)
        if self._kept:
            taste = self._again(conn, profile, name, key)
            if taste is not None:
                return taste
        past = self._background(conn, until)
        if past is None:
            return None
        try:
            taste = fit_user_model(profile, past)
        except Exception:
            log.exception("taste not learned", subscriber=profile.subscriber.public_id)
            return None
        self._fresh[profile.subscriber.id] = _Fresh(name, key, taste)
        return taste

    def on(self, on: date) -> Learner:
        """Return what learns tastes as they are on a date."""
        return lambda conn, profile: self.of(conn, profile, on)

    def keep(self, conn: Connection, subscriber_id: int, at: datetime) -> None:
        """Store what was learned of a subscriber since it was last stored, if anything."""
        fresh = self._fresh.pop(subscriber_id, None)
        if fresh is None or not self._kept:
            return
        store.user_models.save(conn, subscriber_id, fresh.key, fresh.taste, at)
        if fresh.name not in self._everybody:
            store.user_models.save_everybody(conn, fresh.name, fresh.taste.everybody, at)
            self._everybody[fresh.name] = fresh.taste.everybody

    def _again(self, conn: Connection, profile: Profile, name: str, key: str) -> UserModel | None:
        content = store.user_models.load(conn, profile.subscriber.id, key)
        if content is None:
            return None
        if name not in self._everybody:
            shared = store.user_models.everybody(conn, name)
            if shared is None or len(shared) != profile.interests.tfidf.shape[1]:
                return None
            self._everybody[name] = shared
        try:
            return store.user_models.unpack(content, self._everybody[name])
        except Exception:
            log.exception("kept taste is damaged", subscriber=profile.subscriber.public_id)
            return None

    def _past_of(self, conn: Connection, on: date) -> date:
        """Return the day before which the past ends: the month's first, or in the first month `on`.

        So a taste stands for a month as long as the reader says nothing new.
        """
        if on not in self._until:
            first = on.replace(day=1)
            enough = store.papers.count_before(conn, first) >= FEWEST_BACKGROUND
            self._until[on] = first if enough else on
        return self._until[on]

    def _background(self, conn: Connection, until: date) -> Background | None:
        if until not in self._backgrounds:
            papers = store.papers.newest_before(conn, until, N_BACKGROUND)
            listed = load_library(conn, self._encoder, papers)
            liked = load_library(conn, self._encoder, _liked(conn, until))
            self._backgrounds[until] = None
            try:
                words = liked.encodings.tfidf
                self._backgrounds[until] = fit_background(str(until), listed, words)
            except Exception:
                log.exception("no tastes, for want of a background", until=str(until))
        return self._backgrounds[until]


@dataclass(frozen=True, slots=True)
class _Fresh:
    """A taste that is not stored yet, with its key and its background's name."""

    name: str
    key: str
    taste: UserModel


def _liked(conn: Connection, until: date) -> Sequence[Paper]:
    """Return what subscribers liked before a day, the newest papers of all, oldest first."""
    before = datetime.combine(until, time(), UTC) - FARTHEST_EAST
    of_each = store.events.liked(conn, before)
    ids = {paper for own in of_each.values() for paper in own[-MOST_LIKES_EACH:]}
    papers = [each for each in store.papers.load(conn, ids).values() if each.listed_on < until]
    return sorted(papers, key=lambda paper: (paper.listed_on, paper.id))[-MOST_LIKES_OF_ALL:]


def _key(name: str, profile: Profile) -> str:
    told = (
        FEATURE_VERSION,
        name,
        [paper.id for paper in profile.liked.papers],
        [paper.id for paper in profile.disliked.papers],
        profile.phrases,
    )
    return blake2b(repr(told).encode(), digest_size=20).hexdigest()
