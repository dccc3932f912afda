"""The folder of models: kept, sealed, and loaded again by version."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.support.topics import TOPICS, literature
from triage.domain.records import F32, I32
from triage.errors import ModelError, NotEnoughFeedback
from triage.ranking.features import FEATURES
from triage.ranking.serving.model_store import ModelStore

KEY = b"a key of the tests"
TEXTS = [paper.text for paper in literature()[:30]]
QUESTION = [TOPICS["decoding"], TOPICS["proteins"], ""]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "new" / "models"


@pytest.fixture
def model_store(folder: Path) -> ModelStore:
    return ModelStore(folder, KEY)


def a_log() -> tuple[F32, I32, list[int], F32]:
    X = np.random.default_rng(3).random((60, len(FEATURES))).astype(np.float32)
    relevance = (X[:, 0] > 0.5).astype(np.int32)
    return X, relevance, [10] * 6, np.ones(60, np.float32)


def test_nothing_is_made_before_something_is_kept(model_store: ModelStore, folder: Path) -> None:
    model_store.pretrained_scorer()
    assert not folder.exists()


def test_an_encoder_is_kept_and_loaded_by_its_version(
    model_store: ModelStore, folder: Path
) -> None:
    fitted = model_store.fit_encoder(TEXTS)
    loaded = ModelStore(folder, KEY).load_encoder(fitted.version)
    assert loaded.version == fitted.version
    assert np.array_equal(loaded.encode(QUESTION).latent, fitted.encode(QUESTION).latent)


def test_the_same_texts_give_the_same_version(folder: Path, tmp_path: Path) -> None:
    first = ModelStore(folder, KEY).fit_encoder(TEXTS)
    second = ModelStore(tmp_path / "other", KEY).fit_encoder(TEXTS)
    assert second.version == first.version
    assert ModelStore(folder, KEY).fit_encoder(TEXTS[:-1]).version != first.version


def test_an_encoder_is_read_once_a_process(model_store: ModelStore, folder: Path) -> None:
    version = model_store.fit_encoder(TEXTS).version
    assert model_store.load_encoder(version) is model_store.load_encoder(version)


def test_a_scorer_is_kept_and_loaded_with_the_encoder_it_is_bound_to(
    model_store: ModelStore, folder: Path
) -> None:
    X, relevance, groups, weights = a_log()
    fitted = model_store.fit_scorer(X, relevance, groups, weights, "enc-7")
    loaded = ModelStore(folder, KEY).load_scorer(fitted.version)
    assert (loaded.version, loaded.encoder_version) == (fitted.version, "enc-7")
    assert np.array_equal(loaded.score(X), fitted.score(X))


def test_the_cold_start_scorer_needs_no_files_under_its_name_of_any_version(
    model_store: ModelStore,
) -> None:
    for version in (model_store.pretrained_scorer().version, "cold-1"):
        assert model_store.load_scorer(version).version == model_store.pretrained_scorer().version


def test_too_little_feedback_keeps_nothing(model_store: ModelStore, folder: Path) -> None:
    X, relevance, _, weights = a_log()
    with pytest.raises(NotEnoughFeedback, match="too few to train on"):
        model_store.fit_scorer(X[:10], relevance[:10], [10], weights[:10], "enc-7")
    assert not folder.exists()


def test_the_pretrained_ranker_goes_with_any_encoder(model_store: ModelStore) -> None:
    assert model_store.pretrained_scorer().encoder_version is None


def test_an_unknown_version_is_told_with_what_to_do(model_store: ModelStore) -> None:
    for load in (model_store.load_encoder, model_store.load_scorer):
        with pytest.raises(ModelError, match="restore the folder from a backup or train again"):
            load("enc-unknown")


def test_a_folder_under_another_name_is_not_taken_for_that_version(
    model_store: ModelStore, folder: Path
) -> None:
    X, relevance, groups, weights = a_log()
    kept = (
        model_store.fit_encoder(TEXTS).version,
        model_store.fit_scorer(X, relevance, groups, weights, "enc-7").version,
    )
    for version in kept:
        shutil.copytree(folder / version, folder / f"copy-of-{version}")
    fresh = ModelStore(folder, KEY)
    with pytest.raises(ModelError, match=f"holds {kept[0]}"):
        fresh.load_encoder(f"copy-of-{kept[0]}")
    with pytest.raises(ModelError, match=f"holds {kept[1]}"):
        fresh.load_scorer(f"copy-of-{kept[1]}")


def test_an_encoder_is_no_scorer(model_store: ModelStore) -> None:
    version = model_store.fit_encoder(TEXTS).version
    with pytest.raises(ModelError):
        model_store.load_scorer(version)


def test_models_that_another_key_sealed_are_refused(model_store: ModelStore, folder: Path) -> None:
    version = model_store.fit_encoder(TEXTS).version
    with pytest.raises(ModelError, match="another secret key"):
        ModelStore(folder, b"another key").load_encoder(version)


@pytest.mark.parametrize("version", ["../../etc", "/etc", "a/b", "..", ""])
def test_a_version_is_a_name_and_never_a_path(model_store: ModelStore, version: str) -> None:
    with pytest.raises(ModelError):
        model_store.load_encoder(version)
