"""A full, read-only or damaged disk costs no acknowledged write, and doubles no mail."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, select, text, update

from tests.support.databases import NAME, migrated_file
from tests.support.factories import NOON
from tests.support.fakes import FakeMailer, StoppedClock
from tests.support.guarantees import Guarantee
from tests.support.installation import add_reader, rows
from tests.support.mail_rig import fill, mime_of
from tests.support.web_world import new_world
from triage import store
from triage.delivery.audit import audit
from triage.delivery.outbox import DrainReport, Outbox
from triage.delivery.preflight import LEAST_FREE, Preflight
from triage.delivery.sender_context import SenderContext
from triage.delivery.sent_log import SentLog
from triage.domain.records import EventKind
from triage.domain.records import MessageState as State
from triage.errors import DatabaseError
from triage.store import Database, open_database
from triage.store.tables import message_bodies, messages

pytestmark = pytest.mark.sqlite("its file is limited, and spoilt")

N_DIGESTS = 12
PLENTY = 10**12


class UnknowingMailer(FakeMailer):
    """Cannot tell what arrived, as most transports."""

    def delivered(self, message_id: str) -> None:
        return None


class Limit:
    """How many pages a database may have; a disk that is full says the same."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._pages = 2**30
        event.listen(database.engine, "connect", self._set)

    def __call__(self, pages: int) -> None:
        self._pages = pages
        self._database.engine.dispose()

    def lift(self) -> None:
        self(2**30)

    def _set(self, connection: Any, _: object) -> None:
        connection.execute(f"PRAGMA max_page_count = {self._pages}")


def outbox(database: Database, mailer: FakeMailer, journal: SentLog, free: int = PLENTY) -> Outbox:
    clock = StoppedClock()
    return Outbox(
        SenderContext(
            database,
            mailer,
            clock,
            owner="us",
            is_gone=lambda _: True,
            journal=journal,
        ),
        check=Preflight(database, journal, clock, free=lambda _: free).check,
    )


@contextmanager
def waiting(folder: Path, n: int = N_DIGESTS) -> Iterator[tuple[Database, SentLog]]:
    """Yield a database in which digests wait, and its journal."""
    folder.mkdir(exist_ok=True)
    (folder / NAME).write_bytes(migrated_file())
    database = open_database(f"sqlite:///{folder / NAME}")
    fill(database, n, at=NOON)
    journal = SentLog(folder / "sent.journal")
    try:
        yield database, journal
    finally:
        database.close()
        journal.close()


# -- room ------------------------------------------------------------------------------------------


def test_before_anything_is_claimed_there_must_be_room(tmp_path: Path) -> None:
    with waiting(tmp_path) as (database, journal):
        mailer = UnknowingMailer()
        found = outbox(database, mailer, journal, free=LEAST_FREE - 1).drain()
        assert "free some space" in found.broken
        assert "500 MB are needed" in found.broken
        assert {row["state"] for row in rows(database, "messages")} == {"rendered"}
        assert {row["attempts"] for row in rows(database, "messages")} == {0}
        assert outbox(database, mailer, journal, free=LEAST_FREE).drain().sent == N_DIGESTS


def test_twice_the_bytes_that_wait_must_fit(tmp_path: Path) -> None:
    with waiting(tmp_path) as (database, journal):
        n_bytes = sum(len(row["mime"]) for row in rows(database, "message_bodies"))
        with database.read() as conn:
            assert store.messages.waiting_bytes(conn) == n_bytes
        # As if five gigabytes waited.
        clearance = Preflight(database, journal, StoppedClock(), free=lambda _: 10 * 10**9 - 1)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(store.messages, "waiting_bytes", lambda _: 5 * 10**9)
            assert "10000 MB are needed" in clearance.check()


def test_where_nothing_waits_no_room_is_wanted(tmp_path: Path) -> None:
    with waiting(tmp_path, 0) as (database, journal):
        assert outbox(database, UnknowingMailer(), journal, free=0).drain() == DrainReport()


