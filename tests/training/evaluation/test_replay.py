"""Replayed history: what was known before a day ranks the day, and nothing later does."""

from __future__ import annotations

import json
import math
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import numpy as np
import pytest
import structlog
from click.testing import CliRunner

from tests.support import databases
from tests.support.factories import DAY, NOON, impression, slate
from tests.support.fakes import StoppedClock
from tests.support.installation import (
    add_papers,
    add_reader,
    fetched,
    installed,
    stored_papers,
    take_in,
)
from tests.support.topics import TOPICS, literature, rows_of
from triage import store
from triage.cli import cli
from triage.domain.records import EventKind, Subscriber
from triage.errors import NotEnoughFeedback, NotFound
from triage.operations.replay_plot import draw_replay
from triage.ranking.encoder.contrastive import LIKES
from triage.ranking.features import FEATURES
from triage.ranking.serving.active_models import ActiveModels, encode_new, ensure_active_models
from triage.ranking.serving.model_store import ModelStore
from triage.ranking.serving.model_versions import promote_version
from triage.store import Database, open_database
from triage.training.evaluation.baselines import NAMES
from triage.training.evaluation.past_slates import (
    Contender,
    PastRankers,
    PastSlate,
    Span,
    list_past_slates,
)
from triage.training.evaluation.replay import (
    PRETRAINED,
    SERVING,
    Comparison,
    Replay,
    compare,
    replay,
)

pytestmark = pytest.mark.any_database("it only reads slates and events, as test_train does on each")

N_DAYS = 5
LAST = DAY + timedelta(days=N_DAYS - 1)
WINDOW = 1


def listed(row: int) -> date:
    return DAY + timedelta(days=row % N_DAYS)


