"""The peers are asked about a few later slates, with what was known before each of them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import Connection

from tests.support.factories import DAY, NOON, impression, slate
from tests.support.installation import add_reader, fetched, installed, stored_papers, take_in
from triage import store
from triage.domain.records import EventKind
from triage.store import Database
from triage.store.training_log import TrainingLog
from triage.training.baseline_check import (
    MOST_SLATES_EACH,
    MOST_SUBSCRIBERS,
    baseline_scores,
    sample_rows,
)
from triage.training.evaluation.baselines import NAMES

pytestmark = pytest.mark.any_database("it only reads slates and events, as test_train does on each")

WORDS = ("protein folding residues", "robot grasping gripper")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """Forty papers, by turns on proteins and on robots, and a reader who likes the first one."""
    with installed(tmp_path) as opened:
        papers = [
            fetched(n, title=f"Paper {n}", abstract=WORDS[n % 2], listed_on=DAY) for n in range(40)
        ]
        take_in(opened, papers)
        reader = add_reader(opened, interests="robots")
        stock = stored_papers(opened)
        with opened.write() as conn:
            like(conn, reader.id, stock[0].id, NOON)
            run_id = store.jobs.begin_run(conn, DAY + timedelta(1), NOON)
            shown = tuple(impression(i, paper=stock[9 + i]) for i in range(1, 11))
            chosen = slate(0, subscriber=reader, on=DAY + timedelta(1), impressions=shown)
            store.slates.save_each(conn, [chosen], run_id, NOON)
        yield opened


def like(conn: Connection, subscriber_id: int, paper_id: int, at: datetime) -> None:
    store.events.append(
        conn,
        store.events.Event(
            subscriber_id=subscriber_id,
            paper_id=paper_id,
            kind=EventKind.SAVE,
            at=at,
            recorded_at=at,
        ),
    )


def scores(database: Database) -> dict[str, np.ndarray]:
    with database.read() as conn:
        log = store.training_log.load(conn, "f1", 4)
        assert sample_rows(log, np.random.default_rng(0)).tolist() == list(range(10))
        return baseline_scores(conn, log)


def test_each_peer_scores_the_papers_of_a_slate_by_the_likes_before_it(database: Database) -> None:
    found = scores(database)
    assert set(found) == set(NAMES)
    proteins = np.arange(10) % 2 == 0
    for name in ("asl", "zotero", "lr"):
        assert found[name].shape == (10,)
        one, other = found[name][proteins], found[name][~proteins]
        assert one.min() > other.max()


def test_a_like_of_the_day_itself_moves_no_score(database: Database) -> None:
    before = scores(database)
    with database.write() as conn:
        like(conn, 1, stored_papers(database)[1].id, NOON + timedelta(1))
    after = scores(database)
    assert all(np.array_equal(before[name], after[name]) for name in NAMES)


def test_only_some_slates_of_some_subscribers_are_asked_about() -> None:
    n = 40 * 5 * 3
    slates = np.repeat(np.arange(40 * 5), 3)
    log = TrainingLog(
        slate_ids=slates,
        subscriber_ids=slates // 5,
        paper_ids=np.arange(n),
        days=np.full(n, DAY.toordinal(), np.int32),
        positions=np.tile(np.arange(1, 4, dtype=np.int32), n // 3),
        scores=np.zeros(n),
        propensities=np.ones(n, np.float32),
        features=np.zeros((n, 4), np.float32),
    )
    rows = sample_rows(log, np.random.default_rng(0))
    assert len(rows) == MOST_SUBSCRIBERS * MOST_SLATES_EACH * 3
    assert (np.diff(rows) > 0).all()
    assert len(sample_rows(log.select_rows(slice(0, 0)), np.random.default_rng(0))) == 0
