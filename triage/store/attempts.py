"""Every attempt to hand a message over: when, how far it came, and what was answered."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from triage.store import chores
from triage.store.messages import ENDED
from triage.tables import attempts, messages

FORGOTTEN = "attempts of messages that ended before this are forgotten"

_BEGIN = insert(attempts)
_END = (
    update(attempts)
    .where(
        attempts.c.message_id == bindparam("of"),
        attempts.c.number == bindparam("epoch"),
    )
    .values({name: bindparam(name) for name in ("ended_at", "phase", "outcome", "reply")})
)


def begin(conn: Connection, message_id: int, number: int, at: datetime) -> None:
    """Note that a sender has claimed a message; `number` is the epoch of its claim."""
    conn.execute(_BEGIN, {"message_id": message_id, "number": number, "started_at": at})


def end(
    conn: Connection,
    message_id: int,
    number: int,
    at: datetime,
    *,
    phase: str,
    outcome: str,
    reply: str,
) -> None:
    """Note how an attempt ended.

    Args:
        phase: the state that the message was in: `claimed` before the final dot, else `in_doubt`.
    """
    fields = {"of": message_id, "epoch": number, "ended_at": at}
    conn.execute(_END, fields | {"phase": phase, "outcome": outcome, "reply": reply})


def of_message(conn: Connection, message_id: int) -> list[dict[str, Any]]:
    """Return the attempts of one message, the first one first."""
    query = select(attempts).where(attempts.c.message_id == message_id)
    return [dict(row._mapping) for row in conn.execute(query.order_by(attempts.c.number))]


def forget(conn: Connection, before: datetime, most: int) -> int:
    """Forget all attempts of messages that ended before then, of `most` messages.

    Returns:
        How many messages those were. The books know from now on that these may have none.
    """
    chores.done(conn, FORGOTTEN, before, "")
    ended = (
        select(attempts.c.message_id)
        .join(messages, messages.c.id == attempts.c.message_id)
        .where(messages.c.state.in_(ENDED), messages.c.updated_at < before)
        .distinct()
        .limit(most)
    )
    ids = conn.scalars(ended).all()
    conn.execute(delete(attempts).where(attempts.c.message_id.in_(ids)))
    return len(ids)


def forgotten_before(conn: Connection) -> datetime | None:
    """Return before when a message must have ended to have no attempts any more."""
    return chores.last_done(conn, FORGOTTEN)
