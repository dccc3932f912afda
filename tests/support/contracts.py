"""What every implementation of a port must keep: one class a port, inherited by its tests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta

import numpy as np
import pytest

from tests.support.answers import Answers
from tests.support.digests import digest
from tests.support.factories import NOON, slate
from tests.support.fakes import StoppedClock
from triage.clock import SystemClock
from triage.domain.chunks import chunks
from triage.domain.paper_ids import identify
from triage.domain.protocols import Clock, Encoder, Enricher, Mailer, PaperLookup, Scorer, Source
from triage.domain.records import F32, OutgoingMessage
from triage.domain.source_records import SCHEMES, Batch, FetchedPaper, KnownPaper, NamedPaper
from triage.errors import MailDeferred, NoAnswerInTime, SourceError, TriageError
from triage.ranking.features import FEATURES
from triage.sources.http.client import PoliteClient

LARGEST_BATCH = 500


class SourceContract:
    """`Source`: override `source` and `empty_source`; `source` must hold more than one batch."""

    def source(self) -> Source:
        raise NotImplementedError

    def empty_source(self) -> Source:
        raise NotImplementedError

    def test_a_source_has_a_name(self) -> None:
        assert self.source().name.strip()

    def test_batches_are_bounded_and_never_empty(self) -> None:
        batches = list(self.source().fetch(None))
        assert len(batches) > 1
        assert all(1 <= _size(batch) <= LARGEST_BATCH for batch in batches)

    def test_fetching_twice_gives_the_same(self) -> None:
        assert list(self.source().fetch(None)) == list(self.source().fetch(None))

    def test_every_cursor_resumes_right_after_its_batch(self) -> None:
        batches = list(self.source().fetch(None))
        for n, batch in enumerate(batches, 1):
            assert batch.cursor is not None
            rest = list(self.source().fetch(batch.cursor))
            assert _records(rest) == _records(batches[n:])

    def test_a_cursor_from_elsewhere_loses_nothing(self) -> None:
        everything = _records(list(self.source().fetch(None)))
        for cursor in ("", "nonsense", "7:of-another-file", "-1", "9" * 50):
            assert _records(list(self.source().fetch(cursor))) == everything

    def test_rejected_records_keep_their_reason_text_and_place(self) -> None:
        for batch in self.source().fetch(None):
            for rejected in batch.rejected:
                assert rejected.reason
                assert rejected.raw
                assert rejected.where

    def test_empty_input_yields_nothing(self) -> None:
        assert _records(list(self.empty_source().fetch(None))) == ([], [], [])

    def test_texts_are_clean(self) -> None:
        for batch in self.source().fetch(None):
            for paper in batch.papers:
                for text in (paper.title, paper.abstract, *paper.authors, paper.comment):
                    assert text.isprintable(), text
                    assert text == " ".join(text.split())


def _size(batch: Batch) -> int:
    return len(batch.papers) + len(batch.ids) + len(batch.rejected)


def _records(batches: list[Batch]) -> tuple[list[object], list[object], list[object]]:
    return (
        [paper for batch in batches for paper in batch.papers],
        [paper_id for batch in batches for paper_id in batch.ids],
        [rejected for batch in batches for rejected in batch.rejected],
    )


class EnricherContract:
    """`Enricher`: override `enricher`, `known` and `n_asked`.

    `known` are more papers than one request asks for, each known to the server; `n_asked` counts
    the requests so far.
    """

    UNKNOWN = (
        KnownPaper(7001, (("arxiv", "2603.99999"),)),
        KnownPaper(7002, (("doi", "10.5555/nobody-knows-this"),)),
        KnownPaper(7003, (("feed:nature", "some-guid"),)),
        KnownPaper(7004, ()),
    )

    def enricher(self) -> Enricher:
        raise NotImplementedError

    def known(self) -> list[KnownPaper]:
        raise NotImplementedError

    def n_asked(self) -> int:
        raise NotImplementedError

    def test_an_enricher_has_a_name(self) -> None:
        assert self.enricher().name.strip()

    def test_it_speaks_of_the_papers_that_it_knows_and_of_no_others(self) -> None:
        known = self.known()
        told = list(self.enricher().enrich([*self.UNKNOWN, *known]))
        assert {each.paper_id for each in told} == {paper.id for paper in known}

    def test_the_same_question_has_the_same_answer(self) -> None:
        known = self.known()
        assert list(self.enricher().enrich(known)) == list(self.enricher().enrich(known))

    def test_many_papers_share_a_request(self) -> None:
        known = self.known()
        list(self.enricher().enrich(known))
        assert 1 < self.n_asked() <= len(known) / 10

    def test_nobody_is_asked_about_nothing(self) -> None:
        assert list(self.enricher().enrich([])) == []
        assert list(self.enricher().enrich(self.UNKNOWN[2:])) == []
        assert self.n_asked() == 0

    def test_what_it_tells_is_clean(self) -> None:
        for each in self.enricher().enrich(self.known()):
            for text in (each.tldr, each.venue):
                assert text.isprintable(), text
                assert text == " ".join(text.split())
            assert each.citations is None or each.citations >= 0
            for scheme, value in each.ids:
                found = identify(value)
                assert found is not None
                assert found[:2] == (scheme, value)


class PaperLookupContract:
    """`PaperLookup`: override `lookup`, `known`, `unknown` and `answer`.

    Attributes:
        most_requests: of one `find`.
    """

    most_requests = 1
    answers: Answers

    def lookup(self, client: PoliteClient) -> PaperLookup:
        """Return the lookup that asks `self.answers`."""
        raise NotImplementedError

    def known(self) -> list[NamedPaper]:
        """Return two papers that `answer` can have."""
        raise NotImplementedError

    def unknown(self) -> NamedPaper:
        raise NotImplementedError

    def answer(self, names: Sequence[NamedPaper]) -> bytes:
        """Return what the service answers if it has these papers, whatever it was asked."""
        raise NotImplementedError

    @pytest.fixture(autouse=True)
    def _server(self) -> Iterator[None]:
        with Answers() as self.answers:
            yield

    def find(
        self, names: Sequence[NamedPaper], clock: Clock | None = None, patience_s: float = 10
    ) -> list[FetchedPaper]:
        clock = clock or StoppedClock()
        with PoliteClient(clock, "triage/test", 0.01) as client:
            lookup = self.lookup(client)
            deadline = clock.now() + timedelta(seconds=patience_s)
            return [
                paper
                for some in chunks(names, lookup.at_once)
                for paper in lookup.find(some, deadline)
            ]

    def test_it_has_a_name_and_says_what_it_can_find(self) -> None:
        with PoliteClient(StoppedClock(), "triage/test", 0.01) as client:
            lookup = self.lookup(client)
        assert lookup.name.strip()
        assert lookup.at_once > 0
        assert set(lookup.schemes) <= set(SCHEMES)
        assert all(each.scheme in lookup.schemes for each in [*self.known(), self.unknown()])

    def test_what_it_has_is_found_by_one_question(self) -> None:
        one, _ = self.known()
        self.answers.give = lambda *_: self.answer([one])
        [found] = self.find([one])
        assert found.title == one.title
        assert len(self.answers.asked) <= self.most_requests

    def test_a_found_paper_is_named_and_has_its_own_day(self) -> None:
        one, _ = self.known()
        self.answers.give = lambda *_: self.answer([one])
        [found] = self.find([one])
        assert found.named
        assert not found.update_only
        assert found.listed_on == date(2017, 6, 12)

    def test_what_was_not_asked_for_is_left_out(self) -> None:
        one, other = self.known()
        self.answers.give = lambda *_: self.answer([other, one])
        assert [each.title for each in self.find([one])] == [one.title]
        self.answers.give = lambda *_: self.answer([other])
        assert self.find([one]) == []

    def test_what_it_does_not_have_is_left_out(self) -> None:
        self.answers.give = lambda *_: self.answer([])
        assert self.find([self.unknown()]) == []
        assert len(self.answers.asked) <= self.most_requests

    def test_an_answer_of_another_kind_is_an_error(self) -> None:
        for body in (b"", b"<html><body>Back soon</body></html>", b"\0\1\2", b"[]", b"null"):
            self.answers.give = lambda *_, body=body: body
            with pytest.raises(SourceError) as caught:
                self.find(self.known())
            error_text(caught.value)

    @pytest.mark.parametrize("status", [400, 403, 404, 429, 500, 503])
    def test_a_status_of_an_error_is_an_error(self, status: int) -> None:
        clock = StoppedClock()
        self.answers.fail(status)
        with pytest.raises(SourceError):
            self.find(self.known(), clock)
        assert clock.now() - NOON <= timedelta(seconds=10)

    def test_who_is_told_to_come_back_later_does_not_wait(self) -> None:
        for seconds in ("30", "3600", "90000"):
            clock = StoppedClock()
            self.answers.fail(503, retry_after=seconds)
            with pytest.raises(SourceError):
                self.find(self.known(), clock)
            assert clock.now() - NOON <= timedelta(seconds=10)

    def test_a_server_that_does_not_answer_is_left_at_the_deadline(self) -> None:
        self.answers.hang()
        with pytest.raises(NoAnswerInTime):
            self.find(self.known(), SystemClock(), patience_s=0.3)

    def test_texts_are_clean(self) -> None:
        self.answers.give = lambda *_: self.answer(self.known())
        for paper in self.find(self.known()):
            for text in (paper.title, paper.abstract, *paper.authors, paper.comment, paper.venue):
                assert text.isprintable(), text
                assert text == " ".join(text.split())


def error_text(error: TriageError) -> str:
    """Return the message after checking that it says something and fits a terminal."""
    text = str(error)
    assert 20 < len(text) < 500, text
    return text


class EncoderContract:
    """`Encoder`: override `encoder`; it must know words of the texts below."""

    TEXTS = ("speculative decoding of language", "protein folding and robot grasping", "")

    def encoder(self) -> Encoder:
        raise NotImplementedError

    def test_an_encoder_has_a_version(self) -> None:
        assert self.encoder().version.strip()

    def test_dense_rows_are_of_unit_length_or_zero(self) -> None:
        dense = self.encoder().encode(self.TEXTS).latent
        assert dense.dtype == np.float32
        assert np.linalg.norm(dense, axis=1) == pytest.approx([1, 1, 0], abs=1e-4)

    def test_words_rows_are_of_unit_length_or_zero(self) -> None:
        words = self.encoder().encode(self.TEXTS).tfidf
        assert words.format == "csr"
        assert words.dtype == np.float32
        assert np.linalg.norm(words.toarray(), axis=1) == pytest.approx([1, 1, 0], abs=1e-4)

    def test_a_text_has_the_same_vector_in_any_company(self) -> None:
        together = self.encoder().encode(self.TEXTS).latent
        for row, text in zip(together, self.TEXTS, strict=True):
            assert self.encoder().encode([text]).latent[0] == pytest.approx(row, abs=1e-6)

    def test_a_text_is_in_the_same_crowd_in_any_company(self) -> None:
        together = self.encoder().encode(self.TEXTS).hubness
        assert together.shape == (len(self.TEXTS),)
        assert together.dtype == np.float32
        for density, text in zip(together, self.TEXTS, strict=True):
            assert self.encoder().encode([text]).hubness == pytest.approx([density], abs=1e-5)

    def test_no_texts_give_no_rows_of_the_right_width(self) -> None:
        some, none = self.encoder().encode(self.TEXTS), self.encoder().encode(())
        assert len(none) == len(none.hubness) == 0
        assert none.latent.shape[1] == some.latent.shape[1]
        assert none.tfidf.shape == (0, some.tfidf.shape[1])

    def test_terms_are_words_of_the_text_heaviest_first(self) -> None:
        words = self.encoder().encode(self.TEXTS).tfidf
        terms = self.encoder().terms(words[0], 2)
        assert len(terms) == 2
        assert all(part in self.TEXTS[0] for term in terms for part in term.split())
        assert self.encoder().terms(words[0], 1) == terms[:1]
        assert self.encoder().terms(words[2], 5) == ()


class ScorerContract:
    """`Scorer`: override `scorer` and `rows`, feature rows as readers have them."""

    def scorer(self) -> Scorer:
        raise NotImplementedError

    def rows(self) -> F32:
        raise NotImplementedError

    def test_a_scorer_has_a_version(self) -> None:
        assert self.scorer().version.strip()

    def test_scores_are_between_zero_and_one(self) -> None:
        scores = self.scorer().score(self.rows())
        assert scores.dtype == np.float64
        assert scores.shape == (len(self.rows()),)
        assert ((scores >= 0) & (scores <= 1)).all()

    def test_extreme_rows_have_a_score_too(self) -> None:
        huge = np.full((2, len(FEATURES)), 1e6, dtype=np.float32) * [[1], [-1]]
        assert np.isfinite(self.scorer().score(huge.astype(np.float32))).all()

    def test_no_rows_give_no_scores(self) -> None:
        none = np.zeros((0, len(FEATURES)), dtype=np.float32)
        assert self.scorer().score(none).shape == (0,)
        assert self.scorer().contributions(none).shape == (0, len(FEATURES))

    def test_a_row_has_the_same_score_in_any_company(self) -> None:
        rows, scorer = self.rows(), self.scorer()
        assert scorer.score(rows[3:5]) == pytest.approx(scorer.score(rows)[3:5])

    def test_contributions_add_up_to_differences_of_the_margin(self) -> None:
        rows, scorer = self.rows(), self.scorer()
        scores = scorer.score(rows)
        margins = np.log(scores / (1 - scores))
        parts = scorer.contributions(rows)
        assert parts.shape == rows.shape
        assert parts.dtype == np.float64
        rest = margins - parts.sum(axis=1)
        assert rest == pytest.approx(np.full(len(rows), rest[0]), abs=1e-6)

    def test_scoring_changes_no_row(self) -> None:
        rows = self.rows()
        before = rows.copy()
        self.scorer().score(rows)
        self.scorer().contributions(rows)
        assert np.array_equal(rows, before)

    def test_rows_of_another_width_are_refused(self) -> None:
        with pytest.raises(ValueError, match="feature rows"):
            self.scorer().score(np.zeros((1, 3), dtype=np.float32))


class MailerContract:
    """`Mailer`: override `mailer`, `broken_mailer`, which cannot take anything, and `received`.

    `mailer` must give the same mailbox within one test, as two programs would open it.
    """

    def mailer(self) -> Mailer:
        raise NotImplementedError

    def broken_mailer(self) -> Mailer:
        raise NotImplementedError

    def received(self) -> list[bytes]:
        """Return every message that lies at the receiver, in any order."""
        raise NotImplementedError

    def message(self, n: int = 1) -> OutgoingMessage:
        made = slate(2, public_id=f"{n:020x}")
        return digest(made).message

    def test_a_mailer_has_a_name(self) -> None:
        assert self.mailer().name.strip()

    def test_the_receiver_gets_the_very_bytes_and_answers(self) -> None:
        messages = [self.message(n) for n in (1, 2, 3)]
        replies = [self.mailer().send(message, _nothing) for message in messages]
        assert all(reply.strip() for reply in replies)
        assert sorted(self.received()) == sorted(message.mime for message in messages)

    def test_only_what_was_handed_over_counts_as_delivered(self) -> None:
        sent, waiting = self.message(1), self.message(2)
        assert self.mailer().delivered(sent.message_id) in (False, None)
        self.mailer().send(sent, _nothing)
        assert self.mailer().delivered(sent.message_id) in (True, None)
        assert self.mailer().delivered(waiting.message_id) in (False, None)

    def test_who_cannot_take_a_message_puts_it_off_and_says_so(self) -> None:
        with pytest.raises(MailDeferred, match=r"\w+"):
            self.broken_mailer().send(self.message(), _nothing)
        assert self.broken_mailer().delivered(self.message().message_id) in (False, None)
        assert self.received() == []

    def test_the_end_is_announced_once_and_before_the_receiver_has_the_message(self) -> None:
        mailer, message = self.mailer(), self.message()
        seen: list[list[bytes]] = []
        mailer.send(message, lambda: seen.append(list(self._mails())))
        assert seen == [[]]
        assert self._mails() == [message.mime]

    def test_whoever_stops_before_the_end_has_handed_nothing_over(self) -> None:
        mailer, stopped, other = self.mailer(), self.message(1), self.message(2)

        def stop() -> None:
            raise InterruptedError("no longer wanted")

        with pytest.raises(InterruptedError, match="no longer wanted"):
            mailer.send(stopped, stop)
        assert mailer.delivered(stopped.message_id) in (False, None)
        mailer.send(other, _nothing)
        assert self._mails() == [other.mime]

    def test_several_threads_may_hand_over_at_once(self) -> None:
        mailer, messages = self.mailer(), [self.message(n) for n in range(1, 17)]
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda message: mailer.send(message, _nothing), messages))
        assert sorted(self._mails()) == sorted(message.mime for message in messages)

    def _mails(self) -> list[bytes]:
        """Return what a receiver takes for mail: not what somebody is still writing."""
        return self.received()


def _nothing() -> None:
    """Do nothing before the end."""
