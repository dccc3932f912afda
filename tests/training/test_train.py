"""Retraining on a log: a ranker goes live only if later digests show that it is better."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.random import Generator
from sqlalchemy import insert, select, update

from tests.support import databases
from tests.support.factories import DAY, NOON, impression, slate
from tests.support.fakes import StoppedClock
from tests.support.installation import add_reader, fetched, installed, stored_papers, take_in
from triage import store
from triage.domain.records import F32, EventKind, Origin
from triage.errors import ModelError, NotEnoughFeedback, NotFound
from triage.ranking.features import FEATURE_VERSION, FEATURES, GROUPS
from triage.ranking.serving.active_models import ensure_active_models
from triage.ranking.serving.model_store import ModelStore
from triage.ranking.serving.model_versions import delete_old_models, promote_version, rollback
from triage.store import Database, open_database
from triage.store.model_versions import MODELS_KEPT
from triage.store.tables import events, impressions, papers
from triage.training import train as train_module
from triage.training.promotion_test import FEWEST_SLATES, Winner
from triage.training.train import TrainReport, fit, load_training_rows, train, train_in_words

KEY = b"a key of the tests"
SIZE = 8
TASTE = FEATURES.index("upvotes_log1p")
WORDS = ("draft", "token", "folding", "protein", "robot", "grasping", "graph", "spectral")

trained_alike = pytest.mark.any_database("the tests before it read logs on each")
Opinion = Callable[[F32, Generator], list[EventKind | None]]
"""What a reader votes on the papers of a slate, whose features are float32 (n, n_features)."""


@pytest.fixture(scope="module")
def stocked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield the address of a database with a hundred papers, which tests copy."""
    with databases.migrated_url(tmp_path_factory.mktemp("stocked")) as url:
        opened = open_database(url)
        take_in(
            opened,
            [
                fetched(n, title=f"Paper {n}", abstract=f"{WORDS[n % 8]} and {WORDS[n // 8 % 8]}")
                for n in range(100)
            ],
        )
        opened.close()
        yield url


@pytest.fixture
def database(stocked: str, tmp_path: Path) -> Iterator[Database]:
    with databases.opened_copy(stocked, tmp_path) as opened:
        yield opened


@dataclass(frozen=True)
class Taught:
    """An installation that was trained once on readers' taste, and the report of that."""

    database: Database
    model_store: ModelStore
    report: TrainReport


@pytest.fixture(scope="module")
def taught_once(
    stocked: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Path, TrainReport]]:
    """Yield address, models and report of such an installation, which tests copy."""
    folder = tmp_path_factory.mktemp("taught")
    with databases.url_of_copy(stocked, folder) as url:
        opened = open_database(url)
        report = train_on(opened, ModelStore(folder / "models", KEY), taste)
        opened.close()
        yield url, folder / "models", report


@pytest.fixture
def taught(taught_once: tuple[str, Path, TrainReport], tmp_path: Path) -> Iterator[Taught]:
    url, models, report = taught_once
    shutil.copytree(models, tmp_path / "models")
    with databases.opened_copy(url, tmp_path) as opened:
        yield Taught(opened, ModelStore(tmp_path / "models", KEY), report)


@pytest.fixture
def model_store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "models", KEY)


@pytest.fixture
def clock() -> StoppedClock:
    return StoppedClock()


def taste(features: F32, _rng: Generator) -> list[EventKind | None]:
    """Save what many upvoted, reject what few did: the cold scorer hardly looks at upvotes."""
    votes: list[EventKind | None] = []
    for upvotes in features[:, TASTE]:
        if upvotes > 3.5:
            votes.append(EventKind.SAVE)
        else:
            votes.append(EventKind.VOTE_DOWN if upvotes < 1 else None)
    return votes


def whim(features: F32, rng: Generator) -> list[EventKind | None]:
    """Vote without any reason."""
    kinds = [EventKind.VOTE_UP, EventKind.VOTE_DOWN, None, None]
    return [kinds[int(n)] for n in rng.integers(0, 4, len(features))]


def silence(features: F32, _rng: Generator) -> list[EventKind | None]:
    return [None] * len(features)


def half_hearted(features: F32, rng: Generator) -> list[EventKind | None]:
    """Follow one's taste every other time."""
    pairs = zip(taste(features, rng), whim(features, rng), strict=True)
    return [pair[int(rng.integers(2))] for pair in pairs]


