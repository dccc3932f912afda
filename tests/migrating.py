"""Old databases with something in them, and upgrades of them that are killed.

`campaign` runs in a process of its own: it forks one child for each upgrade, kills it at one of its
statements or at any time, and looks at what is left.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

from alembic import command
from sqlalchemy import Connection, MetaData, Table, event, func, inspect, make_url, select, text

from triage.migrate import _config, revision_of, upgrade
from triage.store import Database, open_database

DAY = date(2026, 3, 2)
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
# state, reason, how often claimed, resends, papers given back
PAST = (
    ("sent", "", 1, 0, False),
    ("sent", "", 3, 1, False),
    ("deferred", "", 2, 0, False),
    ("failed", "refused", 1, 0, True),
    ("failed", "expired", 2, 0, True),
    ("cancelled", "unsubscribed", 0, 0, True),
    ("rendered", "", 0, 0, False),
    ("rendered", "", 1, 0, False),
    ("rendered", "", 1, 1, False),
    ("claimed", "", 1, 0, False),
    ("in_doubt", "", 2, 0, False),
    ("skipped", "no_papers", 0, 0, False),
)
KEPT = ("subscribers", "papers", "runs", "slates", "impressions", "events", "messages")


def upgrade_to(database: Database, revision: str) -> None:
    with database.write() as conn:
        command.upgrade(_config(conn), revision)


# -- what an older program left --------------------------------------------------------------------


def fill_old(database: Database) -> None:
    """Store readers, papers, digests in every state that there was, and votes."""
    tables = MetaData()
    tables.reflect(database.engine)
    has_attempts = "attempts" in tables.tables
    with database.write() as conn:

        def add(table: str, **fields: object) -> int:
            return _add(conn, tables.tables[table], fields)

        run_id = add("runs", on=DAY, stage="queued", started_at=NOON)
        papers = [
            add("papers", source="arxiv", source_id=f"2603.{n:05d}", title=f"Paper {n}",
                title_key=f"paper{n}", listed_on=DAY)
            for n in range(2)
        ]  # fmt: skip
        for n, (state, reason, epoch, resends, given_back) in enumerate(PAST, start=1):
            reader = add("subscribers", public_id=f"{n:020x}", email=f"reader{n}@example.org",
                email_key=f"reader{n}@example.org", state="active", zone="UTC", hour=7,
                frequency="daily", detail="abstract")  # fmt: skip
            slate = add("slates", public_id=f"{n:019x}f", subscriber_id=reader, on=DAY,
                run_id=run_id, n_candidates=2)  # fmt: skip
            for position, paper in enumerate(papers if state != "skipped" else [], start=1):
                add("impressions", slate_id=slate, subscriber_id=reader, paper_id=paper,
                    position=position, score=0.5, propensity=1.0, policy="ranked",
                    features=b"\0" * 16, released_at=NOON if given_back else None)  # fmt: skip
            mime = f"To: reader{n}@example.org\r\n\r\npapers".encode() * 50
            reply = "250 taken" if epoch > (state == "claimed") else ""
            message = add("messages",
                message_id=f"<d.{n:019x}f@triage.example>", subscriber_id=reader, slate_id=slate,
                on=DAY, kind="digest", state=state, reason=reason,
                recipient=f"reader{n}@example.org",
                mime_sha256=None if state == "skipped" else sha256(mime).hexdigest(),
                mime=None if state == "skipped" else mime, attempts=epoch, resends=resends,
                lease_epoch=epoch, last_reply=reply,
                doubted_at=NOON + timedelta(hours=1) if state == "in_doubt" else None,
                sent_at=NOON if state == "sent" else None)  # fmt: skip
            if state == "sent":
                add("events", subscriber_id=reader, paper_id=papers[0], slate_id=slate,
                    kind="vote_up", origin="person", at=NOON, recorded_at=NOON)  # fmt: skip
            if "bodies" in tables.tables and state != "skipped":
                add("bodies", message_id=message, mime=mime)
            for number in range(1, epoch + 1) if has_attempts else ():
                outcome = _outcome(state, number, epoch, resends)
                add("attempts", message_id=message, number=number, started_at=NOON,
                    ended_at=NOON if outcome else None,
                    phase="in_doubt" if outcome else "", outcome=outcome,
                    reply=reply if outcome else "")  # fmt: skip


def _outcome(state: str, number: int, epoch: int, resends: int) -> str:
    if number <= resends and (number < epoch or state == "rendered"):
        return "resent"
    if number < epoch:
        return "deferred"
    if state in {"claimed", "in_doubt"}:
        return ""
    return "stopped" if state == "rendered" else state


def _add(conn: Connection, table: Table, fields: dict[str, object]) -> int:
    """Insert a row with whatever columns the table has; give the others what suits their type."""
    row = {name: value for name, value in fields.items() if name in table.c}
    for column in table.c:
        needed = not column.nullable and column.server_default is None and not column.primary_key
        if needed and column.name not in row:
            row[column.name] = _suitable(column.type.python_type)
    made = conn.execute(table.insert().values(row))
    return int(made.inserted_primary_key[0])


def _suitable(kind: type) -> object:
    known: dict[type, object] = {
        datetime: NOON,
        date: DAY,
        int: 0,
        float: 0.0,
        bytes: b"",
        dict: [],
    }
    return known.get(kind, "")


# -- what is looked at -----------------------------------------------------------------------------


def shape(database: Database) -> str:
    """Return schema and revision as one text."""
    query = "SELECT name || ' ' || sql FROM sqlite_master WHERE sql NOT NULL"
    if not database.is_file:
        query = """
            SELECT table_name || ' ' || column_name || ' ' || data_type || ' ' || is_nullable
            FROM information_schema.columns WHERE table_schema = 'public'
            UNION SELECT 'index ' || indexdef FROM pg_indexes WHERE schemaname = 'public'
            UNION SELECT 'constraint ' || conname || ' ' || pg_get_constraintdef(oid)
            FROM pg_constraint WHERE connamespace = 'public'::regnamespace
            UNION SELECT 'trigger ' || tgname FROM pg_trigger WHERE NOT tgisinternal
        """
    with database.read() as conn:
        lines = sorted(conn.scalars(text(query)))
    return "\n".join([str(revision_of(database)), *lines])


def content(database: Database) -> dict[str, object]:
    """Return what every migration must leave as it is."""
    tables = MetaData()
    tables.reflect(database.engine)
    messages = tables.tables["messages"]
    holder = tables.tables.get("bodies", messages)
    with database.read() as conn:
        assert set(KEPT) <= set(inspect(conn).get_table_names())
        counts = {
            name: conn.scalar(select(func.count()).select_from(tables.tables[name]))
            for name in KEPT
        }
        mime = holder.c.mime
        frozen = conn.scalars(select(mime).where(mime.is_not(None)))
        states = conn.execute(
            select(messages.c.message_id, messages.c.state).order_by(messages.c.id)
        )
        return counts | {
            "bytes": sorted(sha256(bytes(each)).hexdigest() for each in frozen),
            "states": [tuple(row) for row in states],
        }


# -- killing ---------------------------------------------------------------------------------------


def campaign(*, url: str, template: str, n_kills: int, seed: int, result: str) -> None:
    """Kill so many upgrades of a database, a copy of `template`; write down what was left.

    Args:
        result: a file to write: how many were left old and new, and what was neither.
    """
    rng = random.Random(seed)  # noqa: S311 - a test's own dice
    _renew(url, template)
    with _opened(url) as database:
        old, kept = shape(database), content(database)
    started = time.monotonic()
    n_statements = _n_statements(url)
    took_s = time.monotonic() - started
    with _opened(url) as database:
        new = shape(database)
    _renew(url, template)
    counts = {"old": 0, "new": 0}
    wrong: list[str] = []
    for n in range(n_kills):
        at = rng.randint(1, n_statements + 2) if n % 2 == 0 else 0
        if n == 0:
            # When everything is done but said to be so.
            at = n_statements + 1
        pid = os.fork()
        if pid == 0:
            _upgrade_and_die(url, at)
        if not at:
            time.sleep(rng.uniform(0, took_s))
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        with _opened(url) as database:
            found = shape(database)
            if content(database) != kept:
                wrong.append(f"kill {n} at {at}: other content")
        if found == old:
            counts["old"] += 1
        elif found == new:
            counts["new"] += 1
            _renew(url, template)
        else:
            wrong.append(f"kill {n} at {at}: neither old nor new")
            _renew(url, template)
    with _opened(url) as database:
        upgrade(database)
    told = counts | {"wrong": wrong, "n_statements": n_statements}
    Path(result).write_text(json.dumps(told))


def _upgrade_and_die(url: str, at: int) -> None:
    """Upgrade, and die before the statement of that number; 0 is at no statement at all."""
    database = open_database(url)
    passed = 0

    def pass_by(*_: Any) -> None:
        nonlocal passed
        passed += 1
        if passed == at:
            os.kill(os.getpid(), signal.SIGKILL)

    event.listen(database.engine, "before_cursor_execute", pass_by)
    event.listen(database.engine, "commit", pass_by)
    try:
        upgrade(database)
    finally:
        os._exit(0)


def _n_statements(url: str) -> int:
    passed = 0

    def count(*_: Any) -> None:
        nonlocal passed
        passed += 1

    with _opened(url) as database:
        event.listen(database.engine, "before_cursor_execute", count)
        upgrade(database)
    return passed


@contextmanager
def _opened(url: str) -> Iterator[Database]:
    database = open_database(url)
    try:
        yield database
    finally:
        database.close()


def _renew(url: str, template: str) -> None:
    """Make the database a copy of the template."""
    if url.startswith("sqlite"):
        file = url.removeprefix("sqlite:///")
        for end in ("-wal", "-shm"):
            Path(f"{file}{end}").unlink(missing_ok=True)
        shutil.copyfile(template.removeprefix("sqlite:///"), file)
        return
    import psycopg

    parsed = make_url(url)
    with psycopg.connect(
        host=parsed.query["host"], dbname="postgres", user=parsed.username, autocommit=True
    ) as conn:
        conn.execute(f'DROP DATABASE IF EXISTS "{parsed.database}" WITH (FORCE)')
        conn.execute(
            f'CREATE DATABASE "{parsed.database}" TEMPLATE "{make_url(template).database}"'
        )
