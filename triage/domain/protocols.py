"""What the use cases ask of the outside. Every class behind a port passes its contract test."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

from triage.domain.records import F32, F64, I32, I64, Encodings, OutgoingMessage
from triage.domain.source_records import Batch, Enrichment, KnownPaper

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


class Progress(Protocol):
    def __call__(self, stage: str, done: int, total: int) -> None:
        """Hear that `done` of `total` steps of a stage are done."""


def silent(stage: str, done: int, total: int) -> None:
    """Tell nobody."""


class Clock(Protocol):
    def now(self) -> datetime:
        """Return the present instant, aware, in UTC."""

    def sleep(self, seconds: float) -> None:
        """Let `seconds` pass; zero or less returns at once."""


class Source(Protocol):
    """Where papers come from.

    Attributes:
        name: unique among the configured sources; the key of its cursor and days.
    """

    name: str

    def fetch(self, cursor: str | None) -> Iterator[Batch]:
        """Yield what is new since `cursor` in batches of at most a few hundred papers.

        A batch's cursor resumes right after that batch. A record that cannot be used goes into
        `Batch.rejected`. No news yields nothing, or batches that hold only days.

        Raises:
            SourceError: the source as a whole cannot be read; what was yielded before stands.
        """


class Enricher(Protocol):
    """Who knows more of papers than their source told: summaries, venues, citations, other ids.

    Attributes:
        name: unique among the configured enrichers and sources.
    """

    name: str

    def enrich(self, papers: Sequence[KnownPaper]) -> Iterator[Enrichment]:
        """Yield what is known of some of `papers`, several times of one if several know it.

        A paper that nobody knows, or that has no id which could be asked for, is passed over. No
        papers ask nothing.

        Raises:
            SourceError: nobody can be asked further; what was yielded before stands.
        """


class Closed(StrEnum):
    """Why a gate lets nobody through now."""

    SPACED = "the server wants more distance"
    BUSY = "another request is under way"
    FAILING = "the server has failed too often"
    SPENT = "the day's requests are spent"


@dataclass(frozen=True, slots=True)
class MustWait:
    """A gate that is closed.

    Attributes:
        until: when it is worth coming again; until then nobody gets through, but for a busy gate.
        count: of requests made today, of a gate that is spent; else of failures in a row.
    """

    why: Closed
    until: datetime
    count: int = 0


class Outcome(StrEnum):
    """How a request went."""

    ANSWERED = "answered"
    REFUSED = "refused for good, or never made"
    FAILED = "no usable answer; a later one may be"


class RequestLimiter(Protocol):
    """Whose turn it is at one gate, that is, to ask one server or one family of servers.

    A turn is one request. For everybody who comes to the gate together: one has the turn at a time;
    the next one starts no sooner than the server's interval after the end of the last; no day has
    more requests than its budget; and nobody starts before a time that the server named, or before
    a back-off is over, which grows with the failures in a row to one try an hour.
    """

    def acquire(self) -> MustWait | None:
        """Take the turn; if it cannot be taken now, say why and when to come again.

        Whoever has taken it makes one request at once, of two minutes at most, and calls `end`. One
        that dies before has its turn taken away, and the interval counts from then.
        """

    def release(
        self, outcome: Outcome, asked_s: float | None = None, stretch: float = 1.0
    ) -> MustWait:
        """Give the turn back, and return when the next one starts.

        Args:
            asked_s: how long the server asked to be left alone after a failure, in seconds.
            stretch: how much longer a back-off is than it needs to be, as a factor, so that many
                installations do not return together.
        """


class Encoder(Protocol):
    """Turns texts into vectors, the same text always into the same vector.

    Attributes:
        version: names the fitted state; vectors of different versions must never meet.
        since: the day from which on papers have had no part in `Encodings.past`, whoever liked
            them; None where likes have taught nothing.
    """

    since: date | None

    @property
    def version(self) -> str: ...

    def encode(self, texts: Sequence[str]) -> Encodings:
        """Return the vectors of `texts`; a text without known words is all zero."""

    def terms(self, words: csr_matrix, k: int) -> tuple[str, ...]:
        """Return the at most `k` heaviest terms of one row of `Encodings.words`, CSR (1, v)."""


class Scorer(Protocol):
    """Gives numbers; ordering happens in `slate`.

    Attributes:
        version: names the scorer and its state.
        encoder_version: the encoder it is bound to, or None when any will do.
    """

    version: str
    encoder_version: str | None

    def score(self, X: F32) -> F64:
        """Score feature rows.

        Args:
            X: float32 (n, n_features), columns as in `features.FEATURES`.

        Returns:
            float64 (n,), in [0, 1], higher is better; (0,) for no rows.
        """

    def contributions(self, X: F32) -> F64:
        """Return float64 (n, n_features): how much each feature raised each row's score."""


