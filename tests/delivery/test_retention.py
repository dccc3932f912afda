"""What mail leaves behind is forgotten in time, and the books still balance."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import delete

from tests.support.factories import DAY, NOON
from tests.support.fakes import FakeMailer, StoppedClock
from tests.support.guarantees import Guarantee
from tests.support.installation import add_reader, empty_slate, installed, queue, rows
from tests.support.mail_rig import fast_database, fill
from tests.support.web_world import ADDRESS, new_world
from triage import store
from triage.delivery.audit import audit
from triage.delivery.outbox import Outbox
from triage.delivery.retention import CHUNK, forget_old_mail
from triage.delivery.sender_context import SenderContext
from triage.errors import MailDeferred, MailRefused
from triage.store import Database
from triage.store.tables import attempts
from triage.subscribers.erasure import rewrite_after_erasures

ONE_DAY = timedelta(days=1)
HOUR = timedelta(hours=1)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with installed(tmp_path) as opened:
        yield opened


def drain(database: Database, clock: StoppedClock, *failures: Exception) -> None:
    Outbox(
        SenderContext(database, FakeMailer(*failures), clock, owner="us", is_gone=lambda _: False)
    ).drain()


def keep_bounce(database: Database, n: int, clock: StoppedClock) -> None:
    with database.write() as conn:
        store.bounces.add(
            conn,
            content_hash=f"{n}",
            kind="hard",
            status="5.1.1",
            message_id=None,
            subscriber_id=None,
            raw=b"To: reader@example.org",
            received_at=clock.now(),
        )


@pytest.mark.guarantee("R44")
def test_bytes_attempts_and_bounces_are_forgotten_each_in_its_time(
    database: Database, guarantee: Guarantee
) -> None:
    clock = StoppedClock()
    readers = [add_reader(database, n) for n in (1, 2, 3)]
    for n, reader in enumerate(readers, start=1):
        queue(database, empty_slate(reader, n))
    # The first is sent, the second refused, the third put off.
    drain(database, clock, *[None, MailRefused("554 no"), MailDeferred("451 later")])
    keep_bounce(database, 1, clock)
    hashes = [row["mime_sha256"] for row in rows(database, "messages")]

    def left() -> tuple[int, int, int]:
        forget_old_mail(database, clock)
        assert audit(database).is_balanced
        raw = [row for row in rows(database, "bounces") if row["raw"] is not None]
        return len(rows(database, "message_bodies")), len(rows(database, "attempts")), len(raw)

    clock.at = NOON + 48 * HOUR
    assert left() == (3, 3, 1)
    clock.at += HOUR
    assert left() == (1, 3, 1), "what waits keeps its bytes"
    clock.at = NOON + 30 * ONE_DAY + HOUR
    assert left() == (1, 3, 0)
    clock.at = NOON + 90 * ONE_DAY + HOUR
    assert left() == (1, 1, 0), "what waits keeps its attempt"
    assert [row["mime_sha256"] for row in rows(database, "messages")] == hashes
    assert [row["kind"] for row in rows(database, "bounces")] == ["hard"]
    guarantee.record(mime_kept_hours=48, attempts_kept_days=90, raw_bounces_kept_days=30)


def test_an_attempt_that_vanishes_too_early_is_still_found(database: Database) -> None:
    clock = StoppedClock()
    queue(database, empty_slate(add_reader(database)))
    drain(database, clock)
    clock.at = NOON + 80 * ONE_DAY
    forget_old_mail(database, clock)
    assert audit(database).is_balanced
    with database.write() as conn:
        conn.execute(delete(attempts))
    assert not audit(database).is_balanced


def test_much_is_forgotten_in_many_short_transactions() -> None:
    clock, n = StoppedClock(NOON), 2 * CHUNK + 7
    with fast_database() as (database, _, _):
        fill(database, n, at=clock.at, on=DAY)
        drain(database, clock)
        clock.at += 91 * ONE_DAY
        said = forget_old_mail(database, clock)
        assert rows(database, "message_bodies") == rows(database, "attempts") == []
        assert audit(database).is_balanced
    assert said.count(str(n)) == 2


@pytest.mark.sqlite("its file keeps what was deleted until it is rewritten")
@pytest.mark.guarantee("R44")
def test_the_night_after_an_erasure_on_the_pages_no_byte_of_it_is_left(
    tmp_path: Path, guarantee: Guarantee
) -> None:
    world = new_world(tmp_path)
    ada = world.logged_in()
    assert ada.submit(ada.get("/preferences/erase"), sure="yes").status_code == 200

    def traces() -> int:
        name = ADDRESS.encode()
        return sum(each.read_bytes().count(name) for each in tmp_path.glob("*.db*"))

    before = traces()
    assert rewrite_after_erasures(world.db) == "rewrote the database file after an erasure"
    assert (before > 0, traces()) == (True, 0)
    assert rewrite_after_erasures(world.db) == "nobody was erased"
    guarantee.record(bytes_left_of_who_was_erased_on_a_page=0)