def permuted(features: F32, rng: Generator) -> list[EventKind | None]:
    """Cast as many votes of each kind as by taste, on papers that the dice choose."""
    votes = taste(features, rng)
    return [votes[int(n)] for n in rng.permutation(len(votes))]


def contrary(features: F32, rng: Generator) -> list[EventKind | None]:
    """Save what few upvoted."""
    opposite = {EventKind.SAVE: EventKind.VOTE_DOWN, EventKind.VOTE_DOWN: EventKind.SAVE}
    return [opposite.get(kind) if kind else None for kind in taste(features, rng)]


def by_interest(features: F32, _rng: Generator) -> list[EventKind | None]:
    """Save what is near to the interests, as the cold scorer expects."""
    near = features[:, FEATURES.index("words_interest_max")] > 0.2
    return [EventKind.SAVE if each else None for each in near]


def show_and_hear(
    database: Database,
    opinion: Opinion,
    *,
    n_readers: int = 8,
    n_days: int = 8,
    seed: int = 0,
    origin: Origin = Origin.PERSON,
    first_day: int = 0,
    later: tuple[int, Opinion] | None = None,
) -> None:
    """Log a digest a day for each reader, and what they voted.

    Args:
        first_day: counted from DAY; readers are added on day 0.
        later: from which day on readers have another opinion, and which.
    """
    rng = np.random.default_rng(seed)
    stock = stored_papers(database)
    if first_day:
        with database.read() as conn:
            found = [store.subscribers.by_id(conn, n) for n in range(1, n_readers + 1)]
        readers = [reader for reader in found if reader]
    else:
        readers = [add_reader(database, n) for n in range(1, n_readers + 1)]
    with database.write() as conn:
        for day in range(first_day, first_day + n_days):
            if later and day >= later[0]:
                opinion = later[1]
            on = DAY + timedelta(days=day)
            run_id = store.jobs.begin_run(conn, on, NOON)
            for reader in readers:
                features = np.zeros((SIZE, len(FEATURES)), np.float32)
                features[:, TASTE] = rng.uniform(0, 5, SIZE)
                for name, most in (("words_interest_max", 0.3), ("age_days", 14)):
                    features[:, FEATURES.index(name)] = rng.uniform(0, most, SIZE)
                shown = tuple(
                    impression(i + 1, paper=stock[day * SIZE + i], features=features[i])
                    for i in range(SIZE)
                )
                chosen = slate(
                    0,
                    public_id=f"{reader.id:010x}{day:010x}",
                    subscriber=reader,
                    on=on,
                    impressions=shown,
                    feature_version=FEATURE_VERSION,
                )
                (slate_id,) = store.slates.save_each(conn, [chosen], run_id, NOON).values()
                for each, kind in zip(shown, opinion(features, rng), strict=True):
                    if kind is not None:
                        store.events.append(
                            conn,
                            store.events.Event(
                                subscriber_id=reader.id,
                                paper_id=each.paper.id,
                                slate_id=slate_id,
                                kind=kind,
                                origin=origin,
                                at=NOON + timedelta(days=day),
                                recorded_at=NOON,
                            ),
                        )


def served(database: Database) -> list[tuple[str, str]]:
    """Return what served, newest first, as (scorer, encoder)."""
    with database.read() as conn:
        return [
            (row.scorer_version, row.encoder_version) for row in store.model_versions.history(conn)
        ]


def train_on(
    database: Database, model_store: ModelStore, opinion: Opinion, **log: Any
) -> TrainReport:
    show_and_hear(database, opinion, **log)
    return train(database, model_store, StoppedClock())


def test_while_nobody_votes_there_is_nothing_to_learn(
    database: Database, model_store: ModelStore
) -> None:
    with pytest.raises(NotEnoughFeedback, match="nobody has voted on a digest yet"):
        train_on(database, model_store, silence)


def test_votes_of_scanners_teach_nothing(database: Database, model_store: ModelStore) -> None:
    show_and_hear(database, taste, origin=Origin.SUSPECTED_SCANNER)
    with pytest.raises(NotEnoughFeedback, match="nobody has voted"):
        train(database, model_store, StoppedClock())


