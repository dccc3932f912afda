"""Who may be shown: never twice, not too old, nothing that was excluded."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.factories import DAY, paper, subscriber
from triage.ranking.candidates import select_eligible


@given(st.lists(st.integers(-40, 40), max_size=30), st.sets(st.integers(0, 29)), st.integers(0, 20))
def test_candidates_are_unseen_and_of_the_right_age(
    ages: list[int], seen: set[int], max_age: int
) -> None:
    papers = [paper(i, listed_on=DAY - timedelta(age)) for i, age in enumerate(ages)]
    rows = select_eligible(papers, subscriber(), seen, DAY, max_age).tolist()
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
    assert bool(len(select_eligible([paper(title=title)], who, (), DAY, 3))) is shown


def test_excluded_words_count_in_the_abstract_too() -> None:
    who = subscriber(exclude_keywords=("survey",))
    assert not len(select_eligible([paper(abstract="This survey …")], who, (), DAY, 3))


def test_chosen_categories_are_a_wish_and_not_a_wall() -> None:
    who = subscriber(categories=("astro-ph",))
    assert len(select_eligible([paper(categories=("cs.CL",))], who, (), DAY, 3)) == 1


def test_own_papers_are_no_news() -> None:
    papers = [paper(1, authors=("Jo Doe", "Hopper, Grace")), paper(2, authors=("Grace B. Hopper",))]
    rows = select_eligible(papers, subscriber(), (), DAY, 3, frozenset({"grace hopper"}))
    assert rows.tolist() == [1]


def test_nothing_in_gives_nothing_out() -> None:
    assert select_eligible([], subscriber(), (), DAY, 3).tolist() == []
