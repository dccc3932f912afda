"""Past days as lessons: only what was known then, whatever came later."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from triage.domain.records import I64
from triage.training.past_days import (
    FEWEST_CANDIDATES,
    KNOWN_LIKES,
    LONGEST_DAYS,
    MOST_CANDIDATES,
    Likes,
    PastDay,
    past_days,
    select_training_rows,
    subscriber_weights,
)

FIRST = 1_000
MANY = 10_000


@dataclass(frozen=True)
class World:
    """What was listed and liked from day 0 to `days`; days count from FIRST."""

    listed: I64
    likes: list[Likes]
    until: int

    def past(self, n: int = MANY, seed: int = 0) -> list[PastDay]:
        rng = np.random.default_rng(seed)
        return past_days(self.likes, self.listed, FIRST, self.until, n, rng)


def likes_of(listed: I64, pairs: list[tuple[int, int]]) -> Likes:
    """Return likes of (row, days after the listing)."""
    once = dict(pairs)
    dated = sorted((int(listed[row]) + later, row) for row, later in once.items())
    return Likes(
        rows=np.array([row for _, row in dated], dtype=np.int64),
        days=np.array([day for day, _ in dated], dtype=np.int64),
    )


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Listing days of any size, readers who like at once or later, and an end among them."""
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    n_days, each = draw(st.integers(5, 90)), draw(st.sampled_from([1, 6, 20, 60]))
    listed = FIRST + np.repeat(np.arange(n_days), rng.integers(0, 2 * each, n_days))
    readers = []
    for n in draw(st.lists(st.sampled_from([0, 1, 3, 25]), max_size=4)) if len(listed) else []:
        later = rng.choice([0, 0, 0, 1, 30], n)
        rows = rng.integers(0, len(listed), n)
        readers.append(likes_of(listed, list(zip(rows.tolist(), later.tolist(), strict=True))))
    return World(listed, readers, FIRST + draw(st.integers(0, n_days + 2)))


def steady(pairs: list[tuple[int, int]], until: int = 100, each: int = 20) -> World:
    """Return a world of 20 papers a day for 60 days, in which a past day lasts 20."""
    listed = FIRST + np.repeat(np.arange(60), each)
    return World(listed, [likes_of(listed, pairs)], FIRST + until)


def as_lists(days: list[PastDay]) -> list[tuple[object, ...]]:
    return [
        (d.subscriber, d.day, d.known.tolist(), d.candidates.tolist(), d.relevance.tolist())
        for d in days
    ]


@given(worlds())
def test_nothing_liked_from_the_day_on_is_known(world: World) -> None:
    for day in world.past():
        own = world.likes[day.subscriber]
        liked_on = dict(zip(own.rows.tolist(), own.days.tolist(), strict=True))
        known = day.known.tolist()
        assert all(liked_on[row] < day.day for row in known)
        assert len(set(known)) == len(known)
        assert [liked_on[row] for row in known] == sorted(
            (liked_on[r] for r in known), reverse=True
        )


@given(worlds())
def test_candidates_were_listed_within_the_window_and_before_the_end(world: World) -> None:
    for day in world.past():
        listed = world.listed[day.candidates]
        assert (np.diff(day.candidates) > 0).all()
        assert listed.min() >= day.day >= FIRST
        assert listed.max() < world.until
        assert listed.max() - listed.min() < LONGEST_DAYS
        assert len(day.candidates) <= MOST_CANDIDATES
        assert not np.isin(day.candidates, day.known).any()


@given(worlds())
def test_relevant_is_what_was_liked_within_the_window(world: World) -> None:
    for day in world.past():
        own = world.likes[day.subscriber]
        liked_on = dict(zip(own.rows.tolist(), own.days.tolist(), strict=True))
        relevant = day.candidates[day.relevance == 1].tolist()
        assert relevant
        assert set(day.relevance.tolist()) <= {0, 1}
        for row in relevant:
            assert day.day <= liked_on[row] < world.until
        last = world.listed[day.candidates].max()
        for row in day.candidates[day.relevance == 0].tolist():
            # Liked after the window, perhaps: that was not known when it ended.
            assert liked_on.get(row, MANY) > last


@given(worlds(), st.integers(0, 200), st.integers(0, 5))
def test_what_comes_later_changes_no_past_day(world: World, n_papers: int, n_likes: int) -> None:
    early = world.listed < world.until
    likes = [_before(each, world.until) for each in world.likes]
    later = [
        Likes(
            np.append(each.rows, np.arange(n_likes)), np.append(each.days, [world.until] * n_likes)
        )
        for each in likes
    ]
    longer = np.append(world.listed[early], [world.until] * n_papers)
    known_then = World(world.listed[early], likes, world.until)
    assert as_lists(World(longer, later, world.until).past()) == as_lists(known_then.past())


def _before(likes: Likes, until: int) -> Likes:
    early = likes.days < until
    return Likes(likes.rows[early], likes.days[early])