def at(on: date, hour: int = 12) -> datetime:
    return datetime.combine(on, time(hour), UTC)


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield the address of a database, which tests copy.

    It has twelve papers a day on four topics, and six readers who like every third of theirs.
    """
    with databases.migrated_url(tmp_path_factory.mktemp("history")) as url:
        opened = open_database(url)
        papers = [replace(paper, listed_on=listed(row)) for row, paper in enumerate(literature())]
        add_papers(opened, papers)
        for n in range(6):
            topic = list(TOPICS)[n % len(TOPICS)]
            reader = add_reader(opened, n + 1, interests=topic if n < 3 else "")
            for row in rows_of(topic)[n // 4 :: 2]:
                vote(opened, reader, row, EventKind.VOTE_UP if row % 4 else EventKind.SAVE)
        opened.close()
        yield url


@pytest.fixture
def database(history: str, tmp_path: Path) -> Iterator[Database]:
    with databases.opened_copy(history, tmp_path) as opened:
        yield opened


@pytest.fixture(scope="module")
def told(history: str, tmp_path_factory: pytest.TempPathFactory) -> Replay:
    """Return what that history gives, which is the same every time."""
    folder = tmp_path_factory.mktemp("told")
    with databases.opened_copy(history, folder) as opened:
        return replayed(opened, ModelStore(folder / "models", b"a key of the tests"))


@pytest.fixture
def model_store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "models", b"a key of the tests")


def paper_id(database: Database, row: int) -> int:
    title = literature()[row].title
    abstract = literature()[row].abstract
    return next(
        paper.id
        for paper in stored_papers(database)
        if (paper.title, paper.abstract) == (title, abstract)
    )


def vote(
    database: Database,
    reader: Subscriber,
    row: int,
    kind: EventKind,
    when: datetime | None = None,
) -> None:
    with database.write() as conn:
        store.events.append(
            conn,
            store.events.Event(
                subscriber_id=reader.id,
                paper_id=row + 1,
                kind=kind,
                at=when or at(listed(row)),
                recorded_at=NOON,
            ),
        )


def show_papers(database: Database, reader: Subscriber, on: date, rows: Sequence[int]) -> None:
    papers = {paper.id: paper for paper in stored_papers(database)}
    features = np.zeros(len(FEATURES), np.float32)
    shown = tuple(
        impression(i, paper=papers[row + 1], features=features) for i, row in enumerate(rows, 1)
    )
    made = slate(
        0,
        public_id=f"{reader.id:010x}{on.toordinal():010x}",
        subscriber=reader,
        on=on,
        impressions=shown,
    )
    with database.write() as conn:
        store.slates.save_each(conn, [made], store.jobs.begin_run(conn, on, NOON), NOON)


def replayed(
    database: Database, model_store: ModelStore, first: date = DAY, until: date = LAST
) -> Replay:
    return replay(database, model_store, StoppedClock(), Span(first, until, WINDOW))


def compared(database: Database, model_store: ModelStore, a: str, b: str) -> Comparison:
    return compare(database, model_store, StoppedClock(), a, b, Span(DAY, LAST, WINDOW))


def moments(database: Database, first: date = DAY, until: date = LAST) -> list[PastSlate]:
    with database.read() as conn:
        return list(list_past_slates(conn, Span(first, until, WINDOW)))


def figures(told: Replay) -> str:
    """Return everything measured, as text in which NaN equals NaN."""
    return repr([asdict(each) for each in told.standings])


def readers(database: Database) -> list[Subscriber]:
    with database.read() as conn:
        return store.subscribers.everyone(conn)


def keep_scorer(
    database: Database, model_store: ModelStore, seed: int, taught_until: date | None = None
) -> str:
    """Fit a scorer on noise, keep it with its card, and return its version."""
    encoder = ensure_active_models(database, model_store, StoppedClock(), DAY).encoder
    X = np.random.default_rng(seed).random((80, len(FEATURES))).astype(np.float32)
    relevance = (X[:, seed % len(FEATURES)] > 0.5).astype(np.int32)
    ones = np.ones(80, np.float32)
    scorer = model_store.fit_scorer(X, relevance, [10] * 8, ones, encoder.version)
    card = {"taught_until": taught_until.isoformat()} if taught_until else {}
    with database.write() as conn:
        store.model_versions.add(conn, scorer.version, "scorer", encoder.version, card, NOON)
    return scorer.version


# -- which slates are replayed, and what was known -------------------------------------------------


def test_papers_are_stored_in_the_order_of_the_literature(database: Database) -> None:
    assert [paper.title for paper in stored_papers(database)] == [p.title for p in literature()]


def test_a_day_is_replayed_when_one_of_its_papers_was_liked_later(database: Database) -> None:
    found = {(moment.subscriber.id, moment.on) for moment in moments(database)}
    expected = {
        (n + 1, listed(row))
        for n in range(6)
        for row in rows_of(list(TOPICS)[n % len(TOPICS)])[n // 4 :: 2]
    }
    assert found == expected


def test_the_profile_holds_what_was_voted_before_the_day_and_nothing_else(
    database: Database,
) -> None:
    for moment in moments(database):
        assert all(each.at < at(moment.on, 0) for each in moment.votes)
        assert moment.seen == {each.paper_id for each in moment.votes}
        assert moment.seen.isdisjoint(moment.relevance)
    assert max(len(moment.votes) for moment in moments(database)) > 3


def test_a_day_begins_in_the_subscribers_own_zone(database: Database) -> None:
    reader = add_reader(database, 20, zone="America/Los_Angeles")
    vote(database, reader, 0, EventKind.VOTE_UP, at(DAY, 3))
    vote(database, reader, 5, EventKind.VOTE_UP, at(DAY, 9))
    [moment] = [each for each in moments(database) if each.subscriber.id == reader.id]
    # At 03:00 UTC it is still the day before in Los Angeles.
    assert ([v.paper_id for v in moment.votes], set(moment.relevance)) == ([1], {6})


def test_a_paper_counts_on_the_day_it_was_shown_as_well(database: Database) -> None:
    reader = add_reader(database, 20)
    shown_on = DAY + timedelta(days=1)
    show_papers(database, reader, shown_on, [0, 1])
    vote(database, reader, 0, EventKind.VOTE_UP, at(shown_on, 20))
    mine = [each for each in moments(database) if each.subscriber.id == reader.id]
    assert [each.on for each in mine] == [DAY, shown_on]
    assert mine[1].looked_at == {1, 2}


def test_what_was_shown_earlier_is_no_candidate_any_more(database: Database) -> None:
    reader = add_reader(database, 20)
    show_papers(database, reader, DAY, [0, 5])
    vote(database, reader, 1, EventKind.VOTE_UP)
    [moment] = [each for each in moments(database) if each.subscriber.id == reader.id]
    assert moment.seen == {1, 6}


def test_what_was_disliked_or_voted_by_a_scanner_makes_no_slate(database: Database) -> None:
    reader = add_reader(database, 20)
    vote(database, reader, 0, EventKind.VOTE_DOWN)
    vote(database, reader, 1, EventKind.LESS_LIKE_THIS)
    assert [each for each in moments(database) if each.subscriber.id == reader.id] == []


# -- no future -------------------------------------------------------------------------------------


def test_a_later_vote_and_a_later_paper_move_no_figure(
    database: Database, model_store: ModelStore
) -> None:
    before = replayed(database, model_store)
    after_all = LAST + timedelta(days=1)
    text = "speculative decoding of robot graphs and proteins"
    take_in(
        database,
        [
            fetched(900 + n, title=f"Later {n} {text}", abstract=text, listed_on=after_all)
            for n in range(40)
        ],
    )
    for reader in readers(database):
        for row in range(0, 60, 7):
            vote(database, reader, row, EventKind.VOTE_DOWN, at(after_all, 1))
        vote(database, reader, 61, EventKind.SAVE, at(after_all, 1))
    assert figures(replayed(database, model_store)) == figures(before)


def test_what_comes_on_the_last_day_does_not_move_the_days_before(
    database: Database, model_store: ModelStore
) -> None:
    eve = LAST - timedelta(days=1)
    before = replayed(database, model_store, until=eve)
    take_in(database, [fetched(900, title="Robot decoding", abstract="Graphs.", listed_on=LAST)])
    for reader in readers(database):
        vote(database, reader, 60, EventKind.SAVE, at(LAST, 1))
        vote(database, reader, 4, EventKind.SAVE, at(LAST, 2))
    assert figures(replayed(database, model_store, until=eve)) == figures(before)


def scores_before(
    database: Database, model_store: ModelStore, day: date
) -> dict[tuple[int, date, str], list[tuple[int, float]]]:
    """Return every score of every contender for the slates before a day of the whole replay."""
    pair = ensure_active_models(database, model_store, StoppedClock(), DAY)
    cold = Contender(
        PRETRAINED, PRETRAINED, ActiveModels(pair.encoder, model_store.pretrained_scorer())
    )
    contenders = [cold, *(Contender(name, name) for name in NAMES)]
    encode_new(database, pair.encoder)
    all_moments = moments(database)
    with database.read() as conn:
        rankers = PastRankers(conn, pair, contenders, all_moments)
        found = {}
        for moment in (each for each in all_moments if each.on < day):
            for contender in contenders:
                ranking, scores = rankers.scores(moment, contender)
                ids = [paper.id for paper in ranking.candidates.papers]
                key = (moment.subscriber.id, moment.on, contender.name)
                found[key] = list(zip(ids, scores.tolist(), strict=True))
        return found


def test_no_score_of_a_day_moves_by_what_comes_later_in_the_same_replay(
    database: Database, model_store: ModelStore
) -> None:
    eve = LAST - timedelta(days=1)
    before = scores_before(database, model_store, eve)
    assert len(before) > 50
    text = "speculative decoding of robot graphs and proteins"
    take_in(database, [fetched(900 + n, title=f"{text} {n}", listed_on=eve) for n in range(10)])
    for reader in readers(database):
        for row in (60, 61, 3, 13):
            vote(database, reader, row, EventKind.SAVE, at(eve, 13))
    assert scores_before(database, model_store, eve) == before


def test_a_vote_of_the_day_itself_is_not_in_its_profile(
    database: Database, model_store: ModelStore
) -> None:
    """A like shortly before midnight teaches the next day, and not its own."""
    reader = add_reader(database, 20)
    vote(database, reader, 0, EventKind.VOTE_UP, at(DAY, 0))
    [moment] = [each for each in moments(database) if each.subscriber.id == reader.id]
    assert moment.votes == ()


# -- figures ---------------------------------------------------------------------------------------


def test_everybody_is_measured_on_the_same_slates(database: Database, told: Replay) -> None:
    assert [each.name for each in told.standings] == [SERVING, *NAMES]
    assert told.n_subscribers == 6
    assert told.n_slates == len(moments(database))
    for each in told.standings:
        assert 0 < each.ndcg.mean <= 1
        assert each.ndcg.low <= each.ndcg.mean <= each.ndcg.high
        assert 0 < each.coverage <= 1
        assert 0 < each.diversity.mean < 2
    first, *peers = told.standings
    assert first.better is None
    assert first.calibration is not None
    assert sum(bin.n for bin in first.calibration.bins) > 0
    assert all(each.better is not None and each.calibration is None for each in peers)


def test_a_ranker_with_votes_to_learn_from_beats_interests_that_are_empty(
    database: Database, model_store: ModelStore
) -> None:
    told = compared(database, model_store, "zotero", "text")
    assert told.ndcg.mean > 0
    backwards = compared(database, model_store, "text", "zotero")
    assert backwards.ndcg.mean == pytest.approx(-told.ndcg.mean)


def test_a_scorer_equals_itself(database: Database, model_store: ModelStore) -> None:
    told = compared(database, model_store, SERVING, PRETRAINED)
    assert (told.ndcg.mean, told.ndcg.low, told.ndcg.high) == (0, 0, 0)
    assert told.replay.standings[1].better is not None
    assert told.replay.standings[1].better.mean == 0


def test_the_same_history_gives_the_same_figures(
    database: Database, model_store: ModelStore, told: Replay
) -> None:
    assert figures(replayed(database, model_store)) == figures(told)


def test_days_that_a_scorer_has_learned_from_are_told_apart(
    database: Database, model_store: ModelStore
) -> None:
    taught_until = DAY + timedelta(days=2)
    version = keep_scorer(database, model_store, 1, taught_until)
    promote_version(database, model_store, StoppedClock(), version)
    told = replayed(database, model_store)
    first, cold = told.standings[:2]
    assert (first.name, first.version, first.taught_until) == (SERVING, version, taught_until)
    later = [moment for moment in moments(database) if moment.on > taught_until]
    assert 0 < first.n_unseen == len(later) < told.n_slates
    assert (cold.name, cold.taught_until, cold.n_unseen) == (PRETRAINED, None, told.n_slates)
    assert f"up to {taught_until}" in told.notes[0]
    assert "memory, not quality" in told.notes[0]


def test_a_scorer_that_learned_from_every_day_has_no_evidence(
    database: Database, model_store: ModelStore
) -> None:
    version = keep_scorer(database, model_store, 1, LAST)
    told = compared(database, model_store, version, PRETRAINED)
    assert (told.n_unseen, told.replay.standings[0].n_unseen) == (0, 0)
    assert math.isnan(told.unseen.mean)


def test_kept_scorers_are_compared_by_version(database: Database, model_store: ModelStore) -> None:
    a, b = (keep_scorer(database, model_store, seed) for seed in (1, 2))
    told = compared(database, model_store, a, b)
    assert [each.version for each in told.replay.standings] == [a, b]


def test_an_unknown_scorer_is_refused_with_what_there_is(
    database: Database, model_store: ModelStore
) -> None:
    with pytest.raises(NotFound, match=r"triage model list.*zotero"):
        compared(database, model_store, "lm-unknown", PRETRAINED)


def test_without_likes_there_is_nothing_to_replay(
    database: Database, model_store: ModelStore
) -> None:
    later = LAST + timedelta(days=9)
    with pytest.raises(NotEnoughFeedback, match="nobody has liked a paper"):
        replayed(database, model_store, first=later, until=later)


def test_without_papers_it_is_said_what_to_do(tmp_path: Path, model_store: ModelStore) -> None:
    with installed(tmp_path) as empty, pytest.raises(NotFound, match="papers import"):
        replayed(empty, model_store)


def test_one_reader_is_not_taken_for_many(database: Database, model_store: ModelStore) -> None:
    for reader in readers(database)[1:]:
        with database.write() as conn:
            store.subscribers.erase(conn, reader.id)
    told = replayed(database, model_store)
    assert told.n_subscribers == 1
    assert any("do not apply to other subscribers" in note for note in told.notes)


# -- the picture -----------------------------------------------------------------------------------


def test_the_picture_is_one_file_that_names_everybody(told: Replay) -> None:
    picture = draw_replay(told)
    root = ET.fromstring(picture)  # noqa: S314 - our own
    texts = ["".join(node.itertext()) for node in root.iter() if node.tag.endswith("text")]
    assert {SERVING, *NAMES} <= set(texts)
    assert "http" not in picture.replace("http://www.w3.org/2000/svg", "")
    assert "nan" not in picture
    assert "@example.org" not in json.dumps(texts)


def test_days_before_an_encoder_was_taught_what_readers_like_are_memory(
    database: Database, model_store: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("triage.ranking.encoder.text_encoder.FEWEST_READERS", 2)
    monkeypatch.setattr("triage.ranking.encoder.text_encoder.LIKES", replace(LIKES, steps=6))
    told = replayed(database, model_store)
    first = told.standings[0]
    assert (first.name, first.taught_until) == (SERVING, NOON.date())
    assert first.n_unseen == sum(moment.on > NOON.date() for moment in moments(database))
    assert any("and to what subscribers liked" in note for note in told.notes)
    [peer, *_] = [each for each in told.standings if each.name in NAMES]
    assert peer.taught_until is None


def test_the_picture_says_what_is_memory(database: Database, model_store: ModelStore) -> None:
    version = keep_scorer(database, model_store, 1, LAST)
    promote_version(database, model_store, StoppedClock(), version)
    picture = draw_replay(replayed(database, model_store))
    assert f"has learned from digests up to {LAST}: its place is memory, no evidence." in picture


# -- the command -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An installation with the literature and a few imported votes; commands only read it."""
    tmp_path = tmp_path_factory.mktemp("config")
    papers, votes = tmp_path / "papers.jsonl", tmp_path / "votes.jsonl"
    papers.write_text(
        "".join(
            json.dumps(
                {
                    "id": paper.source_id,
                    "title": paper.title,
                    "abstract": paper.abstract,
                    "authors": list(paper.authors),
                    "listed_date": listed(row).isoformat(),
                }
            )
            + "\n"
            for row, paper in enumerate(literature())
        ),
        encoding="utf-8",
    )
    votes.write_text(
        "".join(
            json.dumps(
                {
                    "subscriber": "ada@example.org",
                    "paper_id": literature()[row].source_id,
                    "kind": "vote_up",
                    "at": at(listed(row)).isoformat(),
                }
            )
            + "\n"
            for row in rows_of("robots")[::2]
        ),
        encoding="utf-8",
    )
    path = tmp_path / "home" / "triage.toml"
    run("init", "--dir", path.parent)
    run("papers", "import", papers, config=path)
    run("subscriber", "add", "ada@example.org", "--interests", "robot grasping", config=path)
    run("feedback", "import", votes, config=path)
    return path