@pytest.mark.guarantee("R39")
def test_a_disk_that_fills_up_loses_nothing_and_doubles_nothing(
    tmp_path: Path, guarantee: Guarantee
) -> None:
    """The database may grow by so many pages, in turn, while readers join and mail goes out."""
    n_points = 40 if guarantee.full else 6
    n_full = lost = doubled = 0
    for point in range(n_points):
        with waiting(tmp_path / str(point)) as (database, journal):
            mailer = UnknowingMailer()
            sender = outbox(database, mailer, journal)
            limit = Limit(database)
            with database.read() as conn:
                pages = conn.exec_driver_sql("PRAGMA page_count").scalar_one()
            limit(pages + point)
            acknowledged = []
            for k in range(30):
                try:
                    if k == 3 * point % 25:
                        sender.drain()
                    acknowledged.append(add_reader(database, 1000 + k).public_id)
                except DatabaseError as error:
                    n_full += "the disk is full" in str(error)
            with suppress(DatabaseError):
                sender.drain()
            limit.lift()
            while sender.drain().sent:
                pass
            known = {row["public_id"] for row in rows(database, "subscribers")}
            lost += len(set(acknowledged) - known)
            doubled += len(mailer.sent) - len({each.message_id for each in mailer.sent})
            assert {row["state"] for row in rows(database, "messages")} == {"sent"}
            assert len(mailer.sent) >= N_DIGESTS
            assert audit(database, journal).is_balanced
    guarantee.record(
        n_full_disk_points=n_points,
        n_writes_refused=n_full,
        n_acknowledged_lost=lost,
        n_duplicates_after_full_disk=doubled,
    )
    assert n_full >= n_points
    assert (lost, doubled) == (0, 0)


@pytest.mark.guarantee("R39")
def test_a_vote_on_a_full_disk_is_answered_with_503_and_counts_once_it_is_repeated(
    tmp_path: Path, guarantee: Guarantee
) -> None:
    world = new_world(tmp_path)
    limit = Limit(world.db)
    client = world.client()
    kinds = (EventKind.VOTE_UP, EventKind.VOTE_DOWN)
    paths = [f"/v/{world.vote(kind)}" for kind in kinds]

    def vote(n: int) -> int:
        return client.post(paths[n % 2], data={"vote": kinds[n % 2]}).status_code

    with world.db.read() as conn:
        limit(conn.exec_driver_sql("PRAGMA page_count").scalar_one())
    answers: list[int] = []
    while 503 not in answers:
        assert len(answers) < 1000
        answers.append(vote(len(answers)))
    n_acknowledged = answers.count(303)
    assert n_acknowledged == len(answers) - 1
    assert len(world.events()) == n_acknowledged
    limit.lift()
    assert vote(n_acknowledged) == 303
    assert len(world.events()) == n_acknowledged + 1
    guarantee.record(n_votes_until_full=n_acknowledged)


# -- read-only -------------------------------------------------------------------------------------


@pytest.mark.guarantee("R39")
def test_from_a_database_that_may_only_be_read_nothing_is_sent(
    tmp_path: Path, guarantee: Guarantee
) -> None:
    with waiting(tmp_path) as (database, journal):
        mailer = UnknowingMailer()

        def only_read(connection: Any, _: object) -> None:
            connection.execute("PRAGMA query_only = ON")

        sender = outbox(database, mailer, journal)
        event.listen(database.engine, "connect", only_read)
        database.engine.dispose()
        with pytest.raises(DatabaseError, match="may not be written"):
            sender.drain()
        guarantee.record(n_sent_from_read_only=len(mailer.sent))
        assert mailer.sent == []
        event.remove(database.engine, "connect", only_read)
        database.engine.dispose()
        assert sender.drain().sent == N_DIGESTS


# -- damaged ---------------------------------------------------------------------------------------