class Mailer(Protocol):
    """Hands messages to the transport; several threads may do so at once.

    Attributes:
        name: shown in logs and `outbox list`.
    """

    name: str

    def send(self, message: OutgoingMessage, about_to_end: Callable[[], None]) -> str:
        """Hand over one message and return the receiver's reply once it is responsible.

        Args:
            about_to_end: called once, after everything that can be done without the receiver
                taking the message, and before the one step that makes it take it. What it raises
                comes out of here, and then nothing was handed over.

        Raises:
            MailDeferred: nothing was handed over; the same bytes may be tried again.
            MailRefused: the receiver refused for good.
            MailUncertain: all was handed over, and no answer came.
            MailerBroken: nothing was handed over, nor would any other message be.
        """

    def delivered(self, message_id: str) -> bool | None:
        """Tell whether a message with this id was handed over before; None where unknowable."""

    def close(self) -> None:
        """Let go of connections; the next message opens what it needs."""


class ModelStore(Protocol):
    """Fits encoders and scorers, keeps them, and loads them again by their versions."""

    def fit_encoder(
        self,
        texts: Sequence[str],
        authors: Sequence[Sequence[str]] = (),
        likes: Mapping[int, I64] = MappingProxyType({}),
        listed: Sequence[date] = (),
    ) -> Encoder:
        """Fit an encoder on a corpus and keep it; the same corpus gives the same version.

        Args:
            texts: of papers, see `Paper.encoded_text`.
            authors: who wrote each of them; none at all where that is not known.
            likes: int64 (n,), rows of what each reader likes, by the reader's number.
            listed: when each paper was listed; not needed where there are no likes.
        """

    def fit_scorer(
        self, X: F32, relevance: I32, group_sizes: Sequence[int], weights: F32, encoder: str
    ) -> Scorer:
        """Fit a ranker on logged feature rows and keep it.

        Args:
            X: float32 (n, n_features).
            relevance: int32 (n,), 0 to 3.
            group_sizes: rows of each query group, in order; they sum to n.
            weights: float32 (n,), how much each row counts.
            encoder: the version of the encoder that the ranker is bound to.

        Raises:
            NotEnoughFeedback: too little to learn from; the message says how much is needed.
        """

    def load_encoder(self, version: str) -> Encoder:
        """Load a kept encoder.

        Raises:
            ModelError: it is missing, damaged, or was not made by this installation.
        """

    def load_scorer(self, version: str) -> Scorer:
        """Load a kept scorer; under any name of the cold-start scorer, as it is now.

        Raises:
            ModelError: as for `load_encoder`.
        """

    def discard(self, version: str) -> None:
        """Delete what is kept under a version; nothing there is fine."""

    def facts(self, version: str) -> dict[str, Any]:
        """Return what a kept scorer's files say of it, as JSON values: `parameters`, `libraries`.

        Raises:
            ModelError: as for `load_encoder`.
        """

    def cold_scorer(self) -> Scorer:
        """Return the scorer that needs no training and goes with any encoder."""
