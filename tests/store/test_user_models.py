"""Tastes come back as they were saved, and only for what they were learned from."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from tests.support import topics
from tests.support.factories import NOON
from tests.support.installation import add_reader, installed, rows
from triage import store
from triage.domain.records import UserModel
from triage.ranking.user_model import empty_user_model, fit_background, fit_user_model
from triage.store import Database

PAST = fit_background("then", topics.everything(), topics.library(*range(40)).encodings.tfidf)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with installed(tmp_path) as opened:
        yield opened


def again(database: Database, taste: UserModel, key: str = "k") -> UserModel:
    reader = add_reader(database)
    with database.write() as conn:
        store.user_models.save(conn, reader.id, key, taste, NOON)
        content = store.user_models.load(conn, reader.id, key)
    assert content is not None
    return store.user_models.unpack(content, taste.everybody)


@pytest.mark.parametrize(
    "taste",
    [
        fit_user_model(topics.profile("protein folding", liked=(1, 2, 20)), PAST),
        empty_user_model(PAST),
    ],
    ids=["of a reader", "of nobody"],
)
def test_a_taste_comes_back_bit_by_bit(database: Database, taste: UserModel) -> None:
    found = again(database, taste)
    for name in (
        "intercepts",
        "semantic_models",
        "latent_centres",
        "semantic_centres",
        "latent_anchors",
        "semantic_anchors",
        "everybody",
    ):
        one, other = getattr(found, name), getattr(taste, name)
        assert (one.dtype, one.shape) == (other.dtype, other.shape)
        assert np.array_equal(one, other)
    for name in ("tfidf_models", "tfidf_centres", "tfidf_anchors"):
        one, other = getattr(found, name), getattr(taste, name)
        assert (one.dtype, one.shape) == (other.dtype, other.shape)
        assert np.array_equal(one.toarray(), other.toarray())


def test_a_taste_is_found_under_its_own_key_only(database: Database) -> None:
    again(database, empty_user_model(PAST), key="old")
    with database.write() as conn:
        assert store.user_models.load(conn, 1, "new") is None
        assert store.user_models.load(conn, 2, "old") is None
        store.user_models.save(conn, 1, "new", empty_user_model(PAST), NOON)
        assert store.user_models.load(conn, 1, "old") is None
        assert store.user_models.load(conn, 1, "new") is not None


def test_what_all_share_is_kept_for_the_newest_backgrounds(database: Database) -> None:
    weights = np.arange(3, dtype=np.float32)
    with database.write() as conn:
        for n in range(5):
            store.user_models.save_shared_weights(
                conn, f"b{n}", weights + n, NOON + timedelta(days=n)
            )
        assert store.user_models.load_shared_weights(conn, "b0") is None
        kept = store.user_models.load_shared_weights(conn, "b4")
    assert kept is not None
    assert np.array_equal(kept, weights + 4)
    assert [row["name"] for row in rows(database, "user_model_backgrounds")] == ["b2", "b3", "b4"]
