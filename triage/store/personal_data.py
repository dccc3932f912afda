"""Everything that is stored of one person, found by walking the schema: new tables are in it, too.

What belongs to a person points at their row, or at a row that belongs to them. Beside that stand
what their address asked for, and that it is suppressed.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, func, or_, select

from triage.store.engine.upsert import chunks
from triage.store.subscribers import email_key
from triage.store.tables import metadata, papers, signup_requests, subscribers, suppressions

# What would let somebody else act as this person. It is named and not shown.
_SECRETS = {
    "signup_requests": {"binding", "code"},
    "sessions": {"key_hash"},
    "feeds": {"public_id"},
}
SECRET = "(kept secret)"  # noqa: S105


def rows_of(
    conn: Connection, subscriber_id: int, address_hash: str = ""
) -> dict[str, list[dict[str, Any]]]:
    """Return every row about one subscriber by table; tables without any are left out.

    Args:
        address_hash: that of their address, under which it may be suppressed.
    """
    query = select(subscribers.c.email).where(subscribers.c.id == subscriber_id)
    email = conn.scalar(query) or ""
    owned: dict[Table, ColumnElement[bool]] = {subscribers: subscribers.c.id == subscriber_id}
    for table in metadata.sorted_tables:
        ways = [
            key.parent.in_(select(key.column).where(owned[key.column.table]))
            for key in table.foreign_keys
            if key.column.table in owned and key.column.table is not table
        ]
        if ways:
            owned[table] = or_(*ways)
    owned[signup_requests] = func.lower(signup_requests.c.email).in_(
        {email.lower(), email_key(email)}
    )
    owned[suppressions] = suppressions.c.address_hash == address_hash
    found = {table.name: _rows(conn, table, which) for table, which in owned.items()}
    found["papers"] = _papers(conn, found)
    return {name: rows for name, rows in found.items() if rows}


def _rows(conn: Connection, table: Table, which: ColumnElement[bool]) -> list[dict[str, Any]]:
    query = select(table).where(which).order_by(*table.primary_key.columns)
    rows = [dict(row._mapping) for row in conn.execute(query)]
    secret = _SECRETS.get(table.name, set())
    return [row | {name: SECRET for name in secret if row[name]} for row in rows]


def _papers(conn: Connection, found: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Return what the papers are called that these rows name by number."""
    numbers = {row["paper_id"] for rows in found.values() for row in rows if "paper_id" in row}
    query = select(papers.c.id, papers.c.source, papers.c.source_id, papers.c.title)
    return [
        dict(row._mapping)
        for some in chunks(numbers)
        for row in conn.execute(query.where(papers.c.id.in_(some)).order_by(papers.c.id))
    ]
