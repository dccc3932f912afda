"""Migrations make exactly the tables that the program works with, wholly or not at all."""

from __future__ import annotations

import ast
import contextlib
import sqlite3
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from alembic.command import upgrade as upgrade_to
from alembic.script import ScriptDirectory
from click.testing import CliRunner
from sqlalchemy import MetaData, UniqueConstraint, event, insert, inspect, text

from tests.support.databases import NAME, installed, on_postgres, without_tables
from tests.support.factories import NOON
from tests.support.fakes import StoppedClock
from tests.support.installation import add_reader
from triage import store
from triage.cli import cli
from triage.errors import SchemaError
from triage.operations.backup import restore
from triage.resources import migrations_dir
from triage.store import Database, tables
from triage.store.migrate import config, differences, upgrade
from triage.store.tables import FIRST_REVISION, SCHEMA_REVISION, metadata


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """A database without tables."""
    with without_tables(tmp_path) as opened:
        yield opened


@pytest.fixture
def migrated(tmp_path: Path) -> Iterator[Database]:
    """A database as the migrations make it."""
    with installed(tmp_path) as opened:
        yield opened


# The index of words, which only migrations can make, and what SQLite keeps it in.
NOT_DESCRIBED = "paper_words"


def tables_of(database: Database) -> set[str]:
    with database.read() as conn:
        names = inspect(conn).get_table_names()
    return {name for name in names if not name.startswith(NOT_DESCRIBED)}


def stamp(database: Database, revision: str) -> None:
    with database.write() as conn:
        conn.execute(text("UPDATE alembic_version SET version_num = :r"), {"r": revision})


def test_migrations_make_exactly_the_programs_tables(database: Database) -> None:
    assert upgrade(database) == (None, SCHEMA_REVISION)
    assert differences(database) == []
    assert tables_of(database) == {*metadata.tables, "alembic_version"}


def test_a_table_that_differs_is_told(migrated: Database) -> None:
    with migrated.write() as conn:
        conn.execute(text("ALTER TABLE papers ADD COLUMN mood TEXT"))
        conn.execute(text("DROP INDEX ix_messages_state_not_before"))
    found = "\n".join(differences(migrated))
    assert "mood" in found
    assert "ix_messages_state_not_before" in found


def definitions(database: Database) -> set[str]:
    """Return what makes the indexes, and on SQLite the tables, in SQL."""
    query = "SELECT sql FROM sqlite_master WHERE sql NOT NULL"
    if on_postgres():
        query = """
            SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'
            UNION SELECT conname || ' ' || pg_get_constraintdef(oid) FROM pg_constraint
            WHERE connamespace = 'public'::regnamespace
        """
    with database.read() as conn:
        return {" ".join(sql.split()) for sql in conn.scalars(text(query))}


def test_every_constraint_that_the_tables_name_is_in_the_database(migrated: Database) -> None:
    made = "\n".join(definitions(migrated))
    for table in metadata.tables.values():
        names = {part.name for part in table.constraints} | {part.name for part in table.indexes}
        assert [name for name in names if str(name) not in made] == []


def test_what_a_deleted_row_takes_along_is_found_by_an_index() -> None:
    """Databases look for the rows themselves, and an index for some rows only does not help."""
    for table in metadata.tables.values():
        # A set of columns helps to find its first one.
        unique = [part for part in table.constraints if isinstance(part, UniqueConstraint)]
        found = {next(iter(part.columns)).name for part in [*unique, table.primary_key]}
        for index in table.indexes:
            if index.dialect_options["sqlite"]["where"] is None:
                found.add(next(iter(index.columns)).name)
        for column in table.columns:
            if any(key.ondelete == "CASCADE" for key in column.foreign_keys):
                assert column.name in found, f"{table.name}.{column.name}"


