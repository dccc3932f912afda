"""A SQLite database with something in every column, and copies of it that are killed.

`campaign` runs in a process of its own: it forks one child for each try, and kills it at one of its
statements or at any time.
"""

from __future__ import annotations

import json
import os
import random
import signal
import time
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import JSON, Boolean, Column, Date, Float, Integer, LargeBinary, event, insert

from tests.support.databases import NAME, migrated_file
from triage.errors import SchemaError
from triage.store import Database, copy_database, open_database
from triage.store.column_types import UtcDateTime
from triage.store.copy_database import begin_copy, copy_rows, open_alone
from triage.store.tables import metadata

OURS = "this installation"
FIRST = date(1999, 12, 31)
# What a copy could change: the last bit, the sign of zero, and what only some formats know.
NUMBERS = (0.1, -0.0, 5e-324, float("inf"), -1 / 3, 2.0**60)
WHOLE = (0, -1, 2**31 - 1, -(2**31))
BYTES = (b"", bytes(range(256)), b"\0" * 40)
TEXTS = ("Zürich", "zürich", "Zürich", "a\nb\t'\"\\", "\U0001f9ee 数", "Ä", "_", "~")
STRUCTURES: tuple[Any, ...] = (
    ["é", "\0", "\ud800", 1e-7, None],
    {"b": 0.1, "a": [], "1": True},
    [],
    "text",
)
MOMENTS = (
    datetime(2026, 3, 2, 12, 0, 0, 1, tzinfo=UTC),
    datetime(2, 1, 1, tzinfo=UTC),
    datetime(9998, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
)


def filled_source(folder: Path, n: int = 9) -> str:
    """Make a SQLite database with `n` rows in every table, and return its address."""
    (folder / NAME).write_bytes(migrated_file())
    url = f"sqlite:///{folder / NAME}"
    with closing(open_database(url)) as database:
        fill(database, n)
    return url


def fill(database: Database, n: int) -> None:
    """Add rows to every table, with ids that have gaps."""
    with database.write() as conn:
        for table in metadata.sorted_tables:
            rows = [{c.name: _value(c, i) for c in table.c} for i in range(1, n + 1)]
            conn.execute(insert(table), rows)


def _value(column: Column[Any], i: int) -> Any:
    """Return the value of a column in row `i`, another one for each row if it has to be."""
    kind = column.type
    if column.foreign_keys or column.name == "id":
        return 3 * i
    if column.nullable and i % 3 == 0:
        return None
    for known, values in (
        (JSON, STRUCTURES),
        (Boolean, (True, False)),
        (Float, NUMBERS),
        (Integer, WHOLE),
        (LargeBinary, BYTES),
        (UtcDateTime, MOMENTS),
    ):
        if isinstance(kind, known):
            return values[i % len(values)]
    if isinstance(kind, Date):
        return FIRST + timedelta(days=i)
    length = getattr(kind, "length", None) or 40
    # Numbers at the end, so that the order is that of the letters.
    return f"{TEXTS[i % len(TEXTS)]}{i}"[-length:]


def copy(source_url: str, target_url: str) -> tuple[str, int]:
    """Copy, as the command does; return what kind of copy it was, and how many rows there are."""
    with (
        closing(open_alone(source_url)) as source,
        closing(open_database(target_url)) as target,
    ):
        return begin_copy(source, target, OURS), copy_rows(source, target)


# -- killing ---------------------------------------------------------------------------------------


def campaign(*, source: str, target: str, n_kills: int, seed: int, result: str) -> None:
    """Kill so many copies, then let one end; write down what was between them.

    The first ones are killed while they make the tables, and the others soon enough that all of
    them together are one copy.
    """
    rng = random.Random(seed)  # noqa: S311 - a test's own dice
    copy_database.CHUNK_ROWS = 3
    kinds, usable = [], 0
    for n in range(n_kills):
        at = rng.randint(1, 50)
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            _copy_and_die(source, target, at if n % 2 == 0 else 0, write, n > n_kills / 4)
        os.close(write)
        told = b""
        while len(told) < at and (byte := os.read(read, 1)):
            told += byte
        time.sleep(rng.uniform(0, 0.003))
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        assert os.WIFSIGNALED(status), "the copy ended before it was killed"
        kinds.append((told + os.read(read, 1000)).decode().replace(".", ""))
        os.close(read)
        usable += _is_usable(target)
    kind, n_rows = copy(source, target)
    found = {"kinds": [*kinds, kind[0]], "usable": usable, "n_rows": n_rows}
    Path(result).write_text(json.dumps(found))


def _copy_and_die(source_url: str, target_url: str, at: int, told: int, after_begin: bool) -> None:
    """Copy, and die before the statement of that number on the target; 0 is at no statement.

    Each statement is told with a dot, and the kind of the copy with its first letter.
    """
    source, target = open_alone(source_url), open_database(target_url)
    passed = 0

    def pass_by(*_: Any) -> None:
        nonlocal passed
        passed += 1
        if passed == at:
            os.kill(os.getpid(), signal.SIGKILL)
        os.write(told, b".")

    def count_statements() -> None:
        event.listen(target.engine, "before_cursor_execute", pass_by)
        event.listen(target.engine, "commit", pass_by)

    try:
        if not after_begin:
            count_statements()
        kind = begin_copy(source, target, OURS)
        os.write(told, kind[0].encode())
        count_statements()
        copy_rows(source, target)
    finally:
        os._exit(0)


def _is_usable(url: str) -> bool:
    with closing(open_database(url)) as database:
        try:
            database.check_schema()
        except SchemaError:
            return False
    return True
