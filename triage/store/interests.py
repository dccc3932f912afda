"""The interests of each subscriber, with numbers that do not change."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime
from typing import Any

from sqlalchemy import (
    BindParameter,
    Connection,
    Row,
    Update,
    bindparam,
    func,
    insert,
    select,
    update,
)

from triage.domain.records import Interest
from triage.store.engine.upsert import rows_in
from triage.store.tables import interests


def of(conn: Connection, subscriber_id: int) -> tuple[Interest, ...]:
    """Return a subscriber's interests by number, without retired ones."""
    return of_each(conn, [subscriber_id])[subscriber_id]


def of_each(
    conn: Connection, subscriber_ids: Collection[int]
) -> defaultdict[int, tuple[Interest, ...]]:
    """Return the interests of several subscribers by their ids, see `of`."""
    found: defaultdict[int, tuple[Interest, ...]] = defaultdict(tuple)
    query = select(interests).order_by(interests.c.subscriber_id, interests.c.number)
    for row in rows_in(conn, query, interests.c.subscriber_id, subscriber_ids):
        if row.papers or row.phrases:
            found[row.subscriber_id] += (_interest(row),)
    return found


def _interest(row: Row[Any]) -> Interest:
    return Interest(
        number=row.number,
        name=row.name,
        papers=tuple(row.papers),
        phrases=tuple(row.phrases),
        muted=row.muted,
        paused_until=row.paused_until,
    )


def save(
    conn: Connection, subscriber_id: int, found: Sequence[Interest], at: datetime
) -> tuple[Interest, ...]:
    """Store the interests that were found now; see `save_each`."""
    return save_each(conn, {subscriber_id: found}, at)[subscriber_id]


def save_each(
    conn: Connection, found: Mapping[int, Sequence[Interest]], at: datetime
) -> dict[int, tuple[Interest, ...]]:
    """Store interests by subscriber id, and return them with numbers for new ones.

    Stored interests that were not found again are retired. Their numbers are not used again,
    because old mails may have them. Muted and paused interests stay so.
    """
    of = interests.c.subscriber_id
    highest = select(of, func.max(interests.c.number)).group_by(of)
    newest = dict(iter(rows_in(conn, highest, of, found)))
    stored = of_each(conn, found)
    added: list[dict[str, Any]] = []
    changed: list[dict[str, Any]] = []
    numbered = {}
    for who, several in found.items():
        old = {each.number: each for each in stored[who]}
        own = []
        for each in several:
            before = old.pop(each.number, None)
            if before is None:
                newest[who] = newest.get(who, 0) + 1
                each = replace(each, number=newest[who])
                added.append(_row(who, each, at))
            elif (before.name, before.papers, before.phrases) != (
                each.name, each.papers, each.phrases
            ):  # fmt: skip
                changed.append(_row(who, each, at))
            own.append(each)
        changed += [_row(who, replace(each, papers=(), phrases=()), at) for each in old.values()]
        numbered[who] = tuple(own)
    if added:
        conn.execute(insert(interests), added)
    if changed:
        keys = [{"who": row["subscriber_id"], "which": row["number"]} for row in changed]
        content = ("name", "papers", "phrases", "updated_at")
        change = _one(bindparam("who"), bindparam("which"))
        change = change.values({name: bindparam(f"new_{name}") for name in content})
        values = [{f"new_{name}": row[name] for name in content} for row in changed]
        conn.execute(change, [key | row for key, row in zip(keys, values, strict=True)])
    return numbered


def _row(subscriber_id: int, each: Interest, at: datetime) -> dict[str, Any]:
    return {
        "subscriber_id": subscriber_id,
        "number": each.number,
        "name": each.name,
        "papers": list(each.papers),
        "phrases": list(each.phrases),
        "muted": each.muted,
        "paused_until": each.paused_until,
        "updated_at": at,
    }


def set_muted(
    conn: Connection,
    subscriber_id: int,
    number: int,
    *,
    muted: bool,
    paused_until: date | None,
    at: datetime,
) -> None:
    """Mute an interest, pause it until a date, or end both."""
    change = _one(subscriber_id, number)
    conn.execute(change.values(muted=muted, paused_until=paused_until, updated_at=at))


def forget(conn: Connection, subscriber_id: int) -> None:
    """Retire all interests of a subscriber; their numbers are not used again."""
    empty = {"papers": [], "phrases": [], "muted": False, "paused_until": None}
    conn.execute(update(interests).where(interests.c.subscriber_id == subscriber_id).values(empty))


def _one(subscriber_id: int | BindParameter[Any], number: int | BindParameter[Any]) -> Update:
    return update(interests).filter_by(subscriber_id=subscriber_id, number=number)
