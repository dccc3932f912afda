"""A message that is tried again is the same message, whatever has changed since."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest
from sqlalchemy import update

from tests.support.factories import NOON
from tests.support.fakes import StoppedClock
from tests.support.guarantees import Guarantee
from tests.support.installation import rows
from tests.support.mail_rig import fast_database, fill
from tests.support.senders import sink, taken
from triage.delivery.outbox import Outbox
from triage.delivery.sender_context import SenderContext
from triage.delivery.smtp import SmtpMailer, SmtpServer
from triage.store.tables import subscribers

REFUSALS = {"rcpt": "451 4.7.1 greylisted", "data": "452 4.3.1 full", "end": "451 4.3.0 busy"}


@pytest.mark.guarantee("R11")
def test_every_attempt_hands_over_the_same_bytes(guarantee: Guarantee) -> None:
    n = 1000 if guarantee.full else 40
    rng = random.Random(11)  # noqa: S311 - a test's own dice
    scripts = {}
    for k in range(n):
        answers: dict[str, list[str]] = {phase: [] for phase in REFUSALS}
        for _ in range(rng.randint(1, 6)):
            phase = rng.choice(list(REFUSALS))
            answers[phase].append(REFUSALS[phase])
        if rng.random() < 0.2:
            # It takes the message and says nothing, so that it gets a second copy.
            answers["end"].append("TAKE_AND_DROP")
        scripts[f"d{k}.example.org"] = answers
    clock = StoppedClock(NOON)
    with fast_database() as (database, _, folder):
        fill(database, n, n_domains=n, at=clock.at)
        ledger = folder / "ledger"
        with sink(ledger, domains=scripts) as port:
            for round_ in range(40):
                mailer = SmtpMailer(SmtpServer("127.0.0.1", port, "none"))
                outbox = Outbox(
                    SenderContext(
                        database,
                        mailer,
                        clock,
                        owner=f"{round_}",
                        is_gone=lambda _: False,
                        connections=4,
                    )
                )
                outbox.drain()
                states = {each["state"] for each in rows(database, "messages")}
                if states == {"sent"}:
                    break
                clock.at += timedelta(minutes=9)
                # Taste, wishes and looks change; the message does not.
                with database.write() as conn:
                    changed = {
                        "detail": "tldr",
                        "interests": f"round {round_}",
                        "zone": "Asia/Tokyo",
                    }
                    conn.execute(update(subscribers).values(changed))
        messages = {each["message_id"]: each for each in rows(database, "messages")}
        book = taken(ledger)
    assert {each["state"] for each in messages.values()} == {"sent"}
    assert {row["id"] for row in book} == messages.keys()
    assert {row["date"] for row in book} == {"Mon, 02 Mar 2026 12:00:00 +0000"}
    assert all(row["sha256"] == messages[row["id"]]["mime_sha256"] for row in book)
    n_attempts = sum(each["attempts"] for each in messages.values())
    assert n_attempts >= 2 * n
    guarantee.record(
        digests=n,
        attempts=n_attempts,
        copies_taken=len(book),
        copies_that_differ=0,
    )