def test_indexes_hold_for_the_same_rows(migrated: Database, tmp_path: Path) -> None:
    """The comparison of tables does not look at the condition of an index."""

    def indexes(found: Database) -> set[str]:
        others = ("alembic", NOT_DESCRIBED)
        made = {sql for sql in definitions(found) if "INDEX" in sql}
        return {sql for sql in made if not any(other in sql for other in others)}

    (tmp_path / "twin").mkdir()
    with without_tables(tmp_path / "twin") as twin:
        metadata.create_all(twin.engine)
        assert indexes(migrated) == indexes(twin)


def test_upgrading_twice_changes_nothing(migrated: Database) -> None:
    reader = add_reader(migrated)
    assert upgrade(migrated) == (SCHEMA_REVISION, SCHEMA_REVISION)
    with migrated.read() as conn:
        assert store.subscribers.everyone(conn) == [reader]


def test_migrations_are_one_line_of_numbered_steps() -> None:
    scripts = ScriptDirectory.from_config(config())
    steps = list(scripts.walk_revisions())
    revisions = [script.revision for script in steps]
    assert revisions == [str(1000 + int(Path(script.path).name[:4])) for script in steps]
    assert scripts.get_heads() == [SCHEMA_REVISION]
    assert revisions[-1] == FIRST_REVISION
    # The schema check compares revisions as texts, so they sort as they follow.
    assert revisions == sorted(revisions, reverse=True)
    assert all(len(revision) == 4 and revision.isdigit() for revision in revisions)


@pytest.mark.parametrize("revision", ["9999", "zzzz"])
def test_the_database_of_a_newer_program_is_refused(migrated: Database, revision: str) -> None:
    stamp(migrated, revision)
    for refused in (lambda: upgrade(migrated), migrated.check_schema):
        with pytest.raises(SchemaError, match="install the newer triage") as caught:
            refused()
        assert revision in str(caught.value)


@pytest.mark.parametrize("revision", ["0000", "0001", "0011"])
def test_the_database_of_an_unreleased_program_is_refused(
    database: Database, revision: str
) -> None:
    upgrade(database)
    stamp(database, revision)
    before = definitions(database)
    for refused in (lambda: upgrade(database), database.check_schema):
        with pytest.raises(SchemaError, match="was never released: start a new") as caught:
            refused()
        assert revision in str(caught.value)
        assert "\n" not in str(caught.value)
    assert definitions(database) == before


@pytest.mark.sqlite("a server has no file")
def test_nothing_touches_the_file_of_an_unreleased_program(tmp_path: Path) -> None:
    (tmp_path / "triage.toml").write_text("")
    file = tmp_path / NAME
    with contextlib.closing(sqlite3.connect(file)) as conn:
        conn.execute("PRAGMA journal_mode = WAL")
        conn.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
        conn.execute("CREATE TABLE marks (mark VARCHAR(510) NOT NULL)")
        conn.execute("INSERT INTO alembic_version VALUES ('0011')")
        conn.commit()
    before = file.read_bytes()
    for command in (["db", "upgrade"], ["db", "check"], ["run"]):
        said = CliRunner().invoke(cli, ["--config", str(tmp_path / "triage.toml"), *command])
        assert said.exit_code == 1
        assert isinstance(said.exception, SchemaError)
        assert "was never released" in str(said.exception)
        assert file.read_bytes() == before
    assert not (tmp_path / "backups").exists()
    (tmp_path / "copy.db").write_bytes(before)
    with pytest.raises(SchemaError, match="was never released"):
        restore(file, tmp_path / "copy.db", StoppedClock())
    assert file.read_bytes() == before


def test_an_older_database_is_to_be_upgraded(
    migrated: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "SCHEMA_REVISION", "9999")
    with pytest.raises(SchemaError, match=r"back it up and run `triage db upgrade`"):
        migrated.check_schema()


def test_a_database_without_tables_is_to_be_upgraded(database: Database) -> None:
    with pytest.raises(SchemaError, match="triage db upgrade"):
        database.check_schema()
    upgrade(database)
    database.check_schema()


