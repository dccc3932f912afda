"""Old databases with something in them, and upgrades of them that are killed.

Upgrades lead to a last migration that is made up. It has what real ones have: a new table, a column
whose content moves there, new columns with content, and an index.

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

import pytest
from sqlalchemy import Connection, MetaData, Table, event, func, inspect, make_url, select, text

from triage.resources import migrations_dir
from triage.store import Database, migrate, open_database, revision_of, tables
from triage.store.migrate import upgrade

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
KEPT = ("subscribers", "papers", "runs", "slates", "impressions", "events", "messages", "attempts")
MADE_UP = "9999"
MADE_UP_MIGRATION = """
import sqlalchemy as sa
from alembic import op

revision = "9999"
down_revision = "LAST"


def upgrade():
    op.create_table(
        "summaries",
        sa.Column("paper_id", sa.BigInteger(), nullable=False),
        sa.Column("tldr", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["paper_id"], ["papers.id"], name="fk_summaries_paper_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("paper_id", name="pk_summaries"),
    )
    op.execute("INSERT INTO summaries SELECT id, tldr FROM papers WHERE tldr <> ''")
    op.drop_column("papers", "tldr")
    op.add_column("subscribers", sa.Column("name", sa.Text(), server_default="", nullable=False))
    op.execute("UPDATE subscribers SET name = substr(email, 1, 7)")
    op.create_index("ix_subscribers_name", "subscribers", ["name"])
    op.execute("DELETE FROM encodings")
    with op.batch_alter_table("encodings") as batch:
        batch.add_column(sa.Column("novelty", sa.Float(), nullable=False))
    op.create_index("ix_attempts_outcome", "attempts", ["outcome"])
"""


def add_migration(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Let the program know one migration more, the made-up one; `folder` takes all of them."""
    if not folder.exists():
        shutil.copytree(migrations_dir(), folder)
        migration = MADE_UP_MIGRATION.replace("LAST", tables.SCHEMA_REVISION)
        (folder / "versions" / "9999_made_up.py").write_text(migration)
    patch.setattr(migrate, "migrations_dir", lambda: folder)
    patch.setattr(tables, "SCHEMA_REVISION", MADE_UP)


# -- what an older program left --------------------------------------------------------------------


def fill_old(database: Database) -> None:
    """Store readers, papers, digests in every state that there was, and votes."""
    found = MetaData()
    found.reflect(database.engine)
    with database.write() as conn:

        def add(table: str, **fields: object) -> int:
            return _add(conn, found.tables[table], fields)

        run_id = add("runs", on=DAY, stage="queued", started_at=NOON)
        papers = [
            add("papers", source="arxiv", source_id=f"2603.{n:05d}", title=f"Paper {n}",
                title_key=f"paper{n}", listed_on=DAY, tldr=f"Summary {n}.")
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
                attempts=epoch, resends=resends, lease_epoch=epoch, last_reply=reply,
                doubted_at=NOON + timedelta(hours=1) if state == "in_doubt" else None,
                sent_at=NOON if state == "sent" else None)  # fmt: skip
            if state == "sent":
                add("events", subscriber_id=reader, paper_id=papers[0], slate_id=slate,
                    kind="vote_up", origin="person", at=NOON, recorded_at=NOON)  # fmt: skip
            if state != "skipped":
                add("message_bodies", message_id=message, mime=mime)
            for number in range(1, epoch + 1):
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
    """Insert a row; give the columns that are not named what suits their type."""
    row = dict(fields)
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
        return "\n".join([str(revision_of(conn)), *sorted(conn.scalars(text(query)))])


def content(database: Database) -> dict[str, object]:
    """Return what every migration must leave as it is."""
    found = MetaData()
    found.reflect(database.engine)
    messages, bodies = found.tables["messages"], found.tables["message_bodies"]
    tldr = found.tables.get("summaries", found.tables["papers"]).c.tldr
    with database.read() as conn:
        assert set(KEPT) <= set(inspect(conn).get_table_names())
        counts = {
            name: conn.scalar(select(func.count()).select_from(found.tables[name])) for name in KEPT
        }
        frozen = conn.scalars(select(bodies.c.mime))
        states = conn.execute(
            select(messages.c.message_id, messages.c.state).order_by(messages.c.id)
        )
        return counts | {
            "bytes": sorted(sha256(bytes(each)).hexdigest() for each in frozen),
            "states": [tuple(row) for row in states],
            "tldrs": sorted(conn.scalars(select(tldr))),
        }


# -- killing ---------------------------------------------------------------------------------------


def campaign(
    *, url: str, template: str, migrations: str, n_kills: int, seed: int, result: str
) -> None:
    """Kill so many upgrades of a database, a copy of `template`; write down what was left.

    Args:
        migrations: the folder of `add_migration`.
        result: a file to write: how many were left old and new, and what was neither.
    """
    rng = random.Random(seed)  # noqa: S311 - a test's own dice
    # For good: this process ends with it.
    add_migration(Path(migrations), pytest.MonkeyPatch())
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
