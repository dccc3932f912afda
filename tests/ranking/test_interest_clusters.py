"""A reader's likes fall into as many interests as they have, and the same likes into the same."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import topics
from tests.support.factories import DAY
from triage.domain.records import Interest, Profile, Reason, ReasonKind
from triage.ranking.interest_clusters import (
    MAX_INTERESTS,
    MAX_LINKED,
    USUAL_APARTNESS,
    Interests,
    cluster,
    cluster_interests,
    mean_row,
    name_interests,
    similarity_threshold,
)


def around(*centres: int, n: int = 10, d: int = 8, spread: float = 0.1) -> np.ndarray:
    """Return n rows near each of the axes `centres`, one axis after the other."""
    rows = np.repeat(np.eye(d)[list(centres)], n, axis=0)
    rows = rows + np.random.default_rng(0).normal(size=rows.shape) * spread
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def likes(*names: str, n: int = 8) -> np.ndarray:
    rows = [row for name in names for row in topics.rows_of(name)[:n]]
    return topics.library(*rows).encodings.latent


def apart() -> float:
    return similarity_threshold(topics.everything().encodings.latent)


# -- how many --------------------------------------------------------------------------------------


def test_one_interest_is_not_split() -> None:
    assert set(cluster(likes("decoding"), apart())) == {0}


@pytest.mark.parametrize("n", [1, 2, 4, 8])
def test_two_unrelated_interests_are_parted_however_few_likes_there_are(n: int) -> None:
    assert cluster(likes("decoding", "proteins", n=n), apart()).tolist() == [0] * n + [1] * n


def test_the_largest_interest_comes_first_and_of_equal_ones_the_earlier() -> None:
    dense = np.vstack([around(0, n=2), around(1, n=5), around(2, n=2)])
    assert cluster(dense).tolist() == [1, 1, 0, 0, 0, 0, 0, 2, 2]


def test_a_stray_like_is_a_small_interest_of_its_own() -> None:
    labels = cluster(np.vstack([around(5, n=1), around(0, n=20)]))
    assert labels.tolist() == [1] + [0] * 20


def test_there_are_never_too_many_interests() -> None:
    assert len(set(cluster(np.eye(40, dtype=np.float32)))) == MAX_INTERESTS


def test_nothing_and_papers_without_known_words_are_no_trouble() -> None:
    assert cluster(np.zeros((0, 4), np.float32)).tolist() == []
    assert cluster(np.zeros((3, 4), np.float32)).tolist() == [0, 1, 2]
    assert cluster(np.ones((5, 1), np.float32)).tolist() == [0] * 5


def test_older_likes_join_the_interest_that_they_are_near_to() -> None:
    dense = np.vstack([around(0, 1, n=MAX_LINKED // 2), around(1, n=30)])
    assert cluster(dense).tolist() == [1] * (MAX_LINKED // 2) + [0] * (MAX_LINKED // 2 + 30)


@given(st.integers(0, 60), st.integers(1, 12), st.integers(0, 9), st.floats(-0.2, 0.9))
def test_labels_are_gapless_by_size_and_repeatable(n: int, d: int, seed: int, at: float) -> None:
    rows = np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)
    dense = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    labels = cluster(dense, at)
    sizes = np.bincount(labels, minlength=1)
    assert labels.shape == (n,)
    assert labels.dtype == np.int32
    assert n == 0 or sizes.min() > 0
    assert all(a >= b for a, b in pairwise(sizes))
    assert np.array_equal(labels, cluster(dense.copy(), at))


# -- how near is near ------------------------------------------------------------------------------


def test_how_near_is_near_follows_the_encoders_scale() -> None:
    dense = np.random.default_rng(0).normal(size=(400, 32)).astype(np.float32)
    shifted = dense + 1
    for rows in (dense, shifted):
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    assert similarity_threshold(dense) == pytest.approx(1 / np.sqrt(32), abs=0.02)
    assert similarity_threshold(shifted) > 0.5


def test_few_papers_say_nothing_about_the_scale() -> None:
    assert similarity_threshold(np.eye(20, dtype=np.float32)) == USUAL_APARTNESS
    assert similarity_threshold(np.zeros((100, 4), np.float32)) == USUAL_APARTNESS


# -- what the interests are ------------------------------------------------------------------------

DECODING, PROTEINS, ROBOTS = (topics.rows_of(name) for name in ("decoding", "proteins", "robots"))


def found(profile: Profile, *, days: int = 0) -> Interests:
    return cluster_interests(profile, DAY + timedelta(days), apart())


def stored(profile: Profile) -> tuple[Interest, ...]:
    """Return the interests as they are stored: named, and with numbers."""
    usual = mean_row(topics.everything().encodings.tfidf)
    told = name_interests(found(profile), profile, usual, topics.encoder())
    return tuple(
        each if each.number else replace(each, number=n) for n, each in enumerate(told, start=1)
    )


def readers_of_two() -> Profile:
    return topics.profile(liked=(*DECODING[:6], *PROTEINS[:3]))


def test_who_said_nothing_has_no_interests_and_no_paper_belongs_to_any() -> None:
    nothing = found(topics.profile())
    assert nothing.clusters == ()
    assert set(nothing.nearest(topics.everything().encodings.latent)) == {-1}


def test_each_interest_has_its_likes_and_its_share() -> None:
    interests = found(readers_of_two())
    assert [len(each.papers) for each in interests.clusters] == [6, 3]
    assert interests.shares.sum() == pytest.approx(1)
    assert interests.shares[0] > interests.shares[1] > 0


def test_newer_likes_weigh_more() -> None:
    newer = found(topics.profile(liked=(*PROTEINS[:4], *DECODING[:4])))
    assert newer.clusters[0].papers == tuple(row + 1 for row in PROTEINS[:4])
    assert newer.shares[0] > 0.55


def test_papers_belong_to_the_interest_that_they_are_near_to_or_to_none() -> None:
    nearest = found(readers_of_two()).nearest(topics.everything().encodings.latent)
    assert set(nearest[list(DECODING)]) == {0}
    assert set(nearest[list(PROTEINS)]) == {1}
    assert set(nearest[list(ROBOTS)]) == {-1}


def test_a_stray_like_has_a_small_share() -> None:
    interests = found(topics.profile(liked=(ROBOTS[0], *DECODING)))
    assert interests.clusters[1].papers == (ROBOTS[0] + 1,)
    assert 0 < interests.shares[1] < 0.2


def test_what_a_reader_wrote_is_an_interest_before_any_like() -> None:
    interests = found(topics.profile("robot grasping; protein folding; zzzz"))
    assert {each.phrases for each in interests.clusters} == {
        ("robot grasping",),
        ("protein folding",),
    }
    assert interests.shares.tolist() == [0.5, 0.5]


def test_what_a_reader_wrote_and_likes_of_it_are_one_interest() -> None:
    interests = found(topics.profile("robot grasping", liked=tuple(ROBOTS[:4])))
    assert [(len(each.papers), each.phrases) for each in interests.clusters] == [
        (4, ("robot grasping",))
    ]


def test_names_are_the_readers_words_or_those_that_their_likes_share() -> None:
    profile = topics.profile("robot grasping", liked=(*ROBOTS[:4], *PROTEINS[:3]))
    names = [each.name for each in stored(profile)]
    assert names[0] == "robot grasping"
    assert "protein" in names[1]
    assert "robot" not in names[1]


# -- the same from day to day ----------------------------------------------------------------------


def test_an_interest_keeps_number_and_name_while_likes_come_and_go() -> None:
    before = stored(readers_of_two())
    later = topics.profile(liked=(*PROTEINS[5:14], *DECODING[:6], *PROTEINS[1:3]))
    now = found(replace(later, interests_before=before)).clusters
    # The proteins are the larger one now, and most of its likes are new: number kept, name not.
    assert [each.number for each in now] == [2, 1]
    assert [each.name for each in now] == ["", before[0].name]
    assert len(now[0].papers) == 11


def test_a_new_interest_has_no_number_yet() -> None:
    before = stored(readers_of_two())
    more = topics.profile(liked=(*ROBOTS[:3], *DECODING[:6], *PROTEINS[:3]))
    numbers = {
        each.number: each.papers for each in found(replace(more, interests_before=before)).clusters
    }
    assert set(numbers) == {0, 1, 2}
    assert numbers[0] == tuple(row + 1 for row in ROBOTS[:3])


def resting(profile: Profile, **rest: object) -> Profile:
    first, *others = stored(profile)
    return replace(profile, interests_before=(replace(first, **rest), *others))  # type: ignore[arg-type]


def test_an_interest_that_rests_has_no_share_but_still_its_papers() -> None:
    interests = found(resting(readers_of_two(), muted=True))
    assert [(each.number, each.muted) for each in interests.clusters] == [(2, False), (1, True)]
    assert interests.shares.tolist() == [1, 0]
    assert set(interests.nearest(topics.library(*DECODING).encodings.latent)) == {1}


def test_likes_near_to_a_resting_interest_join_it_instead_of_waking_it() -> None:
    profile = resting(readers_of_two(), muted=True)
    more = topics.profile(liked=(*DECODING[6:12], *DECODING[:6], *PROTEINS[:3]))
    interests = found(replace(more, interests_before=profile.interests_before))
    assert [(each.number, len(each.papers)) for each in interests.clusters] == [(2, 3), (1, 12)]


def test_a_pause_ends_on_its_day() -> None:
    profile = resting(readers_of_two(), paused_until=DAY + timedelta(3))
    assert [float(found(profile, days=n).shares.min()) > 0 for n in (0, 2, 3, 4)] == [
        False, False, True, True,
    ]  # fmt: skip


def test_less_of_an_interest_halves_its_share_for_a_while() -> None:
    profile = replace(
        topics.profile(liked=(*DECODING[:6], *PROTEINS[:6]), disliked=(DECODING[9],)),
        less_of=(Reason(ReasonKind.INTEREST_CLUSTER, "about decoding, one of your interests"),),
    )
    plain = found(replace(profile, less_of=(None,))).shares
    damped = found(profile)
    assert damped.clusters[1].papers == tuple(row + 1 for row in DECODING[:6])
    assert damped.shares[1] == pytest.approx(plain[0] / 2 / (plain[0] / 2 + plain[1]))
    assert found(profile, days=100).shares == pytest.approx(plain)


def test_likes_that_are_taken_back_take_their_interest_with_them() -> None:
    profile = topics.profile(liked=tuple(DECODING[:6]))
    before = resting(readers_of_two(), muted=True).interests_before
    assert [each.number for each in found(replace(profile, interests_before=before)).clusters] == [
        1
    ]
    gone = topics.profile(liked=tuple(PROTEINS[:3]))
    assert [each.number for each in found(replace(gone, interests_before=before)).clusters] == [2]


@given(
    st.lists(st.integers(0, 59), max_size=14, unique=True),
    st.sampled_from(["", "protein folding", "robots, zzzz"]),
    st.booleans(),
)
def test_every_like_is_in_exactly_one_interest_and_shares_add_up(
    liked: list[int], text: str, muted: bool
) -> None:
    profile = topics.profile(text, liked=tuple(liked))
    if muted and stored(profile):
        profile = resting(profile, muted=True)
    interests = found(profile)
    papers = [id for each in interests.clusters for id in each.papers]
    assert sorted(papers) == sorted(row + 1 for row in liked)
    assert np.isfinite(interests.centres).all()
    live = [not each.rests(DAY) for each in interests.clusters]
    assert interests.shares.sum() == pytest.approx(float(any(live)))
    assert [share > 0 for share in interests.shares] == live
    assert all(each.name for each in stored(profile))
