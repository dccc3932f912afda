"""Interfaces of the replaceable parts. Contract tests check every implementation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Protocol

from triage.domain.records import CSR, F32, F64, Encodings, OutgoingMessage
from triage.domain.source_records import Batch, Enrichment, FetchedPaper, KnownPaper, NamedPaper


class Progress(Protocol):
    def __call__(self, stage: str, done: int, total: int) -> None:
        """Receive that `done` of `total` steps of a stage are done."""


def silent(stage: str, done: int, total: int) -> None:
    """Ignore progress."""


class Clock(Protocol):
    def now(self) -> datetime:
        """Return the current time, aware, in UTC."""

    def sleep(self, seconds: float) -> None:
        """Wait `seconds`; zero or less returns at once."""


class Source(Protocol):
    """A place that papers are read from, such as arXiv.

    Attributes:
        name: unique among the configured sources; the key of its cursor and days.
    """

    @property
    def name(self) -> str: ...

    def fetch(self, cursor: str | None) -> Iterator[Batch]:
        """Yield what is new since `cursor`, in batches of at most a few hundred papers.

        A fetch with a batch's cursor continues after that batch. Unusable records are in
        `Batch.rejected`. Without new papers, it yields nothing, or batches with only days.

        Raises:
            SourceError: the source cannot be read; earlier batches stay valid.
        """


class Enricher(Protocol):
    """A service with more data about papers: summaries, venues, citations, other ids.

    Attributes:
        name: unique among the configured enrichers and sources.
    """

    name: str

    def enrich(self, papers: Sequence[KnownPaper]) -> Iterator[Enrichment]:
        """Yield data about some of `papers`; one paper may come several times.

        Papers that are unknown or have no usable id are skipped. Empty input makes no request.

        Raises:
            SourceError: the service cannot be used now; what was yielded before stays valid.
        """


class PaperLookup(Protocol):
    """A service that gives papers by their ids or titles.

    Attributes:
        name: as people know it.
        schemes: those of the `NamedPaper`s that it can find.
        at_once: how many of them fit into one request.
    """

    name: str
    at_once: int

    @property
    def schemes(self) -> Sequence[str]: ...

    def find(self, names: Sequence[NamedPaper], deadline: datetime) -> list[FetchedPaper]:
        """Return those of at most `at_once` papers that the service has, by one request.

        Raises:
            SourceError: there was no usable answer before the deadline.
        """


class WaitReason(StrEnum):
    """Why no request may start now."""

    SPACED = "the server wants more distance"
    BUSY = "another request is under way"
    FAILING = "the server has failed too often"
    SPENT = "the day's requests are spent"


@dataclass(frozen=True, slots=True)
class MustWait:
    """The answer of a request limiter when no request may start now.

    Attributes:
        until: when to try again. No request starts earlier, except when `why` is `BUSY`.
        count: requests made today if `why` is `SPENT`, else failures in a row.
    """

    why: WaitReason
    until: datetime
    count: int = 0


class Outcome(StrEnum):
    """The result of a request."""

    ANSWERED = "answered"
    REFUSED = "refused for good, or never made"
    FAILED = "no usable answer; a later one may be"


class RequestLimiter(Protocol):
    """The rate limit for one server, or for servers that share a limit.

    For all callers together: only one request runs at a time; the next one starts at least the
    server's interval after the end of the last; a day has at most its budget of requests; and no
    request starts before the time in Retry-After or before the end of the back-off. The back-off
    grows with the failures in a row, up to one try an hour.
    """

    def acquire(self) -> MustWait | None:
        """Reserve one request; return None, or why it may not start now and when to try again.

        After None, the caller makes one request at once, of at most two minutes, and then calls
        `release`. If the caller dies before, the reservation ends, and the interval begins then.
        """

    def release(
        self, outcome: Outcome, asked_s: float | None = None, stretch: float = 1.0
    ) -> MustWait:
        """End the request, and return when the next one may start.

        Args:
            asked_s: Retry-After in seconds after a failure, if the server sent one.
            stretch: random factor on the back-off, so that many installations do not retry at the
                same time.
        """


class Encoder(Protocol):
    """Turns texts into vectors; equal texts get equal vectors.

    Attributes:
        version: identifies the fitted state; never compare vectors of different versions.
        since: likes of papers from this day on did not shape `Encodings.training_semantic`; None if
            the encoder was fitted without likes.
    """

    since: date | None

    @property
    def version(self) -> str: ...

    def encode(self, texts: Sequence[str]) -> Encodings:
        """Return one row for each text; a text without known words gets zeros."""

    def terms(self, words: CSR, k: int) -> tuple[str, ...]:
        """Return at most `k` terms with the largest weights of a row of `tfidf`, CSR (1, v)."""


class Scorer(Protocol):
    """Computes a score for each candidate; `ranking.slate` puts them in order.

    Attributes:
        version: identifies the scorer and its fitted state.
        encoder_version: the encoder that it needs, or None for any.
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
        """Return float64 (n, n_features): how much each feature adds to each row's score."""


class Mailer(Protocol):
    """Sends messages; several threads may use one mailer.

    Attributes:
        name: shown in logs and `outbox list`.
    """

    name: str

    def send(self, message: OutgoingMessage, about_to_end: Callable[[], None]) -> str:
        """Send one message; return the receiver's reply after it has accepted the message.

        Args:
            about_to_end: called once, just before the step after which the receiver may accept the
                message. An error of it is passed on, and the message is not sent.

        Raises:
            MailDeferred: not sent; retry the same bytes later.
            MailRefused: the receiver refused the message for good.
            MailUncertain: everything was sent, and no reply came.
            MailerBroken: not sent, and no other message can be sent either.
        """

    def delivered(self, message_id: str) -> bool | None:
        """Return whether a message with this id was accepted before; None if unknown."""

    def close(self) -> None:
        """Close all connections; the next message opens new ones."""