@pytest.mark.guarantee("R39")
def test_a_bit_that_flips_is_noticed_or_does_no_harm(tmp_path: Path, guarantee: Guarantee) -> None:
    """Nothing goes to anybody but whose it is, as it was frozen, once."""
    n_flips = 100 if guarantee.full else 10
    rng = random.Random(39)  # noqa: S311 - a test's own dice
    with waiting(tmp_path / "sound") as (database, _):
        ids = {row["message_id"]: row for row in rows(database, "messages")}
        # mail_rig freezes without a hash; the product always has one.
        with database.write() as conn:
            for id, mime in conn.execute(
                select(message_bodies.c.message_id, message_bodies.c.mime)
            ).all():
                frozen = {"mime_sha256": sha256(mime).hexdigest()}
                conn.execute(update(messages).where(messages.c.id == id).values(frozen))
    sound = (tmp_path / "sound" / NAME).read_bytes()
    refused = harmless = harmful = 0
    for n in range(n_flips):
        folder = tmp_path / f"flip-{n}"
        folder.mkdir()
        content = bytearray(sound)
        # Half of them where the mail is: most of the rest is empty.
        at = place_of_mail(sound, rng) if n % 2 else rng.randrange(len(content))
        content[at] ^= 1 << rng.randrange(8)
        (folder / NAME).write_bytes(content)
        database = open_database(f"sqlite:///{folder / NAME}")
        journal = SentLog(folder / "sent.journal")
        mailer = UnknowingMailer()
        try:
            stopped = outbox(database, mailer, journal).drain().broken
            again = UnknowingMailer()
            stopped = stopped or outbox(database, again, journal).drain().broken
            mailer.sent += again.sent
        except DatabaseError as error:
            stopped = str(error)
        finally:
            database.close()
            journal.close()
        if stopped:
            refused += 1
            assert "restore" in stopped or "triage db" in stopped, stopped
        right = all(
            each.message_id in ids
            and each.recipient == ids[each.message_id]["recipient"]
            and each.mime == mime_of(ids[each.message_id]["id"], each.recipient)
            for each in mailer.sent
        )
        once = len(mailer.sent) == len({each.message_id for each in mailer.sent})
        harmful += not (right and once)
        harmless += not stopped
    guarantee.record(
        n_bit_flips=n_flips,
        n_flips_refused=refused,
        n_flips_harmless=harmless,
        n_flips_harmful=harmful,
    )
    assert harmful == 0
    assert refused > 0


def place_of_mail(content: bytes, rng: random.Random) -> int:
    """Return a place in an address or in frozen bytes."""
    places = []
    at = content.find(b"@d0.example.org")
    while at >= 0:
        places.append(at)
        at = content.find(b"@d0.example.org", at + 1)
    return rng.choice(places) + rng.randrange(-8, 15)


@pytest.mark.guarantee("R39")
def test_from_a_damaged_file_nothing_is_sent_and_it_says_what_to_do(
    tmp_path: Path, guarantee: Guarantee
) -> None:
    with waiting(tmp_path, 200) as (database, _):
        pass
    file = tmp_path / NAME
    with closing(sqlite3.connect(file)) as conn:
        [(page,)] = conn.execute("SELECT rootpage FROM sqlite_master WHERE name = 'messages'")
        [(size,)] = conn.execute("PRAGMA page_size")
    content = bytearray(file.read_bytes())
    content[(page - 1) * size + 8 : page * size] = b"\xff" * (size - 8)
    file.write_bytes(content)
    database = open_database(f"sqlite:///{file}")
    mailer = UnknowingMailer()
    try:
        why = outbox(database, mailer, SentLog(tmp_path / "sent.journal")).drain().broken
    except DatabaseError as error:
        why = str(error)
    guarantee.record(n_sent_from_damaged_file=len(mailer.sent))
    assert mailer.sent == []
    assert "restore" in why
    database.close()


@pytest.mark.parametrize(
    "changed",
    [
        "UPDATE messages SET recipient = 'eve@example.org' WHERE id = 1",
        "UPDATE messages SET mime_sha256 = 'another' WHERE id = 1",
        "UPDATE subscribers SET email = 'eve@example.org' WHERE id = 1",
        "DELETE FROM message_bodies WHERE message_id = 1",
    ],
)
def test_a_message_whose_bytes_or_address_have_changed_is_not_sent(
    tmp_path: Path, changed: str
) -> None:
    with waiting(tmp_path) as (database, journal):
        with database.write() as conn:
            conn.execute(text(changed))
        mailer = UnknowingMailer()
        with pytest.raises(DatabaseError, match="damaged and nothing is sent"):
            outbox(database, mailer, journal).drain()
        assert mailer.sent == []
        assert {row["state"] for row in rows(database, "messages")} == {str(State.RENDERED)}