def test_too_few_votes_are_told_with_how_many_it_takes(
    database: Database, model_store: ModelStore
) -> None:
    with pytest.raises(NotEnoughFeedback, match="are too few to train on; the minimum is"):
        train_on(database, model_store, taste, n_readers=1, n_days=2)


def test_a_ranker_that_learned_a_real_taste_goes_live(taught: Taught) -> None:
    database, model_store, report = taught.database, taught.model_store, taught.report
    assert report.promoted
    assert report.card["challenger_ndcg"] > report.card["serving_ndcg"] + 0.05
    assert report.why.startswith("better than what served: nDCG@10 ")
    [now, before] = served(database)
    assert now == (report.version, before[1])
    assert before[0] == report.card["serving_version"] == model_store.pretrained_scorer().version
    assert (
        ensure_active_models(database, model_store, StoppedClock(), DAY).scorer.version
        == report.version
    )


def test_what_serves_is_never_judged_by_digests_that_it_has_learned_from(taught: Taught) -> None:
    first = taught.report
    assert first.promoted
    again = train(taught.database, taught.model_store, StoppedClock())
    assert again.card["serving_version"] == first.version
    assert again.card["judged_by"]["slates"] == 0
    assert not again.promoted
    assert "too few to judge by" in again.why


@pytest.fixture
def n_tries(request: pytest.FixtureRequest) -> int:
    return 20 if request.config.getoption("--full") else 2


def tries(tmp_path: Path, n: int, opinion: Opinion, **log: Any) -> list[TrainReport]:
    """Train in `n` installations of their own, whose dice differ."""
    reports = []
    for seed in range(n):
        with installed(tmp_path) as database:
            take_in(database, [fetched(i, title=f"Paper {i} {WORDS[i % 8]}") for i in range(100)])
            model_store = ModelStore(tmp_path / "models", KEY)
            reports.append(train_on(database, model_store, opinion, seed=seed, **log))
        for path in tmp_path.glob("triage.db*"):
            path.unlink()
    return reports


@trained_alike
@pytest.mark.parametrize(
    "log",
    [{"opinion": permuted}, {"opinion": permuted, "later": (6, taste)}, {"opinion": whim}],
    ids=["all votes permuted", "those that teach permuted", "votes without a reason"],
)
def test_rankers_that_learned_from_permuted_votes_are_refused(
    tmp_path: Path, n_tries: int, log: dict[str, Any]
) -> None:
    reports = tries(tmp_path, n_tries, **log)
    # At a level of 0.005, chance promotes one of so few logs rarely, and two hardly ever.
    assert sum(report.promoted for report in reports) <= (n_tries >= 20)


@trained_alike
def test_rankers_that_are_truly_better_go_live_in_nine_of_ten_tries(
    tmp_path: Path, n_tries: int
) -> None:
    # The pretrained ranker knows a part of this taste: it takes 40 readers to show the rest.
    reports = tries(tmp_path, n_tries, half_hearted, n_readers=40)
    assert sum(report.promoted for report in reports) >= 0.9 * n_tries - (n_tries < 20)


def test_the_pretrained_ranker_takes_over_from_what_has_become_worse(
    database: Database, model_store: ModelStore
) -> None:
    first = train_on(database, model_store, contrary, n_readers=60)
    assert first.promoted
    show_and_hear(database, by_interest, n_readers=60, first_day=8, n_days=3, seed=1)
    report = train(database, model_store, StoppedClock())
    assert report.winner is Winner.PRETRAINED, report.why
    assert report.why.startswith("what served is worse than the pretrained ranker")
    cold = model_store.pretrained_scorer().version
    assert served(database)[0] == (cold, served(database)[1][1])
    assert ensure_active_models(database, model_store, StoppedClock(), DAY).scorer.version == cold
    # One command undoes that, too.
    assert rollback(database, model_store, StoppedClock()).scorer.version == first.version


def test_a_ranker_that_knows_newer_votes_follows_one_that_does_not(
    database: Database, model_store: ModelStore
) -> None:
    assert train_on(database, model_store, contrary, n_readers=24, n_days=4).promoted
    show_and_hear(database, taste, n_readers=24, first_day=4, n_days=8, seed=1)
    report = train(database, model_store, StoppedClock())
    assert report.promoted
    assert report.card["taught_until"] == (DAY + timedelta(days=11)).isoformat()