def run(*arguments: str | Path, config: Path | None = None) -> str:
    where = [] if config is None else ["--config", str(config)]
    ended = CliRunner().invoke(cli, [*where, *map(str, arguments)], catch_exceptions=False)
    structlog.reset_defaults()
    assert ended.exit_code == 0, ended.output
    return ended.stdout


SPAN = ("--days", str(N_DAYS), "--until", LAST.isoformat())


@pytest.mark.sqlite("the installation that `init` makes")
def test_the_command_prints_a_table_and_draws_a_picture(config: Path, tmp_path: Path) -> None:
    picture = tmp_path / "replay.svg"
    told = run("evaluate", "replay", *SPAN, "--plot", picture, config=config)
    for word in (SERVING, *NAMES, "nDCG@10", "recall@20", "coverage", "better served", "Brier"):
        assert word in told
    assert "Chances by serving, in ten groups" in told
    assert "@example.org" not in told
    assert picture.read_text(encoding="utf-8").startswith("<svg")


@pytest.mark.sqlite("the installation that `init` makes")
def test_as_json_what_is_undefined_is_null(config: Path) -> None:
    told = json.loads(run("evaluate", "replay", *SPAN, "--json", config=config))
    assert told["first"] == DAY.isoformat()
    assert {each["name"] for each in told["standings"]} == {SERVING, *NAMES}
    # One subscriber's share has no interval.
    assert told["standings"][1]["better"]["low"] is None


@pytest.mark.sqlite("the installation that `init` makes")
def test_two_scorers_are_compared_in_words(config: Path) -> None:
    told = run("evaluate", "compare", "zotero", "text", *SPAN, config=config)
    assert "zotero minus text, slate by slate:" in told
    last = told.splitlines()[-1]
    assert last.endswith((".",))
    rows = json.loads(run("evaluate", "compare", "zotero", "text", *SPAN, "--json", config=config))
    assert rows["ndcg"]["mean"] is not None
