"""What every implementation of a port must keep: one class a port, inherited by its tests."""

from __future__ import annotations

from triage.errors import TriageError
from triage.ports import Source
from triage.records import Batch

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


def error_text(error: TriageError) -> str:
    """Return the message after checking that it says something and fits a terminal."""
    text = str(error)
    assert 20 < len(text) < 500, text
    return text
