"""The shortlist of a large pool: who is on it, and what each paper of it stands for."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from functools import lru_cache

import numpy as np
import pytest

from tests.support import topics
from tests.support.factories import DAY, subscriber
from triage.domain.records import Profile
from triage.ranking.cold_start import ColdStartScorer
from triage.ranking.features import FEATURES, IN_THE_DAY
from triage.ranking.pool import Pool
from triage.ranking.serving.ranker import Ranking, rank, rank_shortlist
from triage.ranking.shortlist import LARGE, Shortlist, shortlist_each
from triage.ranking.user_model import fit_background, fit_user_model

N_DAYS, N_EACH = 5, 600
LAST = DAY + timedelta(days=N_DAYS - 1)
DECODING, GRAPHS = (topics.TOPICS[name] for name in ("decoding", "graphs"))
READERS = {
    "nothing known": topics.profile(),
    "a text": topics.profile(interests=DECODING),
    "two phrases": topics.profile(interests="graph neural network; protein folding structure"),
    "one like": topics.profile(liked=(3,)),
    "likes of two topics": topics.profile(liked=(1, 2, 3, 31, 32, 33)),
    "likes, dislikes and a text": topics.profile(GRAPHS, liked=(46, 47, 50), disliked=(1, 16)),
}


@lru_cache(maxsize=1)
def pool() -> Pool:
    """Return 3,000 papers, each text many times."""
    return Pool.of(topics.listings(N_DAYS, N_EACH))


def with_model(profile: Profile) -> Profile:
    past = topics.everything()
    background = fit_background("past", past, past.encodings.tfidf)
    return replace(profile, user_model=fit_user_model(profile, background))


def shortlist_of(profile: Profile, seen: set[int] = set()) -> Shortlist:  # noqa: B006
    rows = pool().find_eligible(profile.subscriber, seen, LAST, 14)
    return next(shortlist_each([profile], pool(), [rows]))


def both(profile: Profile) -> tuple[Ranking, Ranking]:
    """Return the ranking of all papers, and that of the shortlist."""
    scorer = ColdStartScorer()
    whole = rank(profile, pool(), scorer, seen=(), on=LAST, max_age_days=14)
    return whole, rank_shortlist(profile, pool(), shortlist_of(profile), scorer, LAST)


@pytest.mark.parametrize("name", READERS)
def test_the_best_of_all_papers_go_on(name: str) -> None:
    whole, short = both(with_model(READERS[name]))
    best, found = (np.sort(each.scores)[::-1][:12] for each in (whole, short))
    assert np.allclose(found, best, atol=0.02)


@pytest.mark.parametrize("name", READERS)
def test_chances_and_z_scores_are_as_if_all_papers_were_scored(name: str) -> None:
    whole, short = both(with_model(READERS[name]))
    columns = [FEATURES.index(f"{each}_z") for each in IN_THE_DAY]
    rows = {paper.id: row for row, paper in enumerate(whole.candidates.papers)}
    same = [rows[paper.id] for paper in short.candidates.papers]
    found, expected = short.features[:, columns], whole.features[same][:, columns]
    assert np.allclose(found, expected, atol=0.3, rtol=0.1)
    assert np.abs(whole.chances[same] - short.chances).max() < 0.02


@pytest.mark.parametrize("name", READERS)
def test_the_weights_stand_for_all_eligible_papers(name: str) -> None:
    seen = set(range(1, 200))
    short = shortlist_of(with_model(READERS[name]), seen)
    assert short.n_eligible == len(pool()) - len(seen)
    assert short.weights.min() == 1
    assert len(short.rows) < LARGE
    assert (np.diff(short.rows) > 0).all()
    assert seen.isdisjoint(pool().ids[short.rows].tolist())


def test_who_likes_nothing_yet_is_ranked_against_more_papers() -> None:
    cold, warm = (
        (shortlist_of(with_model(READERS[name])).weights > 1).sum()
        for name in ("a text", "one like")
    )
    assert cold == 4 * warm


def test_each_phrase_gets_its_papers() -> None:
    profile = READERS["two phrases"]
    chosen = shortlist_of(profile)
    for_sure = chosen.rows[chosen.weights == 1]
    topics_of = [topics.topic_of(pool().papers[row]) for row in for_sure]
    assert min(topics_of.count("graphs"), topics_of.count("proteins")) >= 40


def test_papers_of_followed_authors_and_with_keywords_go_on() -> None:
    odd = replace(pool().papers[7], authors=("Wanda Rare",), title="A heptagon")
    papers = Pool((*pool().papers[:7], odd, *pool().papers[8:]), pool().encodings)
    for who in (
        subscriber(followed_authors=("Rare, Wanda",)),
        subscriber(include_keywords=("heptagon",)),
    ):
        profile = topics.profile(liked=(50, 51), who=who)
        rows = papers.find_eligible(who, (), LAST, 14)
        (short,) = shortlist_each([profile], papers, [rows])
        assert 7 in short.rows[short.weights == 1]


def test_a_small_pool_goes_on_whole() -> None:
    small = Pool.of(topics.everything())
    rows = np.arange(5, 40)
    (short,) = shortlist_each([topics.profile(DECODING)], small, [rows])
    assert short.rows.tolist() == rows.tolist()
    assert short.n_eligible == len(rows)


def test_who_may_get_few_papers_of_a_large_pool_gets_all_of_them_ranked() -> None:
    rows = np.arange(0, len(pool()), 7)
    (short,) = shortlist_each([READERS["one like"]], pool(), [rows])
    assert short.rows.tolist() == rows.tolist()


def test_the_others_of_a_block_do_not_change_a_shortlist() -> None:
    # More than are multiplied at once.
    profiles = [with_model(each) for each in READERS.values()] * 2
    rows = np.arange(len(pool()))
    together = shortlist_each(profiles, pool(), [rows] * len(profiles))
    for profile, short in zip(profiles, together, strict=True):
        (alone,) = shortlist_each([profile], pool(), [rows])
        shared = np.intersect1d(alone.rows, short.rows)
        assert len(shared) > 0.98 * len(short.rows)


def test_nobody_gives_nothing() -> None:
    assert not list(shortlist_each([], pool(), []))