def test_relevance_is_exactly_the_likes_of_the_window() -> None:
    # Windows are of 20 days. The likes of 5 and 7 were made before the second, that of 420 after.
    world = steady([(5, 0), (7, 3), (400, 0), (410, 0), (600, 3), (780, 0), (420, 45)])
    day = next(day for day in world.past() if day.day == FIRST + 20)
    assert day.known.tolist() == [7, 5]
    assert day.candidates[day.relevance == 1].tolist() == [400, 410, 600, 780]
    assert day.candidates.tolist() == list(range(400, 800))


def test_what_was_known_and_liked_before_its_listing_is_no_candidate() -> None:
    listed = steady([]).listed
    likes = Likes(np.array([5, 450, 400]), FIRST + np.array([0, 3, 20]))
    days = past_days([likes], listed, FIRST, FIRST + 99, MANY, np.random.default_rng(0))
    day = next(day for day in days if day.day == FIRST + 20)
    assert day.known.tolist() == [450, 5]
    assert day.candidates.tolist() == [row for row in range(400, 800) if row != 450]


def test_every_day_comes_with_all_likes_and_again_with_a_few() -> None:
    world = steady(
        [(row, 0) for row in range(0, 400, 20)] + [(row, 0) for row in range(400, 1200, 40)]
    )
    days = world.past()
    whole = [day for day in days if len(day.known) == (world.likes[0].days < day.day).sum()]
    few = [day for day in days if len(day.known) in KNOWN_LIKES]
    assert {day.day for day in whole} == {day.day for day in days}
    last = max(day.day for day in days)
    assert {day.day for day in few} >= {last}
    pair = [day for day in days if day.day == last]
    assert np.isin(pair[1].known, pair[0].known).all()
    assert pair[0].candidates.tolist() == pair[1].candidates.tolist()


def test_few_are_by_chance_any_number_that_is_known_of() -> None:
    pairs = [(row, 0) for row in range(0, 380, 20)] + [(900, 0)]
    found = {len(day.known) for seed in range(30) for day in steady(pairs).past(seed=seed)}
    assert found >= set(KNOWN_LIKES)


def test_a_seed_decides_everything() -> None:
    world = steady([(row, 0) for row in range(0, 1200, 37)])
    assert as_lists(world.past(n=1, seed=5)) == as_lists(world.past(n=1, seed=5))
    drawn = {as_lists(world.past(n=1, seed=seed))[0][1] for seed in range(20)}
    assert len(drawn) > 1


def test_days_are_oldest_first_and_no_more_than_asked_for() -> None:
    listed = FIRST + np.repeat(np.arange(60), 20)
    readers = [likes_of(listed, [(row, 0) for row in range(r, 1200, 50)]) for r in range(5)]
    world = World(listed, readers, FIRST + 100)
    days = [day.day for day in world.past()]
    assert days == sorted(days)
    assert len({(day.subscriber, day.day) for day in world.past(n=3)}) == 3


def test_a_day_with_too_few_others_teaches_nothing() -> None:
    assert steady([(0, 0)], each=FEWEST_CANDIDATES // LONGEST_DAYS).past() == []
    assert steady([(0, 0)], each=FEWEST_CANDIDATES // LONGEST_DAYS + 1).past()


@pytest.mark.parametrize("likes", [[], [likes_of(np.zeros(0, np.int64), [])]])
def test_no_likes_or_no_papers_give_no_days(likes: list[Likes]) -> None:
    rng = np.random.default_rng(0)
    assert past_days(likes, np.zeros(0, np.int64), FIRST, FIRST + 9, MANY, rng) == []
    assert past_days(likes, FIRST + np.zeros(500, np.int64), FIRST, FIRST + 9, MANY, rng) == []


@given(st.lists(st.integers(0, 1), max_size=400), st.integers(0, 9))
def test_telling_rows_hold_every_like_and_what_is_hard(relevance: list[int], seed: int) -> None:
    marks = np.array(relevance, dtype=np.int32)
    scores = np.random.default_rng(seed).random(len(marks))
    rows = select_training_rows(marks, scores, np.random.default_rng(seed))
    assert (np.diff(rows) > 0).all()
    assert np.isin(np.flatnonzero(marks), rows).all()
    others = np.flatnonzero(marks == 0)
    if len(others):
        assert others[scores[others].argmax()] in rows


def test_training_rows_hold_the_best_ten_of_each_other_ranker() -> None:
    """So the nDCG@10 of each of them is that of the whole day."""
    rng = np.random.default_rng(0)
    marks = np.zeros(400, dtype=np.int32)
    others = rng.random((3, 400)).astype(np.float32)
    rows = select_training_rows(marks, rng.random(400), rng, others)
    assert np.isin(np.argsort(-others, axis=1)[:, :10], rows).all()


def test_a_reader_of_many_days_does_not_drown_others() -> None:
    weights = subscriber_weights([0, 0, 0, 0, 2], [1, 2, 1, 1, 3])
    assert weights.tolist() == [0.5] * 5 + [1.0] * 3
    assert len(subscriber_weights([], [])) == 0
