"""`triage digest resend`: a digest that was lost goes once more, and counts apart."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import delete, update

from tests.support import databases
from tests.support.doctor_world import installation
from tests.support.factories import DAY, NOON, impression, paper, slate
from tests.support.fakes import StoppedClock
from tests.support.installation import add_papers, queue_once, rows
from triage import store
from triage.app.application import App, open_app
from triage.cli import cli
from triage.delivery.audit import audit
from triage.delivery.retention import forget_old_mail
from triage.delivery.sent_log_check import reconcile
from triage.digest.links import envelope_sender
from triage.digest.message import part_of
from triage.domain.records import MessageState, Slate, SubscriberState
from triage.errors import TriageError
from triage.store.tables import messages
from triage.store.tables import papers as papers_table
from triage.subscribers.subscriptions import add, find, pause

ADA = "ada@example.org"


@pytest.fixture
def app(tmp_path: Path) -> Iterator[App]:
    """An installation that has sent Ada the digest of a day in March, long ago."""
    installation(tmp_path).database.close()
    with databases.migrated_url(tmp_path) as url:
        config = f'[mail]\nbounces = "back@example.org"\n[database]\nurl = "{url}"\n'
        (tmp_path / "triage.toml").write_text(config)
        opened = open_app(tmp_path / "triage.toml")
        queue_digest(opened)
        opened.new_outbox().drain()
        assert len(mails(opened)) == 1
        yield opened
        opened.close()


def queue_digest(app: App, n: int = 1) -> Slate:
    add(app.database, ADA, app.clock)
    stored = add_papers(
        app.database,
        [paper(i, title=f"On subject {i}") for i in range(10 * n, 10 * n + 4)],
    )[-4:]
    shown = tuple(impression(i, paper=each) for i, each in enumerate(stored[:3], 1))
    made = slate(
        0,
        public_id=f"{n:020x}",
        subscriber=find(app.database, ADA),
        on=DAY + (n - 1) * timedelta(days=1),
        impressions=shown,
        recap=tuple(stored[3:]),
    )
    composed = app.build_message(made, NOON)
    with app.database.write() as conn:
        run_id = store.jobs.begin_run(conn, made.on, NOON)
        assert queue_once(conn, made, composed.message, run_id, app.clock.now())
    return made


def mails(app: App) -> list[EmailMessage]:
    files = sorted((app.settings.mail_path / "new").glob("*"), key=lambda f: f.stat().st_mtime_ns)
    found = [message_from_bytes(each.read_bytes(), policy=policy.default) for each in files]
    return [each for each in found if isinstance(each, EmailMessage)]


def resend(app: App, *options: str, email: str = ADA, exit_code: int = 0) -> str:
    config = str(app.settings.folder / "triage.toml")
    result = CliRunner().invoke(cli, ["--config", config, "digest", "resend", email, *options])
    if isinstance(result.exception, TriageError):
        assert result.exception.exit_code == exit_code
        return str(result.exception)
    assert result.exit_code == exit_code, result.output
    return result.output


def resent(app: App) -> list[dict[str, object]]:
    return [each for each in rows(app.database, "messages") if each["kind"] != "digest"]


def test_a_digest_goes_once_more_after_its_bytes_are_gone(app: App) -> None:
    late = StoppedClock(app.clock.now() + timedelta(days=3))
    assert "bytes of 1 messages" in forget_old_mail(app.database, late)
    assert "sent once more" in resend(app, "--date", str(DAY))
    first, second = mails(app)
    assert second["To"] == ADA
    assert second["Subject"] == first["Subject"]
    assert second["Message-ID"] != first["Message-ID"]
    text = part_of(second.as_bytes(), "plain")
    for n in range(10, 14):
        assert f"On subject {n}" in text


def test_votes_and_bounces_of_the_second_belong_to_the_digest(app: App) -> None:
    """Its links name the slate, and so does the address to which it returns."""
    resend(app)
    ids = [each["Message-ID"] for each in mails(app)]
    first, second = (envelope_sender(id, app.keyring, "back@example.org") for id in ids)
    assert first == second != ""
    assert "/v/" in part_of(mails(app)[1].as_bytes(), "plain")


def test_the_audit_counts_it_apart_and_the_day_still_balances(app: App) -> None:
    before = audit(app.database, app.sent_log)
    resend(app)
    after = audit(app.database, app.sent_log)
    assert after.is_balanced, after.faults
    assert after.days == before.days
    assert (before.requested, after.requested) == (0, 1)
    said = CliRunner().invoke(
        cli, ["--config", str(app.settings.folder / "triage.toml"), "audit", "--json"]
    )
    assert json.loads(said.stdout)["requested"] == 1


def test_without_a_date_it_is_the_newest_that_was_sent(app: App) -> None:
    queue_digest(app, 2)
    app.new_outbox().drain()
    queue_digest(app, 3)
    said = resend(app)
    [again] = [each for each in mails(app) if str(each["Message-ID"]) in said]
    assert "On subject 20" in part_of(again.as_bytes(), "plain")
    assert [each["kind"] for each in resent(app)] == [f"resend-{DAY + timedelta(days=1)}"]


def test_a_second_time_on_one_day_sends_nothing(app: App) -> None:
    resend(app)
    assert "again tomorrow" in resend(app, exit_code=2)
    assert len(mails(app)) == 2


def test_two_digests_may_go_on_one_day(app: App) -> None:
    queue_digest(app, 2)
    app.new_outbox().drain()
    resend(app, "--date", str(DAY))
    resend(app, "--date", str(DAY + timedelta(days=1)))
    assert len(mails(app)) == 4
    assert audit(app.database, app.sent_log).is_balanced


@pytest.mark.parametrize(
    ("state", "says"),
    [
        (SubscriberState.UNSUBSCRIBED, "they have unsubscribed"),
        (SubscriberState.PAUSED, "their digests are paused"),
        (SubscriberState.PENDING, "not confirmed"),
        (SubscriberState.SUPPRESSED, "their address is suppressed"),
    ],
)
def test_who_gets_no_digests_gets_none_again(app: App, state: SubscriberState, says: str) -> None:
    reader = find(app.database, ADA)
    with app.database.write() as conn:
        store.subscribers.set_state(conn, reader.id, state, NOON)
    assert says in resend(app, exit_code=2)
    assert resent(app) == []


def test_a_pause_until_a_date_and_a_blocked_address_are_respected(app: App) -> None:
    pause(app.database, ADA, app.clock, DAY.replace(year=2999))
    assert "paused until 2999-" in resend(app, exit_code=2)
    other = "ben@example.org"
    add(app.database, other, app.clock)
    with app.database.write() as conn:
        store.suppressions.add(conn, app.address_hash(other), "complaint", NOON)
    assert "suppressed" in resend(app, email=other, exit_code=2)
    assert resent(app) == []


def test_a_pause_that_is_over_stops_nothing(app: App) -> None:
    """The date of the digest was within the pause; today is not."""
    with app.database.write() as conn:
        reader = find(app.database, ADA)
        store.subscribers.change(conn, reader.id, paused_until=DAY + timedelta(days=9))
    assert "sent once more" in resend(app)


def test_who_leaves_before_it_goes_does_not_get_it(app: App) -> None:
    hold(app)
    resend(app, exit_code=1)
    reader = find(app.database, ADA)
    with app.database.write() as conn:
        store.messages.stop(conn, reader.id, SubscriberState.UNSUBSCRIBED, app.clock.now())
        store.sending_holds.lift(conn, "test")
    app.new_outbox().drain()
    assert len(mails(app)) == 1
    [waiting] = resent(app)
    assert (waiting["state"], waiting["reason"]) == ("cancelled", "unsubscribed")
    assert audit(app.database, app.sent_log).is_balanced


def hold(app: App) -> None:
    with app.database.write() as conn:
        store.sending_holds.place(conn, "test", "somebody looks into it", app.clock.now())


def test_while_mail_is_held_it_waits_and_says_why(app: App) -> None:
    hold(app)
    said = resend(app, exit_code=1)
    assert "is rendered: somebody looks into it" in said
    # It is no account mail, which would go first.
    with app.database.read() as conn:
        assert store.messages.waiting(conn, app.clock.now(), only_notes=True) == []
    with app.database.write() as conn:
        store.sending_holds.lift(conn, "test")
    assert "sent once more" in resend(app)
    assert len(mails(app)) == 2


@pytest.mark.parametrize(
    ("end", "says"),
    [
        (MessageState.FAILED, "could not be delivered"),
        (MessageState.CANCELLED, "was cancelled"),
        (None, "it still waits"),
    ],
)
def test_what_was_never_sent_is_not_sent_again(
    app: App, end: MessageState | None, says: str
) -> None:
    made = queue_digest(app, 2)
    with app.database.write() as conn:
        [message] = store.messages.waiting(conn, app.clock.now())
        if end is not None:
            store.messages.move(conn, message, end, app.clock.now(), reason="expired")
    said = resend(app, "--date", str(made.on), exit_code=1)
    assert f"the digest of {made.on} was not sent: " in said
    assert says in said
    assert resent(app) == []


def test_a_day_without_a_digest_is_named(app: App) -> None:
    assert "there is no digest for 2001-01-01" in resend(app, "--date", "2001-01-01", exit_code=1)
    add(app.database, "ben@example.org", app.clock)
    assert "no digest was sent to them yet" in resend(app, email="ben@example.org", exit_code=1)


def test_papers_that_were_withdrawn_since_are_left_out(app: App) -> None:
    withdraw(app, "On subject 10", "On subject 13")
    resend(app)
    text = part_of(mails(app)[-1].as_bytes(), "plain")
    assert "On subject 11" in text
    assert "On subject 10" not in text
    assert "On subject 13" not in text


def test_a_digest_of_withdrawn_papers_alone_is_not_sent(app: App) -> None:
    withdraw(app, *(f"On subject {n}" for n in range(10, 14)))
    assert "were withdrawn since" in resend(app, exit_code=1)
    assert resent(app) == []


def withdraw(app: App, *titles: str) -> None:
    with app.database.write() as conn:
        change = update(papers_table).where(papers_table.c.title.in_(titles))
        conn.execute(change.values(withdrawn_at=NOON))


def test_a_restored_database_learns_from_the_sent_log_that_it_went(app: App) -> None:
    resend(app)
    with app.database.write() as conn:
        conn.execute(delete(messages).where(messages.c.kind != "digest"))
    app.sent_log.close()
    assert "reconcile" in resend(app, exit_code=1)
    # The one that was made meanwhile is that of today.
    assert reconcile(app.database, app.sent_log, app.clock).marked == 1
    assert [each["state"] for each in resent(app)] == ["sent"]
    assert "again tomorrow" in resend(app, exit_code=2)
    assert len(mails(app)) == 2
    assert audit(app.database, app.sent_log).is_balanced
