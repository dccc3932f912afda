"""Every attempt to hand a message over: when, how far it came, and what was answered.

Attempts and frozen bytes outlive the hand-over for a while; `forget` and `drop_bodies` end that.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, Table, bindparam, delete, insert, select, update

from triage.store import jobs
from triage.store.messages import ENDED
from triage.store.tables import attempts, message_bodies, messages

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


def forget(conn: Connection, before: datetime, most: int) -> int:
    """Forget all attempts of messages that ended before then, of `most` messages.

    Returns:
        How many messages those were. The books know from now on that these may have none.
    """
    jobs.note_done(conn, FORGOTTEN, before, "")
    return _delete_of_ended(conn, attempts, before, most)


def drop_bodies(conn: Connection, before: datetime, most: int) -> int:
    """Drop the bytes of messages that ended before then, of `most` at once; return how many.

    Their hash stays. What waits, is under way or is held keeps its bytes.
    """
    return _delete_of_ended(conn, message_bodies, before, most)


def _delete_of_ended(conn: Connection, table: Table, before: datetime, most: int) -> int:
    ended = (
        select(table.c.message_id)
        .join(messages, messages.c.id == table.c.message_id)
        .where(messages.c.state.in_(ENDED), messages.c.updated_at < before)
        .distinct()
        .limit(most)
    )
    ids = conn.scalars(ended).all()
    conn.execute(delete(table).where(table.c.message_id.in_(ids)))
    return len(ids)


def forgotten_before(conn: Connection) -> datetime | None:
    """Return before when a message must have ended to have no attempts any more."""
    return jobs.last_done(conn, FORGOTTEN)