def test_too_few_later_digests_change_nothing(database: Database, model_store: ModelStore) -> None:
    report = train_on(database, model_store, taste, n_readers=2, n_days=8)
    assert report.card["judged_by"]["slates"] < FEWEST_SLATES
    assert not report.promoted
    assert "too few to judge by" in report.why
    assert len(served(database)) == 1
    # It is kept, so that it can be looked at and promoted by hand.
    promote_version(database, model_store, StoppedClock(), report.version)
    assert served(database)[0][0] == report.version


def test_digests_of_one_day_only_cannot_be_judged_by(
    database: Database, model_store: ModelStore
) -> None:
    report = train_on(database, model_store, taste, n_readers=12, n_days=1)
    assert (report.promoted, report.card["judged_by"]["slates"]) == (False, 0)
    assert report.card["challenger_ndcg"] is None


def test_the_report_counts_the_digests_that_were_voted_on(
    database: Database, model_store: ModelStore
) -> None:
    show_and_hear(database, taste)
    with database.read() as conn:
        n_events = len(store.events.all_votes(conn))
    report = train(database, model_store, StoppedClock())
    assert report.n_votes == n_events
    assert report.n_slates <= 64
    assert report.n_impressions == SIZE * report.n_slates


def test_the_same_log_gives_the_same_ranker(
    database: Database, model_store: ModelStore, taught_once: tuple[str, Path, TrainReport]
) -> None:
    assert train_on(database, model_store, taste) == taught_once[2]


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_the_same_log_gives_the_same_bytes(taught: Taught, tmp_path: Path) -> None:
    report = taught.report
    again = ModelStore(tmp_path / "again", KEY)
    lessons, _ = load_training_rows(taught.database)
    encoder = taught.model_store.load_encoder(served(taught.database)[0][1])
    assert fit(again, lessons, encoder).version == report.version
    one, other = (files(tmp_path / name / report.version) for name in ("models", "again"))
    assert one == other
    assert len(one) == 2


def test_a_damaged_model_is_no_reason_not_to_train(taught: Taught, tmp_path: Path) -> None:
    database, model_store, first = taught.database, taught.model_store, taught.report
    for path in (tmp_path / "models" / first.version).iterdir():
        path.write_bytes(path.read_bytes()[:-20])
    report = train(database, ModelStore(tmp_path / "models", KEY), StoppedClock())
    assert report.card["serving_version"] == model_store.pretrained_scorer().version
    assert report.promoted
    assert served(database)[0][0] == report.version


def test_damaged_feature_rows_are_left_out(database: Database, model_store: ModelStore) -> None:
    show_and_hear(database, taste)
    bad = np.full(len(FEATURES), np.nan, "<f4").tobytes()
    with database.write() as conn:
        for position, blob in ((1, bad), (2, b"short")):
            conn.execute(
                update(impressions)
                .where(impressions.c.position == position, impressions.c.slate_id < 5)
                .values(features=blob)
            )
    lessons, _ = load_training_rows(database)
    assert np.isfinite(lessons.log.features).all()
    assert train(database, model_store, StoppedClock()).promoted


def test_votes_of_one_kind_only_teach_nothing_and_say_so(
    database: Database, model_store: ModelStore
) -> None:
    def hate(features: F32, _rng: Generator) -> list[EventKind | None]:
        return [EventKind.VOTE_DOWN] * len(features)

    show_and_hear(database, hate)
    with pytest.raises(NotEnoughFeedback, match="0 liked, in 0 digests with both"):
        train(database, model_store, StoppedClock())
    assert "nothing to train on: " in train_in_words(database, model_store, StoppedClock())


def test_likes_of_everything_teach_nothing_and_say_so(
    database: Database, model_store: ModelStore
) -> None:
    def love(features: F32, _rng: Generator) -> list[EventKind | None]:
        return [EventKind.SAVE] * len(features)

    show_and_hear(database, love)
    with pytest.raises(NotEnoughFeedback, match="in 0 digests with both are too few"):
        train(database, model_store, StoppedClock())


def test_one_subscriber_alone_can_train_a_ranker(
    database: Database, model_store: ModelStore
) -> None:
    report = train_on(database, model_store, taste, n_readers=1, n_days=11)
    assert report.card["judged_by"]["slates"] < 8
    first = served(database)
    assert [scorer for scorer, _ in first] == [model_store.pretrained_scorer().version]


