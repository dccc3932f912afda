"""What the tests of delivery stand on: many frozen messages at once, and senders that may die."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from hashlib import sha256
from pathlib import Path
from tempfile import mkdtemp

from sqlalchemy import func, insert, select

from tests.support import databases
from tests.support.factories import DAY
from triage.store import Database, open_database
from triage.store.tables import message_bodies, messages, runs, slates, subscribers


def message_id(n: int) -> str:
    return f"<d.{n:020x}@papers.example.org>"


def mime_of(n: int, recipient: str, n_bytes: int = 600) -> bytes:
    """Return a message as our own builder writes them: CRLF, ASCII, lines of bearable length."""
    head = (
        "From: triage <digest@papers.example.org>\r\n"
        f"To: {recipient}\r\n"
        "Date: Mon, 02 Mar 2026 12:00:00 +0000\r\n"
        f"Message-ID: {message_id(n)}\r\n"
        f"Subject: papers for reader {n}\r\n"
        "\r\n"
    )
    line = f"Speculative decoding with {n} drafts, and what it costs in the end.\r\n"
    return (head + line * max((n_bytes - len(head)) // len(line), 1)).encode("ascii")


def fill(
    database: Database,
    n: int,
    *,
    at: datetime | None = None,
    on: date = DAY,
    n_bytes: int = 600,
    n_domains: int = 1,
    first: int = 0,
    mime: Callable[[int, str], bytes] | None = None,
) -> list[str]:
    """Let `n` digests wait, each for a reader of its own; return their Message-IDs.

    Args:
        at: when they were queued; now if it is left out.
        first: how many there are already.
    """
    at = at or datetime.now(UTC)
    ids = []
    for start in range(first + 1, first + n + 1, 1000):
        numbers = range(start, min(start + 1000, first + n + 1))
        with database.write() as conn:
            if conn.scalar(select(runs.c.id).where(runs.c.id == 1)) is None:
                conn.execute(insert(runs), {"id": 1, "on": on, "stage": "queued", "started_at": at})
            to = {k: f"reader{k}@d{k % n_domains}.example.org" for k in numbers}
            conn.execute(insert(subscribers), [_reader(k, to[k], at) for k in numbers])
            conn.execute(insert(slates), [_slate(k, on, at) for k in numbers])
            made = {k: mime(k, to[k]) if mime else mime_of(k, to[k], n_bytes) for k in numbers}
            waiting = [_message(k, to[k], on, at, made[k]) for k in numbers]
            conn.execute(insert(messages), waiting)
            conn.execute(
                insert(message_bodies),
                [{"message_id": k, "mime": body} for k, body in made.items()],
            )
        ids += [message_id(k) for k in numbers]
    if not database.is_file:
        # Rows that came with their ids have moved no sequence.
        with database.write() as conn:
            for table in (runs, subscribers, slates, messages):
                sequence = func.pg_get_serial_sequence(table.name, "id")
                newest = select(func.max(table.c.id)).scalar_subquery()
                conn.execute(select(func.setval(sequence, newest)))
    return ids


def _reader(n: int, email: str, at: datetime) -> dict[str, object]:
    return {
        "id": n,
        "public_id": f"{n:020x}",
        "email": email,
        "email_key": email,
        "state": "active",
        "zone": "UTC",
        "hour": 7,
        "frequency": "daily",
        "detail": "abstract",
        "categories": [],
        "followed_authors": [],
        "include_keywords": [],
        "exclude_keywords": [],
        "consent": "test",
        "created_at": at,
        "state_changed_at": at,
    }


def _slate(n: int, on: date, at: datetime) -> dict[str, object]:
    return {
        "id": n,
        "public_id": f"{n:020x}",
        "subscriber_id": n,
        "on": on,
        "run_id": 1,
        "n_candidates": 0,
        "scorer_version": "s",
        "encoder_version": "e",
        "feature_version": "f",
        "day_report": "",
        "created_at": at,
    }


def _message(n: int, email: str, on: date, at: datetime, mime: bytes) -> dict[str, object]:
    return {
        "id": n,
        "message_id": message_id(n),
        "subscriber_id": n,
        "slate_id": n,
        "on": on,
        "state": "rendered",
        "recipient": email,
        "mime_sha256": sha256(mime).hexdigest(),
        "created_at": at,
        "updated_at": at,
    }


@contextmanager
def fast_folder() -> Iterator[Path]:
    """Yield a folder in memory where there is one: kills, not power cuts, are what is tried."""
    place = Path("/dev/shm")  # noqa: S108 - a folder of our own is made in it
    folder = Path(mkdtemp(dir=place if place.is_dir() else None, prefix="triage-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@contextmanager
def fast_database() -> Iterator[tuple[Database, str, Path]]:
    """Yield a new database, its address, and a folder."""
    with fast_folder() as folder, databases.migrated_url(folder) as url:
        database = open_database(url)
        try:
            yield database, url, folder
        finally:
            database.close()
