"""Feedback comes in: votes from links, and votes from files.

    link → page (GET, writes nothing) → POST → event → the next digest knows it

Events are only ever added. Of a subscriber's votes on a paper the last one counts, and casting the
same vote again adds nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from triage import store
from triage.domain.link_tokens import Claims
from triage.domain.protocols import Clock
from triage.domain.records import EventKind, Impression, Origin, Subscriber
from triage.errors import NotFound
from triage.store import Database
from triage.subscribers.scanner_detection import BELIEVED, is_burst, trust

if TYPE_CHECKING:
    from sqlalchemy import Connection

BURST = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Recorded:
    """A vote that counts now. `stored` is False when it was the last one already."""

    impression: Impression
    kind: EventKind
    stored: bool


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row of a feedback file that was not stored, and why; `line` is 1-based."""

    line: int
    reason: str


@dataclass(frozen=True, slots=True)
class ImportedVotes:
    """How a feedback file was taken: `read` = `stored` + `known` + bad rows."""

    read: int
    stored: int
    known: int
    bad: tuple[BadRow, ...]


def shown(db: Database, claims: Claims) -> Impression:
    """Return the shown paper that a link is about.

    Raises:
        NotFound: the digest is gone, or never had such a position.
    """
    with db.read() as conn:
        found = store.slates.shown_at(conn, claims.slate, claims.subscriber, claims.position)
    if found is None:
        raise NotFound("the digest that this link came with is no longer stored")
    return found


def record_vote(
    db: Database,
    claims: Claims,
    clock: Clock,
    evidence: dict[str, Any],
    origin: Origin | None = None,
) -> Recorded:
    """Store the vote that a link stands for, durably, before returning.

    A vote that seems to be a scanner's is kept apart: it counts for nothing unless it is believed
    later. So are the votes by links on the same digest in the minute before, once that shows.

    Args:
        evidence: what is known of how the vote came; `since_sent_s`, null before sending, and
            `trust` are added.
        origin: who cast it; judged by the evidence if left out.

    Raises:
        NotFound: see `shown`.
        ValueError: the claims carry no action.
    """
    if claims.action is None:
        raise ValueError("a vote needs an action")
    impression = shown(db, claims)
    with db.write() as conn:
        digest = store.slates.carried(conn, claims.slate, claims.subscriber)
        if digest is None:
            raise NotFound("the digest that this link came with is no longer stored")
        told = evidence | _since_sent(digest.sent_at, clock.now())
        told["trust"] = trust(told)
        if origin is None:
            origin = Origin.PERSON if told["trust"] >= BELIEVED else Origin.SUSPECTED_SCANNER
        stored = _store_vote(
            conn,
            digest.subscriber_id,
            impression.paper.id,
            claims.action,
            clock.now(),
            slate_id=digest.slate_id,
            evidence=told,
            origin=origin,
        )
        if origin is Origin.SUSPECTED_SCANNER and is_burst(told):
            store.events.doubt(conn, digest.slate_id, clock.now() - BURST)
    return Recorded(impression, claims.action, stored=stored)


def vote(
    db: Database,
    subscriber: Subscriber,
    paper_id: int,
    kind: EventKind,
    clock: Clock,
    evidence: dict[str, Any],
) -> bool:
    """Store the vote of who is known on any stored paper, durably, before returning.

    It counts for the digest that showed them the paper, if one did.

    Returns:
        Whether it is new: False where it was the last one already.

    Raises:
        NotFound: no such paper is stored.
    """
    with db.write() as conn:
        if paper_id not in store.papers.load(conn, [paper_id]):
            raise NotFound("this paper is no longer stored")
        slate_id = store.slates.showing(conn, subscriber.id, paper_id)
        sent_at = None if slate_id is None else store.messages.sent_at(conn, slate_id)
        now = clock.now()
        return _store_vote(
            conn,
            subscriber.id,
            paper_id,
            kind,
            now,
            slate_id=slate_id,
            evidence=evidence | _since_sent(sent_at, now),
            origin=Origin.PERSON,
        )


def believe(db: Database, subscriber: Subscriber) -> int:
    """Let a subscriber's votes count that seemed to be a scanner's; return how many those were."""
    with db.write() as conn:
        return store.events.believe(conn, subscriber.id)


def _since_sent(sent_at: datetime | None, now: datetime) -> dict[str, Any]:
    return {"since_sent_s": None if sent_at is None else int((now - sent_at).total_seconds())}


