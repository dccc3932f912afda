"""A subscriber's interests can be looked at, muted, paused and woken, and digests follow."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest

from tests.support import topics
from tests.support.factories import DAY, NOON, impression, slate
from tests.support.fakes import StoppedClock
from tests.support.installation import add_papers, add_reader, installed, queue
from triage import store
from triage.domain.link_tokens import Claims
from triage.domain.records import EventKind, Paper, Reason, ReasonKind, Subscriber
from triage.errors import NotFound
from triage.ranking.cold_start import ColdStartScorer
from triage.ranking.serving.active_models import encode_new, ensure_active_models
from triage.ranking.serving.interest_settings import (
    InterestShare,
    refresh_interests,
    refresh_interests_quickly,
    set_interest_pause,
)
from triage.ranking.serving.model_store import ModelStore
from triage.ranking.serving.ranker import (
    DigestRules,
    Ranking,
    fill_slate,
    load_pool,
    load_profile,
    rank,
)
from triage.store import Database
from triage.subscribers.votes import record_vote

DECODING, PROTEINS = topics.rows_of("decoding"), topics.rows_of("proteins")
RULES = DigestRules(size=10, max_age_days=14, score_floor=0.01, exploration_slots=1)


@dataclass
class World:
    db: Database
    model_store: ModelStore
    reader: Subscriber
    papers: list[Paper]
    clock: StoppedClock

    def vote(self, row: int, kind: EventKind = EventKind.VOTE_UP) -> None:
        with self.db.write() as conn:
            store.events.append(
                conn,
                store.events.Event(
                    subscriber_id=self.reader.id,
                    paper_id=self.papers[row].id,
                    kind=kind,
                    at=NOON,
                    recorded_at=NOON,
                ),
            )

    def interests(self) -> dict[int, InterestShare]:
        found = refresh_interests(self.db, self.model_store, self.clock, self.reader)
        return {each.interest.number: each for each in found}

    def ranking(self, on: date = DAY) -> Ranking:
        encoder = ensure_active_models(self.db, self.model_store, self.clock, DAY).encoder
        encode_new(self.db, encoder)
        with self.db.read() as conn:
            votes = store.events.votes(conn, self.reader.id)
            profile = load_profile(conn, encoder, self.reader, votes)
            pool = load_pool(conn, encoder, on, 14)
        seen = {vote.paper_id for vote in votes}
        return rank(profile, pool, ColdStartScorer(), seen=seen, on=on, max_age_days=14)

    def topics_shown(self, on: date = DAY) -> set[str]:
        ranking = self.ranking(on)
        encoder = ensure_active_models(self.db, self.model_store, self.clock, DAY).encoder
        shown = fill_slate(ranking, RULES, ColdStartScorer(), encoder, np.random.default_rng(0))
        assert shown
        return {each.paper.categories[0] for each in shown[:-1]}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with installed(tmp_path) as database:
        papers = add_papers(database, topics.literature())
        model_store = ModelStore(tmp_path / "models", b"a key of the tests")
        reader = add_reader(database)
        made = World(database, model_store, reader, papers, StoppedClock(NOON))
        for row in (*DECODING[:5], *PROTEINS[:4]):
            made.vote(row)
        yield made


def test_interests_are_listed_with_name_number_and_share(world: World) -> None:
    found = world.interests()
    assert set(found) == {1, 2}
    assert found[1].interest.name
    assert found[2].interest.name
    assert found[1].interest.name != found[2].interest.name
    assert sum(each.share for each in found.values()) == pytest.approx(1)
    assert world.interests() == found


def test_a_new_like_changes_shares_and_no_number(world: World) -> None:
    before = world.interests()
    world.vote(PROTEINS[9])
    after = world.interests()
    proteins = world.papers[PROTEINS[0]].id
    (number,) = [n for n, each in before.items() if proteins in each.interest.papers]
    assert after[number].share > before[number].share
    assert len(after[number].interest.papers) == 5


def test_a_digest_serves_both_until_one_is_muted_and_again_when_it_is_woken(world: World) -> None:
    assert {"cs.CL", "q-bio.BM"} <= world.topics_shown()
    proteins = world.papers[PROTEINS[0]].id
    (number,) = [n for n, e in world.interests().items() if proteins in e.interest.papers]
    set_interest_pause(world.db, world.clock, world.reader, number, muted=True)
    assert world.interests()[number].share == 0
    assert "q-bio.BM" not in world.topics_shown()
    set_interest_pause(world.db, world.clock, world.reader, number)
    assert "q-bio.BM" in world.topics_shown()


def test_a_pause_ends_by_itself(world: World) -> None:
    proteins = world.papers[PROTEINS[0]].id
    (number,) = [n for n, e in world.interests().items() if proteins in e.interest.papers]
    set_interest_pause(world.db, world.clock, world.reader, number, paused_until=DAY + timedelta(2))
    assert "q-bio.BM" not in world.topics_shown(DAY + timedelta(1))
    assert "q-bio.BM" in world.topics_shown(DAY + timedelta(2))


def test_a_page_finds_the_interests_of_a_new_text_and_keeps_what_is_muted(world: World) -> None:
    def found_in(text: str) -> dict[str, tuple[int, bool]]:
        reader = replace(world.reader, interests=text)
        refresh_interests_quickly(world.db, world.model_store, world.clock, reader)
        with world.db.read() as conn:
            found = store.interests.of(conn, reader.id)
        return {each.name: (each.number, each.muted) for each in found}

    assert found_in("graph embedding") == {}, "nothing is fitted for a page"
    world.interests()
    before = found_in("graph embedding")
    number, _ = before["graph embedding"]
    set_interest_pause(world.db, world.clock, world.reader, number, muted=True)
    both = found_in("graph embedding; tactile robot")
    assert both == before | {"graph embedding": (3, True), "tactile robot": (4, False)}
    del both["graph embedding"]
    assert found_in("tactile robot") == both


def test_an_unknown_number_says_which_there_are(world: World) -> None:
    with pytest.raises(NotFound, match="none yet"):
        set_interest_pause(world.db, world.clock, world.reader, 1, muted=True)
    world.interests()
    with pytest.raises(NotFound, match="no interest 7; the numbers are 1, 2"):
        set_interest_pause(world.db, world.clock, world.reader, 7, muted=True)


def test_less_like_this_takes_from_what_it_was_shown_for_at_once(world: World) -> None:
    assert world.ranking().profile.less_of == ()
    world.vote(PROTEINS[8], EventKind.LESS_LIKE_THIS)
    assert world.ranking().profile.less_of == (None,)
    told = replace(world.ranking().profile, less_of=(Reason(ReasonKind.CATEGORY, "in q-bio.BM"),))
    encoder = ensure_active_models(world.db, world.model_store, world.clock, DAY).encoder
    with world.db.read() as conn:
        pool = load_pool(conn, encoder, DAY, 14)
    plain, less = (
        rank(each, pool, ColdStartScorer(), seen=(), on=DAY, max_age_days=14)
        for each in (replace(told, less_of=(None,)), told)
    )
    fell = {
        paper.categories[0]
        for paper, a, b in zip(plain.candidates.papers, plain.scores, less.scores, strict=True)
        if b < a
    }
    assert fell == {"q-bio.BM"}
    assert np.array_equal(plain.features, less.features)


def test_a_vote_for_less_from_a_digest_knows_what_the_digest_said(world: World) -> None:
    told = (Reason(ReasonKind.CATEGORY, "in q-bio.BM, like papers you liked"),)
    shown = impression(1, paper=world.papers[PROTEINS[8]], reasons=told)
    queue(world.db, slate(0, subscriber=world.reader, impressions=(shown,)))
    before = world.ranking()
    claims = Claims(world.reader.public_id, NOON, "5" * 20, 1, EventKind.LESS_LIKE_THIS)
    record_vote(world.db, claims, world.clock, {})
    after = world.ranking()
    assert after.profile.less_of == told
    drafts, folds = ([world.papers[row].id for row in rows[9:]] for rows in (DECODING, PROTEINS))

    def rank_of_best(ranking: Ranking, ids: list[int]) -> int:
        return min(rank for id in ids if (rank := ranking.rank_of(id)))

    assert rank_of_best(after, folds) > rank_of_best(before, folds)
    assert rank_of_best(after, drafts) == 1
