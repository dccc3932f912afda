"""What is stored of a person: all of it is given out, and all of it is gone when they say so."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select

from tests.support.factories import NOON, impression, paper, slate
from tests.support.fakes import StoppedClock
from tests.support.guarantees import Guarantee
from tests.support.installation import add_papers, add_reader, installed, queue
from triage import store
from triage.domain.link_tokens import Keyring
from triage.domain.records import EventKind, Interest, MessageState, Subscriber
from triage.store import Database
from triage.store.personal_data import SECRET
from triage.store.tables import metadata
from triage.subscribers import data_export, digest_feed, subscriptions

KEYRING = Keyring("a secret of the tests, 32 or more characters")


def address_hash(email: str) -> str:
    return sha256(f"key {email}".encode()).hexdigest()


def fill(db: Database, n: int) -> list[Subscriber]:
    """Give each of `n` subscribers a row of every kind, their address in as many as there are."""
    papers = add_papers(db, [paper(1), paper(2)])
    readers = []
    for i in range(1, n + 1):
        reader = add_reader(db, i, email=f"Person.Nr{i:04d}@Private-{i:04d}.example")
        readers.append(reader)
        shown = tuple(
            replace(impression(position), paper=one) for position, one in enumerate(papers, 1)
        )
        made = replace(slate(0, public_id=f"{i:020x}", subscriber=reader), impressions=shown)
        name = queue(db, made, f"To: {reader.email}\r\n\r\nDear {reader.email}".encode())
        digest_feed.get_or_create_feed(db, StoppedClock(), KEYRING, reader, "https://x.example")
        with db.write() as conn:
            [message] = store.messages.in_states(conn, list(MessageState), [name])
            store.events.append(
                conn,
                store.events.Event(
                    subscriber_id=reader.id,
                    paper_id=papers[0].id,
                    slate_id=message.slate_id,
                    kind=EventKind.VOTE_UP,
                    at=NOON,
                    recorded_at=NOON,
                    evidence={"from": reader.email},
                ),
            )
            store.interests.save(
                conn, reader.id, [Interest(1, "drafts", (papers[0].id,), ())], NOON
            )
            each: dict[str, dict[str, Any]] = {
                "user_models": {"subscriber_id": reader.id, "key": "k", "content": b"\x00\xff",
                           "made_at": NOON},
                "attempts": {"message_id": message.id, "number": 1, "started_at": NOON,
                             "reply": f"250 ok <{reader.email}>"},
                "bounces": {"content_hash": f"h{i}", "received_at": NOON, "kind": "bounced",
                            "message_id": message.id, "raw": f"rcpt {reader.email}".encode()},
                "signup_requests": {"public_id": f"{i:020x}", "kind": "login",
                         "email": reader.email.lower(), "domain": "x",
                         "address_key": store.subscribers.email_key(reader.email),
                         "network": "192.0.2.0", "details": {}, "binding": "bound",
                         "code": "123456", "at": NOON},
                "sessions": {"key_hash": f"session of {i}", "subscriber_id": reader.id,
                             "created_at": NOON, "until": NOON + timedelta(days=1)},
                "named_papers": {"subscriber_id": reader.id, "scheme": "arxiv",
                                 "value": "2401.00001", "authors": [], "added_at": NOON},
                "zotero_libraries": {"subscriber_id": reader.id, "api_key": f"secret of {i}",
                                     "items": []},
                "collections": {"id": i, "subscriber_id": reader.id, "name": f"for {reader.email}",
                                "public_id": f"c{i:019x}", "created_at": NOON},
                "collected_papers": {"collection_id": i, "paper_id": papers[0].id,
                                     "added_at": NOON},
                "forgotten_votes": {"subscriber_id": reader.id, "table": "events",
                                    "content": {"evidence": {"from": reader.email}},
                                    "forgotten_at": NOON},
                "suppressions": {"address_hash": address_hash(reader.email), "reason": "bounced",
                                 "at": NOON},
            }  # fmt: skip
            for name, row in each.items():
                conn.execute(insert(metadata.tables[name]).values(**row))
    return readers


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    with installed(tmp_path) as database:
        yield database


def exported(db: Database, reader: Subscriber) -> dict[str, list[dict[str, Any]]]:
    tables = json.loads(data_export.export(db, StoppedClock(), reader, address_hash))["tables"]
    assert isinstance(tables, dict)
    return tables


def everything(db: Database) -> dict[str, list[Any]]:
    with db.read() as conn:
        return {
            table.name: [
                tuple(row) for row in conn.execute(select(table).order_by(*table.primary_key))
            ]
            for table in metadata.sorted_tables
        }


def test_every_table_about_people_is_in_the_export(db: Database) -> None:
    [reader] = fill(db, 1)
    found = exported(db, reader)
    stored = {name for name, rows in everything(db).items() if rows}
    # What is about papers and the program, and the words that everybody shares, is nobody's.
    nobodys = {
        "papers",
        "paper_ids",
        "paper_records",
        "blocking_keys",
        "runs",
        "user_model_backgrounds",
    }
    assert set(found) - {"papers"} == stored - nobodys
    pointing = {
        table.name
        for table in metadata.sorted_tables
        if any(key.column.table.name == "subscribers" for key in table.foreign_keys)
    }
    assert pointing <= set(found), "fill() lacks a row of a new table"


def test_the_export_says_what_the_papers_are_called_and_shows_mail_as_text(db: Database) -> None:
    [reader] = fill(db, 1)
    found = exported(db, reader)
    assert found["papers"][0]["title"] == "Speculative decoding with 1 drafts"
    assert found["message_bodies"][0]["mime"].endswith(f"Dear {reader.email}")
    assert found["user_models"][0]["content"] == "AP8="
    assert found["subscribers"][0]["created_at"] == NOON.isoformat()


def test_what_would_let_others_act_is_named_and_not_shown(db: Database) -> None:
    [reader] = fill(db, 1)
    text = data_export.export(db, StoppedClock(), reader, address_hash)
    found = exported(db, reader)
    assert found["signup_requests"][0]["code"] == found["sessions"][0]["key_hash"] == SECRET
    for name in ("feeds", "collections"):
        assert found[name][0]["public_id"] == SECRET
    assert "123456" not in text
    assert "session of" not in text


def test_nobody_else_is_in_the_export(db: Database) -> None:
    first, second = fill(db, 2)
    text = data_export.export(db, StoppedClock(), first, address_hash).lower()
    assert first.email.lower() in text
    assert second.email.lower() not in text


@pytest.mark.sqlite("it looks into the file")
@pytest.mark.guarantee("R44")
def test_an_export_holds_all_and_who_is_erased_leaves_nothing(
    tmp_path: Path, guarantee: Guarantee
) -> None:
    n = 200 if guarantee.full else 20
    with installed(tmp_path) as db:
        readers = fill(db, n)
        total = everything(db)
        n_rows = n_missing = 0
        for reader in readers:
            found = exported(db, reader)
            for name, rows in total.items():
                table = metadata.tables[name]
                mine = [r for r in rows if _is_about(reader, table.columns.keys(), r)]
                n_rows += len(mine)
                n_missing += max(0, len(mine) - len(found.get(name, [])))
        erased, kept = readers[: n // 2], readers[n // 2 :]
        before = [exported(db, reader) for reader in kept]
        for reader in erased:
            subscriptions.erase(db, reader.email)
        db.rewrite()
        n_found = _occurrences(tmp_path, erased)
        n_untouched = sum(exported(db, r) == b for r, b in zip(kept, before, strict=True))
        n_kept_found = _occurrences(tmp_path, kept)
        remembered = {row[0] for row in everything(db)["suppressions"]}
    with sqlite3.connect(tmp_path / "triage.db") as conn:
        assert conn.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    conn.close()
    guarantee.record(
        n_people=n, n_rows_about_them=n_rows, n_rows_missing=n_missing, n_erased=len(erased),
        n_addresses_found_after=n_found, n_others_untouched=n_untouched,
    )  # fmt: skip
    assert n_missing == 0
    assert n_found == 0
    assert n_kept_found >= len(kept), "the search finds nothing at all"
    assert n_untouched == len(kept)
    assert remembered >= {address_hash(reader.email) for reader in erased}


def _is_about(reader: Subscriber, columns: list[str], row: tuple[Any, ...]) -> bool:
    values = dict(zip(columns, row, strict=True))
    if values.get("subscriber_id") == reader.id:
        return True
    return any(reader.email.lower() in str(value).lower() for value in row)


def _occurrences(folder: Path, readers: list[Subscriber]) -> int:
    """Count the addresses that lie anywhere in the database's files, in whatever case."""
    content = b"".join(path.read_bytes() for path in sorted(folder.iterdir())).lower()
    return sum(content.count(reader.email.lower().encode()) > 0 for reader in readers)


@pytest.mark.sqlite("it looks into the file")
def test_without_rewriting_the_file_traces_are_left(tmp_path: Path) -> None:
    with installed(tmp_path) as db:
        readers = fill(db, 20)
        for reader in readers:
            subscriptions.erase(db, reader.email)
        assert _occurrences(tmp_path, readers) > 0
        db.rewrite()
        assert _occurrences(tmp_path, readers) == 0
