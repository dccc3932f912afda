"""The frozen records that pass between stages, in the order in which data meets them.

    fetched → Paper → Encodings → Profile → Placement → Impression → OutgoingMessage
                                                                Event ← vote

Names say the stage. Times are aware and in UTC, dates are local days, arrays state shape and dtype.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import date, datetime
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
Bools = NDArray[np.bool_]


class Verdict(StrEnum):
    """How a source's day ended."""

    COMPLETE = "complete"
    PARTIAL = "partial"
    EMPTY_EXPECTED = "empty_expected"
    EMPTY_SUSPECT = "empty_suspect"
    FAILED = "failed"


class SubscriberState(StrEnum):
    PENDING = "pending"
    ACTIVE = "active"
    PAUSED = "paused"
    UNSUBSCRIBED = "unsubscribed"
    SUPPRESSED = "suppressed"
    ERASED = "erased"


class Frequency(StrEnum):
    DAILY = "daily"
    WEEKLY = "weekly"


class Detail(StrEnum):
    """How much of a paper's text a digest shows."""

    ABSTRACT = "abstract"
    TLDR = "tldr"


class EventKind(StrEnum):
    VOTE_UP = "vote_up"
    VOTE_DOWN = "vote_down"
    SAVE = "save"
    LESS_LIKE_THIS = "less_like_this"


LIKES = frozenset({EventKind.VOTE_UP, EventKind.SAVE})
RELEVANCE = {
    EventKind.SAVE: 3,
    EventKind.VOTE_UP: 2,
    EventKind.VOTE_DOWN: 0,
    EventKind.LESS_LIKE_THIS: 0,
}
"""How relevant a vote says that a paper is. A paper that was shown and not voted on has 0 too."""


class Origin(StrEnum):
    """Who is believed to have caused an event."""

    PERSON = "person"
    SUSPECTED_SCANNER = "suspected_scanner"


class Policy(StrEnum):
    """Why a paper stands at its position."""

    RANKED = "ranked"
    EXPLORATION = "exploration"


class ReasonKind(StrEnum):
    """What a reason points at; all but the last two are groups of features, see `features`."""

    LIKES = "likes"
    WORDS = "words"
    INTERESTS = "interests"
    INTEREST_CLUSTER = "interest_cluster"
    CATEGORY = "category"
    FOLLOWED_AUTHOR = "followed_author"
    LIKED_AUTHOR = "liked_author"
    KEYWORDS = "keywords"
    COMMUNITY = "community"
    FRESHNESS = "freshness"
    EXPLORATION = "exploration"


class MessageState(StrEnum):
    """States of the outbox. Which may follow which stands in `store.messages`."""

    PLANNED = "planned"
    RENDERED = "rendered"
    CLAIMED = "claimed"
    IN_DOUBT = "in_doubt"
    DEFERRED = "deferred"
    SENT = "sent"
    HELD = "held"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"


# -- what is stored --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Paper:
    """One work as stored: the newest clean text, all known authors and categories."""

    id: int
    source: str
    source_id: str | None
    version: int | None
    title: str
    abstract: str
    authors: tuple[str, ...]
    categories: tuple[str, ...]
    listed_on: date
    comment: str = ""
    upvotes: int | None = None
    tldr: str = ""
    venue: str = ""
    citations: int | None = None

    @property
    def text(self) -> str:
        """What keywords read."""
        return f"{self.title}\n{self.abstract}"

    @property
    def encoded_text(self) -> str:
        """What encoders read: a word of the title says more than one of the abstract.

        Titles have no line breaks, so the third line on is the abstract.
        """
        return f"{self.title}\n{self.title}\n{self.abstract}"


