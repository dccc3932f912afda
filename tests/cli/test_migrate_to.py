"""`triage db migrate-to`: an installation moves to PostgreSQL, and says what to change."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import text

from tests.support import postgres
from tests.support.databases import config_naming
from tests.support.installation import add_papers, add_reader, stored_papers
from tests.support.topics import literature
from triage.app.application import open_app
from triage.cli import cli
from triage.errors import ConfigError, DatabaseError, SchemaError
from triage.store import copy_database

pytestmark = pytest.mark.any_database("it goes from the one to the other")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """The config file of an installation on SQLite with papers and a subscriber."""
    run(None, "init", "--dir", tmp_path / "home")
    path = tmp_path / "home" / "triage.toml"
    app = open_app(path)
    add_papers(app.database, literature()[:5])
    add_reader(app.database)
    app.close()
    return path


@pytest.fixture
def target() -> Iterator[str]:
    with postgres.migrated_url() as url:
        yield url.replace("postgresql+psycopg:", "postgresql:")


def run(config: Path | None, *arguments: str | Path) -> str:
    """Run the program and return what it prints."""
    options = [] if config is None else ["--config", str(config)]
    found = CliRunner().invoke(cli, [*options, *map(str, arguments)])
    if found.exception is not None and not isinstance(found.exception, SystemExit):
        raise found.exception
    return found.output


def stop_copy(config: Path, url: str) -> None:
    """Begin to copy, and stop before the first row."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(copy_database, "copy_rows", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run(config, "db", "migrate-to", url)


def test_an_installation_goes_on_with_the_lines_that_are_printed(config: Path, target: str) -> None:
    app = open_app(config)
    papers = stored_papers(app.database)
    app.close()
    subscribers = run(config, "subscriber", "list")
    printed = run(config, "db", "migrate-to", target)
    assert f'[database]\nurl = "{target}"\n' in printed
    assert 'To go back, write url = "sqlite:///triage.db" again' in printed
    old = config.read_text()
    config.write_text(old.replace('url = "sqlite:///triage.db"', f'url = "{target}"'))
    assert "the database is as this program expects" in run(config, "db", "check")
    assert run(config, "subscriber", "list") == subscribers
    app = open_app(config)
    assert app.database.file is None
    assert stored_papers(app.database) == papers
    app.close()
    # And back.
    config.write_text(old)
    assert "the database is as this program expects" in run(config, "db", "check")


def test_a_password_is_not_printed(
    config: Path, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    printed = run(config, "db", "migrate-to", target.replace("triage@", "triage:sesame@"))
    assert "sesame" not in printed
    assert "triage:***@" in printed
    assert "Write the password instead of ***" in printed


def test_a_sent_log_that_has_to_move_is_named(config: Path, target: str, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    moved = tmp_path / "data" / "triage.db"
    (config.parent / "triage.db").rename(moved)
    config.write_text(config_naming(f"sqlite:///{moved}"))
    printed = run(config, "db", "migrate-to", target)
    assert f"Move {moved.parent}/sent.journal to {config.parent}/sent.journal" in printed


@pytest.mark.parametrize(
    "command",
    [
        ("db", "upgrade"),
        ("db", "check"),
        ("run", "--date", "2026-03-02"),
        ("serve",),
        ("schedule",),
        ("outbox", "list"),
        ("subscriber", "list"),
        ("search", "drafts"),
        ("audit",),
        ("train",),
    ],
    ids=" ".join,
)
def test_every_other_command_refuses_an_unfinished_copy(
    config: Path, target: str, command: tuple[str, ...]
) -> None:
    stop_copy(config, target)
    config.write_text(config_naming(target))
    with pytest.raises(SchemaError, match="the copy to this database is not complete: run `triage"):
        run(config, *command)


def test_doctor_says_that_a_copy_is_unfinished(config: Path, target: str) -> None:
    stop_copy(config, target)
    config.write_text(config_naming(target))
    assert "the copy to this database is not complete" in run(config, "doctor")


def test_a_second_try_says_that_it_continues(config: Path, target: str) -> None:
    stop_copy(config, target)
    assert "the copy continues" in run(config, "db", "migrate-to", target)


def test_a_change_between_two_tries_is_told(config: Path, target: str) -> None:
    stop_copy(config, target)
    app = open_app(config)
    add_reader(app.database, 2)
    app.close()
    assert "changed since the copy began: it is copied anew" in run(
        config, "db", "migrate-to", target
    )


def test_a_database_at_an_old_schema_is_upgraded_first(config: Path, target: str) -> None:
    app = open_app(config)
    with app.database.write() as conn:
        conn.execute(text("UPDATE alembic_version SET version_num = '1001'"))
    app.close()
    with pytest.raises(SchemaError, match="run `triage db upgrade`"):
        run(config, "db", "migrate-to", target)


def test_a_server_that_runs_is_stopped_first(config: Path, target: str) -> None:
    app = open_app(config)
    app.database.check_schema()
    with pytest.raises(DatabaseError, match="is in use: stop triage first"):
        run(config, "db", "migrate-to", target)
    app.close()


def test_it_copies_from_sqlite_to_postgresql_only(config: Path, target: str) -> None:
    with pytest.raises(ConfigError, match="the copy goes to PostgreSQL"):
        run(config, "db", "migrate-to", f"sqlite:///{config.parent}/other.db")
    config.write_text(config_naming(target))
    with pytest.raises(ConfigError, match="this copies a SQLite database"):
        run(config, "db", "migrate-to", target)


def test_a_missing_database_is_not_made(config: Path, target: str) -> None:
    (config.parent / "triage.db").unlink()
    with pytest.raises(DatabaseError, match="does not exist: there is nothing to copy"):
        run(config, "db", "migrate-to", target)
    assert not (config.parent / "triage.db").exists()
