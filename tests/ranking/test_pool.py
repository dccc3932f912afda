"""The papers that all choose from: who may get which, never twice, not too old, not excluded."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import topics
from tests.support.factories import DAY, paper, subscriber
from triage.domain.records import Paper, Subscriber
from triage.ranking.candidates import find_filter
from triage.ranking.pool import Pool


def eligible(
    papers: Sequence[Paper],
    who: Subscriber,
    seen: Collection[int],
    max_age: int,
    own_authors: frozenset[str] = frozenset(),
) -> list[int]:
    """Return the rows that a pool gives, after a look whether each paper alone says the same."""
    pool = Pool(tuple(papers), topics.encode([""] * len(papers)))
    rows = pool.find_eligible(who, seen, DAY, max_age, own_authors).tolist()
    filters = [find_filter(each, who, seen, DAY, max_age, own_authors) for each in papers]
    assert rows == [row for row, why in enumerate(filters) if why is None]
    return rows


@given(st.lists(st.integers(-40, 40), max_size=30), st.sets(st.integers(0, 29)), st.integers(0, 20))
def test_candidates_are_unseen_and_of_the_right_age(
    ages: list[int], seen: set[int], max_age: int
) -> None:
    papers = [paper(i, listed_on=DAY - timedelta(age)) for i, age in enumerate(ages)]
    rows = eligible(papers, subscriber(), seen, max_age)
    assert rows == [i for i, age in enumerate(ages) if i not in seen and 0 <= age <= max_age]


@pytest.mark.parametrize(
    ("keyword", "title", "shown"),
    [
        ("blockchain", "A Blockchain for all", False),
        ("block", "A blockchain for all", True),
        ("large  language model", "Large\nlanguage model", False),
        ("c++", "Compiling C++ fast", False),
        ("c", "Compiling C++ fast", False),
        ("", "Anything", True),
        ("(", "Anything", True),
    ],
)
def test_an_excluded_keyword_is_a_wall_for_whole_words(
    keyword: str, title: str, shown: bool
) -> None:
    who = subscriber(exclude_keywords=(keyword,))
    assert bool(len(eligible([paper(title=title)], who, (), 3))) is shown


def test_excluded_words_count_in_the_abstract_too() -> None:
    who = subscriber(exclude_keywords=("survey",))
    assert not len(eligible([paper(abstract="This survey …")], who, (), 3))


def test_chosen_categories_are_a_wish_and_not_a_wall() -> None:
    who = subscriber(categories=("astro-ph",))
    assert len(eligible([paper(categories=("cs.CL",))], who, (), 3)) == 1


def test_own_papers_are_no_news() -> None:
    papers = [paper(1, authors=("Jo Doe", "Hopper, Grace")), paper(2, authors=("Grace B. Hopper",))]
    rows = eligible(papers, subscriber(), (), 3, frozenset({"grace hopper"}))
    assert rows == [1]


def test_nothing_in_gives_nothing_out() -> None:
    assert eligible([], subscriber(), (), 3) == []
