"""Comparison of the sent log with the database, and repair of the database from it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, insert, select

from triage.domain.records import MessageState
from triage.domain.sent_entry import SentEntry
from triage.store import attempts, jobs, messages
from triage.store.engine.upsert import upsert
from triage.store.messages import StoredMessage
from triage.store.tables import messages as messages_table
from triage.store.tables import sent_logs, slates, subscribers

Key = tuple[str, date, str]
DIGEST = messages.DIGEST

# The next state of a message on its way to `sent`.
_WAY = {
    MessageState.PLANNED: MessageState.RENDERED,
    MessageState.RENDERED: MessageState.CLAIMED,
    MessageState.DEFERRED: MessageState.CLAIMED,
    MessageState.CLAIMED: MessageState.IN_DOUBT,
    MessageState.IN_DOUBT: MessageState.SENT,
    MessageState.HELD: MessageState.SENT,
}


def generation(conn: Connection, name: str) -> str | None:
    """Return the generation of the sent log of this database; None if there is none."""
    return conn.scalar(select(sent_logs.c.generation).where(sent_logs.c.name == name))


def adopt(conn: Connection, name: str, generation: str, at: datetime) -> None:
    """Store which sent log belongs to this database."""
    upsert(conn, sent_logs, ["name"], {"name": name, "generation": generation, "begun_at": at})


def states(conn: Connection, sent: Sequence[SentEntry]) -> dict[Key, MessageState | None]:
    """Return the state of each message in the database; None if it has no such message.

    Messages of unknown subscribers are left out.
    """
    query = (
        select(subscribers.c.public_id, *messages_table.c["on", "kind", "state"])
        .outerjoin(
            messages_table,
            (messages_table.c.subscriber_id == subscribers.c.id)
            & messages_table.c.on.in_({each.on for each in sent}),
        )
        .where(subscribers.c.public_id.in_({each.subscriber for each in sent}))
    )
    found = {row[:3]: row.state and MessageState(row.state) for row in conn.execute(query)}
    subscriber_ids = {public_id for public_id, *_ in found}
    return {each.key: found.get(each.key) for each in sent if each.subscriber in subscriber_ids}


def find(conn: Connection, key: Key) -> StoredMessage | None:
    """Return the message with this key; None if there is none."""
    public_id, on, kind = key
    query = (
        select(messages_table.c.message_id)
        .filter_by(on=on, kind=kind)
        .join(subscribers, subscribers.c.id == messages_table.c.subscriber_id)
        .filter_by(public_id=public_id)
    )
    message_id = conn.scalar(query)
    if message_id is None:
        return None
    [found] = messages.in_states(conn, list(MessageState), [message_id])
    return found


def mark_sent(conn: Connection, message: StoredMessage, sent: SentEntry, reply: str) -> None:
    """Move an unsent message through all states to `sent`."""
    now = sent.at
    step: StoredMessage | None = message
    while step is not None and step.state is not MessageState.SENT:
        following = _WAY[step.state]
        fields: dict[str, Any] = {}
        if following is MessageState.CLAIMED:
            epoch = step.lease_epoch + 1
            fields = {"attempts": step.attempts + 1, "lease_epoch": epoch, "lease_owner": ""}
            attempts.begin(conn, step.id, epoch, now)
        elif following is MessageState.SENT:
            fields = {"sent_at": now, "last_reply": reply}
            phase, epoch = MessageState.IN_DOUBT, step.lease_epoch
            attempts.end(conn, step.id, epoch, now, phase=phase, outcome="sent", reply=reply)
        step = messages.move(conn, step, following, now, **fields)


def leave_tombstone(
    conn: Connection, sent: SentEntry, state: MessageState, reply: str, reason: str = ""
) -> None:
    """Store an empty message for an entry of the sent log, so that it is not sent again.

    Args:
        state: `sent`, or `skipped` if it is unknown whether the message was sent.
    """
    query = select(subscribers.c.id, subscribers.c.email)
    subscriber = conn.execute(query.where(subscribers.c.public_id == sent.subscriber)).one()
    of_digest = {"subscriber_id": subscriber.id, "on": sent.on, "created_at": sent.at}
    slate_id = None
    if sent.kind == DIGEST:
        # The Message-ID is <d.SLATE@SITE> or skipped.SLATE, with the slate's public id.
        row = of_digest | {
            "public_id": sent.message_id.strip("<>").partition(".")[2].partition("@")[0][:20],
            "run_id": jobs.begin_run(conn, sent.on, sent.at),
            "n_candidates": 0,
            "scorer_version": "",
            "encoder_version": "",
            "feature_version": "",
            "day_report": "",
        }
        slate_id = conn.scalar(insert(slates).returning(slates.c.id), row)
    was_sent = state is MessageState.SENT
    row = of_digest | {
        "message_id": sent.message_id,
        "slate_id": slate_id,
        "kind": sent.kind,
        "state": MessageState.PLANNED if was_sent else state,
        "reason": reason,
        "recipient": subscriber.email,
        "updated_at": sent.at,
    }
    conn.execute(insert(messages_table), row)
    if was_sent and (message := find(conn, sent.key)):
        mark_sent(conn, message, sent, reply)


def find_unlogged(conn: Connection, ids: Collection[str], since: datetime) -> list[SentEntry]:
    """Return the messages that were sent since then, without those in `ids`."""
    query = (
        select(
            messages_table.c.sent_at,
            messages_table.c.message_id,
            subscribers.c.public_id,
            messages_table.c.on,
            messages_table.c.kind,
        )
        .join(subscribers, subscribers.c.id == messages_table.c.subscriber_id)
        .where(messages_table.c.state == MessageState.SENT, messages_table.c.sent_at >= since)
    )
    return [SentEntry(*row) for row in conn.execute(query) if row.message_id not in ids]
