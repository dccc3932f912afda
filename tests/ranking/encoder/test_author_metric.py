"""Papers of one author tell which directions part fields; without authors papers are whitened."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from triage.ranking.encoder import author_metric
from triage.ranking.encoder.author_metric import fit_author_metric, same_author

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def few_authors_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(author_metric, "FEWEST_GROUPS", 2)


def rows_of(authors: list[tuple[str, ...]]) -> list[list[int]]:
    return [group.tolist() for group in same_author(authors)]


def test_papers_of_one_name_are_a_group_however_it_is_spelt() -> None:
    authors = [("Ana Ruiz",), ("Bo Li", "Ruiz, Ana"), ("Bo Li",), ("Cy Orr",)]
    assert rows_of(authors) == [[0, 1], [1, 2]]


def test_a_name_of_many_papers_is_of_several_people() -> None:
    many: list[tuple[str, ...]] = [("Wei Zhang",)] * (author_metric.MOST_PAPERS + 1)
    others: list[tuple[str, ...]] = [("Ana Ruiz",)] * 2 + [("Bo Li",)] * 2
    first = len(many)
    assert rows_of(many + others) == [[first, first + 1], [first + 2, first + 3]]


def test_a_paper_by_a_whole_collaboration_says_nothing_of_any_of_them() -> None:
    crowd = tuple(f"Member {n}" for n in range(author_metric.MOST_AUTHORS + 1))
    assert rows_of([crowd, crowd, ("Ana Ruiz",), ("Ana Ruiz",), ("Bo Li",), ("Bo Li",)]) == [
        [2, 3],
        [4, 5],
    ]


def test_authors_of_one_paper_come_in_the_same_order_in_every_process() -> None:
    names = tuple(f"Author {letter}" for letter in "dbjacgehfi")
    authors = [names, *((name,) for name in sorted(names))]
    assert rows_of(authors) == [[0, row] for row in range(1, 11)]


def test_too_few_authors_of_several_papers_give_no_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(author_metric, "FEWEST_GROUPS", 3)
    assert same_author([("Ana Ruiz",), ("Ana Ruiz",), ("Bo Li",), ("Bo Li",)]) == []
    assert same_author([]) == []


def test_of_very_many_groups_some_of_all_times_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(author_metric, "MOST_GROUPS", 3)
    groups = rows_of([(f"Author {n}",) for n in range(9) for _ in range(2)])
    assert groups == [[0, 1], [8, 9], [16, 17]]


def corpus(n_groups: int = 200) -> tuple[NDArray[np.float32], list[NDArray[np.int64]]]:
    """Two papers an author: they agree in the first direction, in the second by chance only."""
    about = np.repeat(RNG.normal(size=n_groups), 2)
    rows = np.stack([about, RNG.normal(size=2 * n_groups)], axis=1)
    rows += 0.1 * RNG.normal(size=rows.shape)
    return rows.astype(np.float32), list(np.arange(2 * n_groups).reshape(-1, 2))


def test_a_direction_in_which_authors_agree_counts_more() -> None:
    rows, groups = corpus()
    stretch = np.linalg.norm(fit_author_metric(rows, np.arange(len(rows)), groups), axis=0)
    assert stretch[0] > 2 * stretch[1] > 0


def test_without_groups_the_spreads_of_directions_come_nearer_to_each_other() -> None:
    rows = (RNG.normal(size=(500, 3)) * [1.0, 4.0, 2.0]).astype(np.float32)
    small, large, middle = (rows @ fit_author_metric(rows, np.arange(500), [])).std(axis=0)
    assert small < middle < large < 3.2 * small
    assert rows.std(axis=0).max() > 3 * rows.std(axis=0).min()


def test_each_paper_counts_once_however_many_its_author_wrote() -> None:
    rows, groups = corpus(30)
    expected = np.zeros((2, 2))
    for group in (*groups, np.arange(5)):
        for one in group:
            others = [row for row in group if row != one]
            expected += np.outer(rows[one], rows[others].mean(axis=0))
    n = sum(map(len, groups)) + 5
    found = author_metric._agreement(rows, [*groups, np.arange(5)])
    assert found == pytest.approx(expected / n, abs=1e-6)


@given(st.permutations(range(4)))
def test_the_metric_does_not_depend_on_the_order_of_directions(order: list[int]) -> None:
    rng = np.random.default_rng(1)
    about = np.repeat(rng.normal(size=(50, 4)), 2, axis=0)
    rows = (about + rng.normal(size=about.shape)).astype(np.float32)
    groups = list(np.arange(100).reshape(-1, 2))
    straight = fit_author_metric(rows, np.arange(100), groups)
    turned = fit_author_metric(rows[:, order], np.arange(100), groups)
    assert np.allclose(straight, straight.T, atol=1e-5)
    assert np.allclose(turned, straight[np.ix_(order, order)], atol=1e-3)


def test_papers_that_do_not_differ_have_a_metric_too() -> None:
    rows = np.zeros((10, 3), dtype=np.float32)
    assert np.isfinite(fit_author_metric(rows, np.arange(10), [])).all()
    assert np.isfinite(
        fit_author_metric(rows, np.arange(10), [np.arange(2), np.arange(2, 4)])
    ).all()