@pytest.mark.parametrize("table", ["papers", "messages"])
def test_a_migration_that_dies_midway_leaves_the_old_schema(database: Database, table: str) -> None:
    def die(_conn: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if f"CREATE TABLE {table} " in " ".join(statement.split()):
            raise KeyboardInterrupt

    event.listen(database.engine, "before_cursor_execute", die)
    with pytest.raises(KeyboardInterrupt):
        upgrade(database)
    event.remove(database.engine, "before_cursor_execute", die)
    assert tables_of(database) == set()

    assert upgrade(database) == (None, SCHEMA_REVISION)
    assert differences(database) == []


def test_papers_whose_last_vote_is_a_save_are_collected_by_the_migration(
    database: Database,
) -> None:
    with database.write() as conn:
        upgrade_to(config(conn), "1003")
        old = MetaData()
        old.reflect(conn)

        def add(table: str, **fields: Any) -> None:
            conn.execute(insert(old.tables[table]).values(fields))

        for n in (1, 2, 3):
            named = {"public_id": f"{n:020x}", "email": f"{n}@x.org", "email_key": f"{n}@x.org"}
            state = {"state": "active", "zone": "UTC", "hour": 7, "frequency": "daily"}
            lists = ("categories", "followed_authors", "include_keywords", "exclude_keywords")
            times = {"created_at": NOON, "state_changed_at": NOON}
            empty: dict[str, Any] = {name: [] for name in lists}
            add("subscribers", **named, **state, **times, **empty, detail="short")
        for n in (1, 2, 3, 4):
            text = {"source": "arxiv", "title": f"{n}", "title_key": f"{n}", "abstract": "a"}
            lists, times = ("authors", "categories"), ("first_seen_at", "updated_at")
            into = {"merged_into": 2 if n == 4 else None, "listed_on": NOON.date()}
            empty = {name: [] for name in lists} | dict.fromkeys(times, NOON)
            add("papers", **text, **into, **empty)
        for who, paper, kind, hour, origin in (
            (1, 1, "vote_down", 0, "person"),
            (1, 1, "save", 1, "person"),
            # The last vote on the work of papers 2 and 4 is no save.
            (1, 4, "save", 1, "person"),
            (1, 2, "vote_up", 2, "person"),
            (1, 3, "save", 0, "suspected_scanner"),
            (2, 4, "save", 3, "person"),
            (3, 1, "vote_up", 3, "person"),
        ):
            at = NOON + timedelta(hours=hour)
            by = {"subscriber_id": who, "paper_id": paper, "kind": kind, "origin": origin}
            add("events", **by, at=at, recorded_at=at, evidence={})
    upgrade(database)
    with database.read() as conn:
        found = {
            who: [
                (each.name, store.collections.papers_of(conn, each.id), n)
                for each, n in store.collections.of(conn, who)
            ]
            for who in (1, 2, 3)
        }
    assert found == {
        1: [("Saved", [(1, NOON + timedelta(hours=1))], 1)],
        2: [("Saved", [(2, NOON + timedelta(hours=3))], 1)],
        3: [],
    }


def test_migrations_never_speak_of_todays_tables() -> None:
    versions = sorted((migrations_dir() / "versions").glob("*.py"))
    assert versions
    for path in versions:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            assert not [name for name in names if name.partition(".")[0] == "triage"], path.name


def test_whatever_belongs_to_a_subscriber_goes_with_them(migrated: Database) -> None:
    with migrated.read() as conn:
        keys = {
            (table, key["referred_table"]): key["options"].get("ondelete")
            for table in metadata.tables
            for key in inspect(conn).get_foreign_keys(table)
        }
    about_people = {pair: rule for pair, rule in keys.items() if pair[1] == "subscribers"}
    assert set(about_people) == {
        ("slates", "subscribers"),
        ("impressions", "subscribers"),
        ("events", "subscribers"),
        ("interests", "subscribers"),
        ("user_models", "subscribers"),
        ("messages", "subscribers"),
        ("bounces", "subscribers"),
        ("sessions", "subscribers"),
        ("feeds", "subscribers"),
        ("named_papers", "subscribers"),
        ("zotero_libraries", "subscribers"),
        ("collections", "subscribers"),
        ("forgotten_votes", "subscribers"),
    }
    assert set(about_people.values()) == {"CASCADE"}
