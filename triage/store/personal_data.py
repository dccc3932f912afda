"""All stored data about one person, found through the foreign keys, so also in new tables.

A row belongs to a person if it references their row, directly or through other rows. The requests
and the suppression of their address are added.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, func, or_, select

from triage.domain.mail_addresses import to_ascii
from triage.store.engine.upsert import rows_in
from triage.store.subscribers import email_key
from triage.store.tables import metadata, papers, signup_requests, subscribers, suppressions

# With these values somebody else could act as this person. The export shows only their names.
_SECRETS = {
    "signup_requests": {"binding", "code"},
    "sessions": {"key_hash"},
    "feeds": {"public_id"},
    "collections": {"public_id"},
    "zotero_libraries": {"api_key"},
}
SECRET = "(kept secret)"  # noqa: S105


def rows_of(
    conn: Connection, subscriber_id: int, address_hash: str = ""
) -> dict[str, list[dict[str, Any]]]:
    """Return every row about one subscriber by table; tables without rows are left out.

    Args:
        address_hash: of their address, as in the blocklist.
    """
    query = select(subscribers.c.email).where(subscribers.c.id == subscriber_id)
    email = conn.scalar(query) or ""
    owned: dict[Table, ColumnElement[bool]] = {subscribers: subscribers.c.id == subscriber_id}
    for table in metadata.sorted_tables:
        conditions = [
            key.parent.in_(select(key.column).where(owned[key.column.table]))
            for key in table.foreign_keys
            if key.column.table in owned and key.column.table is not table
        ]
        if conditions:
            owned[table] = or_(*conditions)
    owned[signup_requests] = func.lower(signup_requests.c.email).in_(
        {email.lower(), to_ascii(email).lower(), email_key(email)}
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
    """Return the titles and ids of the papers that these rows reference."""
    ids = {row["paper_id"] for rows in found.values() for row in rows if row.get("paper_id")}
    query = select(papers.c.id, papers.c.source, papers.c.source_id, papers.c.title)
    rows = rows_in(conn, query.order_by(papers.c.id), papers.c.id, ids)
    return [dict(row._mapping) for row in rows]