@dataclass(frozen=True, slots=True)
class Subscriber:
    """Who receives digests, and how.

    Attributes:
        weekdays: the days on which digests come, as bits; bit 0 is Monday.
        paused_until: the first date on which digests come again.
        score_floor, size: of this subscriber's digests; None leaves them to the settings.
        recap: whether a week's best papers that were missed come once more.
        explores: whether a paper now and then is from outside of what the subscriber reads.
        community: how much upvotes count, from 0, not at all, to 2, twice as much as usual.
    """

    id: int
    public_id: str
    email: str
    state: SubscriberState
    zone: str
    hour: int
    frequency: Frequency
    interests: str = ""
    categories: tuple[str, ...] = ()
    followed_authors: tuple[str, ...] = ()
    include_keywords: tuple[str, ...] = ()
    exclude_keywords: tuple[str, ...] = ()
    revisions: bool = False
    weekdays: int = 127
    paused_until: date | None = None
    score_floor: float | None = None
    size: int | None = None
    recap: bool = False
    explores: bool = True
    community: float = 1.0
    detail: Detail = Detail.ABSTRACT
    created_at: datetime | None = None
    active_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a paper is shown: `kind` for the program, `text` for people."""

    kind: ReasonKind
    text: str


@dataclass(frozen=True, slots=True)
class Vote:
    """The vote that counts for one subscriber and paper: the last one.

    `reason` is the first one that the digest gave for the paper, None for a vote from elsewhere.
    """

    paper_id: int
    kind: EventKind
    at: datetime
    reason: Reason | None = None


@dataclass(frozen=True, slots=True)
class Interest:
    """One of the things that a subscriber reads about, as found in their likes and words.

    `number` is what people call it by, 0 until it is stored. `papers` are the ids of the likes
    that it was found in, newest first, `phrases` those of the subscriber's own words.
    """

    number: int
    name: str
    papers: tuple[int, ...]
    phrases: tuple[str, ...]
    muted: bool = False
    paused_until: date | None = None

    def rests(self, on: date) -> bool:
        """Tell whether no paper is to be shown for it on a date."""
        return self.muted or (self.paused_until is not None and on < self.paused_until)


# -- what ranking works on -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Encodings:
    """Vectors of texts, one row for each text; every row has unit length or is all zero.

    Attributes:
        latent: float32 (n, d), C order, LSA: the leading singular vectors of `tfidf`.
        tfidf: float32 CSR (n, v), TF-IDF weights of the vocabulary's terms.
        semantic: float32 (n, s), C order, LSA joined with WordLlama; exact in half precision.
        hubness: float32 (n,), in [0, 1], mean cosine in `semantic` to the nearest papers.
        training_semantic: float32 (n, t), `semantic` as an encoder makes it that knows only
            earlier likes, see `protocols.Encoder`; t is 0 where likes did not shape the encoder.
        training_hubness: float32 (n,), `hubness` in `training_semantic`.
    """

    latent: F32
    tfidf: csr_matrix
    semantic: F32
    hubness: F32
    training_semantic: F32
    training_hubness: F32

    def __len__(self) -> int:
        return int(self.latent.shape[0])

    def select(self, rows: I64 | slice) -> Encodings:
        """Return the rows of these numbers, in their order."""
        return Encodings(
            self.latent[rows],
            self.tfidf[rows],
            self.semantic[rows],
            self.hubness[rows],
            self.training_semantic[rows],
            self.training_hubness[rows],
        )

    def for_training(self) -> Encodings:
        """Return the same as earlier likes alone would have made it."""
        if not self.training_semantic.shape[1]:
            return self
        return replace(self, semantic=self.training_semantic, hubness=self.training_hubness)


@dataclass(frozen=True, slots=True)
class EncodedPapers:
    """Papers with their encodings, row i of `encodings` being `papers[i]`."""

    papers: tuple[Paper, ...]
    encodings: Encodings

    def __len__(self) -> int:
        return len(self.papers)

    def select(self, rows: I64 | slice) -> EncodedPapers:
        """Return the papers of these rows, in their order."""
        if isinstance(rows, slice):
            return EncodedPapers(self.papers[rows], self.encodings.select(rows))
        return EncodedPapers(tuple(self.papers[row] for row in rows), self.encodings.select(rows))


@dataclass(frozen=True, slots=True)
class Background:
    """Papers of the past, whoever liked them: what a reader's likes stand out from.

    Attributes:
        name: tells one background from another.
        paper_ids: int64 (n,).
        encodings: row i is of the paper with id `paper_ids[i]`.
        everybody: float32 (v,), weights of the words that subscribers' likes have in common; all
            zero while there are too few.
        threshold: the cosine below which two papers are unrelated, see `interests.apartness`.
    """

    name: str
    paper_ids: I64
    encodings: Encodings
    everybody: F32
    threshold: float

    def __len__(self) -> int:
        return len(self.paper_ids)


@dataclass(frozen=True, slots=True)
class UserModel:
    """What was learned of one reader: linear models and centres, of all likes and each interest's.

    An interest here is a group of likes that are near to each other; k of them, 0 without likes.

    Attributes:
        words: float32 CSR (3 + k, v), models over words: all likes, all likes with their
            neighbours, all likes against what is nearest to them, each interest's likes; (0, v)
            where nothing is known.
        intercepts: float32 (3 + k,) or (0,).
        meaning: float32 (1 + k, s) or (0, s), models over the sense: all likes, each interest's.
        word_centres: float32 CSR (k, v), unit rows: the mean words of each interest's likes.
        dense_centres: float32 (k, d), sense_centres: float32 (k, s), their mean vectors.
        anchors: float32 CSR (a, v), unit rows: the centres of the neighbours of each phrase, or of
            few likes.
        everybody: float32 (v,), as in `Background`.
    """

    words: csr_matrix
    intercepts: F32
    meaning: F32
    word_centres: csr_matrix
    dense_centres: F32
    sense_centres: F32
    anchors: csr_matrix
    everybody: F32


@dataclass(frozen=True, slots=True)
class Profile:
    """All that is known of one subscriber before a slate, newest vote first.

    `interests` has one row a phrase of `phrases`; `liked_at` and `disliked_at` match the libraries.
    `less_of` does too: what a disliked paper was shown for, where the subscriber asked for less
    like it. `interests_before` are those that were found and stored last.
    """

    subscriber: Subscriber
    liked: EncodedPapers
    liked_at: tuple[datetime, ...]
    disliked: EncodedPapers
    disliked_at: tuple[datetime, ...]
    phrases: tuple[str, ...]
    interests: Encodings
    less_of: tuple[Reason | None, ...] = ()
    interests_before: tuple[Interest, ...] = ()
    taste: UserModel | None = None


@dataclass(frozen=True, slots=True)
class Placement:
    """One paper's place on a slate. `row` is that among the candidates, `position` is 1-based."""

    row: int
    position: int
    score: float
    propensity: float
    policy: Policy


