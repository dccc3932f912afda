"""Under which names a subscriber writes papers: known from own papers, or evident from likes."""

from __future__ import annotations

import pytest

from tests.support.factories import NOON, paper
from triage.domain.records import EventKind, Paper, Vote
from triage.ranking.own_papers import (
    ENOUGH_LIKES,
    find_evident_authors,
    find_known_authors,
    select_likes,
)

Teams = tuple[tuple[str, ...], ...]


def by(*teams: tuple[str, ...]) -> list[Paper]:
    return [paper(n, authors=team) for n, team in enumerate(teams, start=1)]


def known(papers: list[Paper], *names: str | None) -> set[str]:
    """Return the names that are known, if the papers were liked as own ones under these."""
    votes = [
        Vote(each.id, EventKind.VOTE_UP, NOON, own=name)
        for each, name in zip(papers, names, strict=True)
    ]
    return set(find_known_authors(votes, {each.id: each for each in papers}))


@pytest.mark.parametrize(
    ("teams", "evident"),
    [
        ((("Me", "A"), ("Me", "B"), ("C", "Me")), {"me"}),
        ((("Me", "A"), ("Me", "B")), set()),
        ((("Me",), ("Me",), ("Me",), ("A",), ("B",)), {"me"}),
        ((("Me",), ("Me",), ("Me",), ("A",), ("B",), ("C",)), set()),
        ((("Me", "Boss"), ("Boss", "Me"), ("Boss", "Me")), {"me", "boss"}),
        ((("Doe, Jane",), ("Jane Doe",), ("JANE DOE", "Jane Doe")), {"jane doe"}),
        (((), (), ()), set()),
        ((("", "?"), ("", "?"), ("", "?")), set()),
        ((), set()),
    ],
)
def test_who_is_on_most_likes_is_probably_the_subscriber(teams: Teams, evident: set[str]) -> None:
    assert find_evident_authors(by(*teams)) == evident


def test_of_a_collaboration_nobody_is_evident() -> None:
    team = tuple(f"Member {n}" for n in range(2_000))
    assert find_evident_authors(by(team, team, team)) == frozenset()
    assert known(by(team, team, team), "", "", "") == set()


def test_a_given_name_is_known_from_one_paper() -> None:
    assert known(by(("Me", "Boss")), "Me") == {"me"}
    assert known(by(("Li, Wei",), ("W. Li",), ("Else",)), "Li, Wei", "W. Li", None) == {
        "wei li", "w li",
    }  # fmt: skip


def test_without_a_name_only_the_author_of_most_own_papers_is_known() -> None:
    apart = by(("Me", "A"), ("Me", "B"), ("Me", "A"), ("M. E.",))
    assert known(apart, "", "", "", "") == {"me"}
    assert known(apart, "", "", "", None) == {"me"}
    assert known(apart, None, None, None, None) == set()
    assert known(apart[:2], "", "") == set()


def test_who_always_writes_with_the_subscriber_stays_visible() -> None:
    together = by(("Me", "Boss"), ("Me", "Boss"), ("Me", "Boss"), ("M. E.", "Boss"))
    assert known(together, "", "", "", "") == set()
    assert known(together, "Me", "", "", "") == {"me"}


@pytest.mark.parametrize(
    ("n_others", "n_own", "n_counted"),
    [(0, 50, 50), (1, 50, ENOUGH_LIKES - 1), (5, 3, 3), (ENOUGH_LIKES, 3, 0), (60, 3, 0)],
)
def test_own_papers_fill_up_few_other_likes(n_others: int, n_own: int, n_counted: int) -> None:
    own = [Vote(n, EventKind.VOTE_UP, NOON, own="Me") for n in range(n_own)]
    others = [Vote(100 + n, EventKind.VOTE_UP, NOON) for n in range(n_others)]
    for likes in ([*own, *others], [*others, *own]):
        counted = select_likes(likes)
        assert [vote for vote in counted if vote.own is None] == others
        assert [vote for vote in counted if vote.own is not None] == own[:n_counted]
        assert counted == sorted(counted, key=likes.index)
