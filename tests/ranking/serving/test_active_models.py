"""Which pair ranks: mail goes out whatever happened to the model files."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
import structlog

from tests.support.factories import DAY, NOON
from tests.support.fakes import StoppedClock
from tests.support.installation import add_papers, add_reader, fetched, installed, rows, take_in
from tests.support.topics import literature
from triage import store
from triage.domain.protocols import Scorer
from triage.domain.records import EventKind
from triage.errors import ModelError, NotFound
from triage.ranking.encoder.text_encoder import TextEncoder
from triage.ranking.features import FEATURES
from triage.ranking.serving.active_models import (
    PAIRS_KEPT,
    encode_new,
    encode_stored,
    encoder_due,
    ensure_active_models,
    fit_encoder,
    promote,
)
from triage.ranking.serving.model_store import ModelStore
from triage.store import Database

KEY = b"a key of the tests"


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """A database with thirty papers on two topics."""
    with installed(tmp_path) as opened:
        add_papers(opened, literature()[:30])
        yield opened


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return tmp_path / "models"


@pytest.fixture
def model_store(models: Path) -> ModelStore:
    return ModelStore(models, KEY)


@pytest.fixture
def clock() -> StoppedClock:
    return StoppedClock()


def add_more(database: Database, n: int) -> None:
    take_in(database, [fetched(1000 + i, title=f"Tactile gripper number {i}") for i in range(n)])


def trained(model_store: ModelStore, encoder_version: str, seed: int = 0) -> Scorer:
    rng = np.random.default_rng(seed)
    X = rng.random((80, len(FEATURES))).astype(np.float32)
    relevance = (X[:, 0] > 0.5).astype(np.int32)
    weights = np.ones(80, np.float32)
    return model_store.fit_scorer(X, relevance, [10] * 8, weights, encoder_version)


def history(database: Database) -> list[tuple[str, str]]:
    with database.read() as conn:
        found = store.model_versions.history(conn)
    return [(each.scorer_version, each.encoder_version) for each in found]


def versions_with_vectors(database: Database) -> set[str]:
    return {row["encoder_version"] for row in rows(database, "encodings")}


# -- the first pair --------------------------------------------------------------------------------


def test_without_papers_there_is_nothing_to_fit(
    tmp_path: Path, model_store: ModelStore, clock: StoppedClock
) -> None:
    with (
        installed(tmp_path) as empty,
        pytest.raises(NotFound, match="triage papers import"),
    ):
        ensure_active_models(empty, model_store, clock, DAY)


def test_the_first_time_an_encoder_is_fitted_and_serves_with_the_pretrained_ranker(
    database: Database, model_store: ModelStore, clock: StoppedClock
) -> None:
    pair = ensure_active_models(database, model_store, clock, DAY)
    assert pair.scorer.version == model_store.pretrained_scorer().version
    assert history(database) == [(pair.scorer.version, pair.encoder.version)]
    with database.read() as conn:
        fitted = store.model_versions.get(conn, pair.encoder.version)
    assert fitted is not None
    assert fitted.metrics == {"n_papers": 30}


def test_an_encoder_is_told_who_wrote_what(
    database: Database,
    model_store: ModelStore,
    clock: StoppedClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("triage.ranking.encoder.author_metric.FEWEST_GROUPS", 1)
    fitted = fit_encoder(database, model_store, clock)
    with database.read() as conn:
        papers = list(store.papers.iterate(conn))
    texts, authors = [p.encoded_text for p in papers], [p.authors for p in papers]
    assert fitted.version == TextEncoder.fit(texts, authors).version
    assert fitted.version != TextEncoder.fit(texts).version


def test_an_encoder_is_told_who_likes_what(
    database: Database,
    model_store: ModelStore,
    clock: StoppedClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("triage.ranking.encoder.text_encoder.FEWEST_READERS", 2)
    readers = [add_reader(database, n) for n in (1, 2)]
    with database.read() as conn:
        papers = list(store.papers.iterate(conn))
    with database.write() as conn:
        for reader in readers:
            for row, kind in (
                (3, "vote_up"),
                (4, "save"),
                (5, "vote_up"),
                (6, "vote_up"),
                (5, "vote_down"),
            ):
                store.events.append(
                    conn,
                    store.events.Event(
                        subscriber_id=reader.id,
                        paper_id=papers[row].id,
                        kind=EventKind(kind),
                        at=NOON,
                        recorded_at=NOON,
                    ),
                )
    fitted = fit_encoder(database, model_store, clock)
    likes = {reader.id: np.array([3, 4, 6]) for reader in readers}
    texts, authors = [p.encoded_text for p in papers], [p.authors for p in papers]
    listed = [p.listed_on for p in papers]
    assert fitted.since
    assert fitted.version == TextEncoder.fit(texts, authors, likes, listed).version


def test_asked_again_the_same_pair_serves_and_nothing_is_written(
    database: Database, model_store: ModelStore, clock: StoppedClock, models: Path
) -> None:
    first = ensure_active_models(database, model_store, clock, DAY)
    again = ensure_active_models(database, ModelStore(models, KEY), clock, DAY)
    assert again.encoder.version == first.encoder.version
    assert len(history(database)) == 1


def test_after_an_upgrade_the_new_pretrained_ranker_serves_on_the_same_encoder(
    database: Database, model_store: ModelStore, clock: StoppedClock
) -> None:
    before = ensure_active_models(database, model_store, clock, DAY)
    with database.write() as conn:
        store.model_versions.promote(conn, "cold-1", before.encoder.version, "by hand", clock.now())
    after = ensure_active_models(database, model_store, clock, DAY)
    assert after.encoder.version == before.encoder.version
    assert after.scorer.version == model_store.pretrained_scorer().version


# -- the encoder ages ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n_more", "after", "refitted"), [(15, 0, True), (14, 0, False), (1, 7, True), (0, 400, False)]
)
def test_under_the_pretrained_ranker_a_due_encoder_is_fitted_anew(
    database: Database,
    model_store: ModelStore,
    clock: StoppedClock,
    n_more: int,
    after: int,
    refitted: bool,
) -> None:
    first = ensure_active_models(database, model_store, clock, DAY)
    add_more(database, n_more)
    later = ensure_active_models(database, model_store, clock, DAY + timedelta(days=after))
    assert (later.encoder.version != first.encoder.version) is refitted
    assert len(history(database)) == 1 + refitted


def test_under_a_trained_scorer_the_encoder_stays(
    database: Database, model_store: ModelStore, clock: StoppedClock
) -> None:
    first = ensure_active_models(database, model_store, clock, DAY)
    promote(database, clock, trained(model_store, first.encoder.version), first.encoder, "better")
    add_more(database, 60)
    later = ensure_active_models(database, model_store, clock, DAY + timedelta(days=30))
    assert later.encoder.version == first.encoder.version
    assert later.scorer.version != first.scorer.version


# -- model files that are gone or damaged ----------------------------------------------------------


@pytest.fixture
def two_trained(
    database: Database, model_store: ModelStore, clock: StoppedClock
) -> tuple[str, str, str]:
    """Promote two trained scorers; return the versions of the encoder and of both."""
    pair = ensure_active_models(database, model_store, clock, DAY)
    scorers = [trained(model_store, pair.encoder.version, seed) for seed in (1, 2)]
    for scorer in scorers:
        promote(database, clock, scorer, pair.encoder, "better")
    return pair.encoder.version, scorers[0].version, scorers[1].version


def serves(database: Database, models: Path, on: date = DAY) -> tuple[str, str]:
    """Return the versions of what serves in a process that has loaded nothing yet."""
    with structlog.testing.capture_logs():
        pair = ensure_active_models(database, ModelStore(models, KEY), StoppedClock(), on)
    return pair.encoder.version, pair.scorer.version


def test_whole_files_serve(
    database: Database, models: Path, two_trained: tuple[str, str, str]
) -> None:
    encoder, _, newest = two_trained
    assert serves(database, models) == (encoder, newest)


@pytest.mark.parametrize("harm", ["deleted", "emptied", "changed"])
def test_without_the_newest_scorer_the_one_before_serves(
    database: Database, models: Path, two_trained: tuple[str, str, str], harm: str
) -> None:
    encoder, before, newest = two_trained
    do_harm(models / newest, harm)
    assert serves(database, models) == (encoder, before)
    # A fall-back is no decision: the history stays, so the restored files serve again.
    assert history(database)[0] == (newest, encoder)


@pytest.mark.parametrize("harm", ["deleted", "emptied", "changed"])
def test_without_any_trained_scorer_the_cold_one_serves(
    database: Database, models: Path, two_trained: tuple[str, str, str], harm: str
) -> None:
    encoder, before, newest = two_trained
    do_harm(models / newest, harm)
    do_harm(models / before, harm)
    assert serves(database, models) == (
        encoder,
        ModelStore(models, KEY).pretrained_scorer().version,
    )


@pytest.mark.parametrize("harm", ["deleted", "emptied", "changed"])
def test_without_its_encoder_a_new_one_is_fitted(
    database: Database, models: Path, two_trained: tuple[str, str, str], harm: str
) -> None:
    encoder, _, _ = two_trained
    do_harm(models / encoder, harm)
    fresh, scorer = serves(database, models)
    assert scorer == ModelStore(models, KEY).pretrained_scorer().version
    # The same papers give the same encoder, whose files are whole again.
    assert fresh == encoder
    assert ModelStore(models, KEY).load_encoder(encoder).version == encoder


def test_a_fall_back_is_logged_with_its_reason(
    database: Database, models: Path, two_trained: tuple[str, str, str]
) -> None:
    do_harm(models / two_trained[2], "deleted")
    with structlog.testing.capture_logs() as logs:
        ensure_active_models(database, ModelStore(models, KEY), StoppedClock(), DAY)
    [entry] = [entry for entry in logs if entry["log_level"] == "warning"]
    assert two_trained[2] in entry["error"]


def test_models_of_another_installation_do_not_serve(
    database: Database, models: Path, two_trained: tuple[str, str, str]
) -> None:
    foreign = ModelStore(models, b"another key")
    with pytest.raises(ModelError):
        foreign.load_scorer(two_trained[2])
    with structlog.testing.capture_logs():
        pair = ensure_active_models(database, foreign, StoppedClock(), DAY)
    assert pair.scorer.version == foreign.pretrained_scorer().version


def do_harm(folder: Path, harm: str) -> None:
    if harm == "deleted":
        shutil.rmtree(folder)
        return
    for path in folder.iterdir():
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(b"" if harm == "emptied" else bytes(content))


# -- vectors ---------------------------------------------------------------------------------------


def test_new_papers_are_encoded_once(
    database: Database, model_store: ModelStore, clock: StoppedClock
) -> None:
    encoder = ensure_active_models(database, model_store, clock, DAY).encoder
    assert encode_new(database, encoder) == 30
    assert encode_new(database, encoder) == 0
    add_more(database, 2)
    heard: list[tuple[str, int, int]] = []
    assert encode_new(database, encoder, lambda *step: heard.append(step)) == 2
    assert heard == [("encode", 2, 2)]


def test_papers_are_encoded_when_they_are_stored_by_a_first_encoder_and_then_by_the_same(
    database: Database, model_store: ModelStore, clock: StoppedClock
) -> None:
    assert encode_stored(database, model_store, clock) == 30
    [(scorer, encoder)] = history(database)
    assert scorer == model_store.pretrained_scorer().version
    assert encode_stored(database, model_store, clock) == 0
    add_more(database, 20)
    assert encode_stored(database, model_store, clock) == 20
    assert len(history(database)) == 1
    assert versions_with_vectors(database) == {encoder}
    assert encode_stored(database, model_store, clock) == 0


def test_without_papers_nothing_is_encoded_or_fitted(
    tmp_path: Path, model_store: ModelStore, clock: StoppedClock
) -> None:
    with installed(tmp_path) as empty:
        assert encode_stored(empty, model_store, clock) == 0
        assert history(empty) == []


def test_stored_vectors_are_the_encoders_own(
    database: Database, model_store: ModelStore, clock: StoppedClock
) -> None:
    encoder = ensure_active_models(database, model_store, clock, DAY).encoder
    encode_new(database, encoder)
    with database.read() as conn:
        papers = list(store.papers.iterate(conn))
        wanted = encoder.encode([paper.encoded_text for paper in papers])
        ids, found = store.encodings.load(
            conn, encoder.version, [paper.id for paper in papers], wanted
        )
    assert ids == [paper.id for paper in papers]
    assert np.array_equal(found.latent, wanted.latent)
    assert np.array_equal(found.semantic, wanted.semantic)
    assert np.array_equal(found.tfidf.toarray(), wanted.tfidf.toarray())


def test_vectors_of_encoders_that_no_recent_pair_needs_are_dropped(
    database: Database, model_store: ModelStore, clock: StoppedClock
) -> None:
    encoders = []
    for n in range(PAIRS_KEPT + 1):
        pair = ensure_active_models(database, model_store, clock, DAY + timedelta(days=7 * n))
        encode_new(database, pair.encoder)
        encoders.append(pair.encoder.version)
        add_more(database, 20 * (n + 1))
        clock.at += timedelta(days=7)
    assert len(set(encoders)) == PAIRS_KEPT + 1
    assert versions_with_vectors(database) == set(encoders[1:])


@pytest.mark.parametrize(
    ("n_now", "after", "due"),
    [
        (1000, 0, False),
        (1000, 400, False),
        (999, 400, False),
        (1001, 6, False),
        (1001, 7, True),
        (1499, 0, False),
        (1500, 0, True),
    ],
)
def test_an_encoder_is_fitted_anew_when_the_corpus_grew_by_half_or_a_week_brought_papers(
    n_now: int, after: int, due: bool
) -> None:
    assert encoder_due(1000, DAY, n_now, DAY + timedelta(after)) is due
