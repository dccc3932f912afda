"""An older schema becomes the newest one, wholly or not at all, and with all that is in it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import text

from tests.support.databases import (
    NAME,
    config_naming,
    on_postgres,
    url_of_copy,
    url_without_tables,
)
from tests.support.fakes import FakeMailer, StoppedClock
from tests.support.guarantees import Guarantee
from tests.support.migrating import MADE_UP, PAST, add_migration, content, fill_old, shape
from tests.support.senders import forking
from triage.app.application import open_app
from triage.cli import cli
from triage.delivery.audit import audit
from triage.domain.records import MessageState
from triage.errors import SchemaError
from triage.store import Database, open_database, revision_of
from triage.store.migrate import differences, upgrade
from triage.store.tables import SCHEMA_REVISION


@contextmanager
def filled_database(folder: Path) -> Iterator[tuple[str, Database]]:
    """Yield a database at the newest released schema, with something in every state."""
    folder.mkdir(exist_ok=True)
    with url_without_tables(folder) as url:
        database = open_database(url)
        upgrade(database)
        fill_old(database)
        try:
            yield url, database
        finally:
            database.close()


@pytest.mark.guarantee("R40")
def test_what_an_older_program_left_is_all_there_and_its_books_balance(
    tmp_path: Path, guarantee: Guarantee, monkeypatch: pytest.MonkeyPatch
) -> None:
    with filled_database(tmp_path) as (_, database):
        before = content(database)
        assert before["messages"] == len(PAST)
        assert differences(database) == []
        add_migration(tmp_path / "migrations", monkeypatch)
        assert upgrade(database) == (SCHEMA_REVISION, MADE_UP)
        assert content(database) == before
        assert "summaries" in shape(database)
        found = audit(database)
        assert found.faults == ()
        assert sum(counts["due"] for counts in found.days.values()) == len(PAST)
        if database.is_file:
            with database.read() as conn:
                assert conn.execute(text("PRAGMA foreign_key_check")).all() == []
    guarantee.record(n_schemas_upgraded=1)


@pytest.mark.guarantee("R40")
def test_an_upgrade_that_is_killed_leaves_the_old_schema_or_the_new_one(
    tmp_path: Path, guarantee: Guarantee, monkeypatch: pytest.MonkeyPatch
) -> None:
    n_kills = 500 if guarantee.full else 8
    (tmp_path / "work").mkdir()
    result = tmp_path / "result"
    with filled_database(tmp_path) as (template, database):
        before = content(database)
        database.close()
        add_migration(tmp_path / "migrations", monkeypatch)
        with url_of_copy(template, tmp_path / "work") as url:
            ended = forking().run(
                "tests.support.migrating.campaign",
                url=url,
                template=template,
                migrations=str(tmp_path / "migrations"),
                n_kills=n_kills,
                seed=0,
                result=str(result),
            )
            assert ended == 0
            survivor = open_database(url)
            survivor.check_schema()
            assert content(survivor) == before
            assert audit(survivor).faults == ()
            survivor.close()
    told = json.loads(result.read_text())
    kind = "postgresql" if on_postgres() else "sqlite"
    guarantee.record(
        **{
            f"n_kills_{kind}": n_kills,
            f"n_left_old_{kind}": told["old"],
            f"n_left_new_{kind}": told["new"],
            f"n_left_neither_{kind}": len(told["wrong"]),
        },
        n_statements_of_all_upgrades=told["n_statements"],
    )
    assert told["wrong"] == []
    assert told["old"] + told["new"] == n_kills
    assert told["old"] > 0


@pytest.mark.guarantee("R40")
def test_the_database_of_an_unknown_program_sends_nothing(
    tmp_path: Path, guarantee: Guarantee
) -> None:
    with filled_database(tmp_path) as (url, database):
        (tmp_path / "triage.toml").write_text(config_naming(url))
        mailer = FakeMailer()
        for unknown in ("9999", "0000"):
            with database.write() as conn:
                conn.execute(text("UPDATE alembic_version SET version_num = :r"), {"r": unknown})
            app = open_app(tmp_path / "triage.toml", clock=StoppedClock())
            app.mailer = mailer
            with pytest.raises(SchemaError):
                app.new_outbox()
            app.close()
        assert mailer.sent == []
    guarantee.record(n_sent_at_unknown_schemas=len(mailer.sent))


@pytest.mark.guarantee("R40")
@pytest.mark.sqlite("a server is copied with its own tools")
def test_an_upgrade_begins_with_a_back_up(
    tmp_path: Path, guarantee: Guarantee, monkeypatch: pytest.MonkeyPatch
) -> None:
    with filled_database(tmp_path) as (_, database):
        before = content(database)
    add_migration(tmp_path / "migrations", monkeypatch)
    config = tmp_path / "triage.toml"
    config.write_text("")
    said = CliRunner().invoke(cli, ["--config", str(config), "db", "upgrade"])
    assert said.exit_code == 0, said.output
    [copy] = (tmp_path / "backups").iterdir()
    assert copy.name in said.output
    for file, revision in ((copy, SCHEMA_REVISION), (tmp_path / NAME, MADE_UP)):
        database = open_database(f"sqlite:///{file}")
        assert content(database) == before
        with database.read() as conn:
            assert revision_of(conn) == revision
        database.close()
    # At the newest schema there is nothing to copy.
    CliRunner().invoke(cli, ["--config", str(config), "db", "upgrade"])
    assert len(list((tmp_path / "backups").iterdir())) == 1
    guarantee.record(n_upgrades_without_back_up=0)


def test_old_digests_are_in_every_state_that_there_was() -> None:
    assert {state for state, *_ in PAST} == {*map(str, MessageState)} - {"planned", "held"}
