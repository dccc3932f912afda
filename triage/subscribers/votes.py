"""Stores votes from links, pages, mails and files.

    link → page (GET, writes nothing) → POST → event → next digest

A vote never changes an earlier event. The last vote of a subscriber on a paper counts. Repeating
it adds no event. A save also puts the paper into a collection.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

from triage import store
from triage.domain.chunks import TimedChunks
from triage.domain.link_tokens import Claims
from triage.domain.protocols import Clock
from triage.domain.records import EventKind, Impression, Origin, Slate, Subscriber
from triage.errors import NotFound
from triage.store import Connection, Database
from triage.subscribers.scanner_detection import BELIEVED, is_burst, trust

BURST = timedelta(minutes=10)
_READ_AT_ONCE = 5000
_BLOCK_S = 0.025
_NO_SUBSCRIBER = "no such subscriber; `triage subscriber add` first"


@dataclass(frozen=True, slots=True)
class VoteResult:
    """The current vote on a shown paper. `stored` is False if the last vote was the same."""

    impression: Impression
    kind: EventKind
    stored: bool


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row of a feedback file that was not stored, and the reason; `line` is 1-based."""

    line: int
    reason: str


@dataclass(frozen=True, slots=True)
class ImportedVotes:
    """The result of an import: `read` = `stored` + `known` + number of bad rows."""

    read: int
    stored: int
    known: int
    bad: tuple[BadRow, ...]


def find_digest(db: Database, claims: Claims) -> Slate:
    """Return the digest that a link names.

    Raises:
        NotFound: it is not stored.
    """
    slate = db.fetch(store.slates.of_link, claims.slate, claims.subscriber)
    if slate is None:
        raise NotFound("the digest with this link is no longer stored")
    return slate


def find_impression(db: Database, claims: Claims) -> Impression:
    """Return the impression that a link names.

    Raises:
        NotFound: the digest is not stored, or has no such position.
    """
    impression = db.fetch(store.slates.shown_at, claims.slate, claims.subscriber, claims.position)
    if impression is None:
        raise NotFound("the digest with this link is no longer stored")
    return impression


def record_vote(
    db: Database,
    claims: Claims,
    clock: Clock,
    evidence: dict[str, Any],
    origin: Origin | None = None,
) -> VoteResult:
    """Store the vote of a link durably.

    A vote that a scanner seems to have cast does not count, unless `believe` accepts it later. If
    there are signs of a burst, neither do the votes on the same digest in the time BURST before.

    Args:
        evidence: for `scanner_detection.trust`; `since_sent_s` and `trust` are added.
        origin: who cast the vote; decided from the evidence by default.

    Raises:
        NotFound: see `shown`.
        ValueError: the claims have no action.
    """
    if claims.action is None:
        raise ValueError("a vote needs an action")
    impression = find_impression(db, claims)
    with db.write() as conn:
        digest = store.slates.find_delivery(conn, claims.slate, claims.subscriber)
        if digest is None:
            raise NotFound("the digest with this link is no longer stored")
        store.subscribers.lock_one(conn, digest.subscriber_id)
        evidence = evidence | _since_sent(digest.sent_at, clock.now())
        evidence["trust"] = trust(evidence)
        if origin is None:
            origin = Origin.PERSON if evidence["trust"] >= BELIEVED else Origin.SUSPECTED_SCANNER
        stored = _store_vote(
            conn,
            digest.subscriber_id,
            impression.paper.id,
            claims.action,
            clock.now(),
            slate_id=digest.slate_id,
            evidence=evidence,
            origin=origin,
        )
        if origin is Origin.SUSPECTED_SCANNER and is_burst(evidence):
            since = clock.now() - BURST
            saved = store.events.mark_suspected(conn, digest.slate_id, since)
            store.collections.take_out(conn, digest.subscriber_id, saved, since=since)
    return VoteResult(impression, claims.action, stored=stored)


