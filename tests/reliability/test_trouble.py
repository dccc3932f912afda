"""What an operator meets: a full disk, a locked database. Said clearly, and nothing is lost."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import event

from triage import store
from triage.app.application import App, open_app
from triage.app.installation import create_installation
from triage.cli import cli
from triage.cli.demo.story import DAY_ONE, PAPERS
from triage.errors import DatabaseError
from triage.papers.ingest import ingest
from triage.resources import example_config
from triage.sources.files.detect import open_source
from triage.store.engine import database
from triage.subscribers.preferences import SubscriberPreferences
from triage.subscribers.subscriptions import add

pytestmark = pytest.mark.sqlite("its pages are counted, its file is held")


@pytest.fixture
def app(tmp_path: Path) -> Iterator[App]:
    config, _ = create_installation(tmp_path, example_config())
    app = open_app(config)
    for _ in ingest(app.database, open_source(PAPERS, DAY_ONE), app.clock, resume=False):
        pass
    for n in range(4):
        preferences = SubscriberPreferences(interests="language models")
        add(app.database, f"reader{n}@example.org", app.clock, preferences)
    yield app
    app.close()


def mails(app: App) -> int:
    return len(list((app.settings.mail_path / "new").glob("*")))


def states(app: App) -> Counter[str]:
    with app.database.read() as conn:
        return Counter(row["state"] for row in store.messages.listing(conn))


def what_stops(app: App) -> str | None:
    """Run the nightly and return what it says if it cannot go on."""
    try:
        app.new_nightly().run(DAY_ONE, (), app.new_outbox())
    except DatabaseError as error:
        return str(error)
    return None


@pytest.mark.parametrize("pages_left", [0, 5, 20, 60, 120, 200])
def test_a_full_disk_is_said_and_once_there_is_space_everyone_has_one_digest(
    app: App, pages_left: int
) -> None:
    with app.database.read() as conn:
        n_pages = int(conn.exec_driver_sql("PRAGMA page_count").scalar_one())
    limit = [n_pages + pages_left]

    def keep_small(connection: Any, _record: object, _proxy: object) -> None:
        connection.execute(f"PRAGMA max_page_count = {limit[0]}")

    event.listen(app.database.engine, "checkout", keep_small)
    problem = what_stops(app)
    assert problem is None or "the disk is full" in problem
    assert states(app)["sent"] == mails(app)

    limit[0] = 1_000_000
    app.new_nightly().run(DAY_ONE, (), app.new_outbox())

    assert states(app) == {"sent": 4}
    assert mails(app) == 4


def test_a_database_that_another_program_holds_is_said_and_nothing_is_sent(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    impatient = ("PRAGMA busy_timeout = 50", *database._SQLITE_PRAGMAS[1:])
    monkeypatch.setattr(database, "_SQLITE_PRAGMAS", impatient)
    config = str(app.settings.folder / "triage.toml")
    command = ["--config", config, "run", "--date", str(DAY_ONE)]
    with closing(sqlite3.connect(app.settings.folder / "triage.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        refused = CliRunner().invoke(cli, command)
        other.rollback()

    assert isinstance(refused.exception, DatabaseError)
    assert "is another program holding it?" in str(refused.exception)
    assert mails(app) == 0
    assert CliRunner().invoke(cli, command).exit_code == 0
    assert mails(app) == 4