def _store_vote(
    conn: Connection,
    subscriber_id: int,
    paper_id: int,
    kind: EventKind,
    now: datetime,
    *,
    slate_id: int | None,
    evidence: dict[str, Any],
    origin: Origin,
) -> bool:
    """Store a vote; return False where the last one on the paper was the same."""
    last = store.events.last_vote(conn, subscriber_id, paper_id)
    if last is not None and last.kind is kind:
        return False
    if origin is not Origin.PERSON:
        doubted = store.events.last_vote(conn, subscriber_id, paper_id, origin)
        if doubted is not None and doubted.kind is kind:
            return False
    store.events.append(
        conn,
        store.events.Event(
            subscriber_id=subscriber_id,
            paper_id=paper_id,
            slate_id=slate_id,
            kind=kind,
            origin=origin,
            # A clock that was set back must not let an older vote win.
            at=now if last is None else max(now, last.at),
            recorded_at=now,
            evidence=evidence,
        ),
    )
    return True


def import_votes(db: Database, lines: Iterable[str], clock: Clock) -> ImportedVotes:
    """Store votes from JSON lines `{"subscriber", "paper_id", "kind", "at"}`, in one transaction.

    `subscriber` is an address, `paper_id` an id as papers are imported under, `kind` a vote and
    `at` an ISO 8601 date or time, UTC unless it says otherwise. Rows that were imported before are
    known, bad ones are reported, the rest is stored. Empty lines count as nothing.
    """
    read = stored = known = 0
    bad: list[BadRow] = []
    now = clock.now()
    with db.write() as conn:
        everyone = store.subscribers.everyone(conn)
        subscribers = {store.subscribers.email_key(each.email): each.id for each in everyone}
        papers: dict[str, int | None] = {}
        for line, text in enumerate(lines, start=1):
            if not text.strip():
                continue
            read += 1
            try:
                address, outside_id, kind, at = _row(text)
                subscriber_id = subscribers.get(store.subscribers.email_key(address))
                if subscriber_id is None:
                    raise ValueError("no such subscriber; `triage subscriber add` first")
                if outside_id not in papers:
                    papers[outside_id] = store.papers.resolve(conn, outside_id)
                paper_id = papers[outside_id]
                if paper_id is None:
                    raise ValueError(f"no paper {outside_id[:80]!r}; `triage papers import` first")
            except ValueError as error:
                bad.append(BadRow(line, str(error)))
                continue
            if store.events.exists(conn, subscriber_id, paper_id, kind, at):
                known += 1
                continue
            store.events.append(
                conn,
                store.events.Event(
                    subscriber_id=subscriber_id,
                    paper_id=paper_id,
                    kind=kind,
                    at=at,
                    recorded_at=now,
                    evidence={"method": "import"},
                ),
            )
            stored += 1
    return ImportedVotes(read, stored, known, tuple(bad))


def export_votes(db: Database) -> Iterator[str]:
    """Yield every vote of a person, oldest first, as the JSON lines that `import_votes` reads."""
    with db.read() as conn:
        events = store.events.listing(conn)
        papers = store.papers.load(conn, {row["paper_id"] for row in events})
    for row in reversed(events):
        if row["origin"] == Origin.PERSON:
            vote = {
                "subscriber": row["email"],
                "paper_id": store.papers.outside_id(papers[row["paper_id"]]),
                "kind": row["kind"],
                "at": row["at"].isoformat(),
            }
            yield json.dumps(vote, ensure_ascii=False)


def _row(text: str) -> tuple[str, str, EventKind, datetime]:
    """Take one line apart, or raise ValueError with a reason for people."""
    try:
        row = json.loads(text)
    except ValueError:
        raise ValueError("not a line of JSON") from None
    if not isinstance(row, dict):
        raise ValueError('not an object {"subscriber", "paper_id", "kind", "at"}')
    values = []
    for name in ("subscriber", "paper_id", "kind", "at"):
        if not isinstance(row.get(name), str) or not row[name].strip():
            raise ValueError(f"{name} is missing or not text")
        values.append(row[name].strip())
    address, outside_id, kind, at = values
    if kind not in set(EventKind):
        raise ValueError(f"kind is {kind[:40]!r}, not one of {', '.join(EventKind)}")
    try:
        instant = datetime.fromisoformat(at)
        aware = instant if instant.tzinfo else instant.replace(tzinfo=UTC)
        return address, outside_id, EventKind(kind), aware.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(f"at is {at[:40]!r}, not a date or time as in 2026-03-02T07:30Z") from None
