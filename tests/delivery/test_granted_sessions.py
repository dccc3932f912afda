"""A server that grants fewer sessions, or shorter ones, than are asked for gets all mail anyway."""

from __future__ import annotations

import binascii
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.fakes import StoppedClock
from tests.support.installation import installed, rows
from tests.support.mail_rig import fill
from tests.support.mail_servers import DROP, script
from triage.clock import SystemClock
from triage.delivery.outbox import DrainReport, Outbox
from triage.delivery.sender_context import SenderContext
from triage.delivery.smtp import SmtpMailer, SmtpServer
from triage.domain.protocols import Clock
from triage.store import Database

N = 60


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with installed(tmp_path) as opened:
        yield opened


def outbox(
    database: Database, port: int, connections: int = 4, clock: Clock | None = None, **server: Any
) -> Outbox:
    mailer = SmtpMailer(SmtpServer("127.0.0.1", port, "none", command_s=5, final_s=5, **server))
    return Outbox(
        SenderContext(
            database,
            mailer,
            clock or SystemClock(),
            owner="us",
            is_gone=lambda _: False,
            connections=connections,
        )
    )


@pytest.mark.parametrize("most", [1, 2, 3])
def test_all_mail_goes_over_the_connections_that_are_granted(database: Database, most: int) -> None:
    fill(database, N)
    with script(most_connections=most) as server:
        assert outbox(database, server.port).drain() == DrainReport(sent=N)
    assert {row["attempts"] for row in rows(database, "messages")} == {1}
    assert len(server.messages) == N
    # Nobody knocks again and again.
    assert server.connections <= 8


@pytest.mark.parametrize("phase", ["mail", "rcpt", "data"])
@pytest.mark.parametrize("connections", [1, 4])
def test_a_server_that_ends_each_session_after_some_messages_gets_all_of_them(
    database: Database, phase: str, connections: int
) -> None:
    fill(database, N)
    with script(most_messages=10) as server:
        server.limited_at = phase
        assert outbox(database, server.port, connections).drain() == DrainReport(sent=N)
    assert {row["attempts"] for row in rows(database, "messages")} == {1}
    assert len(server.messages) == N
    # Once it is known how many a session takes, nobody waits for the 421.
    assert server.commands.count("quit") >= 2


@pytest.mark.parametrize(
    "refusal",
    [
        "450 4.7.0 too many messages in this session",
        "450 MI:DMC 当前连接发送的邮件数量超出限制",
        "452 4.3.2 Connection message limit reached",
        "554 5.7.0 too many mails per connection",
    ],
)
@pytest.mark.parametrize("phase", ["mail", "rcpt", "data", "end"])
def test_a_session_that_had_enough_and_is_not_hung_up_is_left(
    database: Database, phase: str, refusal: str
) -> None:
    fill(database, N)
    enough = ["250 ok" if phase != "data" else "354 go on"] * 9 + [refusal]
    with script(**{phase: enough}) as server:  # type: ignore[arg-type]
        assert outbox(database, server.port, 1).drain() == DrainReport(sent=N)
    assert {row["attempts"] for row in rows(database, "messages")} == {1}
    assert server.connections >= 2


@pytest.mark.parametrize(
    "reply",
    [
        "450 4.7.1 Error: too much mail from 192.0.2.1",
        "451 4.7.0 rate limit exceeded, try again later",
        "450 4.1.0 sender address rejected: unknown",
        "452 4.3.1 Insufficient system storage",
        "451 4.3.0 later",
    ],
)
def test_what_is_refused_at_mail_was_not_offered_and_costs_no_attempt(
    database: Database, reply: str
) -> None:
    fill(database, N)
    clock = StoppedClock(SystemClock().now())
    with script(mail=["250 ok"] * 20 + [reply] * 200) as server:
        report = outbox(database, server.port, 4, clock).drain()
        assert (report.sent, report.deferred) == (20, 0)
        assert reply in report.broken
        assert {row["attempts"] for row in rows(database, "messages")} == {0, 1}
        server.answers.clear()
        assert outbox(database, server.port, 4, clock).drain() == DrainReport(sent=N - 20)


def test_few_connections_with_few_messages_each_are_enough(database: Database) -> None:
    fill(database, N)
    with script(most_connections=1, most_messages=7) as server:
        assert outbox(database, server.port).drain() == DrainReport(sent=N)
    assert {row["attempts"] for row in rows(database, "messages")} == {1}


def test_421_after_the_final_dot_ends_a_session_and_nothing_else(database: Database) -> None:
    fill(database, 6)
    answers = ["250 ok", "250 ok", "421 enough", *["250 ok"] * 9]
    with script(end=answers) as server:
        assert outbox(database, server.port, 1).drain() == DrainReport(sent=6)
    # The third message was refused once with the whole session, and that costs it nothing.
    assert len(server.messages) == 7
    assert {row["attempts"] for row in rows(database, "messages")} == {1}
    assert {row["resends"] for row in rows(database, "messages")} == {0}


