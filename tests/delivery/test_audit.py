"""The books balance; whatever is changed in them behind the program's back is found."""

# ruff: noqa: S608 - the statements that spoil a database are the constants below

from __future__ import annotations

import json
import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import timedelta
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import event, text

from tests.support.databases import NAME, config_naming, installed, migrated_url, on_postgres
from tests.support.doctor_world import installation
from tests.support.factories import DAY, NOON, impression, paper, slate
from tests.support.fakes import FakeMailer, StoppedClock
from tests.support.guarantees import Guarantee
from tests.support.installation import (
    SPOILT,
    UNMAILABLE,
    add_papers,
    add_reader,
    empty_slate,
    queue,
    queue_once,
    spoil,
    unsubscribe,
)
from triage import store
from triage.cli import cli
from triage.delivery.audit import audit, run_nightly_audit
from triage.delivery.outbox import Outbox
from triage.delivery.recovery import resolve, retry
from triage.delivery.sender_context import SenderContext
from triage.delivery.sent_log import SentLog
from triage.domain.records import MessageState as State
from triage.domain.records import OutgoingMessage, Paper
from triage.errors import (
    DatabaseError,
    MailDeferred,
    MailerBroken,
    MailError,
    MailRefused,
    MailUncertain,
)
from triage.store import Database, open_database
from triage.subscribers.subscriptions import pause

ONE_DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)
N_READERS, N_DAYS, STAGES = 3, 2, 4


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with installed(tmp_path) as opened:
        yield opened


# -- random histories ------------------------------------------------------------------------------


class FatefulMailer(FakeMailer):
    """Whatever may happen to a message happens to some; time passes meanwhile."""

    def __init__(self, rng: random.Random, clock: StoppedClock) -> None:
        super().__init__()
        self._rng = rng
        self._clock = clock

    def send(self, message: OutgoingMessage, about_to_end: Callable[[], None]) -> str:
        fate = self._rng.random()
        self._clock.at += timedelta(seconds=1)
        before: dict[float, BaseException] = {
            0.10: MailDeferred("451 busy"),
            0.15: MailRefused("550 no", no_such_mailbox=self._rng.random() < 0.5),
            0.18: MailerBroken("the password is wrong"),
            0.22: UnicodeError("surrogates not allowed"),
            0.24: KeyboardInterrupt(),
        }
        for share, error in before.items():
            if fate < share:
                raise error
        about_to_end()
        self._clock.at += timedelta(seconds=1)
        after: dict[float, BaseException] = {
            0.30: MailDeferred("452 later"),
            0.34: MailRefused("554 spam"),
            0.46: MailUncertain("the line went dead"),
            0.50: SystemExit(),
        }
        for share, error in after.items():
            if fate < share:
                raise error
        return "250 taken"

    def delivered(self, message_id: str) -> bool | None:
        return self._rng.choice([None, None, True, False])


