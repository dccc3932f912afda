"""A copy of a SQLite database on PostgreSQL: each value is the same, or nobody can use it."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import JSON, Table, cast, insert, select, text
from sqlalchemy import Text as PlainText

from tests.support import postgres
from tests.support.copying import OURS, copy, filled_source
from tests.support.databases import NAME, migrated_file
from tests.support.factories import NOON
from tests.support.installation import rows
from triage import store
from triage.errors import DatabaseError, SchemaError
from triage.store import Database, copy_database, open_database, revision_of
from triage.store.copy_database import begin_copy, copy_rows, open_alone
from triage.store.migrate import differences, upgrade
from triage.store.search import Filters, MatchTerms
from triage.store.tables import metadata

pytestmark = pytest.mark.any_database("it goes from the one to the other")


@pytest.fixture
def target_url() -> Iterator[str]:
    """The address of a database with empty tables, which takes less time than one without."""
    with postgres.migrated_url() as url:
        yield url


@contextmanager
def opened(url: str) -> Iterator[Database]:
    with closing(open_database(url)) as database:
        yield database


def content(url: str) -> dict[str, list[tuple[Any, ...]]]:
    """Return all rows, the floats and JSON as text that shows every bit of them."""
    found = {}
    with opened(url) as database, database.read() as conn:
        for table in metadata.sorted_tables:
            query = select(
                *(cast(c, PlainText) if isinstance(c.type, JSON) else c for c in table.c)
            )
            values = [tuple(map(shown, row)) for row in conn.execute(query)]
            found[table.name] = sorted(values, key=repr)
    return found


def shown(value: object) -> object:
    return value.hex() if isinstance(value, float) else value


def change(url: str, statement: str, **values: object) -> None:
    """Change a database past the checks of the program; SQLite then checks nothing."""
    with opened(url) as database, database.engine.connect() as conn:
        if database.is_file:
            conn.exec_driver_sql("COMMIT")
            conn.exec_driver_sql("PRAGMA foreign_keys = OFF")
            conn.exec_driver_sql("BEGIN IMMEDIATE")
        conn.execute(text(statement), values)
        conn.commit()


def stop_after(n_chunks: int, source_url: str, target_url: str) -> None:
    """Copy, and stop after so many chunks."""

    def count(_stage: str, _done: int, _total: int) -> None:
        nonlocal n_chunks
        n_chunks -= 1
        if n_chunks == 0:
            raise KeyboardInterrupt

    with closing(open_alone(source_url)) as source, opened(target_url) as target:
        begin_copy(source, target, OURS)
        with pytest.raises(KeyboardInterrupt):
            copy_rows(source, target, count)


def why_not(source_url: str, target_url: str) -> str:
    with pytest.raises(DatabaseError) as caught:
        copy(source_url, target_url)
    return str(caught.value)


# -- the copy --------------------------------------------------------------------------------------


def test_every_value_of_every_table_is_copied_bit_by_bit(tmp_path: Path) -> None:
    source_url = filled_source(tmp_path)
    before = (tmp_path / NAME).read_bytes()
    with postgres.copy_of("template1") as target_url:
        assert copy(source_url, target_url) == ("new", 9 * len(metadata.tables))
        assert content(target_url) == content(source_url)
        assert all(len(found) == 9 for found in content(target_url).values())
        assert (tmp_path / NAME).read_bytes() == before
        with opened(target_url) as target:
            target.check_schema()
            assert differences(target) == []


def test_a_server_may_sort_text_in_another_order(tmp_path: Path) -> None:
    new = "CREATE DATABASE sorted TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en'"
    postgres.server().run(new)
    target_url = postgres.server().url("sorted")
    source_url = filled_source(tmp_path)
    assert copy(source_url, target_url)[0] == "new"
    assert content(target_url) == content(source_url)
    postgres.drop(target_url)


def test_an_empty_database_is_copied_to_one_that_was_upgraded(
    tmp_path: Path, target_url: str
) -> None:
    (tmp_path / NAME).write_bytes(migrated_file())
    assert copy(f"sqlite:///{tmp_path / NAME}", target_url) == ("new", 0)
    with opened(target_url) as target:
        target.check_schema()


def test_new_rows_get_new_ids(tmp_path: Path, target_url: str) -> None:
    copy(filled_source(tmp_path, n=5), target_url)
    with opened(target_url) as target, target.write() as conn:
        run = metadata.tables["runs"]
        new = {"on": NOON.date(), "stage": "begun", "started_at": NOON}
        assert conn.scalar(insert(run).returning(run.c.id), new) == 16


def test_copied_papers_are_found_by_their_words(tmp_path: Path, target_url: str) -> None:
    source_url = filled_source(tmp_path)
    change(source_url, "UPDATE papers SET merged_into = NULL, withdrawn_at = NULL")
    change(source_url, "UPDATE papers SET title = 'Decoding with drafts' WHERE id = 6")
    copy(source_url, target_url)
    wanted = MatchTerms(all_of=(("draft",),))
    with opened(target_url) as target, target.read() as conn:
        assert store.search.find_matching(conn, wanted, Filters(), 5) == [6]


def test_a_chunk_ends_where_it_has_enough_bytes(
    tmp_path: Path, target_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source_url = filled_source(tmp_path)
    change(source_url, "UPDATE papers SET abstract = :long", long="x" * 600)
    monkeypatch.setattr(copy_database, "CHUNK_BYTES", 1000)
    told: list[int] = []
    with closing(open_alone(source_url)) as source, opened(target_url) as target:
        begin_copy(source, target, OURS)
        copy_rows(source, target, lambda _stage, done, _total: told.append(done))
    names = [table.name for table in metadata.sorted_tables]
    start = 9 * names.index("papers")
    assert [done - start for done in told if start < done <= start + 9] == [2, 4, 6, 8, 9]
    assert content(target_url) == content(source_url)


def test_nul_is_copied_as_the_program_stores_it(tmp_path: Path, target_url: str) -> None:
    source_url = filled_source(tmp_path)
    change(source_url, "UPDATE papers SET title = 'A' || char(0) || 'B' WHERE id = 6")
    copy(source_url, target_url)
    with opened(target_url) as target:
        assert [row["title"] for row in rows(target, "papers") if row["id"] == 6] == ["A\ufffdB"]


# -- what it refuses -------------------------------------------------------------------------------


def test_a_source_that_another_program_has_open_is_not_copied(
    tmp_path: Path, target_url: str
) -> None:
    source_url = filled_source(tmp_path)
    with opened(source_url) as other:
        other.check_schema()
        assert "is in use: stop triage first" in why_not(source_url, target_url)
    assert copy(source_url, target_url)[0] == "new"


def test_nobody_can_write_to_the_source_during_the_copy(tmp_path: Path, target_url: str) -> None:
    source_url = filled_source(tmp_path)

    def write(_stage: str, _done: int, _total: int) -> None:
        other = closing(sqlite3.connect(tmp_path / NAME, timeout=0))
        with other as conn, pytest.raises(sqlite3.OperationalError, match="locked"):
            conn.execute("DELETE FROM papers")

    with closing(open_alone(source_url)) as source, opened(target_url) as target:
        begin_copy(source, target, OURS)
        copy_rows(source, target, write)


def test_a_target_with_data_is_refused_and_left_as_it_was(tmp_path: Path, target_url: str) -> None:
    source_url = filled_source(tmp_path)
    copy(source_url, target_url)
    before = content(target_url)
    assert "has data already" in why_not(source_url, target_url)
    assert content(target_url) == before


def test_a_target_with_tables_of_another_program_is_refused(tmp_path: Path) -> None:
    with postgres.copy_of("template1") as target_url:
        change(target_url, "CREATE TABLE papers (id bigint)")
        why = why_not(filled_source(tmp_path), target_url)
        assert "has tables of another program" in why
        with opened(target_url) as target, target.read() as conn:
            assert revision_of(conn) is None


def test_an_unfinished_copy_of_another_installation_is_refused(
    tmp_path: Path, target_url: str
) -> None:
    source_url = filled_source(tmp_path)
    with closing(open_alone(source_url)) as source, opened(target_url) as target:
        begin_copy(source, target, "another installation")
    assert "copy of another installation" in why_not(source_url, target_url)


def test_an_unfinished_copy_is_refused_by_all_that_open_it(tmp_path: Path, target_url: str) -> None:
    stop_after(3, filled_source(tmp_path), target_url)
    with opened(target_url) as target:
        for use in (target.check_schema, lambda: upgrade(target)):
            with pytest.raises(SchemaError, match="is not complete: run `triage db migrate-to`"):
                use()


# -- again -----------------------------------------------------------------------------------------


def test_an_interrupted_copy_continues_after_its_last_chunk(
    tmp_path: Path, target_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copy_database, "CHUNK_ROWS", 2)
    source_url = filled_source(tmp_path)
    stop_after(7, source_url, target_url)
    with closing(open_alone(source_url)) as source, opened(target_url) as target:
        assert begin_copy(source, target, OURS) == "continued"
        first: list[int] = []
        copy_rows(source, target, lambda _stage, done, _total: first.append(done))
    # Five chunks are a table of nine rows.
    assert first[0] == 9 + 2 * 2 + 2
    assert content(target_url) == content(source_url)


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO jobs (name, done_at, outcome) VALUES ('~', '2026-03-02 00:00:00.000000', '')",
        "UPDATE papers SET title = title || '!' WHERE id = 3",
        "DELETE FROM impressions WHERE id = 27",
    ],
    ids=["a row more", "another row", "a row less"],
)
def test_a_source_that_was_changed_between_two_tries_is_copied_anew(
    tmp_path: Path, target_url: str, statement: str
) -> None:
    source_url = filled_source(tmp_path)
    # All but the last tables are there.
    stop_after(len(metadata.tables) - 1, source_url, target_url)
    change(source_url, statement)
    assert copy(source_url, target_url)[0] == "restarted"
    assert content(target_url) == content(source_url)


def test_a_change_that_a_killed_program_left_beside_the_file_is_noticed(
    tmp_path: Path, target_url: str
) -> None:
    source_url = filled_source(tmp_path)
    stop_after(3, source_url, target_url)
    file, wal = tmp_path / NAME, tmp_path / f"{NAME}-wal"
    with closing(sqlite3.connect(file)) as conn:
        conn.execute("UPDATE jobs SET outcome = 'other'")
        conn.commit()
        for each in (file, wal):
            shutil.copy2(each, each.with_suffix(f"{each.suffix}.kept"))
    for each in (file, wal):
        each.with_suffix(f"{each.suffix}.kept").replace(each)
    assert copy(source_url, target_url)[0] == "restarted"
    assert content(target_url) == content(source_url)


# -- rows that PostgreSQL does not store -----------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "value", "why"),
    [
        ("source", "s" * 81, "value too long"),
        ("authors", "[NaN]", "invalid input syntax for type json"),
        ("categories", '["cs.CL"', "invalid input syntax for type json"),
        ("listed_on", "tomorrow", "ValueError"),
        ("title", b"\xff\xfe", "AttributeError"),
        ("citations", 2**31, "out of range"),
    ],
)
def test_a_row_that_postgresql_cannot_store_is_named(
    tmp_path: Path, target_url: str, column: str, value: object, why: str
) -> None:
    source_url = filled_source(tmp_path)
    statement = f"UPDATE papers SET {column} = :value WHERE id = 15"  # noqa: S608
    change(source_url, statement, value=value)
    said = why_not(source_url, target_url)
    assert said.startswith("the row of papers (id 15) cannot be stored in PostgreSQL")
    assert why in said


def test_a_text_that_is_no_text_is_named(tmp_path: Path, target_url: str) -> None:
    source_url = filled_source(tmp_path)
    change(source_url, "UPDATE papers SET title = CAST(x'fffe' AS TEXT) WHERE id = 15")
    assert "the row of papers (id 15) cannot be stored" in why_not(source_url, target_url)


def test_a_damaged_source_is_no_matter_of_its_rows(tmp_path: Path, target_url: str) -> None:
    source_url = filled_source(tmp_path, n=200)
    with (tmp_path / NAME).open("r+b") as file:
        for page in range(60, 200):
            file.seek(page * 4096)
            file.write(b"\xff" * 4096)
    assert "is damaged" in why_not(source_url, target_url)


def test_a_row_that_postgresql_stores_otherwise_is_named_and_the_copy_begins_anew(
    tmp_path: Path, target_url: str
) -> None:
    source_url = filled_source(tmp_path)
    change(source_url, "UPDATE papers SET citations = 1.5 WHERE id = 15")
    why = "the row of papers (id 15) has another citations in PostgreSQL"
    assert why in why_not(source_url, target_url)
    change(source_url, "UPDATE papers SET citations = 2 WHERE id = 15")
    assert copy(source_url, target_url)[0] == "restarted"
    assert content(target_url) == content(source_url)


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        ("DELETE FROM paper_ids WHERE paper_id = 9", "is missing or too many"),
        ("UPDATE papers SET title = title || ' ' WHERE id = 9", "has another title"),
        ("UPDATE impressions SET score = '-0' WHERE score = 0", "has another score"),
        ("INSERT INTO runs (id, \"on\", stage, started_at) VALUES (1, '2026-01-01', '', now())",
         "is missing or too many"),
    ],
)  # fmt: skip
def test_a_change_of_the_copy_by_another_program_is_found(
    tmp_path: Path,
    target_url: str,
    statement: str,
    why: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source_url = filled_source(tmp_path)
    touched = statement.split()[2 if "UPDATE" not in statement else 1]
    with closing(open_alone(source_url)) as source, opened(target_url) as target:
        begin_copy(source, target, OURS)
        compare = copy_database._compare

        def change_and_compare(conn: Any, target: Database, table: Table) -> None:
            if table.name == touched:
                change(target_url, statement)
            compare(conn, target, table)

        monkeypatch.setattr(copy_database, "_compare", change_and_compare)
        with pytest.raises(DatabaseError, match=why):
            copy_rows(source, target)
        with pytest.raises(SchemaError):
            target.check_schema()
    monkeypatch.undo()
    assert copy(source_url, target_url)[0] == "restarted"
    assert content(target_url) == content(source_url)