def test_a_session_that_breaks_costs_the_message_in_hand_nothing(database: Database) -> None:
    fill(database, 6)
    with script(rcpt=["250 ok", "250 ok", DROP]) as server:
        assert outbox(database, server.port, 1).drain() == DrainReport(sent=6)
    assert {row["attempts"] for row in rows(database, "messages")} == {1}


@pytest.mark.parametrize("greeting", ["421 too busy", "451 not now", DROP])
def test_a_server_that_grants_nothing_costs_at_most_one_message_an_attempt(
    database: Database, greeting: str
) -> None:
    fill(database, N)
    with script(greeting=greeting) as server:
        report = outbox(database, server.port, 1).drain()
    assert report == DrainReport(deferred=1)
    attempts = sorted(row["attempts"] for row in rows(database, "messages"))
    assert attempts == [0] * (N - 1) + [1]
    assert server.connections == 1


@pytest.mark.parametrize(
    "reply",
    [
        "450 4.7.1 Error: too much mail from 192.0.2.1",
        "451 4.7.0 rate limit exceeded, try again later",
        "452 4.5.3 you have reached a limit: too many recipients this hour",
        "450 4.7.1 <reader@example.org>: Recipient address rejected: exceeded 100 emails per hour",
        "450 4.7.1 You have exceeded 100 emails per hour",
        "451 4.7.1 Limit of 25 recipients/hour reached",
        "450 4.7.1 Sie haben das Limit von 25 E-Mails pro Stunde erreicht",
    ],
)
@pytest.mark.parametrize("step", ["mail", "rcpt", "end"])
@pytest.mark.parametrize("connections", [1, 4])
def test_each_hour_takes_what_fits_and_the_rest_waits_untouched(
    database: Database, reply: str, step: str, connections: int
) -> None:
    fill(database, N)
    clock = StoppedClock(SystemClock().now())
    for n_sent in (25, 50):
        with script(**{step: [*["250 ok"] * 25, *[reply] * 50]}) as server:
            report = outbox(database, server.port, connections, clock).drain()
        assert (report.sent, report.deferred, report.failed) == (25, 0, 0)
        assert report.exit_code == 3
        assert reply.partition("<")[0] in report.broken
        attempts = sorted(row["attempts"] for row in rows(database, "messages"))
        assert attempts == [0] * (N - n_sent) + [1] * n_sent
    with script() as server:
        assert outbox(database, server.port, connections, clock).drain() == DrainReport(sent=10)
    assert rows(database, "bounces") == []


def test_greylisting_stops_nothing(database: Database) -> None:
    fill(database, 5)
    with script(rcpt=["450 4.7.1 greylisted"] * 2) as server:
        report = outbox(database, server.port, 1).drain()
    assert report == DrainReport(sent=3, deferred=2)


# -- nothing unforeseen is blamed on a message -----------------------------------------------------


@pytest.mark.parametrize("error", [binascii.Error("padding"), ValueError("x"), KeyError("x")])
@pytest.mark.parametrize("where", ["login", "ehlo", "starttls", "__init__"])
def test_an_unforeseen_error_before_a_message_is_offered_is_about_us(
    database: Database, monkeypatch: pytest.MonkeyPatch, error: Exception, where: str
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise error

    fill(database, 5)
    with script() as server:
        monkeypatch.setattr(f"smtplib.SMTP.{where}", fails)
        sender = outbox(database, server.port, username="ada", password="right")
        if where == "starttls":
            sender = outbox(database, server.port, clock=None)
            sender._context.mailer.server.__dict__["security"] = "starttls"  # type: ignore[attr-defined]
        for _ in range(4):
            report = sender.drain()
            assert type(error).__name__ in report.broken
    for row in rows(database, "messages"):
        assert (row["state"], row["attempts"], row["crashes"]) == ("rendered", 0, 0)


def test_all_messages_that_crash_are_not_poison_while_none_passes(database: Database) -> None:
    class Crashing(SmtpMailer):
        def send(self, *_: Any) -> str:
            raise RuntimeError("unforeseen")

    fill(database, 3)
    broken = outbox(database, 1, 1)
    broken._context = broken._courier._context = context_of(broken, Crashing(server_at(1)))
    for _ in range(5):
        assert broken.drain() == DrainReport(crashed=3)
    assert {row["state"] for row in rows(database, "messages")} == {"rendered"}
    with script() as server:
        assert outbox(database, server.port).drain() == DrainReport(sent=3)


def context_of(made: Outbox, mailer: SmtpMailer) -> SenderContext:
    from dataclasses import replace

    return replace(made._context, mailer=mailer)


def server_at(port: int) -> SmtpServer:
    return SmtpServer("127.0.0.1", port, "none")