class History:
    """A small installation to which things happen."""

    def __init__(self, database: Database, seed: int) -> None:
        self.database = database
        self.rng = random.Random(seed)  # noqa: S311 - a test's own dice
        self.clock = StoppedClock()
        with database.read() as conn:
            self.papers: list[Paper] = list(store.papers.iterate(conn))
            self.readers = store.subscribers.everyone(conn)
        self.day = 0

    def go_on(self) -> None:
        """Make the digests of a day or go on with those that there are, and let things happen."""
        if self.day < N_DAYS and self.rng.random() < 0.6:
            self._queue()
            self.day += 1
        for _ in range(self.rng.randint(1, 3)):
            self.rng.choice([self._drain, self._drain, self._drain, self._wish, self._die])()
            self.clock.at += self.rng.choice([1, 3, 8, 30, 300]) * MINUTE

    def _queue(self) -> None:
        on = DAY + self.day * ONE_DAY
        of_day = self.papers[self.day :: N_DAYS]
        for reader in self.readers:
            n = len(of_day) if self.rng.random() < 0.8 else 0
            shown = tuple(impression(i + 1, paper=of_day[i]) for i in range(n))
            name = f"{reader.id:010x}{self.day:010x}"
            chosen = slate(0, public_id=name, subscriber=reader, on=on, impressions=shown)
            if n:
                queue(self.database, chosen, f"To: {reader.email} {on}".encode(), self.clock.at)
                continue
            with self.database.write() as conn:
                run_id = store.jobs.begin_run(conn, on, self.clock.at)
                queue_once(conn, chosen, None, run_id, self.clock.at, skipped_because="no_papers")

    def _drain(self) -> None:
        outbox = Outbox(
            SenderContext(
                self.database,
                FatefulMailer(self.rng, self.clock),
                self.clock,
                owner=f"sender {self.rng.random()}",
                is_gone=lambda _: True,
                ambiguous=self.rng.choice(["resend", "hold"]),
            )
        )
        with suppress(KeyboardInterrupt, SystemExit, MailError):
            outbox.drain()

    def _wish(self) -> None:
        reader = self.rng.choice(self.readers)
        wish = self.rng.randrange(4)
        if wish == 0:
            unsubscribe(self.database, reader.public_id, self.clock)
        elif wish == 1:
            pause(self.database, reader.email, self.clock)
        elif wish == 2:
            decision = self.rng.choice([State.SENT, State.RENDERED, State.CANCELLED])
            resolve(self.database, self.clock, decision)
        else:
            retry(self.database, self.clock)

    def _die(self) -> None:
        """Claim a message, and be killed with it in the hand."""
        with self.database.write() as conn:
            waiting = store.messages.waiting(conn, self.clock.at)
            for message in waiting[:1]:
                store.messages.move(
                    conn,
                    message,
                    State.CLAIMED,
                    self.clock.at,
                    attempts=message.attempts + 1,
                    lease_owner="dead",
                    lease_epoch=message.lease_epoch + 1,
                )
                store.attempts.begin(conn, message.id, message.lease_epoch + 1, self.clock.at)


def without_waiting_for_the_disk(database: Database) -> None:
    """These tests kill nothing, so nothing needs to be safe."""
    if not on_postgres():

        def hurry(connection: Any, _: object) -> None:
            connection.execute("PRAGMA synchronous = OFF")

        database.engine.dispose()
        event.listen(database.engine, "connect", hurry)


def people(database: Database) -> None:
    for n in range(1, N_READERS + 1):
        add_reader(database, n)
    add_papers(database, [paper(n) for n in range(1, 3 * N_DAYS + 1)])


@cache
def peopled() -> bytes:
    with TemporaryDirectory() as name, installed(Path(name)) as database:
        people(database)
        database.close()
        return (Path(name) / NAME).read_bytes()


@contextmanager
def history(folder: Path, seed: int) -> Iterator[History]:
    folder.mkdir(exist_ok=True)
    with migrated_url(folder) as url:
        if not on_postgres():
            (folder / NAME).write_bytes(peopled())
        database = open_database(url)
        without_waiting_for_the_disk(database)
        if on_postgres():
            people(database)
        yield History(database, seed)
        database.close()


