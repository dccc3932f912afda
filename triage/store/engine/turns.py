"""Turns of writers on PostgreSQL, where several transactions write at a time.

Who reads and then writes must know that nobody changes in between what was read. Where that is a
row, its lock says so (`with_for_update`); where there is no row yet, or no one row, a turn does. A
turn lasts until the transaction ends. SQLite has one writer, and ignores both.

To wait for each other, two writers would have to take the same things in different orders. So a
turn comes first, then the rows of subscribers by id, then those of messages, then all others.
"""

from __future__ import annotations

from enum import StrEnum
from hashlib import blake2b

from sqlalchemy import Connection, func, select


class Turn(StrEnum):
    """What only one transaction changes at a time, if it begins with `take_turn`."""

    SCHEMA = "schema"
    PAPERS = "papers and works"
    NAMES = "papers that the operator named"
    MODELS = "promotions of models"
    SIGNUPS = "answers to requests"
    ADDRESS = "address"
    REFUSALS = "hold after refusals"
    RETURNED = "mail that came back"
    SENT_LOG = "sent log"


def take_turn(conn: Connection, turn: Turn, of: str = "") -> None:
    """Wait until no other transaction has this turn, and keep it until this one ends.

    Args:
        of: makes it a turn of this one alone, such as of one address.
    """
    if conn.dialect.name == "postgresql":
        # The key is a number, which no other program of this database is likely to use.
        name = blake2b(f"triage {turn} {of}".encode(), digest_size=8).digest()
        key = int.from_bytes(name, signed=True)
        conn.execute(select(func.pg_advisory_xact_lock(key)))
