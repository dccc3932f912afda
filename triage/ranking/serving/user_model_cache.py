"""Returns the user model of each subscriber: from the database if current, else fitted and stored.

A model is fitted again when the subscriber's votes or text, the encoder or the month change. The
background is loaded once per run. If a model cannot be loaded or fitted, this is logged and the
digest is made without it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from hashlib import blake2b

import structlog

from triage import store
from triage.domain.protocols import Encoder
from triage.domain.records import F32, Background, Paper, Profile, UserModel
from triage.ranking.features import FEATURE_VERSION
from triage.ranking.serving.ranker import Learner, load_library
from triage.ranking.user_model import (
    FEWEST_BACKGROUND,
    FEWEST_SUBSCRIBERS,
    MOST_LIKES_EACH,
    MOST_LIKES_OF_ALL,
    N_BACKGROUND,
    fit_background,
    fit_user_model,
)
from triage.store import Connection

log = structlog.get_logger()

# The time zone in which a day begins first.
FARTHEST_EAST = timedelta(hours=14)


class UserModelCache:
    """The user models of one encoder, on any date.

    With `kept` stored models are used, and `keep` stores new ones.
    """

    def __init__(self, encoder: Encoder, *, kept: bool = True) -> None:
        self._encoder = encoder
        self._kept = kept
        self._backgrounds: dict[date, Background | None] = {}
        self._everybody: dict[str, F32] = {}
        self._until: dict[date, date] = {}
        self._unsaved: dict[int, tuple[str, str, UserModel]] = {}

    def of(self, conn: Connection, profile: Profile, on: date) -> UserModel | None:
        """Return the model of a subscriber on a date, None if it cannot be fitted.

        Its background has only papers that were listed and liked before that date.
        """
        until = self._background_end(conn, on)
        name = f"{self._encoder.version} {until}"
        key = _key(name, profile)
        if self._kept:
            model = self._load(conn, profile, name, key)
            if model is not None:
                return model
        background = self._background(conn, until)
        if background is None:
            return None
        try:
            model = fit_user_model(profile, background)
        except Exception:
            log.exception("user model not fitted", subscriber=profile.subscriber.public_id)
            return None
        self._unsaved[profile.subscriber.id] = name, key, model
        return model

    def on(self, on: date) -> Learner:
        """Return a function that returns models on a date."""
        return lambda conn, profile: self.of(conn, profile, on)

    def keep(self, conn: Connection, subscriber_id: int, at: datetime) -> None:
        """Store the subscriber's new model, if there is one."""
        unsaved = self._unsaved.pop(subscriber_id, None)
        if unsaved is None or not self._kept:
            return
        name, key, model = unsaved
        store.user_models.save(conn, subscriber_id, key, model, at)
        if name not in self._everybody:
            store.user_models.save_shared_weights(conn, name, model.everybody, at)
            self._everybody[name] = model.everybody

    def _load(self, conn: Connection, profile: Profile, name: str, key: str) -> UserModel | None:
        content = store.user_models.load(conn, profile.subscriber.id, key)
        if content is None:
            return None
        if name not in self._everybody:
            shared = store.user_models.load_shared_weights(conn, name)
            if shared is None or len(shared) != profile.interests.tfidf.shape[1]:
                return None
            self._everybody[name] = shared
        try:
            return store.user_models.unpack(content, self._everybody[name])
        except Exception:
            log.exception("stored user model is damaged", subscriber=profile.subscriber.public_id)
            return None

    def _background_end(self, conn: Connection, on: date) -> date:
        """Return the day before which the background ends, the first of the month.

        So a model without new votes stays for a month. With too few papers before, it is `on`.
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
                log.exception("no user models: background not fitted", until=str(until))
        return self._backgrounds[until]


def _liked(conn: Connection, until: date) -> Sequence[Paper]:
    """Return the newest papers that subscribers liked before a day, oldest first."""
    before = datetime.combine(until, time(), UTC) - FARTHEST_EAST
    of_each = store.events.liked(conn, before)
    if len(of_each) < FEWEST_SUBSCRIBERS:
        return []
    ids = {paper for own in of_each.values() for paper in own[-MOST_LIKES_EACH:]}
    papers = [each for each in store.papers.load(conn, ids).values() if each.listed_on < until]
    return sorted(papers, key=lambda paper: (paper.listed_on, paper.id))[-MOST_LIKES_OF_ALL:]


def _key(name: str, profile: Profile) -> str:
    inputs = (
        FEATURE_VERSION,
        name,
        [paper.id for paper in profile.liked.papers],
        [paper.id for paper in profile.disliked.papers],
        profile.phrases,
    )
    return blake2b(repr(inputs).encode(), digest_size=20).hexdigest()
