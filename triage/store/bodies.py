"""The frozen bytes of messages, which outlive their hand-over by little."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, delete, select

from triage.store.messages import ENDED
from triage.tables import message_bodies, messages


def drop(conn: Connection, before: datetime, most: int) -> int:
    """Drop the bytes of messages that ended before then, of `most` at once; return how many.

    Their hash stays. What waits, is under way or is held keeps its bytes.
    """
    ended = (
        select(message_bodies.c.message_id)
        .join(messages, messages.c.id == message_bodies.c.message_id)
        .where(messages.c.state.in_(ENDED), messages.c.updated_at < before)
        .limit(most)
    )
    ids = conn.scalars(ended).all()
    conn.execute(delete(message_bodies).where(message_bodies.c.message_id.in_(ids)))
    return len(ids)