@dataclass(frozen=True, slots=True)
class Impression:
    """One shown paper as it is logged: everything that training needs later.

    `features` is float32 (n_features,), in the order of the feature set named `feature_version`.
    """

    paper: Paper
    position: int
    score: float
    propensity: float
    policy: Policy
    features: F32
    reasons: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True)
class Slate:
    """The ordered papers of one digest and which program chose them.

    `revised` are papers that the subscriber liked and that say something else since: told by their
    titles, and no impressions. `recap` are the week's best that no digest showed: told by their
    titles, too, and never mailed again.
    """

    public_id: str
    subscriber: Subscriber
    on: date
    impressions: tuple[Impression, ...]
    n_candidates: int
    scorer_version: str
    encoder_version: str
    feature_version: str
    day_report: str
    revised: tuple[Paper, ...] = ()
    recap: tuple[Paper, ...] = ()


# -- what leaves -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PaperLinks:
    """The links under one paper of a digest. `upstream` is the paper's own page."""

    upstream: str
    page: str
    up: str
    down: str
    save: str
    less: str


@dataclass(frozen=True, slots=True)
class DigestLinks:
    """All links of a digest: `papers[i]` belongs to the slate's impression i.

    `revised[i]` is the upstream page of the slate's revised paper i;
    `recap[i]` is that of a paper of its recap.
    """

    papers: tuple[PaperLinks, ...]
    unsubscribe: str
    unsubscribe_mailto: str
    preferences: str
    home: str
    revised: tuple[str, ...] = ()
    recap: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RenderedNote:
    """A mail that is no digest, as text."""

    subject: str
    text: str


@dataclass(frozen=True, slots=True)
class RenderedDigest:
    subject: str
    text: str
    html: str
    n_papers: int


@dataclass(frozen=True, slots=True)
class OutgoingMessage:
    """Frozen bytes on their way out. The same message always has the same values.

    `envelope_sender` is where it comes back to if it cannot be delivered; empty is as in From.
    """

    message_id: str
    recipient: str
    mime: bytes = field(repr=False)
    envelope_sender: str = ""


@dataclass(frozen=True, slots=True)
class SentEntry:
    """A message that its receiver has taken.

    `subscriber` is the public id; together with `on` and `kind` it names the digest, which has
    another `message_id` only if the site has changed its name.
    """

    at: datetime
    message_id: str
    subscriber: str
    on: date
    kind: str

    @property
    def key(self) -> tuple[str, date, str]:
        return (self.subscriber, self.on, self.kind)