def undo_votes(db: Database, claims: Claims, since: datetime) -> Impression:
    """Delete the votes on the paper of a link that came through links since then.

    An earlier vote on the paper counts again. A paper that they saved is no longer saved.

    Raises:
        NotFound: see `find_impression`.
    """
    impression = find_impression(db, claims)
    with db.write() as conn:
        digest = store.slates.find_delivery(conn, claims.slate, claims.subscriber)
        if digest is not None:
            store.subscribers.lock_one(conn, digest.subscriber_id)
            id = impression.paper.id
            gone = store.events.forget_by_link(conn, digest.slate_id, id, since)
            if EventKind.SAVE in gone:
                store.collections.take_out(conn, digest.subscriber_id, [id], since=since)
    return impression


def record_mailed_vote(
    conn: Connection, claims: Claims, now: datetime, evidence: dict[str, Any]
) -> bool:
    """Store the vote of a mail; return False if the paper that it names is not stored.

    The caller has verified the token and the sender.
    """
    shown = store.slates.shown_at(conn, claims.slate, claims.subscriber, claims.position)
    digest = store.slates.find_delivery(conn, claims.slate, claims.subscriber)
    if shown is None or digest is None or claims.action is None:
        return False
    store.subscribers.lock_one(conn, digest.subscriber_id)
    _store_vote(
        conn,
        digest.subscriber_id,
        shown.paper.id,
        claims.action,
        now,
        slate_id=digest.slate_id,
        evidence=evidence | _since_sent(digest.sent_at, now),
        origin=Origin.PERSON,
    )
    return True


def vote(
    db: Database,
    subscriber: Subscriber,
    paper_id: int,
    kind: EventKind,
    clock: Clock,
    evidence: dict[str, Any],
    collection: int | None = None,
) -> bool:
    """Store the vote of a logged-in subscriber durably; False if the last vote was the same.

    It belongs to the digest that showed them the paper, if there is one.

    Args:
        collection: where a save puts the paper. By default it goes into the default collection,
            unless it is in another one.

    Raises:
        NotFound: no such paper is stored, or the subscriber has no such collection.
    """
    with db.write() as conn:
        store.subscribers.lock_one(conn, subscriber.id)
        if paper_id not in store.papers.load(conn, [paper_id]):
            raise NotFound("this paper is no longer stored")
        if collection is not None:
            if store.collections.find(conn, subscriber.id, collection) is None:
                raise NotFound("you have no such collection")
            store.collections.put(conn, collection, paper_id, clock.now())
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
    """Let a subscriber's suspected scanner votes count; return their number."""
    with db.write() as conn:
        store.subscribers.lock_one(conn, subscriber.id)
        trusted = store.events.mark_trusted(conn, subscriber.id)
        for vote in trusted:
            if vote.kind is EventKind.SAVE:
                _collect_if_saved(conn, subscriber.id, vote.paper_id)
    return len(trusted)


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
    """Store a vote; return False if the last one on the paper was the same.

    The caller has locked the subscriber, as for what follows.
    """
    if kind is EventKind.SAVE and origin is Origin.PERSON:
        _collect(conn, subscriber_id, paper_id, now)
    last = store.events.last_vote(conn, subscriber_id, paper_id)
    if last is not None and last.kind is kind:
        return False
    if origin is not Origin.PERSON:
        suspect = store.events.last_vote(conn, subscriber_id, paper_id, origin)
        if suspect is not None and suspect.kind is kind:
            return False
    store.events.append(
        conn,
        store.events.Event(
            subscriber_id=subscriber_id,
            paper_id=paper_id,
            slate_id=slate_id,
            kind=kind,
            origin=origin,
            # After the clock was set back, the new vote must still be the last one.
            at=now if last is None else max(now, last.at),
            recorded_at=now,
            evidence=evidence,
        ),
    )
    return True


def _collect(conn: Connection, subscriber_id: int, paper_id: int, at: datetime) -> None:
    """Put a saved paper into the default collection, unless it is in a collection."""
    if not store.collections.holding(conn, subscriber_id, paper_id):
        id = default_collection(conn, subscriber_id, at)
        store.collections.put(conn, id, paper_id, at)


