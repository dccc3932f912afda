"""Returns the user models of subscribers: from the database if current, else fitted and stored.

    load_block: one query for all subscribers ─→ UserModelBlock.of: from memory alone
                                              ─→ save_block: one statement for all new models

A model is fitted again when the subscriber's votes or text, the encoder or the month change; the
fit starts at the stored model. The background is loaded once per process. If a model cannot be
loaded or fitted, this is logged and the digest is made without it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from hashlib import blake2b

import numpy as np
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
from triage.ranking.user_model_format import LAYOUT, pack_user_model, unpack_user_model
from triage.store import Connection
from triage.store.user_models import StoredUserModel

log = structlog.get_logger()

# The time zone in which a day begins first.
FARTHEST_EAST = timedelta(hours=14)


@dataclass(frozen=True, slots=True)
class UserModelBlock:
    """The user models of a block of subscribers on one date.

    Attributes:
        name: of the encoder and the background.
        current: the stored models that need no fit, by subscriber id.
        starts: the stored models from which the fits of other subscribers start.
        background: None if all models are current, or if it could not be fitted.
        new: the packed models that `of` has fitted.
    """

    encoder_version: str
    name: str
    current: Mapping[int, UserModel]
    starts: Mapping[int, UserModel]
    background: Background | None
    new: dict[int, StoredUserModel] = field(default_factory=dict)

    def of(self, profile: Profile) -> UserModel | None:
        """Return the stored model if it is current, else fit it; None if it cannot be fitted.

        Needs no database. The other subscribers of the block do not change the result.
        """
        subscriber, past = profile.subscriber, self.background
        if subscriber.id in self.current or past is None:
            return self.current.get(subscriber.id)
        try:
            model = fit_user_model(profile, past, self.starts.get(subscriber.id))
            content = pack_user_model(model, self.encoder_version)
        except Exception:
            log.exception("user model not fitted", subscriber=subscriber.public_id)
            return None
        self.new[subscriber.id] = StoredUserModel(_key(self.name, profile), content)
        return model


class UserModelCache:
    """The user models of one encoder, on any date.

    With `kept` stored models are used, and `save_block` stores new ones.
    """

    def __init__(self, encoder: Encoder, *, kept: bool = True) -> None:
        self._encoder = encoder
        self._kept = kept
        self._backgrounds: dict[date, Background | None] = {}
        self._everybody: dict[str, F32] = {}
        self._until: dict[date, date] = {}

    def load_block(self, conn: Connection, profiles: Sequence[Profile], on: date) -> UserModelBlock:
        """Return the models of the subscribers of these profiles on a date, see `UserModelBlock`.

        Their background has only papers that were listed and liked before that date. One query
        reads the stored models of all; what depends only on the date is read once per process.
        """
        until = self._background_end(conn, on)
        name = f"{self._encoder.version} {until}"
        everybody = self._shared_weights(conn, name) if self._kept else None
        stored: Mapping[int, StoredUserModel] = {}
        if self._kept:
            stored = store.user_models.load_many(conn, [p.subscriber.id for p in profiles])
        current: dict[int, UserModel] = {}
        starts: dict[int, UserModel] = {}
        for profile in profiles:
            id = profile.subscriber.id
            if id not in stored:
                continue
            if stored[id].key != _key(name, profile):
                start = self._unpack_start(stored[id], profile)
                starts |= {} if start is None else {id: start}
            elif everybody is not None:
                model = self._unpack_current(stored[id], profile, everybody)
                current |= {} if model is None else {id: model}
        background = None
        if any(profile.subscriber.id not in current for profile in profiles):
            background = self._background(conn, until)
        if background is not None and everybody is not None:
            # Votes that were forgotten since must not make the new models different from the old.
            background = replace(background, everybody=everybody)
        return UserModelBlock(self._encoder.version, name, current, starts, background)

    def save_block(
        self,
        conn: Connection,
        block: UserModelBlock,
        at: datetime,
        only: Collection[int] | None = None,
    ) -> None:
        """Store the new models of a block in one statement.

        Args:
            only: the ids of the subscribers whose models are stored; by default all.
        """
        new = {id: row for id, row in block.new.items() if only is None or id in only}
        if not new or not self._kept:
            return
        store.user_models.save_many(conn, new, at)
        if block.name not in self._everybody and block.background is not None:
            # Once more by each block until one is seen to be stored: a transaction may fail.
            store.user_models.save_shared_weights(conn, block.name, block.background.everybody, at)

    def of(self, conn: Connection, profile: Profile, on: date) -> UserModel | None:
        """Return the model of one subscriber on a date, None if it cannot be fitted."""
        return self.load_block(conn, [profile], on).of(profile)

    def on(self, on: date) -> Learner:
        """Return a function that returns models on a date."""
        return lambda conn, profile: self.of(conn, profile, on)

    def _shared_weights(self, conn: Connection, name: str) -> F32 | None:
        if name not in self._everybody:
            shared = store.user_models.load_shared_weights(conn, name)
            if shared is None:
                return None
            self._everybody[name] = shared
        return self._everybody[name]

    def _unpack_current(
        self, row: StoredUserModel, profile: Profile, everybody: F32
    ) -> UserModel | None:
        liked, subscriber = profile.liked.encodings, profile.subscriber
        try:
            return unpack_user_model(row.content, self._encoder.version, everybody, liked)
        except Exception:
            log.exception("stored user model is damaged", subscriber=subscriber.public_id)
            return None

    def _unpack_start(self, row: StoredUserModel, profile: Profile) -> UserModel | None:
        """Return a model without centres; None if it is from another encoder or an old layout."""
        nothing = np.zeros(profile.interests.tfidf.shape[1], dtype=np.float32)
        try:
            return unpack_user_model(row.content, self._encoder.version, nothing, None)
        except ValueError:
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
        LAYOUT,
        name,
        [paper.id for paper in profile.liked.papers],
        [paper.id for paper in profile.disliked.papers],
        profile.phrases,
    )
    return blake2b(repr(inputs).encode(), digest_size=20).hexdigest()
