"""A PostgreSQL server for the tests: their own, on a socket in a temporary folder.

Each process of the test run starts one when it first needs it, as an account that is not root, and
the server stops when that process ends, however it ends. Databases are copies of a migrated one.
"""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import count
from pathlib import Path
from typing import Any, LiteralString, NoReturn

import psycopg
import pytest
from psycopg import sql

from triage.store import open_database
from triage.store.migrate import upgrade
from triage.store.tables import SCHEMA_REVISION, metadata

ROOT = 0
# Durability is PostgreSQL's affair, and not what these tests are about.
OPTIONS = (
    "fsync=off",
    "full_page_writes=off",
    "synchronous_commit=off",
    "max_connections=60",
    "shared_buffers=32MB",
    "autovacuum=off",
    "listen_addresses=",
)
# Ends the server and removes its folder once this process is gone, for then its end of the pipe
# closes, even if it was killed.
KEEPER = """
"$0" -D "$1/data" -k "$1" $2 > "$1/log" 2>&1 &
server=$!
read -r _
kill -INT $server
wait $server
rm -rf "$1"
"""


@dataclass(frozen=True)
class Server:
    """A running server."""

    folder: Path

    def url(self, database: str, **query: str) -> str:
        more = "".join(f"&{name}={value}" for name, value in query.items())
        return f"postgresql+psycopg://triage@/{database}?host={self.folder}{more}"

    def run(self, statement: LiteralString, *names: str) -> None:
        """Run one statement on no database in particular; `{}` stands for the next name."""
        with self.connect("postgres") as conn:
            conn.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))

    def connect(self, database: str) -> psycopg.Connection[Any]:
        return psycopg.connect(
            host=str(self.folder), dbname=database, user="triage", autocommit=True
        )


def _missing(reason: str) -> NoReturn:
    if "CI" in os.environ:
        pytest.fail(f"{reason}: run `make servers`", pytrace=False)
    pytest.skip(f"{reason}: `make servers` installs it")


def _program(name: str) -> str:
    """Return where a program of the server lies; Debian keeps them off the search path."""
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: int(p.parts[-2]))
    found = shutil.which(name) or next(
        (str(place / name) for place in reversed(places) if (place / name).exists()), None
    )
    return found or _missing(f"PostgreSQL's {name} is not installed")


def _account() -> dict[str, Any]:
    """Return what lets a process run as somebody else than root, whom the server refuses."""
    if os.geteuid() != ROOT:
        return {}
    from pwd import getpwall

    known = {entry.pw_name: entry for entry in getpwall()}
    chosen = known.get("postgres") or known.get("nobody")
    if chosen is None:
        _missing("there is no account `postgres` or `nobody` to run PostgreSQL as")
    return {"user": chosen.pw_uid, "group": chosen.pw_gid, "extra_groups": []}


@lru_cache(maxsize=1)
def server() -> Server:
    """Return this process's server, started by the first call; skip the test if there is none."""
    initdb, postgres, account = _program("initdb"), _program("postgres"), _account()
    # Not in pytest's folder: the path of a socket has at most about a hundred bytes.
    folder = Path(tempfile.mkdtemp(prefix="triage-pg-"))
    if account:
        os.chown(folder, account["user"], account["group"])
    environment = {"PATH": os.defpath, "LC_ALL": "C.UTF-8", "TZ": "Asia/Kathmandu"}
    made = subprocess.run(
        [initdb, "-D", folder / "data", "-U", "triage", "-A", "trust", "-E", "UTF8", "--no-sync"],
        **account,
        env=environment,
        cwd="/",
        capture_output=True,
        text=True,
    )
    if made.returncode:
        shutil.rmtree(folder)
        pytest.fail(f"initdb failed: {made.stderr}", pytrace=False)
    # Everybody is let in but the account `locked`, which has a password.
    access = folder / "data" / "pg_hba.conf"
    access.write_text("local all locked scram-sha-256\nlocal all all trust\n")
    options = " ".join(f"-c {option}" for option in OPTIONS)
    keeper = subprocess.Popen(
        ["sh", "-c", KEEPER, postgres, folder, options],
        **account,
        env=environment,
        cwd="/",
        stdin=subprocess.PIPE,
        # Ctrl-C is for the tests; the server ends after them.
        start_new_session=True,
    )

    def stop() -> None:
        keeper.communicate()

    atexit.register(stop)
    started = Server(folder)
    for _ in range(600):
        try:
            started.run("SELECT 1")
        except psycopg.OperationalError:
            time.sleep(0.05)
        else:
            return started
    pytest.fail(f"PostgreSQL did not start: {(folder / 'log').read_text()}", pytrace=False)


@lru_cache(maxsize=1)
def migrated() -> str:
    """Return the name of a database as the migrations make it."""
    url = new_url("template1")
    database = open_database(url)
    upgrade(database)
    database.close()
    return name_of(url)


def name_of(url: str) -> str:
    return url.partition("?")[0].rpartition("/")[2]


_numbers = count(1)
_free: list[str] = []
# What tells a database whose tables were altered from one as the migrations make it.
_SHAPE = """
    SELECT c.relname, a.attname, a.atttypid::regtype::text, a.attnotnull
    FROM pg_class c LEFT JOIN pg_attribute a ON a.attrelid = c.oid
    WHERE c.relnamespace = 'public'::regnamespace ORDER BY 1, 2
"""


def new_url(template: str) -> str:
    """Make a database as a copy of another one, which nobody may use now; return its address."""
    name = f"test_{next(_numbers)}"
    server().run("CREATE DATABASE {} TEMPLATE {}", name, template)
    return server().url(name)


def drop(url: str) -> None:
    server().run("DROP DATABASE {} WITH (FORCE)", name_of(url))


@contextmanager
def copy_of(template: str) -> Iterator[str]:
    """Yield the address of a copy of a database, which is gone afterwards."""
    url = new_url(template)
    try:
        yield url
    finally:
        drop(url)


@contextmanager
def migrated_url() -> Iterator[str]:
    """Yield the address of a database without rows, as the migrations make it."""
    # To empty a database takes a tenth of the time that copying one does.
    url = _free.pop() if _free else new_url(migrated())
    try:
        yield url
    finally:
        if _emptied(name_of(url)):
            _free.append(url)
        else:
            drop(url)


@lru_cache(maxsize=1)
def _as_migrated() -> list[tuple[Any, ...]]:
    with server().connect(migrated()) as conn:
        return conn.execute(_SHAPE).fetchall()


@lru_cache(maxsize=1)
def _emptying() -> sql.Composed:
    """Return what makes a database as new, in one go: the way there and back takes longer."""
    # No trigger takes the words of papers along now.
    tables = [*metadata.tables, "paper_words"]
    return sql.SQL("; ").join(
        [
            sql.SQL("SET session_replication_role = replica"),
            *(sql.SQL("DELETE FROM {}").format(sql.Identifier(table)) for table in tables),
            sql.SQL("UPDATE alembic_version SET version_num = {}").format(SCHEMA_REVISION),
            sql.SQL("SELECT setval(seqrelid::regclass, 1, false) FROM pg_sequence"),
        ]
    )


def _emptied(name: str) -> bool:
    """Make a database as new, if it still has the tables that the migrations made."""
    with server().connect(name) as conn:
        conn.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        if conn.execute(_SHAPE).fetchall() != _as_migrated():
            return False
        conn.execute(_emptying())
    return True
