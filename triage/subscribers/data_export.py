"""Exports all stored data about a subscriber as one JSON document."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import date, datetime

from triage import store
from triage.domain.protocols import Clock
from triage.domain.records import Subscriber
from triage.store import Database


def export(
    db: Database, clock: Clock, subscriber: Subscriber, address_hash: Callable[[str], str]
) -> str:
    """Return every stored row about a subscriber, by table, as JSON.

    Times are ISO 8601 in UTC. Bytes are text if they are ASCII text, as mails are, else base64.
    Secrets, such as login codes, are named but not shown.
    """
    rows = db.fetch(store.personal_data.rows_of, subscriber.id, address_hash(subscriber.email))
    document = {"subscriber": subscriber.email, "exported_at": clock.now(), "tables": rows}
    return json.dumps(document, default=_plain, ensure_ascii=False, indent=1)


def _plain(value: object) -> str:
    if isinstance(value, date | datetime):
        return value.isoformat()
    if isinstance(value, bytes):
        text = value.decode("ascii", "replace")
        is_text = value.isascii() and all(c.isprintable() or c in "\r\n\t" for c in text)
        return text if is_text else base64.b64encode(value).decode("ascii")
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")
