"""`triage outbox …`: what an operator sees of waiting mail, and decides about mail that is held."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.support.doctor_world import installation
from tests.support.installation import rows
from tests.support.mail_rig import fill, message_id
from triage import store
from triage.app.application import App, open_app
from triage.cli import cli
from triage.clock import SystemClock
from triage.domain.records import MessageState as State
from triage.domain.records import OutgoingMessage, SubscriberState


@pytest.fixture
def app(tmp_path: Path) -> Iterator[App]:
    """An installation of which three digests wait."""
    made = installation(tmp_path, "")
    made.database.close()
    opened = open_app(tmp_path / "triage.toml")
    # Whoever holds mail has sent some before.
    opened.new_outbox().drain()
    fill(opened.database, 3)
    with closing(opened.database):
        yield opened


def outbox(app: App, *arguments: str) -> Result:
    config = str(app.settings.folder / "triage.toml")
    return CliRunner().invoke(cli, ["--config", config, "outbox", *arguments])


def put(app: App, *states: State) -> None:
    """Lead all waiting messages through states, as a sender does."""
    with app.database.write() as conn:
        now = SystemClock().now()
        for message in store.messages.waiting(conn, now):
            moved, epoch = message, message.lease_epoch + 1
            for state in states:
                fields = {"lease_epoch": epoch} if state is State.CLAIMED else {}
                fields |= {"doubted_at": now} if state is State.IN_DOUBT else {}  # type: ignore[dict-item]
                after = store.messages.move(conn, moved, state, now, **fields)
                assert after
                moved = after
                if state is State.CLAIMED:
                    store.attempts.begin(conn, moved.id, epoch, now)


def states(app: App) -> list[str]:
    return [each["state"] for each in rows(app.database, "messages")]


HELD = (State.CLAIMED, State.IN_DOUBT, State.HELD)


@pytest.mark.parametrize(
    ("decision", "state"),
    [("--sent", "sent"), ("--resend", "rendered"), ("--cancel", "cancelled")],
)
def test_held_mail_is_resolved_all_at_once(app: App, decision: str, state: str) -> None:
    put(app, *HELD)
    done = outbox(app, "resolve", decision)
    assert (done.exit_code, done.stdout) == (0, "3 resolved\n"), done.exception
    assert states(app) == [state] * 3
    [attempt] = [row for row in rows(app.database, "attempts") if row["message_id"] == 1]
    assert attempt["phase"] == "in_doubt"
    assert "operator" in attempt["reply"]


def test_held_mail_is_resolved_one_by_one_with_or_without_brackets(app: App) -> None:
    put(app, *HELD)
    ids = [message_id(1), message_id(2).strip("<>")]
    assert outbox(app, "resolve", "--sent", *ids).stdout == "2 resolved\n"
    assert states(app) == ["sent", "sent", "held"]
    again = outbox(app, "resolve", "--resend", ids[0])
    assert again.exit_code == 1
    assert "1 are not in that state" in again.stderr


def test_who_does_not_say_what_became_of_held_mail_is_asked(app: App) -> None:
    put(app, *HELD)
    asked = outbox(app, "resolve")
    assert asked.exit_code == 2
    assert "--sent, --resend or --cancel" in asked.stderr
    assert states(app) == ["held"] * 3


def test_mail_that_was_put_off_goes_with_the_next_drain(app: App) -> None:
    put(app, State.CLAIMED, State.DEFERRED)
    assert outbox(app, "retry").stdout == "3 are due now\n"
    assert {each["not_before"] for each in rows(app.database, "messages")} == {None}
    assert outbox(app, "drain").exit_code == 0
    assert states(app) == ["sent"] * 3


def test_what_arrived_after_all_is_found(app: App) -> None:
    put(app, *HELD)
    with app.database.read() as conn:
        [held, *_] = store.messages.in_states(conn, [State.HELD])
        mime = store.messages.mime(conn, held.id)
    app.mailer.send(OutgoingMessage(held.message_id, held.recipient, mime), lambda: None)
    found = outbox(app, "reconcile")
    told = "1 had arrived, 2 had not and are sent again, 0 are still held"
    assert found.stdout.splitlines()[-1] == told
    assert states(app) == ["sent", "rendered", "rendered"]


def test_what_the_transport_says_settles_held_mail(app: App) -> None:
    put(app, *HELD)
    found = outbox(app, "reconcile")
    told = "0 had arrived, 3 had not and are sent again, 0 are still held"
    assert found.stdout.splitlines()[-1] == told
    assert states(app) == ["rendered"] * 3


# -- refusals --------------------------------------------------------------------------------------


def test_resuming_lifts_the_hold_of_many_refusals_and_no_other(app: App) -> None:
    assert outbox(app, "resume").output == "sending was not stopped: nothing changed\n"
    with app.database.write() as conn:
        now = SystemClock().now()
        store.sending_holds.place(conn, "refusals", "too many", now)
        store.sending_holds.place(conn, "other", "for another reason", now)
    assert "too many" in outbox(app, "list").output
    assert outbox(app, "resume").output == "sending goes on\n"
    drained = outbox(app, "drain")
    assert drained.exit_code == 1
    assert "for another reason" in drained.output


def test_a_bad_night_is_undone_in_one_command(app: App) -> None:
    from datetime import timedelta

    now = SystemClock().now()
    readers = rows(app.database, "subscribers")
    why = ["no such mailbox", "unreachable", "complaint"]
    with app.database.write() as conn:
        for reader, reason in zip(readers, why, strict=True):
            store.suppressions.add(conn, app.address_hash(reader["email"]), reason, now)
            store.messages.stop(conn, reader["id"], SubscriberState.SUPPRESSED, now)
        before = now - timedelta(days=30)
        store.suppressions.add(conn, app.address_hash("old@example.org"), why[0], before)
    since = ("suppress", "--lift", "--since", str((now - timedelta(days=1)).date()))
    counted = outbox(app, *since, "--dry-run")
    assert counted.output == "2 would be able to receive again\n"
    assert len(rows(app.database, "suppressions")) == 4
    assert outbox(app, *since).output == "2 may receive again\n"
    states = [row["state"] for row in rows(app.database, "subscribers")]
    assert states == ["active", "active", "suppressed"]
    reasons = {row["reason"] for row in rows(app.database, "suppressions")}
    assert reasons == {"complaint", "no such mailbox"}
    assert outbox(app, *since).output == "0 may receive again\n"


@pytest.mark.parametrize(
    "arguments",
    [[], ["--lift"], ["--since", "2026-01-01"], ["a@b.example", "--dry-run"],
     ["a@b.example", "--lift", "--since", "2026-01-01"], ["--lift", "--since", "yesterday"]],
)  # fmt: skip
def test_what_is_to_be_unblocked_must_be_said(app: App, arguments: list[str]) -> None:
    assert outbox(app, "suppress", *arguments).exit_code == 2
