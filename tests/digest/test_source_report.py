"""The line of a digest that says what the sources gave, honestly."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.factories import DAY
from triage.digest.source_report import day_report, named_report
from triage.domain.records import Verdict
from triage.domain.source_records import NamedPaper, SourceDay
from triage.store.named_papers import Outcome


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


def test_a_feed_with_too_many_entries_promises_nothing() -> None:
    said = report(day(Verdict.PARTIAL, source="feed:journal", got=5_000, expected=6_066))
    assert "5,000 of 6,066 on journal so far, the oldest of them were left out" in said


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


def test_several_sources_stay_one_line_with_what_is_there_first() -> None:
    said = report(
        day(Verdict.EMPTY_EXPECTED, "hf_daily", got=0),
        day(Verdict.FAILED, "biorxiv", got=0),
        day(Verdict.COMPLETE, got=757),
        day(Verdict.FAILED, "medrxiv", got=0),
        n_candidates=757,
    )
    assert said == (
        "2 Mar: 757 new on arXiv, complete; bioRxiv and medRxiv could not be read;"
        " no announcement on Hugging Face. Chosen from 757 papers."
    )


def test_categories_that_are_late_are_named() -> None:
    there = day(Verdict.COMPLETE, got=270, category="cs.CL")
    late = [day(Verdict.PARTIAL, expected=0, got=0, category=name) for name in ("cs.AI", "cs.RO")]
    said = report(day(Verdict.PARTIAL, expected=270), *late, there)
    assert "270 on arXiv so far, cs.AI and cs.RO not yet announced, will follow" in said
    assert "cs.CL" not in said


def test_a_category_whose_records_are_still_coming_is_not_called_late() -> None:
    there = day(Verdict.COMPLETE, expected=170, got=170, category="cs.CL")
    slow = day(Verdict.PARTIAL, expected=130, got=100, category="cs.AI")
    said = report(day(Verdict.PARTIAL), slow, there)
    assert "270 of 300 on arXiv so far, the rest will follow" in said


def test_a_source_that_is_late_as_a_whole_names_no_category() -> None:
    parts = [day(Verdict.PARTIAL, expected=135, got=135, category=f"cs.{n}") for n in (1, 2)]
    said = report(day(Verdict.PARTIAL, expected=270), *parts)
    assert "270 on arXiv so far, the rest will follow" in said


def test_categories_do_not_count_beside_their_source() -> None:
    parts = [day(Verdict.COMPLETE, got=n, category=f"cs.{n}") for n in (150, 170)]
    assert "270 new on arXiv, complete" in report(day(Verdict.COMPLETE), *parts)


def test_a_day_that_ends_later_than_the_readers_is_told_with_the_next() -> None:
    """bioRxiv's newest day is the one before, and so it was for the digest before."""
    before = [day(Verdict.COMPLETE, "biorxiv", on=DAY - timedelta(days=n), got=n) for n in (1, 2)]
    assert report(*before).startswith("2 Mar: 1 new on bioRxiv, complete.")
    two_days = day_report({}, before, since=DAY - timedelta(days=2), on=DAY, n_candidates=3)
    assert two_days.startswith("2 Mar: 3 new on bioRxiv, complete.")


def test_many_days_that_could_not_be_read_are_one_remark() -> None:
    failed = [day(Verdict.FAILED, got=0, on=DAY - timedelta(days=n)) for n in range(1, 10)]
    said = day_report(
        {}, [*failed, day(Verdict.COMPLETE)], since=DAY - timedelta(days=10), on=DAY, n_candidates=1
    )
    assert "270 new on arXiv, arXiv of 9 days since 21 Feb could not be read" in said


def test_feeds_without_news_are_named_and_many_with_news_are_counted() -> None:
    quiet = [day(Verdict.COMPLETE, f"feed:quiet{n}", got=0) for n in range(5)]
    full = [day(Verdict.COMPLETE, f"feed:full{n}", got=2) for n in range(4)]
    said = report(*quiet, *full)
    assert "8 new on 4 feeds, complete; nothing new on quiet0, quiet1, quiet2 and 2 more" in said
    assert "2 new on full0, complete" in report(*quiet, *full[:2])


@pytest.mark.parametrize("verdict", [v for v in Verdict if v is not Verdict.PARTIAL])
def test_four_sources_and_thirty_feeds_fit_into_a_mail(verdict: Verdict) -> None:
    names = ("arxiv", "hf_daily", "biorxiv", "medrxiv")
    sources = [day(Verdict.PARTIAL, name) for name in names]
    feeds = [day(verdict, f"feed:feed{n:02d}") for n in range(30)]
    assert len(report(*sources, *feeds)) <= 400


@given(
    st.dictionaries(st.sampled_from(["arxiv", "listing", "feed:x"]), st.integers(1, 10**6)),
    st.lists(st.tuples(st.sampled_from(list(Verdict)), st.booleans(), st.integers(0, 9))),
)
def test_it_is_always_one_line_that_leaves_no_source_out(
    counts: dict[str, int], stand: list[tuple[Verdict, bool, int]]
) -> None:
    days = [
        day(verdict, f"feed:f{n}" if is_feed else f"source{n}", got=got)
        for n, (verdict, is_feed, got) in enumerate(stand)
    ]
    said = report(*days, counts=counts)
    assert said.isprintable()
    assert said.endswith(" papers.")
    if len(stand) <= 3:
        named = [each.source.removeprefix("feed:") for each in days]
        assert all(name in said for name in named)


# -- papers that a subscriber named ----------------------------------------------------------------


def missing(*titles: str) -> tuple[NamedPaper, ...]:
    return tuple(NamedPaper("doi", f"10.1/{n}", title) for n, title in enumerate(titles))


@pytest.mark.parametrize(
    ("outcome", "sentence"),
    [
        (Outcome(0, 0, ()), ""),
        (Outcome(0, 7, ()), ""),
        (Outcome(1, 7, ()), "Of the papers that you named, 1 was found and is liked."),
        (Outcome(1280, 0, ()), "Of the papers that you named, 1,280 were found and are liked."),
        (
            Outcome(0, 0, missing("On yarn")),
            "Of the papers that you named, 1 was not found: “On yarn”.",
        ),
        (
            Outcome(2, 1, missing("On yarn", "")),
            "Of the papers that you named, 2 were found and are liked; 2 were not found: “On yarn”"
            " and “10.1/1”.",
        ),
        (
            Outcome(0, 0, missing(*"abcdef")),
            "Of the papers that you named, 6 were not found: “a”, “b”, “c” and 3 more.",
        ),
    ],
)
def test_what_became_of_named_papers_is_one_sentence(outcome: Outcome, sentence: str) -> None:
    assert named_report(outcome) == sentence


@given(st.lists(st.text(max_size=2000), max_size=8))
def test_any_titles_make_one_short_line(titles: list[str]) -> None:
    line = named_report(Outcome(10**6, 0, missing(*titles)))
    assert line.splitlines() == [line]
    assert len(line) < 500
