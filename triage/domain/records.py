"""The frozen records that pass between stages, in the order of the data flow.

    FetchedPaper → Paper → Encodings → Profile → Placement → Impression → Slate → OutgoingMessage

Times are aware and in UTC. Dates are local days.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from datetime import date, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy.sparse import csc_matrix, csr_matrix

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
Bools = NDArray[np.bool_]
# As texts, so that scipy is imported only where a matrix is made.
CSC: TypeAlias = "csc_matrix"
CSR: TypeAlias = "csr_matrix"


class Verdict(StrEnum):
    """The result of reading one day of a source."""

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
    """The text that a digest shows for each paper."""

    ABSTRACT = "abstract"
    TLDR = "tldr"


class EventKind(StrEnum):
    """A vote. The order is part of the format of link tokens: append, never reorder."""

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
"""The relevance label of each vote. A paper that was shown without a vote has the label 0, too."""


class Origin(StrEnum):
    """The probable cause of an event."""

    PERSON = "person"
    SUSPECTED_SCANNER = "suspected_scanner"


class Policy(StrEnum):
    """How the paper at a position was chosen."""

    RANKED = "ranked"
    EXPLORATION = "exploration"


class ReasonKind(StrEnum):
    """The kind of a reason; all but the last two are groups of features in `ranking.features`."""

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
    """States of a message in the outbox. `store.messages` defines the allowed transitions."""

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
    """A stored work: the newest cleaned text, all known authors and categories."""

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
        """The text in which keywords are searched."""
        return f"{self.title}\n{self.abstract}"

    @property
    def encoded_text(self) -> str:
        """The text for encoders. The title comes twice, so that its words weigh more.

        Titles have no line breaks, so the abstract begins on the third line.
        """
        return f"{self.title}\n{self.title}\n{self.abstract}"


@dataclass(frozen=True, slots=True)
class Subscriber:
    """A person who receives digests, with their preferences.

    Attributes:
        weekdays: the days on which digests are sent, as bits; bit 0 is Monday.
        paused_until: the first date on which digests are sent again.
        score_floor, size: lowest chance and most papers of a digest; None: as in the settings.
        recap: whether the first digest of a week lists the best papers that no digest showed.
        explores: whether digests contain exploration papers.
        community: the weight of upvotes, from 0 (ignored) to 2 (double).
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
    """Why a paper is shown: `kind` for the program, `text` for the subscriber."""

    kind: ReasonKind
    text: str


@dataclass(frozen=True, slots=True)
class Vote:
    """The last vote of a subscriber on a paper, which is the one that counts.

    `reason` is the first reason that the digest showed; None if the vote came from elsewhere. `own`
    is the author's name if the subscriber wrote the paper, "" if it was not given; None if not.
    """

    paper_id: int
    kind: EventKind
    at: datetime
    reason: Reason | None = None
    own: str | None = None


@dataclass(frozen=True, slots=True)
class Interest:
    """A cluster of a subscriber's likes and phrases.

    `number` identifies it on pages and is 0 until it is stored. `papers` are the ids of its likes,
    newest first. `phrases` are from the subscriber's own description of their interests.
    """

    number: int
    name: str
    papers: tuple[int, ...]
    phrases: tuple[str, ...]
    muted: bool = False
    paused_until: date | None = None

    def rests(self, on: date) -> bool:
        """Return whether the interest is muted or paused on a date."""
        return self.muted or (self.paused_until is not None and on < self.paused_until)


# -- what ranking works on -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Encodings:
    """Vectors of texts, one row for each text; every row has unit length or is all zero.

    Attributes:
        latent: float32 (n, d), C order, LSA: the leading singular vectors of `tfidf`.
        tfidf: float32 CSR (n, v), TF-IDF weights of the vocabulary's terms.
        semantic: float32 (n, s), C order, LSA and WordLlama joined; exact in half precision.
        hubness: float32 (n,), in [0, 1], mean cosine in `semantic` to the nearest papers.
        training_semantic: float32 (n, t), `semantic` from an encoder that was fitted only on
            earlier likes, see `protocols.Encoder`; t is 0 if no likes were used.
        training_hubness: float32 (n,), `hubness` in `training_semantic`.
    """

    latent: F32
    tfidf: CSR
    semantic: F32
    hubness: F32
    training_semantic: F32
    training_hubness: F32

    def __len__(self) -> int:
        return int(self.latent.shape[0])

    def select(self, rows: I64 | slice) -> Encodings:
        """Return the given rows, in the given order."""
        return Encodings(*(getattr(self, each.name)[rows] for each in fields(self)))

    def for_training(self) -> Encodings:
        """Return the encodings with the semantic vectors that only earlier likes have shaped."""
        if not self.training_semantic.shape[1]:
            return self
        return replace(self, semantic=self.training_semantic, hubness=self.training_hubness)


@dataclass(frozen=True, slots=True)
class EncodedPapers:
    """Papers and their encodings; row i of `encodings` belongs to `papers[i]`."""

    papers: tuple[Paper, ...]
    encodings: Encodings

    def __len__(self) -> int:
        return len(self.papers)

    def select(self, rows: I64 | slice) -> EncodedPapers:
        """Return the papers of the given rows, in the given order."""
        papers = tuple(self.papers[row] for row in np.arange(len(self))[rows])
        return EncodedPapers(papers, self.encodings.select(rows))