def _collect_if_saved(conn: Connection, subscriber_id: int, paper_id: int) -> None:
    """Do what `_collect` does if the last vote on a paper is a save."""
    last = store.events.last_vote(conn, subscriber_id, paper_id)
    if last is not None and last.kind is EventKind.SAVE:
        _collect(conn, subscriber_id, paper_id, last.at)


def default_collection(conn: Connection, subscriber_id: int, at: datetime) -> int:
    """Return the id of a subscriber's default collection; if there is none yet, create it."""
    found = store.collections.find_default(conn, subscriber_id)
    name, public_id = store.collections.DEFAULT_NAME, secrets.token_hex(10)
    return found.id if found else store.collections.add(conn, subscriber_id, name, public_id, at)


def import_votes(db: Database, lines: Iterable[str], clock: Clock) -> ImportedVotes:
    """Store votes from JSON lines `{"subscriber", "paper_id", "kind", "at"}`.

    `subscriber` is an address, `paper_id` an id of an imported paper, `kind` an `EventKind`, and
    `at` an ISO 8601 date or time, in UTC by default. Rows that were imported before count as
    `known`, so an import that was interrupted is finished by another one. Bad rows are reported.
    Empty lines are skipped.
    """
    read = stored = 0
    bad: list[BadRow] = []
    now = clock.now()
    timed = TimedChunks(clock, _BLOCK_S)
    everyone = db.fetch(store.subscribers.everyone)
    subscribers = {store.subscribers.email_key(each.email): each.id for each in everyone}
    numbered = ((line, text) for line, text in enumerate(lines, start=1) if text.strip())
    while some := list(islice(numbered, _READ_AT_ONCE)):
        read += len(some)
        votes, wrong = _votes(db, some, subscribers, now)
        bad += wrong
        for block in timed.split(votes):
            with db.write() as conn:
                there = store.subscribers.lock(conn, {vote.subscriber_id for _, vote in block})
                kept = [vote for _, vote in block if vote.subscriber_id in there]
                new = store.events.append_missing(conn, kept)
                stored += len(new)
                for each in new:
                    if each.kind is EventKind.SAVE:
                        _collect_if_saved(conn, each.subscriber_id, each.paper_id)
            bad += [
                BadRow(line, _NO_SUBSCRIBER)
                for line, vote in block
                if vote.subscriber_id not in there
            ]
    bad.sort(key=lambda row: row.line)
    return ImportedVotes(read, stored, read - stored - len(bad), tuple(bad))


def _votes(
    db: Database, lines: Sequence[tuple[int, str]], subscribers: Mapping[str, int], now: datetime
) -> tuple[list[tuple[int, store.events.Event]], list[BadRow]]:
    """Return the votes of numbered lines, and the lines that are none."""
    rows: list[tuple[int, int, str, EventKind, datetime]] = []
    bad: list[BadRow] = []
    for line, text in lines:
        try:
            address, outside_id, kind, at = _row(text)
            subscriber_id = subscribers.get(store.subscribers.email_key(address))
            if subscriber_id is None:
                raise ValueError(_NO_SUBSCRIBER)
            rows.append((line, subscriber_id, outside_id, kind, at))
        except ValueError as error:
            bad.append(BadRow(line, str(error)))
    papers = db.fetch(store.papers.resolve_all, {row[2] for row in rows})
    votes = []
    for line, subscriber_id, outside_id, kind, at in rows:
        if outside_id not in papers:
            bad.append(BadRow(line, f"no paper {outside_id[:80]!r}; `triage papers import` first"))
            continue
        vote = store.events.Event(
            subscriber_id=subscriber_id,
            paper_id=papers[outside_id],
            kind=kind,
            at=at,
            recorded_at=now,
            evidence={"method": "import"},
        )
        votes.append((line, vote))
    return votes, bad


def export_votes(db: Database) -> Iterator[str]:
    """Yield the votes of persons, oldest first, as JSON lines for `import_votes`."""
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
    """Parse one line, or raise ValueError with a reason."""
    try:
        row = json.loads(text)
    except ValueError:
        raise ValueError("this line is not valid JSON") from None
    if not isinstance(row, dict):
        raise ValueError('this is not an object {"subscriber", "paper_id", "kind", "at"}')
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