@pytest.mark.guarantee("R18")
def test_whatever_happens_the_books_balance(tmp_path: Path, guarantee: Guarantee) -> None:
    n_histories = 1_000 if guarantee.full else 60
    alarms, states = [], set()
    for seed in range(n_histories // STAGES):
        with history(tmp_path / "one", seed) as made:
            for stage in range(STAGES):
                made.go_on()
                found = audit(made.database)
                states |= {name for counts in found.days.values() for name in counts}
                if not found.is_balanced:
                    alarms.append((seed, stage, found.faults))
    guarantee.record(n_clean_histories=n_histories, n_false_alarms=len(alarms))
    assert alarms == []
    assert states >= {"due", *map(str, State)} - {"planned"}


# -- corruptions -----------------------------------------------------------------------------------

_TABLES = ("messages", "attempts", "message_bodies", "slates", "impressions")


@cache
def unguarded(seed: int) -> bytes:
    """Return a database with a history in which nothing keeps anybody from changing anything."""
    with TemporaryDirectory() as name:
        with history(Path(name), seed) as made:
            while made.day < N_DAYS:
                made.go_on()
            made.go_on()
            assert audit(made.database).is_balanced
        file = Path(name) / NAME
        with closing(sqlite3.connect(file, isolation_level=None)) as conn:
            for table in _TABLES:
                # A copy has the rows, and neither keys nor constraints nor triggers.
                conn.execute(f"CREATE TABLE copy AS SELECT * FROM {table}")
                conn.execute(f"DROP TABLE {table}")
                conn.execute(f"ALTER TABLE copy RENAME TO {table}")
            conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return file.read_bytes()


# What is done to one row, and which rows it can be done to.
Corruption = tuple[str, str, str]
_WAITS = "state IN ('rendered', 'claimed', 'in_doubt', 'deferred', 'held')"
_LAST = "number = (SELECT max(b.number) FROM attempts b WHERE b.message_id = attempts.message_id)"
_SEVERAL = "slate_id IN (SELECT slate_id FROM impressions GROUP BY 1 HAVING count(*) > 1)"
CORRUPTIONS: tuple[Corruption, ...] = (
    ("messages", "DELETE", "1"),
    ("messages", "DUPLICATE", "1"),
    ("messages", "DUPLICATE AS ANOTHER", "1"),
    *(("messages", f"state = '{state}'", f"state <> '{state}'") for state in State),
    *(("messages", f"state = '{state}'", "state = 'sent'") for state in State if state != "sent"),
    ("messages", "state = 'seot'", "1"),
    ("messages", '"on" = date("on", \'+1 day\')', "1"),
    ("messages", "subscriber_id = subscriber_id % 3 + 1", "1"),
    ("messages", "subscriber_id = 99", "1"),
    ("messages", "slate_id = NULL", "1"),
    ("messages", "slate_id = slate_id + 1", "1"),
    ("messages", "message_id = replace(message_id, '0000', '0010')", "1"),
    ("messages", "attempts = attempts + 1", "1"),
    ("messages", "resends = resends + 1", "1"),
    ("messages", "lease_epoch = lease_epoch + 1", "1"),
    ("messages", "lease_epoch = lease_epoch - 1", "lease_epoch > 0"),
    ("messages", "sent_at = NULL", "sent_at IS NOT NULL"),
    ("messages", "sent_at = updated_at", "sent_at IS NULL"),
    ("messages", "mime_sha256 = replace(mime_sha256, '1', '2')", "mime_sha256 LIKE '%1%'"),
    ("messages", "recipient = 'b' || recipient", _WAITS),
    ("messages", "last_reply = last_reply || '!'", "state IN ('sent', 'held', 'deferred')"),
    ("messages", "reason = ''", "reason <> ''"),
    ("messages", "reason = 'expired'", "state <> 'failed'"),
    ("message_bodies", "DELETE", f"message_id IN (SELECT id FROM messages WHERE {_WAITS})"),
    ("message_bodies", "mime = cast(mime || '!' AS BLOB)", "1"),
    ("message_bodies", "message_id = 9999", "1"),
    ("attempts", "DELETE", "1"),
    ("attempts", "DUPLICATE", "1"),
    ("attempts", "number = number + 1", "1"),
    ("attempts", "message_id = message_id + 1", "1"),
    ("attempts", "message_id = 9999", "1"),
    *(
        ("attempts", f"outcome = '{outcome}'", f"{_LAST} AND outcome <> '{outcome}'")
        for outcome in ("sent", "held", "resent", "uncertain", "")
    ),
    ("attempts", "reply = ''", "outcome = 'sent'"),
    ("attempts", "ended_at = NULL", "ended_at IS NOT NULL"),
    ("attempts", "phase = 'claimed'", "outcome IN ('sent', 'held', 'resent')"),
    ("slates", "DELETE", "1"),
    ("slates", "DUPLICATE", "1"),
    ("slates", "DUPLICATE AS ANOTHER", "1"),
    ("slates", '"on" = date("on", \'+1 day\')', "1"),
    ("slates", "subscriber_id = subscriber_id % 3 + 1", "1"),
    ("impressions", "DELETE", f"position = 1 AND {_SEVERAL}"),
    ("impressions", "DUPLICATE", "1"),
    ("impressions", "position = position + 1", "1"),
    ("impressions", "slate_id = slate_id + 1", "1"),
    ("impressions", "slate_id = 9999", "1"),
    ("impressions", "subscriber_id = subscriber_id % 3 + 1", "1"),
    (
        "impressions",
        "released_at = '2026-03-02 12:00:00.000000'",
        "slate_id IN (SELECT slate_id FROM messages WHERE state NOT IN ('failed', 'cancelled'))",
    ),
    ("impressions", "released_at = NULL", f"released_at IS NOT NULL AND {_SEVERAL}"),
    (
        "impressions",
        "paper_id = (SELECT b.paper_id FROM impressions b WHERE b.id <> impressions.id"
        " AND b.subscriber_id = impressions.subscriber_id AND b.released_at IS NULL)",
        "released_at IS NULL AND 1 < (SELECT count(*) FROM impressions b"
        " WHERE b.subscriber_id = impressions.subscriber_id AND b.released_at IS NULL)",
    ),
)


def inject(file: Path, corruption: Corruption, rng: random.Random) -> bool:
    """Do it to one row; return False if there is none that it can be done to."""
    table, what, where = corruption
    with closing(sqlite3.connect(file, isolation_level=None)) as conn:
        conn.execute("PRAGMA synchronous = OFF")
        found = conn.execute(f"SELECT rowid FROM {table} WHERE {where}").fetchall()
        if not found:
            return False
        one = rng.choice(found)
        if what == "DELETE":
            conn.execute(f"DELETE FROM {table} WHERE rowid = ?", one)
        elif what.startswith("DUPLICATE"):
            conn.execute(f"INSERT INTO {table} SELECT * FROM {table} WHERE rowid = ?", one)
            if what != "DUPLICATE":
                last = f"(SELECT max(rowid) FROM {table})"
                conn.execute(f"UPDATE {table} SET id = 9999 WHERE rowid = {last}")
        else:
            changed = conn.execute(f"UPDATE {table} SET {what} WHERE rowid = ?", one).rowcount
            assert changed == 1
    return True


@pytest.mark.sqlite("its constraints can be taken away")
@pytest.mark.guarantee("R18")
def test_every_corruption_is_found(tmp_path: Path, guarantee: Guarantee) -> None:
    wanted = 300 if guarantee.full else len(CORRUPTIONS)
    rng = random.Random(18)  # noqa: S311 - a test's own dice
    missed, kinds = [], set()
    n = tries = 0
    while n < wanted or len(kinds) < len(CORRUPTIONS):
        corruption = CORRUPTIONS[tries % len(CORRUPTIONS)]
        # Histories are dear, changes to a copy of one are cheap.
        seed = (tries // len(CORRUPTIONS) + tries) % (30 if guarantee.full else 5)
        tries += 1
        assert tries < 20 * wanted
        file = tmp_path / NAME
        file.write_bytes(unguarded(seed))
        if not inject(file, corruption, rng):
            continue
        n += 1
        kinds.add(corruption)
        database = open_database(f"sqlite:///{file}")
        if audit(database).is_balanced:
            missed.append((seed, corruption))
        database.close()
    guarantee.record(n_corruptions=n, n_detected=n - len(missed), n_kinds_of_corruption=len(kinds))
    assert missed == []


@pytest.mark.sqlite("its constraints can be taken away")
def test_without_a_corruption_the_unguarded_books_balance(tmp_path: Path) -> None:
    """What the test before this one finds is the corruption, not the missing constraints."""
    for seed in range(3):
        file = tmp_path / NAME
        file.write_bytes(unguarded(seed))
        database = open_database(f"sqlite:///{file}")
        assert audit(database).faults == ()
        database.close()


# -- what it says ----------------------------------------------------------------------------------


def test_nothing_at_all_balances(database: Database) -> None:
    found = audit(database)
    assert (found.days, found.faults, found.resends) == ({}, (), 0)


def test_each_date_says_what_became_of_what_was_due(database: Database, tmp_path: Path) -> None:
    for n in (1, 2, 3):
        queue(database, empty_slate(add_reader(database, n), n))
    queue(database, empty_slate(add_reader(database, 4), 4, on=DAY + ONE_DAY))
    sender = Outbox(
        SenderContext(
            database,
            FakeMailer(MailRefused("550")),
            StoppedClock(),
            owner="us",
            is_gone=lambda _: True,
        )
    )
    sender.drain()
    found = audit(database)
    assert found.days == {
        DAY: {"due": 3, "sent": 2, "failed": 1},
        DAY + ONE_DAY: {"due": 1, "sent": 1},
    }
    assert audit(database, since=DAY + ONE_DAY).days == {DAY + ONE_DAY: {"due": 1, "sent": 1}}
    journal = SentLog(tmp_path / "sent.journal")
    journal.create_if_missing("one", NOON)
    said = run_nightly_audit(database, journal, StoppedClock())
    assert said == "4 digests of 2 days are accounted for"


def test_what_was_sent_again_is_counted(database: Database) -> None:
    class Unknowing(FakeMailer):
        def delivered(self, message_id: str) -> None:
            return None

    queue(database, empty_slate(add_reader(database)))
    clock = StoppedClock()
    mailer = Unknowing(MailUncertain("lost"))
    sender = Outbox(SenderContext(database, mailer, clock, owner="us", is_gone=lambda _: True))
    sender.drain()
    clock.at += MINUTE
    sender.drain()
    found = audit(database)
    assert (found.resends, found.is_balanced) == (1, True)


def test_the_nightly_audit_fails_where_something_does_not_balance(
    database: Database, tmp_path: Path
) -> None:
    queue(database, empty_slate(add_reader(database)))
    with database.write() as conn:
        conn.execute(text("DELETE FROM messages"))
    journal = SentLog(tmp_path / "sent.journal")
    journal.create_if_missing("one", NOON)
    with pytest.raises(DatabaseError, match=r"slates without a message \(1\).*`triage audit`"):
        run_nightly_audit(database, journal, StoppedClock())


def test_the_command_ends_with_1_and_the_ids(database: Database, tmp_path: Path) -> None:
    config = tmp_path / "triage.toml"
    url = database.engine.url.render_as_string(hide_password=False)
    config.write_text(config_naming(url))
    run = CliRunner()
    message_id = queue(database, empty_slate(add_reader(database)))
    said = run.invoke(cli, ["--config", str(config), "audit"])
    assert said.exit_code == 0, said.output
    assert "every digest that was due is accounted for" in said.output
    assert "2026-03-02  1    1" in said.output

    with database.write() as conn:
        conn.execute(text("UPDATE messages SET attempts = 3"))
    said = run.invoke(cli, ["--config", str(config), "audit"])
    assert said.exit_code == 1
    assert message_id in said.output
    assert "wrong count of attempts" in said.output
    assert "restore the newest back-up" in said.output
    said = run.invoke(cli, ["--config", str(config), "audit", "--json"])
    assert said.exit_code == 1
    told = json.loads(said.stdout)
    assert told["balanced"] is False
    assert told["days"] == [{"on": "2026-03-02", "due": 1, "rendered": 1}]
    assert told["faults"][0]["ids"] == [message_id]
    assert told["faults"][0]["do"]


# -- who is left out -------------------------------------------------------------------------------


@pytest.mark.parametrize("email", UNMAILABLE)
def test_who_was_due_and_cannot_be_mailed_is_named(tmp_path: Path, email: str) -> None:
    app = installation(tmp_path)
    add_reader(app.database, 1)
    add_reader(app.database, 2, email=email)
    result = audit(app.database)
    assert list(result.left_out) == [email]
    assert result.is_balanced, "mail to the others does not stop"
    assert "1 subscribers are left out" in run_nightly_audit(app.database, app.sent_log, app.clock)
    shown = CliRunner().invoke(cli, ["--config", str(tmp_path / "triage.toml"), "audit"])
    assert shown.exit_code == 1
    assert f"{email}: no mail can go to this address: " in shown.output
    assert "is accounted for" not in shown.output
    as_json = ["--config", str(tmp_path / "triage.toml"), "audit", "--json"]
    found = json.loads(CliRunner().invoke(cli, as_json).stdout)
    assert [each["subscriber"] for each in found["left_out"]] == [email]


@pytest.mark.parametrize("trouble", SPOILT)
def test_who_has_a_row_that_cannot_be_read_is_named(tmp_path: Path, trouble: str) -> None:
    app = installation(tmp_path)
    for n in (1, 2):
        add_reader(app.database, n)
    spoil(app.database, "reader2@example.org", *SPOILT[trouble])
    [(email, why)] = audit(app.database).left_out.items()
    assert email == "reader2@example.org"
    assert "cannot be read" in why
