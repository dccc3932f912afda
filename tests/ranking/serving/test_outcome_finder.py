"""Why a paper was or was not in a digest, beside an account of the tables by brute force."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from tests.support.installation import rows
from tests.support.replayed_month import (
    FIRST_MERGE_ON,
    MAX_AGE_DAYS,
    Month,
    replay_month,
)
from triage import store
from triage.domain.digest_calendar import window_days
from triage.domain.paper_outcome import DigestFilter, Outcome, PaperOutcome
from triage.domain.records import EncodedPapers, MessageState, Subscriber
from triage.ranking.evidence import apply_less_like_this
from triage.ranking.features import feature_matrix
from triage.ranking.interest_clusters import cluster_interests, similarity_threshold
from triage.ranking.serving.active_models import ActiveModels, load_active_models
from triage.ranking.serving.calibrations import Calibrations
from triage.ranking.serving.outcome_finder import OutcomeFinder
from triage.ranking.serving.ranker import load_pool, load_profile
from triage.ranking.serving.user_model_cache import UserModelCache
from triage.store import Connection

pytestmark = pytest.mark.any_database("test_papers of the command line asks on each")

ONE_DAY = timedelta(days=1)
N_PAIRS = 200


@pytest.fixture(scope="module")
def month(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Month]:
    with replay_month(tmp_path_factory.mktemp("month")) as replayed:
        yield replayed


@pytest.fixture
def pair(month: Month) -> ActiveModels:
    found = load_active_models(month.app.database, month.app.model_store)
    assert found is not None
    return found


@pytest.fixture
def find(month: Month, pair: ActiveModels) -> Iterator[Callable[..., PaperOutcome]]:
    with month.app.database.read() as conn:
        outcomes = OutcomeFinder(conn, MAX_AGE_DAYS, pair)
        yield lambda reader, row, at=month.now: outcomes.find(reader, row, at)


@dataclass
class BruteForce:
    """Tells the outcome of a pair from the rows of all tables, one paper after the other."""

    month: Month
    pair: ActiveModels
    conn: Connection

    def __post_init__(self) -> None:
        database = self.month.app.database
        self.papers = {row["id"]: row for row in rows(database, "papers")}
        self.slates = {row["id"]: row for row in rows(database, "slates")}
        self.impressions = rows(database, "impressions")
        self.events = rows(database, "events")
        self.messages = rows(database, "messages")

    def work(self, row: int) -> int:
        return self.papers[row]["merged_into"] or row

    def account(self, reader: Subscriber, row: int) -> tuple[Any, ...]:
        """Return outcome, date, filter, rank, number of candidates and score."""
        for shown in self.impressions:
            is_same = self.work(shown["paper_id"]) == self.work(row)
            if shown["subscriber_id"] == reader.id and is_same:
                score = None if shown["policy"] == "recap" else shown["score"]
                on = self.slates[shown["slate_id"]]["on"]
                return Outcome.SHOWN, on, None, None, None, score
        paper = self.papers[row]
        for column, why in (
            ("merged_into", DigestFilter.MERGED),
            ("withdrawn_at", DigestFilter.WITHDRAWN),
        ):
            if paper[column]:
                return Outcome.FILTERED, None, why, None, None, None
        if not paper["is_listed"]:
            return Outcome.FILTERED, None, DigestFilter.UNLISTED, None, None, None
        on, at, days = self.last_chance(reader, paper)
        seen = self.seen(reader, on, at)
        why = self.filter(reader, paper, seen, on, days)
        if why is not None:
            return Outcome.FILTERED, on, why, None, None, None
        ids, scores, is_muted = self.ranking(reader, seen, on, at, days)
        mine = ids.index(row)
        if is_muted[mine]:
            return Outcome.FILTERED, on, DigestFilter.MUTED_INTEREST, None, None, None
        better = sum(score > scores[mine] for score in scores)
        ties = sum(score == scores[mine] for score in scores[:mine])
        return Outcome.RANKED, on, None, int(better + ties + 1), len(ids), scores[mine]

    def last_chance(self, reader: Subscriber, paper: dict[str, Any]) -> tuple[date, datetime, int]:
        sent = [
            each["on"]
            for each in self.messages
            if each["subscriber_id"] == reader.id and each["state"] == MessageState.SENT
        ]
        made = {
            each["on"]: each["created_at"]
            for each in self.slates.values()
            if each["subscriber_id"] == reader.id
        }
        for on in sorted(made, reverse=True):
            days = window_days(MAX_AGE_DAYS, sent, on)
            is_in_time = paper["first_seen_at"] <= made[on]
            if is_in_time and 0 <= (on - paper["listed_on"]).days <= days:
                return on, made[on], days
        today = max(self.month.now.date(), max(made) + ONE_DAY)
        return today, self.month.now, window_days(MAX_AGE_DAYS, sent, today)

    def seen(self, reader: Subscriber, on: date, at: datetime) -> set[int]:
        voted = {
            self.work(each["paper_id"])
            for each in self.events
            if each["subscriber_id"] == reader.id and each["recorded_at"] < at
        }
        return voted | {
            self.work(each["paper_id"])
            for each in self.impressions
            if each["subscriber_id"] == reader.id and self.slates[each["slate_id"]]["on"] < on
        }

    def filter(
        self, reader: Subscriber, paper: dict[str, Any], seen: set[int], on: date, days: int
    ) -> DigestFilter | None:
        if paper["id"] in seen:
            return DigestFilter.SEEN
        mine = [each["evidence"] for each in self.events if each["subscriber_id"] == reader.id]
        if {evidence.get("own") for evidence in mine}.intersection(paper["authors"]):
            return DigestFilter.OWN
        if not on - days * ONE_DAY <= paper["listed_on"] <= on:
            return DigestFilter.DATE
        words = f"{paper['title']} {paper['abstract']}".lower().replace(".", " ").split()
        return DigestFilter.KEYWORD if set(words) & set(reader.exclude_keywords) else None

    def ranking(
        self, reader: Subscriber, seen: set[int], on: date, at: datetime, days: int
    ) -> tuple[list[int], list[float], list[bool]]:
        ids = [
            id
            for id, paper in self.papers.items()
            if paper["first_seen_at"] <= at
            and not (paper["merged_into"] or paper["withdrawn_at"])
            and paper["is_listed"]
            and self.filter(reader, paper, seen, on, days) is None
        ]
        encoder, scorer = self.pair.encoder, self.pair.scorer
        pool = load_pool(self.conn, encoder, on, days)
        place = {paper.id: row for row, paper in enumerate(pool.papers)}
        candidates: EncodedPapers = pool.select(np.array([place[id] for id in ids]))
        votes = store.events.votes(self.conn, reader.id, recorded_before=at)
        learner = UserModelCache(encoder).on(on)
        profile = load_profile(self.conn, encoder, reader, votes, learner)
        interests = cluster_interests(profile, on, similarity_threshold(pool.encodings.latent))
        scores = scorer.score(feature_matrix(profile, candidates, on))
        scores = apply_less_like_this(scores, profile, candidates, interests, on)
        nearest = interests.nearest(candidates.encodings.latent)
        muted = [bool(n >= 0 and interests.clusters[n].rests(on)) for n in nearest]
        listed = np.array([self.papers[id]["listed_on"].toordinal() for id in ids])
        calibration = Calibrations(self.conn).of(self.conn, reader.id, votes, on)
        return ids, calibration.chances(scores, listed)[0].tolist(), muted


def test_sampled_pairs_have_the_outcome_that_brute_force_finds(
    month: Month, pair: ActiveModels, find: Callable[..., PaperOutcome]
) -> None:
    rng = np.random.default_rng(1)
    pairs = [(reader, row) for reader in month.readers for row in month.rows]
    chosen = [pairs[n] for n in rng.choice(len(pairs), N_PAIRS, replace=False)]
    chosen += [(reader, month.rows[-1]) for reader in month.readers]
    kinds: Counter[str] = Counter()
    with month.app.database.read() as conn:
        brute_force = BruteForce(month, pair, conn)
        withdrawn = [id for id, paper in brute_force.papers.items() if paper["withdrawn_at"]]
        chosen += [(reader, id) for reader in month.readers for id in withdrawn]
        for reader, row in chosen:
            found, expected = find(reader, row), brute_force.account(reader, row)
            *rest, score = expected
            assert [found.outcome, found.on, found.filter, found.rank, found.of] == rest
            assert found.score == (None if score is None else pytest.approx(score, rel=1e-9))
            assert found.reasons or found.score is None
            kinds[found.filter or found.outcome] += 1
    assert set(kinds) == {Outcome.SHOWN, Outcome.RANKED, *DigestFilter}


def test_the_candidates_of_a_past_digest_are_those_that_it_had(
    month: Month, find: Callable[..., PaperOutcome]
) -> None:
    database = month.app.database
    n_candidates = {
        (each["subscriber_id"], each["on"]): each["n_candidates"]
        for each in rows(database, "slates")
    }
    # What was merged or withdrawn later is no candidate any more.
    before_merges = [
        (reader.id, found)
        for reader in month.readers
        for row in month.rows[::5]
        if (found := find(reader, row)).outcome is Outcome.RANKED
        and found.on is not None
        and found.on < FIRST_MERGE_ON
    ]
    assert len(before_merges) > 20
    for reader_id, found in before_merges:
        assert found.of == n_candidates[reader_id, found.on]
