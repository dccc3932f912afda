"""The line of a digest that says what the sources gave, honestly."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.factories import DAY
from triage.dayreport import day_report
from triage.records import SourceDay, Verdict


def day(verdict: Verdict, source: str = "arxiv", **fields: Any) -> SourceDay:
    counts: dict[str, Any] = {"on": DAY, "expected": 300, "got": 270} | fields
    return SourceDay(source=source, verdict=verdict, **counts)


def report(*days: SourceDay, counts: dict[str, int] | None = None, n_candidates: int = 1757) -> str:
    eve = DAY - timedelta(days=1)
    return day_report(counts or {}, days, since=eve, on=DAY, n_candidates=n_candidates)


def test_a_complete_day_says_so() -> None:
    assert report(day(Verdict.COMPLETE, got=1270)) == (
        "2 Mar: 1,270 new on arXiv, complete. Chosen from 1,757 papers."
    )


def test_papers_without_a_verdict_are_only_counted() -> None:
    said = report(counts={"listing": 60, "feed:Nature": 3}, n_candidates=63)
    assert said == "2 Mar: 60 new on Hugging Face; 3 new on Nature. Chosen from 63 papers."


@pytest.mark.parametrize(
    ("verdict", "fields", "words"),
    [
        (Verdict.PARTIAL, {}, "270 of 300 on arXiv so far, the rest will follow"),
        (Verdict.PARTIAL, {"expected": None}, "270 on arXiv so far, the rest will follow"),
        (Verdict.EMPTY_EXPECTED, {"got": 0}, "no announcement on arXiv"),
        (
            Verdict.EMPTY_SUSPECT,
            {"got": 0},
            "arXiv gave nothing although papers were due; they will follow",
        ),
        (Verdict.FAILED, {"got": 0}, "arXiv could not be read"),
    ],
)
def test_what_is_missing_is_said(verdict: Verdict, fields: dict[str, Any], words: str) -> None:
    assert words in report(day(verdict, **fields))


def test_every_verdict_can_be_said() -> None:
    for verdict in Verdict:
        assert "arXiv" in report(day(verdict))


def test_a_day_that_the_digest_before_told_of_is_not_told_again() -> None:
    said = report(day(Verdict.COMPLETE, got=9), day(Verdict.FAILED, on=DAY - timedelta(days=1)))
    assert "9 new on arXiv, complete" in said
    assert "could not" not in said


def test_a_reader_ahead_of_the_source_is_told_of_its_newest_day() -> None:
    eve = DAY - timedelta(days=1)
    assert "270 new on arXiv, complete" in report(day(Verdict.COMPLETE, on=eve))
    assert "arXiv of 1 Mar could not be read" in report(day(Verdict.FAILED, on=eve))


def test_a_week_adds_its_days_up_and_names_the_one_that_failed() -> None:
    days = [day(Verdict.COMPLETE, on=DAY - timedelta(days=n), got=100) for n in (0, 1, 3)]
    failed = day(Verdict.FAILED, on=DAY - timedelta(days=2))
    week_ago = DAY - timedelta(days=7)
    said = day_report({}, [*days, failed], since=week_ago, on=DAY, n_candidates=5)
    assert "300 new on arXiv, arXiv of 28 Feb could not be read" in said


def test_a_source_that_is_kept_under_another_name_counts_its_own() -> None:
    """Hugging Face's papers are stored as arXiv's."""
    said = report(day(Verdict.COMPLETE, source="hf_daily", got=24))
    assert "24 new on Hugging Face, complete" in said


def test_each_source_is_named_once() -> None:
    said = report(
        day(Verdict.COMPLETE),
        day(Verdict.FAILED, source="hf_daily"),
        counts={"biorxiv": 4},
    )
    assert [said.count(name) for name in ("arXiv", "bioRxiv", "Hugging Face")] == [1, 1, 1]


def test_nothing_new_is_said_too() -> None:
    assert report(n_candidates=0) == "2 Mar: nothing new. Chosen from 0 papers."


@given(
    st.dictionaries(st.sampled_from(["arxiv", "listing", "feed:x"]), st.integers(1, 10**6)),
    st.lists(st.sampled_from(list(Verdict))),
)
def test_it_is_always_one_line(counts: dict[str, int], verdicts: list[Verdict]) -> None:
    days = [day(verdict, f"feed:{n}") for n, verdict in enumerate(verdicts)]
    said = report(*days, counts=counts)
    assert said.isprintable()
    assert said.endswith(" papers.")
