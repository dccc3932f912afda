"""The nightly run: who gets what, what a second run does, and what a dead one leaves behind."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from email import message_from_bytes, policy
from pathlib import Path

import pytest
from sqlalchemy import event

from tests.support import databases
from tests.support.crash_places import BEFORE_THE_DOT, POINTS
from tests.support.installation import ListedSource
from tests.support.senders import Senders, forking
from triage import store
from triage.app.application import App, open_app
from triage.app.installation import create_installation
from triage.cli.demo.story import PAPERS
from triage.digest.nightly import Block, QueuedBlock
from triage.domain.protocols import silent
from triage.domain.records import EventKind, Frequency, MessageState, Policy, SubscriberState
from triage.domain.source_records import Batch, FetchedPaper, NamedPaper
from triage.errors import NotFound, SourceError
from triage.papers.ingest import ingest
from triage.ranking.features import FEATURES
from triage.ranking.serving import user_model_cache
from triage.sources.files.detect import open_source
from triage.store.events import Event
from triage.subscribers.preferences import SubscriberPreferences
from triage.subscribers.subscriptions import add, pause

DAY = date(2025, 6, 26)
NEXT_DAY = DAY + timedelta(days=1)
READERS = {
    "ada@example.org": "large language models that reason",
    "ben@example.org": "3D Gaussian splatting and novel view synthesis",
    "chen@example.org": "medical image segmentation; robot manipulation",
}


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Yield an installation with three days of papers and three subscribers."""
    folder = tmp_path_factory.mktemp("imported")
    with databases.url_without_tables(folder) as url:
        config, _ = create_installation(folder, databases.config_naming(url))
        app = open_app(config)
        for _ in ingest(app.database, open_source(PAPERS, DAY), app.clock, resume=False):
            pass
        for email, interests in READERS.items():
            add(app.database, email, app.clock, SubscriberPreferences(interests=interests))
        app.database.close()
        yield folder