@dataclass(frozen=True, slots=True)
class Background:
    """Past papers, liked or not: the negative examples when user models are fitted.

    Attributes:
        name: identifies the background.
        paper_ids: int64 (n,).
        encodings: row i belongs to the paper `paper_ids[i]`.
        everybody: float32 (v,), weights of the words that the likes of all subscribers share; all
            zero if there are too few likes.
        threshold: the cosine below which two papers are unrelated.
        others_words: float64 CSC (m, v + 1), the TF-IDF vectors of evenly spread papers, and a last
            column of ones.
    """

    name: str
    paper_ids: I64
    encodings: Encodings
    everybody: F32
    threshold: float
    others_words: CSC

    def __len__(self) -> int:
        return len(self.paper_ids)


@dataclass(frozen=True, slots=True)
class UserModel:
    """The linear models and cluster centres of one subscriber.

    An interest is a cluster of similar likes. There are k interests; k is 0 without likes.

    Attributes:
        tfidf_models: float32 CSR (3 + k, v), linear models over TF-IDF. Positive examples: all
            likes; all likes and their neighbours; all likes, against the papers nearest to them;
            the likes of each interest. (0, v) if there are no likes and no phrases.
        intercepts: float32 (3 + k,) or (0,), of `tfidf_models`.
        semantic_models: float32 (2 + k, s) or (0, s), linear models over `Encodings.semantic`: of
            all likes, of all likes and their neighbours, and of each interest.
        interest_keys: int64 (k,), hashes of what the models of each interest were fitted on.
        like_interests: int32 (n_likes,), the number of each like's interest, -1 if it has none.
        tfidf_centres, latent_centres, semantic_centres: float32 CSR (k, v), float32 (k, d) and
            (k, s), unit rows: the mean vector of each interest's likes.
        tfidf_anchors, latent_anchors, semantic_anchors: likewise, with a rows: the centres of the
            neighbours of each phrase, or of the likes if they are few.
        everybody: float32 (v,), as in `Background`.
    """

    tfidf_models: CSR
    intercepts: F32
    semantic_models: F32
    interest_keys: I64
    like_interests: I32
    tfidf_centres: CSR
    latent_centres: F32
    semantic_centres: F32
    tfidf_anchors: CSR
    latent_anchors: F32
    semantic_anchors: F32
    everybody: F32


@dataclass(frozen=True, slots=True)
class Profile:
    """The input for ranking that depends on the subscriber; newest votes come first.

    `liked_at[i]` belongs to `liked.papers[i]`; `disliked_at[i]` and `less_of[i]` to
    `disliked.papers[i]`. `less_of[i]` is the reason shown if the vote was "less like this". Row i
    of `interests` encodes `phrases[i]`. `interests_before` are the stored interests. `own_papers`
    are ids of papers by the subscriber, `own_authors` the keys of their names, if known.
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
    user_model: UserModel | None = None
    own_papers: frozenset[int] = frozenset()
    own_authors: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Placement:
    """One place on a slate: `row` is the candidate's row, `position` is 1-based."""

    row: int
    position: int
    score: float
    propensity: float
    policy: Policy


@dataclass(frozen=True, slots=True)
class Impression:
    """A shown paper, with its chance of a vote (`score`) and that before corrections (`prior`).

    `features` is float32 (n_features,), in the order of the slate's `feature_version`.
    """

    paper: Paper
    position: int
    score: float
    propensity: float
    policy: Policy
    features: F32
    reasons: tuple[Reason, ...] = ()
    prior: float | None = None


@dataclass(frozen=True, slots=True)
class Slate:
    """The papers of one digest, in order, and the versions of the models that chose them.

    `revised` are liked papers that have changed since, `recap` the week's best that no digest
    showed and none will. Both are only titles in the mail, and no impressions.
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
    """The links of one paper in a digest. `upstream` is the paper's page at its publisher.

    Vote links open a page or write a mail. `mails` are (word, link) of a second way, by mail;
    `resources` are (word, link) of its PDF and its code.
    """

    upstream: str
    page: str
    up: str
    down: str
    save: str
    less: str
    mails: tuple[tuple[str, str], ...] = ()
    resources: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class DigestLinks:
    """All links of a digest; `papers[i]` belongs to impression i.

    `revised` and `recap` are the upstream pages of the slate's papers of these names. `vote_page`
    has buttons for all papers. Without web pages, `unsubscribe` writes a mail, too, and
    `preferences`, `home` and `vote_page` are "".
    """

    papers: tuple[PaperLinks, ...]
    unsubscribe: str
    unsubscribe_mailto: str
    preferences: str
    home: str
    revised: tuple[str, ...] = ()
    recap: tuple[str, ...] = ()
    vote_page: str = ""


@dataclass(frozen=True, slots=True)
class RenderedNote:
    """The subject and text of a mail that is not a digest."""

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
    """A message to send. Its bytes never change, also when it is sent again.

    `envelope_sender` receives bounces; if it is empty, the address in From does.
    """

    message_id: str
    recipient: str
    mime: bytes = field(repr=False)
    envelope_sender: str = ""
