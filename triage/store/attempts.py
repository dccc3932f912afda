"""Attempts to send messages, with their times, phases and replies.

Attempts and bytes of messages are kept for a while after sending; then `forget` and `drop_bodies`
delete them.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, Table, delete, insert, select, update

from triage.store import jobs
from triage.store.messages import ENDED
from triage.store.tables import attempts, message_bodies, messages

FORGOTTEN = "attempts of messages that ended before this are forgotten"
"""The name in `jobs` of the time up to which the attempts of ended messages were deleted."""


def begin(conn: Connection, message_id: int, number: int, at: datetime) -> None:
    """Store that a sender claimed a message; `number` is the lease epoch of the claim."""
    conn.execute(insert(attempts), {"message_id": message_id, "number": number, "started_at": at})


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
    """Store how an attempt ended.

    Args:
        phase: the state of the message: `claimed` before the final dot of SMTP, else `in_doubt`.
    """
    change = update(attempts).filter_by(message_id=message_id, number=number)
    conn.execute(change.values(ended_at=at, phase=phase, outcome=outcome, reply=reply))


def last_began_at(conn: Connection, smtp_message_id: str) -> datetime | None:
    """Return when the last attempt to send the message of a Message-ID began; None without one."""
    mine = messages.c.message_id == smtp_message_id
    of = select(attempts.c.started_at).join(messages, messages.c.id == attempts.c.message_id)
    return conn.scalar(of.where(mine).order_by(attempts.c.number.desc()).limit(1))


def forget(conn: Connection, before: datetime, most: int) -> int:
    """Delete the attempts of `most` messages that ended before then; return of how many.

    The audit then knows that such messages may have no attempts.
    """
    jobs.note_done(conn, FORGOTTEN, before, "")
    return _delete_of_ended(conn, attempts, before, most)


def drop_bodies(conn: Connection, before: datetime, most: int) -> int:
    """Delete the bytes of at most `most` messages that ended before then; return how many.

    Their hash stays. Messages that have not ended keep their bytes.
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
