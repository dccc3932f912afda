"""From stored papers and votes to one subscriber's slate."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import topics
from tests.support.factories import DAY, NOON, subscriber
from tests.support.installation import add_papers, add_reader, installed
from triage import store
from triage.domain.records import EncodedPapers, EventKind, Paper, Policy, Profile, Subscriber, Vote
from triage.ranking.cold_start import ColdStartScorer
from triage.ranking.features import feature_matrix
from triage.ranking.pool import Pool
from triage.ranking.serving.ranker import (
    DigestRules,
    Ranking,
    fill_slate,
    load_library,
    load_pool,
    load_profile,
    rank,
)
from triage.store import Database

RULES = DigestRules(size=10, max_age_days=14, score_floor=0.01, exploration_slots=1)
DECODING = topics.TOPICS["decoding"]


def ranked(profile: Profile, seen: Collection[int] = (), on_shift: int = 0) -> Ranking:
    return rank(
        profile,
        Pool.of(topics.everything()),
        ColdStartScorer(),
        seen=seen,
        on=DAY + timedelta(days=on_shift),
        max_age_days=14,
    )


def slate_of(ranking: Ranking, rules: DigestRules = RULES, seed: int = 0) -> tuple[Paper, ...]:
    rng = np.random.default_rng(seed)
    chosen = fill_slate(ranking, rules, ColdStartScorer(), topics.encoder(), rng)
    return tuple(shown.paper for shown in chosen)


# -- who may be shown ------------------------------------------------------------------------------


@given(st.sets(st.integers(1, 60)), st.integers(0, 99))
def test_what_was_seen_or_voted_on_is_never_shown(seen: set[int], seed: int) -> None:
    ranking = ranked(topics.profile(interests=DECODING), seen)
    assert {paper.id for paper in ranking.candidates.papers}.isdisjoint(seen)
    assert {paper.id for paper in slate_of(ranking, seed=seed)}.isdisjoint(seen)


@pytest.mark.parametrize("word", ["latency", "Draft  MODEL"])
def test_an_excluded_keyword_is_a_wall(word: str) -> None:
    reader = subscriber(interests=DECODING, exclude_keywords=(word,))
    profile = topics.profile(interests=DECODING, who=reader)
    shown = slate_of(ranked(profile))
    plain = " ".join(word.lower().split())
    assert shown
    assert not [paper for paper in shown if plain in paper.text.lower()]


def test_papers_of_tomorrow_and_of_long_ago_are_no_candidates() -> None:
    profile = topics.profile(interests=DECODING)
    assert len(ranked(profile).candidates) == 60
    assert len(ranked(profile, on_shift=14).candidates) == 60
    assert len(ranked(profile, on_shift=15).candidates) == 0
    assert len(ranked(profile, on_shift=-1).candidates) == 0


def test_without_candidates_there_is_no_slate() -> None:
    nothing = ranked(topics.profile(interests=DECODING), set(range(61)))
    assert nothing.scores.shape == (0,)
    assert slate_of(nothing) == ()
    assert nothing.best(5) == []
    assert nothing.rank_of(1) is None


# -- the order -------------------------------------------------------------------------------------


def test_rows_of_a_ranking_belong_together() -> None:
    profile = topics.profile(interests=DECODING, liked=(0,))
    ranking = ranked(profile, {1, 2, 30})
    assert np.array_equal(ranking.features, feature_matrix(profile, ranking.candidates, DAY))
    assert np.array_equal(ranking.scores, ColdStartScorer().score(ranking.features))
    texts = [paper.text for paper in ranking.candidates.papers]
    assert np.allclose(ranking.candidates.encodings.latent, topics.encode(texts).latent)


def test_interests_bring_their_papers_to_the_top() -> None:
    best = ranked(topics.profile(interests=DECODING)).best(10)
    assert {paper.categories for paper in best} == {("cs.CL",)}


def test_a_like_raises_the_papers_that_are_like_it() -> None:
    target = topics.literature()[topics.rows_of("robots")[3]].id
    before = ranked(topics.profile(interests=DECODING)).rank_of(target)
    after = ranked(
        topics.profile(interests=DECODING, liked=tuple(topics.rows_of("robots")[:2]))
    ).rank_of(target)
    assert before is not None
    assert after is not None
    assert after < before


def test_best_and_rank_agree() -> None:
    ranking = ranked(topics.profile(interests=DECODING))
    best = ranking.best(60)
    assert [ranking.rank_of(paper.id) for paper in best] == list(range(1, 61))
    assert ranking.rank_of(999) is None
    assert ranking.best(3) == best[:3]


# -- the slate -------------------------------------------------------------------------------------


def test_every_shown_paper_carries_what_training_needs() -> None:
    ranking = ranked(topics.profile(interests=DECODING))
    rng = np.random.default_rng(0)
    shown = fill_slate(ranking, RULES, ColdStartScorer(), topics.encoder(), rng)
    assert [each.position for each in shown] == list(range(1, len(shown) + 1))
    by_id = {paper.id: row for row, paper in enumerate(ranking.candidates.papers)}
    for each in shown:
        row = by_id[each.paper.id]
        assert (each.score, each.prior) == (ranking.chances[row], ranking.priors[row])
        assert np.array_equal(each.features, ranking.features[row])
        assert 0 < each.propensity <= 1
        assert each.reasons
    explored = [each for each in shown if each.policy is Policy.EXPLORATION]
    assert [each.position for each in explored] == [len(shown)]
    assert explored[0].propensity < 1


def test_the_same_chance_gives_the_same_slate() -> None:
    ranking = ranked(topics.profile(interests=DECODING))
    assert slate_of(ranking, seed=5) == slate_of(ranking, seed=5)


def test_the_floor_leaves_poor_papers_out() -> None:
    ranking = ranked(topics.profile(interests=DECODING))
    floor = float(np.sort(ranking.chances)[-4])
    rules = replace(RULES, score_floor=floor, exploration_slots=0)
    assert len(slate_of(ranking, rules)) == 4


def explored(profile: Profile, rules: DigestRules = RULES, days: int = 0) -> list[str]:
    ranking = ranked(profile, on_shift=days)
    rng = np.random.default_rng(0)
    shown = fill_slate(ranking, rules, ColdStartScorer(), topics.encoder(), rng)
    assert shown
    return [each.reasons[0].text for each in shown if each.policy is Policy.EXPLORATION]


def test_who_said_nothing_is_asked_at_first() -> None:
    asking = "a paper unlike the others, to learn what you like"
    assert explored(topics.profile()) == [asking] * 3
    assert explored(topics.profile(), replace(RULES, exploration_slots=0)) == []
    long_ago = subscriber(active_since=NOON - timedelta(days=40))
    assert explored(topics.profile(who=long_ago)) == [asking]


def test_who_wants_no_exploration_gets_none() -> None:
    assert explored(topics.profile(who=subscriber(explores=False))) == []
    who = subscriber(interests=DECODING, explores=False)
    assert explored(topics.profile(interests=DECODING, who=who)) == []


def test_upvotes_count_as_much_as_the_reader_says() -> None:
    papers = [replace(paper, upvotes=None) for paper in topics.everything().papers]
    papers[0] = replace(papers[0], upvotes=300)
    pool = Pool(tuple(papers), topics.everything().encodings)
    scores, told = [], []
    for weight in (0, 1, 2):
        who = subscriber(interests=DECODING, community=weight)
        ranking = rank(
            topics.profile(interests=DECODING, who=who),
            pool,
            ColdStartScorer(),
            seen=(),
            on=DAY,
            max_age_days=14,
        )
        rng = np.random.default_rng(0)
        rules = replace(RULES, size=60, score_floor=0.0)
        shown = fill_slate(ranking, rules, ColdStartScorer(), topics.encoder(), rng)
        told.append(any(reason.kind == "community" for each in shown for reason in each.reasons))
        scores.append(np.log(ranking.scores / (1 - ranking.scores)))
    silent, usual, loud = scores
    assert silent[0] < usual[0]
    assert loud[0] - usual[0] == pytest.approx(usual[0] - silent[0])
    assert np.allclose(silent[1:], loud[1:])
    assert told == [False, True, True]


def test_who_said_something_is_not_asked_but_explores() -> None:
    usual = "a paper outside your usual picks, to learn what you like"
    assert explored(topics.profile(DECODING)) == [usual]
    assert explored(topics.profile(liked=(0,))) == [usual]


def test_questions_are_of_several_kinds() -> None:
    ranking = ranked(topics.profile())
    kinds = set()
    for seed in range(5):
        rng = np.random.default_rng(seed)
        shown = fill_slate(ranking, RULES, ColdStartScorer(), topics.encoder(), rng)
        questions = {each.paper.categories for each in shown[-3:]}
        assert len(questions) == 3
        kinds |= questions
    assert len(kinds) >= 3


# -- from the database -----------------------------------------------------------------------------


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with installed(tmp_path) as opened:
        yield opened


def encode(database: Database, papers: list[Paper]) -> None:
    with database.write() as conn:
        encoded = topics.encode([paper.text for paper in papers])
        ids = [paper.id for paper in papers]
        store.encodings.save(conn, topics.encoder().version, ids, encoded)


def load(database: Database, papers: list[Paper]) -> EncodedPapers:
    with database.read() as conn:
        return load_library(conn, topics.encoder(), papers)


def test_papers_that_are_not_encoded_yet_are_left_out(database: Database) -> None:
    papers = add_papers(database, topics.literature()[:5])
    encode(database, papers[1:4])
    library = load(database, papers[::-1])
    assert library.papers == tuple(papers[3:0:-1])
    wanted = topics.encode([paper.text for paper in library.papers])
    assert np.array_equal(library.encodings.latent, wanted.latent)


def test_no_papers_are_an_empty_library_of_the_right_width(database: Database) -> None:
    empty = load(database, [])
    assert len(empty) == 0
    assert empty.encodings.latent.shape == topics.encode([]).latent.shape
    assert empty.encodings.tfidf.shape == topics.encode([]).tfidf.shape


def test_the_pool_is_what_was_listed_lately(database: Database) -> None:
    papers = add_papers(
        database,
        [
            replace(paper, listed_on=DAY - timedelta(days=n))
            for n, paper in enumerate(topics.literature()[:6], start=-1)
        ],
    )
    encode(database, papers)
    with database.read() as conn:
        pool = load_pool(conn, topics.encoder(), DAY, 3)
    assert pool.papers == tuple(papers[1:5])


@pytest.fixture
def reader(database: Database) -> Subscriber:
    return add_reader(database, interests="speculative decoding; protein folding")


def test_a_profile_parts_likes_from_dislikes_newest_first(
    database: Database, reader: Subscriber
) -> None:
    papers = add_papers(database, topics.literature()[:5])
    encode(database, papers)
    kinds = [
        EventKind.SAVE,
        EventKind.VOTE_DOWN,
        EventKind.VOTE_UP,
        EventKind.LESS_LIKE_THIS,
    ]
    votes = [Vote(papers[n].id, kind, NOON - timedelta(days=n)) for n, kind in enumerate(kinds)]
    with database.read() as conn:
        profile = load_profile(conn, topics.encoder(), reader, votes)
    assert profile.liked.papers == (papers[0], papers[2])
    assert profile.liked_at == (votes[0].at, votes[2].at)
    assert profile.disliked.papers == (papers[1], papers[3])
    assert profile.disliked_at == (votes[1].at, votes[3].at)
    assert profile.phrases == ("speculative decoding", "protein folding")
    assert len(profile.interests) == 2


def test_a_vote_on_a_paper_without_vectors_waits_for_them(
    database: Database, reader: Subscriber
) -> None:
    papers = add_papers(database, topics.literature()[:3])
    encode(database, papers[1:])
    votes = [Vote(paper.id, EventKind.VOTE_UP, NOON) for paper in papers]
    votes.append(Vote(999, EventKind.VOTE_UP, NOON))
    with database.read() as conn:
        profile = load_profile(conn, topics.encoder(), reader, votes)
    assert profile.liked.papers == tuple(papers[1:])
    assert len(profile.liked_at) == len(profile.liked) == 2


def test_whose_own_papers_are_known_is_not_offered_more_of_them(
    database: Database, reader: Subscriber
) -> None:
    mine = [
        replace(paper, authors=("Me", f"Co {n}")) for n, paper in enumerate(topics.literature()[:6])
    ]
    papers = add_papers(database, mine)
    encode(database, papers)
    own = [Vote(paper.id, EventKind.VOTE_UP, NOON, own="") for paper in papers[:3]]
    liked = [replace(vote, own=None) for vote in own]
    pool = Pool(tuple(papers), topics.encode([paper.text for paper in papers]))
    seen = {vote.paper_id for vote in own}
    for votes, n_offered in ((own, 0), (own[:2], 3), (liked, 3)):
        with database.read() as conn:
            profile = load_profile(conn, topics.encoder(), reader, votes)
        ranking = rank(profile, pool, ColdStartScorer(), seen=seen, on=DAY, max_age_days=9)
        assert len(ranking.candidates) == n_offered
        assert profile.own_papers == {vote.paper_id for vote in votes if vote.own is not None}


def test_who_said_nothing_has_an_empty_profile(database: Database) -> None:
    quiet = add_reader(database, interests="")
    with database.read() as conn:
        profile = load_profile(conn, topics.encoder(), quiet, ())
    assert len(profile.liked) == len(profile.disliked) == len(profile.interests) == 0
    assert profile.phrases == ()
