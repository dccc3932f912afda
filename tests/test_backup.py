"""Copies of the database: whole and checked, private, few, and never half a one."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.databases import installed, on_postgres
from tests.fakes import StoppedClock
from tests.installation import add_reader
from triage import store
from triage.backup import KEPT, back_up
from triage.errors import DatabaseError
from triage.store import Database, open_database


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with installed(tmp_path) as opened:
        yield opened


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "backups"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.sqlite("a copy is a file")
def test_a_copy_is_whole_while_the_database_is_in_use(database: Database, folder: Path) -> None:
    reader = add_reader(database)
    with database.read() as conn:
        store.subscribers.everyone(conn)
        said = back_up(database, folder, StoppedClock())
    [name] = names(folder)
    assert said == f"wrote {name}"
    with contextlib.closing(sqlite3.connect(folder / name)) as plain:
        assert plain.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    copy = open_database(f"sqlite:///{folder / name}")
    copy.check_schema()
    with copy.read() as conn:
        assert store.subscribers.everyone(conn) == [reader]
    copy.close()


@pytest.mark.sqlite("a copy is a file")
def test_only_the_owner_can_read_a_copy(database: Database, folder: Path) -> None:
    back_up(database, folder, StoppedClock())
    [copy] = folder.iterdir()
    assert copy.stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.sqlite("a copy is a file")
def test_the_newest_copies_stay(database: Database, folder: Path) -> None:
    clock = StoppedClock()
    wrote = []
    for _ in range(KEPT + 2):
        wrote.append(back_up(database, folder, clock).removeprefix("wrote "))
        clock.at += timedelta(days=1)
    assert names(folder) == wrote[2:]


@pytest.mark.sqlite("a copy is a file")
def test_what_a_killed_back_up_left_goes_and_other_files_stay(
    database: Database, folder: Path
) -> None:
    folder.mkdir()
    for name in (".triage-20200101T000000Z.db", ".triage-20200101T000000Z.db-journal", "notes"):
        (folder / name).write_text("x")
    name = back_up(database, folder, StoppedClock()).removeprefix("wrote ")
    assert names(folder) == ["notes", name]


@pytest.mark.sqlite("a copy is a file")
def test_a_copy_that_fails_leaves_nothing_and_says_what_to_do(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "letter.db").write_text("Dear reader, " * 500)
    database = open_database(f"sqlite:///{tmp_path}/letter.db")
    with pytest.raises(DatabaseError, match=r"cannot be copied.*not a database.*run again"):
        back_up(database, folder, StoppedClock())
    database.close()
    assert names(folder) == []


@pytest.mark.sqlite("a copy is a file")
def test_a_damaged_database_leaves_nothing_and_keeps_older_copies(
    database: Database, folder: Path
) -> None:
    clock = StoppedClock()
    back_up(database, folder, clock)
    before = names(folder)
    clock.at += timedelta(days=1)
    with database.read() as conn:
        # A damaged page: its schema is read well, the copy of it is not sound.
        file = Path(str(conn.engine.url.database))
    content = bytearray(file.read_bytes())
    content[4096:8192] = b"\xff" * 4096
    file.with_name("damaged.db").write_bytes(content)
    damaged = open_database(f"sqlite:///{file.with_name('damaged.db')}")
    with pytest.raises(DatabaseError):
        back_up(damaged, folder, clock)
    damaged.close()
    assert names(folder) == before


@pytest.mark.sqlite("a copy is a file")
def test_a_folder_that_cannot_be_made_is_told(database: Database, tmp_path: Path) -> None:
    (tmp_path / "backups").write_text("a file")
    with pytest.raises(DatabaseError, match=r"back-up in .*backups failed"):
        back_up(database, tmp_path / "backups", StoppedClock())


def test_a_server_is_left_to_its_own_tools(database: Database, folder: Path) -> None:
    if not on_postgres():
        # Never connected to: the address alone says what it is.
        pytest.importorskip("psycopg")
        database = open_database("postgresql://nobody@localhost:1/none")
    assert "own tools" in back_up(database, folder, StoppedClock())
    assert not folder.exists()
    if not on_postgres():
        database.close()