@pytest.fixture(scope="module")
def encoded(imported: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Yield the same once its papers are encoded, which takes longer than all that follows."""
    folder = tmp_path_factory.mktemp("encoded")
    with copied(imported, folder) as app:
        app.new_nightly()._encode(DAY, silent)
        app.database.close()
        yield folder


@contextmanager
def copied(installation: Path, folder: Path) -> Iterator[App]:
    """Yield a copy of an installation that nobody uses now."""
    original = open_app(installation / "triage.toml").settings.database_url
    shutil.copytree(installation, folder, dirs_exist_ok=True)
    with databases.url_of_copy(original, folder) as url:
        (folder / "triage.toml").write_text(databases.config_naming(url))
        app = open_app(folder / "triage.toml")
        yield app
        app.database.close()


@pytest.fixture
def app(encoded: Path, tmp_path: Path) -> Iterator[App]:
    with copied(encoded, tmp_path) as app:
        yield app


def mails(app: App) -> list[Path]:
    return sorted((app.settings.mail_path / "new").glob("*"))


def recipients(app: App) -> Counter[str]:
    messages = [message_from_bytes(m.read_bytes(), policy=policy.default) for m in mails(app)]
    return Counter(str(message["To"]) for message in messages)


def test_every_due_subscriber_gets_one_digest_and_a_second_run_makes_none(app: App) -> None:
    first = app.new_nightly().run(DAY, (), app.new_outbox())
    second = app.new_nightly().run(DAY, (), app.new_outbox())

    assert (first.queued, first.drained.sent, first.problems) == (3, 3, ())
    assert (second.queued, second.drained.sent) == (0, 0)
    assert recipients(app) == dict.fromkeys(READERS, 1)


def test_the_log_holds_all_that_training_needs(app: App) -> None:
    app.new_nightly().run(DAY, (), app.new_outbox())

    with app.database.read() as conn:
        ada = store.subscribers.by_email_key(conn, "ada@example.org")
        assert ada is not None
        slate = store.slates.by_day(conn, ada.id, DAY)
    assert slate is not None
    assert [shown.position for shown in slate.impressions] == list(range(1, 11))
    assert [shown.policy for shown in slate.impressions].count(Policy.EXPLORATION) == 1
    for shown in slate.impressions:
        assert 0 < shown.propensity <= 1
        assert (shown.propensity < 1) == (shown.policy is Policy.EXPLORATION)
        assert shown.features.any()
        assert shown.reasons
    assert slate.scorer_version
    assert slate.encoder_version.startswith("enc-")


def test_no_paper_is_shown_to_a_subscriber_twice(app: App) -> None:
    for day in range(3):
        app.new_nightly().run(DAY + timedelta(days=day), (), app.new_outbox())

    with app.database.read() as conn:
        for subscriber in store.subscribers.everyone(conn):
            slates = [
                store.slates.by_day(conn, subscriber.id, DAY + timedelta(days=day))
                for day in range(3)
            ]
            shown = Counter(i.paper.id for slate in slates if slate for i in slate.impressions)
            assert len(shown) == 30
            assert set(shown.values()) == {1}


def test_a_vote_changes_the_next_digest(app: App) -> None:
    app.new_nightly().run(DAY, (), app.new_outbox())
    with app.database.read() as conn:
        ada = store.subscribers.by_email_key(conn, "ada@example.org")
        assert ada is not None
    before = [i.paper.id for i in app.new_nightly().preview(ada, NEXT_DAY).impressions]
    with app.database.write() as conn:
        paper = next(
            p for p in store.papers.listed_between(conn, DAY, DAY) if "galax" in p.text.lower()
        )
        assert paper.id not in before
        store.events.append(
            conn,
            store.events.Event(
                subscriber_id=ada.id,
                paper_id=paper.id,
                kind=EventKind.SAVE,
                at=app.clock.now(),
                recorded_at=app.clock.now(),
            ),
        )

    after = app.new_nightly().preview(ada, NEXT_DAY).impressions

    assert [i.paper.id for i in after] != before
    assert any("galax" in shown.paper.text.lower() for shown in after)


def test_a_subscriber_whose_digest_cannot_be_made_does_not_cost_the_others_theirs(
    app: App,
) -> None:
    compose = app.build_message

    def fails_for_ben(slate, now, **more):  # type: ignore[no-untyped-def]
        if slate.subscriber.email.startswith("ben"):
            raise RuntimeError("a paper that cannot be rendered")
        return compose(slate, now, **more)

    app.build_message = fails_for_ben  # type: ignore[method-assign]
    report = app.new_nightly().run(DAY, (), app.new_outbox())
    app.build_message = compose  # type: ignore[method-assign]
    healed = app.new_nightly().run(DAY, (), app.new_outbox())

    assert report.queued == 2
    assert "cannot be rendered" in report.problems[0]
    assert "ben@" not in report.problems[0]
    assert healed.queued == 1
    assert recipients(app) == dict.fromkeys(READERS, 1)


def test_a_source_that_fails_is_reported_and_mail_goes_out(app: App) -> None:
    class Broken:
        name = "broken"

        def fetch(self, cursor: str | None) -> Iterator[Batch]:
            raise SourceError("answered with a page of HTML")
            yield Batch()

    report = app.new_nightly().run(DAY, [Broken()], app.new_outbox())

    assert report.problems == ("source broken: answered with a page of HTML",)
    assert report.drained.sent == 3


def test_a_day_without_papers_sends_nothing_and_says_so(app: App) -> None:
    report = app.new_nightly().run(DAY + timedelta(days=300), (), app.new_outbox())

    assert (report.queued, report.skipped, report.drained.sent) == (0, 3, 0)
    with app.database.read() as conn:
        assert {row["state"] for row in store.messages.listing(conn)} == {MessageState.SKIPPED}
        assert {row["reason"] for row in store.messages.listing(conn)} == {"no_papers"}


def name_papers(app: App, email: str) -> None:
    """Let somebody have named a paper that is stored since, and one that nobody has."""
    now = app.clock.now()
    with app.database.write() as conn:
        reader = store.subscribers.by_email_key(conn, email)
        assert reader is not None
        names = [NamedPaper("arxiv", "2506.00001"), NamedPaper("doi", "10.1/x", "A lost <paper>")]
        store.named_papers.add(conn, reader.id, names, "library", now)
        store.named_papers.mark_asked(conn, [each.key for each in names], now)
        [found, _] = store.named_papers.waiting(conn, 0, 10)
        [paper] = store.papers.newest_before(conn, DAY, 1)
        store.named_papers.mark_found(conn, found.id, paper.id)


TOLD = "1 was found and is liked; 1 was not found: “A lost <paper>”."


def texts_for(app: App, email: str) -> list[str]:
    """Return the texts of somebody's mails in one line each, oldest first."""
    read = [message_from_bytes(m.read_bytes(), policy=policy.default) for m in mails(app)]
    own = sorted((m for m in read if m["To"] == email), key=lambda m: m["Date"].datetime)
    bodies = [message.get_body(("plain",)) for message in own]
    return [" ".join(body.get_content().split()) for body in bodies if body]


def test_what_became_of_named_papers_is_told_in_one_digest(app: App) -> None:
    name_papers(app, "ada@example.org")
    for day in range(3):
        app.new_nightly().run(DAY + timedelta(days=day), (), app.new_outbox())
    assert [TOLD in text for text in texts_for(app, "ada@example.org")].count(True) == 1
    assert not any("you named" in text for text in texts_for(app, "ben@example.org"))


def test_a_day_without_papers_leaves_it_to_the_next_digest(app: App) -> None:
    name_papers(app, "ada@example.org")
    nightly = app.new_nightly()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("triage.digest.block.fill_slate", lambda *_: ())
        assert nightly.run(DAY, (), app.new_outbox()).skipped == 3
    app.new_nightly().run(DAY + timedelta(days=1), (), app.new_outbox())
    [text] = texts_for(app, "ada@example.org")
    assert TOLD in text


def test_a_preview_leaves_it_to_the_next_digest(app: App) -> None:
    name_papers(app, "ada@example.org")
    with app.database.read() as conn:
        ada = store.subscribers.by_email_key(conn, "ada@example.org")
    assert ada is not None
    assert TOLD in app.new_nightly().preview(ada, DAY).day_report
    app.new_nightly().run(DAY, (), app.new_outbox())
    [text] = texts_for(app, "ada@example.org")
    assert TOLD in text


def test_a_named_paper_of_the_day_is_in_nobodys_digest(app: App) -> None:
    named = FetchedPaper(
        "arxiv", "2506.99999", "Large language models that reason", "They reason, in words.",
        listed_on=DAY, named=True,
    )  # fmt: skip
    source = ListedSource(Batch(papers=(named,)))
    report = app.new_nightly().run(DAY, (source,), app.new_outbox())
    assert report.queued == 3
    for email in READERS:
        [text] = texts_for(app, email)
        assert named.title not in text


def test_a_pause_stops_the_digest_and_weekly_readers_wait_a_week(app: App) -> None:
    pause(app.database, "ada@example.org", app.clock)
    add(
        app.database,
        "weekly@example.org",
        app.clock,
        SubscriberPreferences(interests="robots", frequency=Frequency.WEEKLY),
    )

    sent = [
        app.new_nightly().run(DAY + timedelta(days=d), (), app.new_outbox()).queued
        for d in (0, 1, 7)
    ]

    assert sent == [3, 2, 3]
    assert "ada@example.org" not in recipients(app)


def test_without_any_paper_the_run_says_what_to_do(tmp_path: Path) -> None:
    with databases.url_without_tables(tmp_path) as url:
        config, _ = create_installation(tmp_path, databases.config_naming(url))
        app = open_app(config)

        with pytest.raises(NotFound, match="triage papers import"):
            app.new_nightly().run(DAY, (), app.new_outbox())
        app.database.close()


def test_a_damaged_model_never_stops_the_mail(app: App) -> None:
    app.new_nightly().run(DAY, (), app.new_outbox())
    for file in app.settings.models_path.rglob("*.npz"):
        file.write_bytes(b"not a model")
    fresh = open_app(app.settings.folder / "triage.toml")

    report = fresh.new_nightly().run(NEXT_DAY, (), fresh.new_outbox())
    fresh.database.close()

    assert (report.queued, report.drained.sent) == (3, 3)


# The places of SMTP, and that of the second try, are those of `test_nothing_lost`.
ONCE = sorted(set(POINTS) - set(BEFORE_THE_DOT) - {"dot_written"} | {"claimed"})
BEFORE_RANKING = {"fetched:1", "encoded:1"}


@pytest.fixture(scope="module")
def senders() -> Senders:
    """Return what starts processes that have loaded the program and its libraries already."""
    senders = forking()
    senders.load("triage.cli.run", "sklearn.linear_model", "lightgbm", "css_inline", "jinja2")
    return senders


@pytest.mark.parametrize("point", [f"{name}:1" for name in ONCE] + ["composed:2", "handed_over:3"])
def test_killed_between_two_stages_and_run_again_everyone_has_exactly_one_digest(
    imported: Path, encoded: Path, tmp_path: Path, senders: Senders, point: str
) -> None:
    command = ["--config", str(tmp_path / "triage.toml"), "run", "--date", str(DAY)]
    with copied(imported if point in BEFORE_RANKING else encoded, tmp_path) as app:
        killed = senders.run("tests.support.senders.triage", arguments=command, kill_at=point)
        again = senders.run("tests.support.senders.triage", arguments=command)

        assert killed == -signal.SIGKILL
        assert again == 0
        assert recipients(app) == dict.fromkeys(READERS, 1)
        with app.database.read() as conn:
            assert Counter(row["state"] for row in store.messages.listing(conn)) == {"sent": 3}


def test_two_runs_at_once_make_and_send_every_digest_once(app: App) -> None:
    config = app.settings.folder / "triage.toml"
    command = [sys.executable, "-m", "triage", "--config", str(config), "run", "--date", str(DAY)]

    runs = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [run.communicate()[1] for run in runs]

    # The one that finds a digest in the other's hands says so and ends as partly done.
    assert {run.returncode for run in runs} <= {0, 3}, said
    assert recipients(app) == dict.fromkeys(READERS, 1)
    with app.database.read() as conn:
        assert Counter(row["state"] for row in store.messages.listing(conn)) == {"sent": 3}


def test_the_stages_are_named_in_the_log(app: App) -> None:
    config = app.settings.folder / "triage.toml"
    command = [sys.executable, "-m", "triage", "--config", str(config), "run", "--date", str(DAY)]

    done = subprocess.run(command, capture_output=True, text=True, check=True)

    for stage in ("encode", "rank", "drain"):
        assert stage in done.stderr
    assert "3 sent" in done.stdout
    listed = subprocess.run(
        [*command[:5], "outbox", "list", "--json"], capture_output=True, text=True, check=True
    )
    rows = json.loads(listed.stdout)
    assert {"message_id", "subscriber", "on", "state", "attempts", "last_reply"} <= set(rows[0])


def test_a_preview_stores_nothing(app: App) -> None:
    with app.database.read() as conn:
        (ada, *_) = store.subscribers.everyone(conn, [SubscriberState.ACTIVE])
    app.new_nightly().preview(ada, DAY)

    with app.database.read() as conn:
        assert store.slates.listing(conn, 10) == []
        assert store.messages.listing(conn) == []


def test_what_a_digest_found_a_subscriber_to_read_is_stored_with_it(app: App) -> None:
    app.new_nightly().run(DAY, (), app.new_outbox())

    with app.database.read() as conn:
        chen = store.subscribers.by_email_key(conn, "chen@example.org")
        assert chen is not None
        found = store.interests.of(conn, chen.id)
    assert {each.phrases for each in found} == {
        ("medical image segmentation",), ("robot manipulation",)
    }  # fmt: skip
    assert {each.number for each in found} == {1, 2}


def test_a_taste_is_stored_with_the_digest_and_read_by_a_preview(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    app.new_nightly().queue(DAY)
    with app.database.read() as conn:
        ada = store.subscribers.by_email_key(conn, "ada@example.org")
    assert ada is not None
    monkeypatch.setattr(user_model_cache, "fit_user_model", None)
    shown = app.new_nightly().preview(ada, DAY).impressions[0]
    assert shown.features[FEATURES.index("taste_helped")]


def test_no_digest_fails_for_want_of_a_taste(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(user_model_cache, "fit_user_model", None)
    report = app.new_nightly().queue(DAY)
    assert (report.made, report.problems) == (3, ())


def test_the_number_of_statements_of_a_block_does_not_depend_on_its_size(app: App) -> None:
    for n in range(45):
        text = list(READERS.values())[n % 3]
        wishes = SubscriberPreferences(interests=text, revisions=True, recap=True)
        add(app.database, f"more{n}@example.org", app.clock, wishes)
    app.new_nightly().run(DAY, (), app.new_outbox())
    like_the_first_papers(app)
    nightly = app.new_nightly()
    pair = nightly._encode(NEXT_DAY, silent)
    with app.database.write() as conn:
        run_id = store.jobs.begin_run(conn, NEXT_DAY, app.clock.now())
        ids = [each.id for each in store.subscribers.everyone(conn)]
    models = pair.encoder.version, pair.scorer.version
    statements: list[str] = []
    event.listen(
        app.database.engine, "before_cursor_execute", lambda *told: statements.append(told[2])
    )
    counts = []
    for some in (ids[:3], ids[3:4], ids[4:14], ids[14:]):
        statements.clear()
        queued = nightly.queue_block(Block(run_id, NEXT_DAY, models, 14, tuple(some)))
        assert queued == QueuedBlock(made=len(some))
        counts.append(len(statements))
    # The first block has loaded what the others share. A block without new interests or models has
    # no statement that stores some.
    assert max(counts[1:]) <= min(counts[1:]) + 2 < 35


def like_the_first_papers(app: App) -> None:
    """Let each subscriber vote on two papers of the digest of DAY."""
    kinds = (EventKind.VOTE_UP, EventKind.VOTE_DOWN)
    with app.database.write() as conn:
        for each in store.subscribers.everyone(conn):
            slate = store.slates.by_day(conn, each.id, DAY)
            assert slate is not None
            for shown, kind in zip(slate.impressions, kinds, strict=False):
                at = app.clock.now()
                store.events.append(conn, Event(each.id, shown.paper.id, kind, at, at))
