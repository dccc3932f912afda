"""What a row of the log teaches: votes by their place, silence by how likely it was a choice."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from triage.domain.records import EventKind
from triage.training.labels import (
    ENOUGH,
    HEAVIEST,
    IGNORED,
    RELEVANCE,
    SILENT,
    cap_subscriber_weights,
    gains,
    labels_of,
    row_weights,
    vote_weights,
)
from triage.training.position_bias import Attention, fit_attention

UP, DOWN, SAVE = EventKind.VOTE_UP, EventKind.VOTE_DOWN, EventKind.SAVE


def ints(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def test_every_kind_of_event_has_a_relevance() -> None:
    assert set(RELEVANCE) == set(EventKind)
    assert gains(np.array([RELEVANCE[SAVE], RELEVANCE[UP], RELEVANCE[DOWN], IGNORED])).tolist() == [
        7,
        3,
        0,
        0,
    ]


def test_the_last_vote_of_a_subscriber_on_a_paper_counts() -> None:
    votes = [(1, 10, UP), (2, 10, SAVE), (1, 10, DOWN), (1, 99, SAVE)]
    marks = labels_of(ints(1, 1, 2, 3), ints(10, 11, 10, 10), votes)
    assert marks.tolist() == [0, IGNORED, 3, IGNORED]
    assert labels_of(ints(1), ints(2), []).tolist() == [IGNORED]
    assert len(labels_of(ints(), ints(), votes)) == 0


def test_a_hundred_thousand_likes_are_no_trouble() -> None:
    papers = np.arange(100_000)
    marks = labels_of(np.ones(100_000, np.int64), papers, [(1, int(p), UP) for p in papers])
    assert (marks == 2).all()


def looks(willing: float, n: int) -> Attention:
    return Attention(np.array([1.0, 0.5, 0.1]), np.full(n, willing))


def test_a_vote_far_down_counts_more_but_not_without_end() -> None:
    places = np.array([1, 2, 3, 9], np.int32)
    ones = np.ones(4, np.float32)
    assert vote_weights(places, ones, looks(0.5, 4)).tolist() == [1, 2, HEAVIEST, HEAVIEST]


def test_silence_counts_as_far_as_it_was_a_choice() -> None:
    places, ones = np.array([1, 2, 3], np.int32), np.ones(3, np.float32)
    silent = np.full(3, IGNORED, np.int32)
    top, middle, bottom = row_weights(silent, places, ones, looks(0.2, 3))
    assert 1 >= top > middle > bottom > SILENT
    # Who votes on everything that they read has not read what they did not vote on.
    assert (row_weights(silent, places, ones, looks(1.0, 3)) == SILENT).all()


@given(st.lists(st.tuples(st.integers(0, 5), st.floats(0.01, 100)), max_size=60))
def test_nobody_weighs_more_than_the_middle_one_or_ten_digests(
    rows: list[tuple[int, float]],
) -> None:
    who = np.array([row[0] for row in rows], np.int64)
    weights = np.array([row[1] for row in rows], np.float32)
    shared = cap_subscriber_weights(weights, who)
    assert (shared <= weights * 1.0001).all()
    if len(rows):
        before = np.array([weights[who == each].sum() for each in np.unique(who)])
        after = np.array([shared[who == each].sum() for each in np.unique(who)])
        assert after.max() <= max(np.median(before), ENOUGH) * 1.001


def shown(n_slates: int, look: np.ndarray, seed: int = 0) -> tuple[np.ndarray, ...]:
    """Return positions, scores and votes of readers who look as `look` says."""
    rng = np.random.default_rng(seed)
    positions = np.tile(np.arange(1, len(look) + 1, dtype=np.int32), n_slates)
    scores = rng.random((n_slates, len(look)))
    scores = -np.sort(-scores - rng.normal(0, 0.3, scores.shape), axis=1).ravel()
    will = np.clip(0.1 + 0.5 * scores, 0.02, 0.95)
    voted = rng.random(len(scores)) < look[positions - 1] * will
    return positions, scores, voted


@pytest.mark.parametrize("look", [1 / np.arange(1, 11), 0.8 ** np.arange(10)])
def test_a_long_log_tells_how_far_down_people_look(look: np.ndarray) -> None:
    found = fit_attention(*shown(20_000, look))
    assert np.abs(found.by_place - look).max() < 0.12
    assert found.by_place[0] == 1


def test_where_people_read_to_the_end_the_end_is_believed_to_be_read() -> None:
    assert fit_attention(*shown(20_000, np.ones(10))).by_place.min() > 0.5


def test_a_short_log_says_little_against_one_over_the_position() -> None:
    found = fit_attention(*shown(5, np.ones(10)))
    assert found.by_place == pytest.approx(1 / np.arange(1, 11), rel=0.6)


@given(
    st.lists(st.tuples(st.integers(1, 30), st.floats(0, 1), st.booleans()), max_size=50),
)
def test_attention_is_a_chance_and_never_grows_downwards(
    rows: list[tuple[int, float, bool]],
) -> None:
    positions = np.array([row[0] for row in rows], np.int32)
    found = fit_attention(
        positions, np.array([row[1] for row in rows]), np.array([row[2] for row in rows], bool)
    )
    assert (np.diff(found.by_place) <= 0).all()
    assert ((found.by_place > 0) & (found.by_place <= 1)).all()
    assert ((found.vote_if_read >= 0) & (found.vote_if_read <= 1)).all()
    assert len(found.vote_if_read) == len(rows)
    assert (found.read_probability(np.array([1, 10_000], np.int32)) > 0).all()