def test_a_hundred_thousand_likes_of_a_reader_are_no_trouble(
    database: Database, model_store: ModelStore, request: pytest.FixtureRequest
) -> None:
    n_likes = 100_000 if request.config.getoption("--full") else 20_000
    show_and_hear(database, taste)
    with database.write() as conn:
        paper = conn.scalar(select(papers.c.id).limit(1))
        like = {
            "subscriber_id": 1,
            "paper_id": paper,
            "slate_id": None,
            "kind": EventKind.VOTE_UP,
            "origin": Origin.PERSON,
            "at": NOON,
            "recorded_at": NOON,
            "evidence": {},
        }
        conn.execute(insert(events), [like] * n_likes)
    assert train(database, model_store, StoppedClock()).promoted


def test_of_too_large_a_log_whole_subscribers_are_left_out_and_the_card_says_so(
    taught: Taught, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, _ = load_training_rows(taught.database)
    half, _ = load_training_rows(taught.database, every=2)
    own = whole.log.subscriber_ids % 2 == 0
    assert half.log.features.tolist() == whole.log.features[own].tolist()
    assert half.marks.tolist() == whole.marks[own].tolist()
    assert card_of(taught.database, taught.report.version)["log_of"] == "every subscriber"
    monkeypatch.setattr(train_module, "MOST_ROWS", len(whole) - 1)
    report = train(taught.database, taught.model_store, StoppedClock())
    assert report.card["log_of"] == "one subscriber in 2"
    assert (report.n_impressions, report.n_votes) == (len(half), half.n_votes)


def test_a_model_card_tells_what_a_ranker_is_made_of(taught: Taught) -> None:
    report = taught.report
    card = card_of(taught.database, report.version)
    assert card["why"] == report.why
    assert card["taught_until"] == (DAY + timedelta(days=7)).isoformat()
    assert card["taught_by"]["subscribers"] == 8
    assert card["judged_by"]["from"] == (DAY + timedelta(days=5)).isoformat()
    plain = ("taste_likes", "words_like_mean", "dense_like_mean")
    for name in ("challenger", "serving", "pretrained", "challenger - serving", *plain):
        figure = card["ndcg_at_10"][name]
        assert figure["low"] <= figure["mean"] <= figure["high"]
    assert card["importances"][GROUPS["upvotes_log1p"]] > card["importances"][GROUPS["age_days"]]
    assert sum(card["importances"].values()) == pytest.approx(1, abs=1e-3)
    assert card["parameters"]["objective"] == "lambdarank"
    assert {"lightgbm", "numpy"} <= set(card["libraries"])


def test_a_model_card_holds_figures_that_json_can_hold(
    database: Database, model_store: ModelStore
) -> None:
    report = train_on(database, model_store, taste, n_readers=12, n_days=1)
    card = card_of(database, report.version)
    assert card["n_votes"] == report.n_votes
    assert card["challenger_ndcg"] is None
    assert card["judged_by"]["from"] is None


def card_of(database: Database, version: str) -> dict[str, Any]:
    with database.read() as conn:
        row = store.model_versions.get(conn, version)
    assert row is not None
    card: dict[str, Any] = json.loads(json.dumps(row.metrics, allow_nan=False))
    return card


# -- promotion and roll-back -----------------------------------------------------------------------


@pytest.fixture
def pairs(
    database: Database, model_store: ModelStore, clock: StoppedClock
) -> list[tuple[str, str]]:
    """Let three pairs serve, one after the other, each with its own encoder; return them."""
    ensure_active_models(database, model_store, clock, DAY)
    for n in (1, 2):
        encoder = model_store.fit_encoder([f"{a} and {b} {n}" for a in WORDS for b in WORDS[n:]])
        X = np.random.default_rng(n).random((80, len(FEATURES))).astype(np.float32)
        relevance = (X[:, TASTE] > 0.5).astype(np.int32)
        ones = np.ones(80, np.float32)
        scorer = model_store.fit_scorer(X, relevance, [10] * 8, ones, encoder.version)
        with database.write() as conn:
            store.model_versions.add(
                conn, scorer.version, "scorer", encoder.version, {}, clock.now()
            )
        promote_version(database, model_store, clock, scorer.version)
    return served(database)[::-1]


def test_a_scorer_is_promoted_together_with_its_encoder(
    database: Database, model_store: ModelStore, pairs: list[tuple[str, str]]
) -> None:
    assert len({encoder for _, encoder in pairs}) == 3
    pair = ensure_active_models(database, model_store, StoppedClock(), DAY)
    assert (pair.scorer.version, pair.encoder.version) == pairs[2]
    assert pair.scorer.encoder_version == pair.encoder.version


def test_rolling_back_twice_goes_two_steps_back(
    database: Database,
    model_store: ModelStore,
    clock: StoppedClock,
    pairs: list[tuple[str, str]],
) -> None:
    for wanted in (pairs[1], pairs[0]):
        pair = rollback(database, model_store, clock)
        assert (pair.scorer.version, pair.encoder.version) == wanted
        assert served(database)[0] == wanted
    with pytest.raises(NotFound, match="nothing served before"):
        rollback(database, model_store, clock)
    # What happened stays written down.
    assert len(served(database)) == 5


def test_after_a_roll_back_another_promotion_can_be_rolled_back(
    database: Database,
    model_store: ModelStore,
    clock: StoppedClock,
    pairs: list[tuple[str, str]],
) -> None:
    rollback(database, model_store, clock)
    promote_version(database, model_store, clock, pairs[2][0])
    pair = rollback(database, model_store, clock)
    assert (pair.scorer.version, pair.encoder.version) == pairs[1]


def test_what_cannot_be_loaded_is_not_promoted(
    database: Database,
    model_store: ModelStore,
    clock: StoppedClock,
    pairs: list[tuple[str, str]],
) -> None:
    for version in ("unknown", pairs[1][1]):
        with pytest.raises(NotFound, match="triage model list"):
            promote_version(database, model_store, clock, version)
    with database.write() as conn:
        store.model_versions.add(conn, "lm-lost", "scorer", pairs[1][1], {}, clock.now())
    with pytest.raises(ModelError):
        promote_version(database, model_store, clock, "lm-lost")
    assert served(database)[0] == pairs[2]


def test_nothing_served_means_nothing_to_roll_back_to(
    database: Database, model_store: ModelStore, clock: StoppedClock
) -> None:
    with pytest.raises(NotFound, match="nothing served before"):
        rollback(database, model_store, clock)


# -- what is kept ----------------------------------------------------------------------------------


def keep_a_model(
    database: Database, model_store: ModelStore, n: int, encoder: str, clock: StoppedClock
) -> str:
    X = np.random.default_rng(n).random((80, len(FEATURES))).astype(np.float32)
    relevance = (X[:, TASTE] > 0.5).astype(np.int32)
    scorer = model_store.fit_scorer(X, relevance, [10] * 8, np.ones(80, np.float32), encoder)
    clock.sleep(3600)
    with database.write() as conn:
        store.model_versions.add(conn, scorer.version, "scorer", encoder, {}, clock.now())
    return scorer.version


def test_old_models_are_deleted_but_none_that_a_roll_back_needs(
    database: Database,
    model_store: ModelStore,
    clock: StoppedClock,
    pairs: list[tuple[str, str]],
    tmp_path: Path,
) -> None:
    made = [
        keep_a_model(database, model_store, n, pairs[2][1], clock)
        for n in range(100, 103 + MODELS_KEPT)
    ]
    assert set(delete_old_models(database, model_store, clock)) == set(made[:3])
    kept = {path.name for path in (tmp_path / "models").iterdir()}
    assert kept == set(made[3:]) | {name for pair in pairs[1:] for name in pair} | {pairs[0][1]}
    assert "deleted_at" in card_of(database, made[0])
    assert delete_old_models(database, model_store, clock) == []
    for wanted in (pairs[1], pairs[0]):
        pair = rollback(database, model_store, clock)
        assert (pair.scorer.version, pair.encoder.version) == wanted
    with pytest.raises(ModelError):
        promote_version(database, model_store, clock, made[0])


def test_training_leaves_no_files_that_nobody_knows(taught: Taught, tmp_path: Path) -> None:
    with taught.database.read() as conn:
        known = {row.version for row in store.model_versions.everything(conn)}
    assert {path.name for path in (tmp_path / "models").iterdir()} == known
