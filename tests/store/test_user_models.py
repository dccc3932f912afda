"""Each subscriber has one stored model, and many are read and written in one statement each."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import event

from tests.support.factories import NOON
from tests.support.installation import add_reader, installed, rows
from triage import store
from triage.store import Database
from triage.store.user_models import StoredUserModel


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with installed(tmp_path) as opened:
        yield opened


def test_the_models_of_a_block_are_read_and_written_in_one_statement_each(
    database: Database,
) -> None:
    ids = [add_reader(database, n).id for n in range(1, 8)]
    models = {id: StoredUserModel(f"k{id}", bytes([id])) for id in ids[1:]}
    with database.write() as conn:
        statements: list[str] = []
        event.listen(conn, "before_cursor_execute", lambda *told: statements.append(told[2]))
        store.user_models.save_many(conn, models, NOON)
        assert store.user_models.load_many(conn, ids) == models
    assert len(statements) == 2


def test_a_new_model_replaces_the_old_one_and_no_other(database: Database) -> None:
    one, other = (add_reader(database, n).id for n in (1, 2))
    old, new = StoredUserModel("old", b"a"), StoredUserModel("new", b"b")
    with database.write() as conn:
        store.user_models.save_many(conn, {one: old, other: old}, NOON)
        store.user_models.save_many(conn, {one: new}, NOON)
        store.user_models.save_many(conn, {}, NOON)
        assert store.user_models.load_many(conn, [one, other]) == {one: new, other: old}
        assert store.user_models.load_many(conn, [other]) == {other: old}


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
