"""Chances as corrected by the votes of an installation and of each subscriber."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
import structlog

from tests.support.factories import DAY, NOON, impression, paper, slate
from tests.support.installation import add_papers, add_reader, installed
from triage import store
from triage.domain.records import EventKind, Paper, Policy, Subscriber
from triage.ranking.calibration import Prior
from triage.ranking.serving import calibrations, pretrained_ranker
from triage.ranking.serving.calibrations import Calibrations, load_prior, load_told_chances
from triage.store import Database

UP, DOWN = EventKind.VOTE_UP, EventKind.VOTE_DOWN
SCORES = np.array([0.9, *[0.05] * 399])
ONE_DAY = timedelta(days=1)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with installed(tmp_path) as opened:
        yield opened


@pytest.fixture
def papers(database: Database) -> list[Paper]:
    return add_papers(database, [paper(n) for n in range(1, 201)])


def show(
    database: Database,
    reader: Subscriber,
    papers: list[Paper],
    on: date = DAY,
    votes: tuple[EventKind, ...] = (),
    prior: float | None = 0.1,
) -> None:
    """Store a digest, with a vote on each of its first papers."""
    shown = tuple(
        impression(n, paper=each, score=0.3, prior=prior, policy=Policy.RANKED)
        for n, each in enumerate(papers, 1)
    )
    name = f"{reader.id:010x}{on.toordinal():010x}"
    made = slate(0, public_id=name, subscriber=reader, on=on, impressions=shown)
    with database.write() as conn:
        run_id = store.jobs.begin_run(conn, on, NOON)
        (slate_id,) = store.slates.save_each(conn, [made], run_id, NOON).values()
        for each, kind in zip(papers, votes, strict=False):
            event = store.events.Event(
                subscriber_id=reader.id,
                paper_id=each.id,
                kind=kind,
                at=NOON,
                recorded_at=NOON,
                slate_id=slate_id,
            )
            store.events.append(conn, event)


def chance(database: Database, reader: Subscriber, before: date | None = None) -> float:
    with database.read() as conn:
        votes = store.events.votes(conn, reader.id)
        calibration = Calibrations(conn, before).of(conn, reader.id, votes, before)
    return float(calibration.chances(SCORES)[0][0])


def test_without_votes_chances_are_those_of_the_prior(database: Database) -> None:
    usual = load_prior().log_odds(SCORES)[0]
    assert chance(database, add_reader(database)) == pytest.approx(1 / (1 + np.exp(-usual)))


def test_who_likes_everything_gets_higher_chances_and_others_less_so(
    database: Database, papers: list[Paper]
) -> None:
    eager, quiet = add_reader(database, 1), add_reader(database, 2)
    usual = chance(database, eager)
    show(database, eager, papers[:10], votes=(UP,) * 10)
    assert chance(database, eager) > chance(database, quiet) > usual


def test_nobody_alone_decides_for_the_others(
    database: Database, papers: list[Paper], monkeypatch: pytest.MonkeyPatch
) -> None:
    zealot, other = add_reader(database, 1), add_reader(database, 2)
    show(database, zealot, papers, votes=(UP,) * len(papers))
    of_all = chance(database, other)
    monkeypatch.setattr(calibrations, "MOST_OF_EACH", 5)
    assert chance(database, other) < of_all


def test_papers_without_votes_count_as_not_liked_in_a_digest_with_votes(
    database: Database, papers: list[Paper]
) -> None:
    reader = add_reader(database)
    usual = chance(database, reader)
    show(database, reader, papers[:50], votes=(UP,))
    assert chance(database, reader) < usual


def test_a_digest_without_votes_was_perhaps_never_opened(
    database: Database, papers: list[Paper]
) -> None:
    reader = add_reader(database)
    usual = chance(database, reader)
    show(database, reader, papers[:50])
    assert chance(database, reader) == usual


def test_a_downvote_is_no_like(database: Database, papers: list[Paper]) -> None:
    reader = add_reader(database)
    usual = chance(database, reader)
    show(database, reader, papers[:50], votes=(DOWN,) * 50)
    assert chance(database, reader) < usual


def test_scores_of_older_versions_correct_nothing(database: Database, papers: list[Paper]) -> None:
    reader = add_reader(database)
    usual = chance(database, reader)
    show(database, reader, papers[:10], votes=(UP,) * 10, prior=None)
    assert chance(database, reader) == usual


def test_later_digests_do_not_reach_an_earlier_day(database: Database, papers: list[Paper]) -> None:
    reader = add_reader(database)
    usual = chance(database, reader)
    show(database, reader, papers[:10], on=DAY, votes=(UP,) * 10)
    assert chance(database, reader, before=DAY) == usual
    assert chance(database, reader, before=DAY + ONE_DAY) > usual


def test_the_digests_of_a_night_do_not_crowd_out_the_votes_of_earlier_ones(
    database: Database, papers: list[Paper], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibrations, "MOST_OF_ALL", 10)
    eager, other = add_reader(database, 1), add_reader(database, 2)
    show(database, eager, papers[:10], on=DAY, votes=(UP,) * 10)
    before = chance(database, other)
    show(database, eager, papers[10:30], on=DAY + ONE_DAY)
    assert chance(database, other) < before
    with database.read() as conn:
        night = Calibrations(conn, tonight=DAY + ONE_DAY).of(conn, other.id, ())
    assert float(night.chances(SCORES)[0][0]) == before


def test_what_digests_told_is_compared_with_the_votes(
    database: Database, papers: list[Paper]
) -> None:
    reader = add_reader(database)
    show(database, reader, papers[:3], votes=(UP, DOWN))
    show(database, reader, papers[3:5], on=DAY + ONE_DAY)
    with database.read() as conn:
        told, liked = load_told_chances(conn, DAY, DAY + 2 * ONE_DAY)
        assert [len(each) for each in load_told_chances(conn, DAY + ONE_DAY, DAY)] == [0, 0]
    assert told.tolist() == [0.3] * 3
    assert sorted(liked.tolist()) == [False, False, True]


def test_a_damaged_prior_never_stops_the_mail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretrained_ranker.load_shipped_prior.cache_clear()
    monkeypatch.setattr(pretrained_ranker, "FOLDER", tmp_path)
    (tmp_path / pretrained_ranker.PRIOR).write_text(Prior(share=9).to_json(), "utf-8")
    with structlog.testing.capture_logs() as logs:
        assert load_prior() == Prior()
    assert "calibration" in logs[0]["event"]


def test_only_the_newest_papers_of_a_subscriber_are_read(
    database: Database, papers: list[Paper]
) -> None:
    ada, ben = add_reader(database, 1), add_reader(database, 2)
    for n in range(3):
        show(database, ada, papers[10 * n : 10 * (n + 1)], DAY + timedelta(n))
    show(database, ben, papers[:4])
    with database.read() as conn:
        found = store.slates.shown_chances_of_each(conn, 5, [ada.id, ben.id])
    assert [each.paper_id for each in found[ada.id]] == [p.id for p in papers[29:24:-1]]
    assert len(found[ben.id]) == 4
