"""The page for operators has the verdict on each answer and each report that is tested."""

from __future__ import annotations

from tests.support.bounce_corpus_more import ALL_CASES
from tests.support.verdict_table import PAGE, conversations, table, written


def test_the_page_has_the_table_as_it_is_now() -> None:
    assert PAGE.read_text("utf-8") == written(), "run `python -m tests.support.verdict_table`"


def test_the_table_has_each_answer_and_each_report() -> None:
    assert table() in PAGE.read_text("utf-8")
    assert table().count("\n") == len(conversations()) + len(ALL_CASES) + 2
