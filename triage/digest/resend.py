"""Sends a digest once more, because its subscriber has lost it.

The bytes of a sent message are deleted after two days, so the mail is made anew from the stored
slate: the same papers with the same reasons, the templates and the titles of today. The new message
has a Message-ID of its own and no slate, so that the first one alone counts for its date.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime

from triage import store
from triage.digest.nightly import Composed
from triage.domain.digest_calendar import zone_or_utc
from triage.domain.protocols import Clock
from triage.domain.records import MessageState, Slate, Subscriber, SubscriberState
from triage.errors import ConfigError, NotFound
from triage.store import Connection, Database
from triage.store.messages import StoredMessage

ComposeAgain = Callable[[Slate, datetime, date], Composed]
"""Builds the message of a slate at a time; the last argument makes its Message-ID a new one."""

_RESUME = "`triage subscriber resume EMAIL` starts their digests again, if they want them"
_WHY_NOT = {
    SubscriberState.PENDING: "they have not confirmed their address yet",
    SubscriberState.PAUSED: f"their digests are paused: {_RESUME}",
    SubscriberState.UNSUBSCRIBED: f"they have unsubscribed: {_RESUME}",
}
_SUPPRESSED = (
    "their address is suppressed, so nothing is sent to it: if its owner wants mail again, run"
    " `triage outbox suppress EMAIL --lift`, then `triage subscriber resume EMAIL`"
)
_NOT_SENT = {
    MessageState.SKIPPED: "it had no papers, so there was no mail",
    MessageState.FAILED: "it could not be delivered. Its papers may come in later digests",
    MessageState.CANCELLED: "it was cancelled. Its papers may come in later digests",
    MessageState.HELD: "it is held, because it is unknown whether it arrived: decide with"
    " `triage outbox resolve`",
}
_WAITS = "it still waits: `triage outbox list` shows why, `triage outbox drain` sends it"


def queue_resend(
    database: Database,
    clock: Clock,
    compose: ComposeAgain,
    subscriber: Subscriber,
    address_hash: Callable[[str], str],
    on: date | None = None,
) -> StoredMessage:
    """Put a sent digest into the outbox once more; return the new message, which waits.

    A digest goes once more at most once a day. If one of today still waits, it is returned, and no
    second one is made.

    Args:
        address_hash: the name under which an address is suppressed.
        on: the date of the digest; None for the newest one that was sent.

    Raises:
        NotFound: there is no such digest, it was not sent, or none of its papers is left.
        ConfigError: the subscriber gets no mail now, or was sent this digest once more today.
    """
    now = clock.now()
    today = now.astimezone(zone_or_utc(subscriber.zone)).date()
    with database.read() as conn:
        _refuse_unwanted(conn, subscriber, today, address_hash)
        slate = _sent_slate(conn, subscriber, on)
        withdrawn = store.papers.withdrawn(
            conn, [*(each.paper.id for each in slate.impressions), *(p.id for p in slate.recap)]
        )
    left = tuple(each for each in slate.impressions if each.paper.id not in withdrawn)
    recap = tuple(paper for paper in slate.recap if paper.id not in withdrawn)
    if not left:
        raise NotFound(
            f"the papers of the digest of {slate.on} were withdrawn since"
            if withdrawn
            else f"it is not known which papers the digest of {slate.on} had: the database was"
            " restored from a back-up that was older"
        )
    message = compose(replace(slate, impressions=left, recap=recap), now, today).message
    kind = f"{store.messages.RESEND}{slate.on}"
    with database.write() as conn:
        store.messages.add_note(conn, subscriber, kind, message, now, today)
        queued = store.sent_log.find(conn, (subscriber.public_id, today, kind))
    assert queued is not None  # noqa: S101 - it was added just now, or before
    if queued.state in store.messages.ENDED:
        raise ConfigError(
            f"the digest of {slate.on} was tried once more today, and that message is"
            f" {queued.state}: it can go again tomorrow"
        )
    return queued


def _refuse_unwanted(
    conn: Connection, subscriber: Subscriber, today: date, address_hash: Callable[[str], str]
) -> None:
    is_suppressed = store.suppressions.reason(conn, address_hash(subscriber.email)) is not None
    if is_suppressed or subscriber.state is SubscriberState.SUPPRESSED:
        raise ConfigError(_SUPPRESSED)
    if subscriber.state is not SubscriberState.ACTIVE:
        raise ConfigError(_WHY_NOT[subscriber.state])
    until = subscriber.paused_until
    if until is not None and today < until:
        raise ConfigError(f"their digests are paused until {until}: {_RESUME}")


def _sent_slate(conn: Connection, subscriber: Subscriber, on: date | None) -> Slate:
    if on is None:
        # Before `date.max`, only the newest date is returned.
        sent = store.slates.sent_days(conn, date.max, [subscriber.id]).get(subscriber.id)
        if not sent:
            raise NotFound("no digest was sent to them yet: `triage run` makes digests")
        on = sent[-1]
    slate = store.slates.by_day(conn, subscriber.id, on)
    key = (subscriber.public_id, on, store.messages.DIGEST)
    first = store.sent_log.find(conn, key)
    if slate is None or first is None:
        raise NotFound(f"there is no digest for {on}: `triage digest list` shows all digests")
    if first.state is not MessageState.SENT:
        raise NotFound(f"the digest of {on} was not sent: {_NOT_SENT.get(first.state, _WAITS)}")
    return slate
