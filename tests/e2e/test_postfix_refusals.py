"""A real Postfix that refuses us, or grants less than asked for, costs no reader and no digest."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.e2e.policy import Policy, policy
from tests.e2e.postfix import PASSWORD, USER, Postfix, postfix
from tests.support.fakes import StoppedClock
from tests.support.installation import installed, rows
from tests.support.mail_rig import fill, mime_of
from tests.support.mail_servers import client_tls
from triage.clock import SystemClock
from triage.delivery.outbox import DrainReport, Outbox
from triage.delivery.sender_context import SenderContext
from triage.delivery.smtp import SmtpMailer, SmtpServer
from triage.domain.protocols import Clock
from triage.store import Database

N = 300
READERS = {k: f"reader{k}@d0.example.org" for k in range(1, N + 1)}
OUR_DOMAINS = "virtual_mailbox_domains = d0.example.org papers.example.org"
NO_READERS = "virtual_mailbox_domains = papers.example.org"
RELAY = "smtpd_relay_restrictions = permit_sasl_authenticated, reject"
STEPS = {
    "mail": "smtpd_sender_restrictions",
    "rcpt": "smtpd_recipient_restrictions",
    "data": "smtpd_data_restrictions",
    "end": "smtpd_end_of_data_restrictions",
}


@pytest.fixture(scope="module")
def started() -> Iterator[Postfix]:
    with postfix(list(READERS.values())) as running:
        # Clients of this machine have the same limits as others.
        running.configure(OUR_DOMAINS, "smtpd_client_event_limit_exceptions =")
        yield running


@pytest.fixture
def server(started: Postfix) -> Iterator[Postfix]:
    usual = (started.folder / "etc/main.cf").read_text()
    yield started
    (started.folder / "etc/main.cf").write_text(usual)
    started.configure()
    started.empty()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with installed(tmp_path) as opened:
        yield opened


@pytest.fixture(scope="module")
def granted() -> Iterator[Policy]:
    with policy() as running:
        yield running


def drain(database: Database, server: Postfix, clock: Clock | None = None) -> DrainReport:
    there = SmtpServer("localhost", server.port, "starttls", USER, PASSWORD, context=client_tls())
    context = SenderContext(
        database,
        SmtpMailer(there),
        clock or SystemClock(),
        owner="us",
        is_gone=lambda _: False,
        connections=4,
    )
    return Outbox(context).drain()


def attempts(database: Database) -> Counter[int]:
    return Counter(row["attempts"] for row in rows(database, "messages"))


def check_that_each_has_its_digest_once(server: Postfix, database: Database) -> None:
    for k, address in READERS.items():
        [mail] = server.delivered(address)
        # A Maildir's lines end as files do.
        assert mail.endswith(mime_of(k, address).replace(b"\r\n", b"\n")), address
    assert {path.name for path in server.folder.glob("mail/*")} == set(READERS.values())
    assert {row["state"] for row in rows(database, "messages")} == {"sent"}
    assert {row["state"] for row in rows(database, "subscribers")} == {"active"}
    assert rows(database, "suppressions") == rows(database, "bounces") == []


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        # The From of the digests is at a domain of this server and has no mailbox.
        (["smtpd_reject_unlisted_sender = yes"], ["smtpd_reject_unlisted_sender = no"]),
        (
            ["smtpd_relay_restrictions = reject_unauth_destination", NO_READERS],
            [RELAY, OUR_DOMAINS],
        ),
        (["smtpd_helo_restrictions = reject"], ["smtpd_helo_restrictions ="]),
        (
            ["smtpd_helo_restrictions = reject", "smtpd_delay_reject = no"],
            ["smtpd_helo_restrictions =", "smtpd_delay_reject = yes"],
        ),
        (["smtpd_client_restrictions = reject"], ["smtpd_client_restrictions ="]),
        (
            ["smtpd_sender_restrictions = reject_sender_login_mismatch",
             "smtpd_sender_login_maps = inline:{digest@papers.example.org=somebody}"],
            ["smtpd_sender_restrictions ="],
        ),
        (["smtpd_sasl_auth_enable = no"], ["smtpd_sasl_auth_enable = yes"]),
        (["smtpd_tls_security_level = none"], ["smtpd_tls_security_level = encrypt"]),
    ],
    ids=lambda settings: "; ".join(settings),
)  # fmt: skip
def test_a_refusal_of_us_stops_at_once_and_costs_nobody_anything(
    database: Database, server: Postfix, wrong: list[str], right: list[str]
) -> None:
    fill(database, N)
    server.configure(*wrong)
    report = drain(database, server)
    assert report.broken
    assert (report.sent, report.failed, report.exit_code) == (0, 0, 1)
    assert {(row["state"], row["attempts"]) for row in rows(database, "messages")} == {
        ("rendered", 0)
    }
    server.configure(*right)
    assert drain(database, server) == DrainReport(sent=N)
    check_that_each_has_its_digest_once(server, database)


@pytest.mark.parametrize("most", [1, 2, 3])
def test_fewer_connections_than_asked_for_take_everything_in_one_drain(
    database: Database, server: Postfix, most: int
) -> None:
    fill(database, N)
    server.configure(f"smtpd_client_connection_count_limit = {most}")
    assert (drain(database, server), attempts(database)) == (DrainReport(sent=N), {1: N})
    check_that_each_has_its_digest_once(server, database)


@pytest.mark.parametrize(
    ("step", "refusal", "connections"),
    [
        ("mail", "421 4.7.0 too many messages in this session", 50),
        ("rcpt", "421 4.7.0 too many messages in this session", 1),
        ("data", "421 4.7.0 too many messages in this session", 50),
        ("end", "421 4.7.0 too many messages in this session", 2),
        # Others say it and do not hang up.
        ("mail", "450 4.7.1 one connection takes ten mails, limit per session", 2),
        ("rcpt", "450 4.7.0 too many messages in this session", 50),
        ("rcpt", "554 5.7.0 too many messages per connection", 1),
    ],
)
def test_few_messages_a_session_take_everything_in_one_drain(
    database: Database, server: Postfix, granted: Policy, step: str, refusal: str, connections: int
) -> None:
    fill(database, N)
    granted.most, granted.refusal, granted.n_refused = 10, refusal, 0
    server.configure(
        f"{STEPS[step]} = {granted.setting}",
        "smtpd_delay_reject = no",
        f"smtpd_client_connection_count_limit = {connections}",
    )
    assert (drain(database, server), attempts(database)) == (DrainReport(sent=N), {1: N})
    # Each of four sessions finds it out once, and later ones end before they are told.
    assert 1 <= granted.n_refused <= 4
    check_that_each_has_its_digest_once(server, database)


@pytest.mark.parametrize(
    "setting", ["smtpd_client_message_rate_limit", "smtpd_client_recipient_rate_limit"]
)
def test_a_rate_is_waited_for_and_costs_no_message_an_attempt(
    database: Database, server: Postfix, setting: str
) -> None:
    fill(database, N)
    server.configure(f"{setting} = 100", "anvil_rate_time_unit = 3s")
    clock = StoppedClock(SystemClock().now())
    n_sent = n_drains = 0
    while n_sent < N:
        report = drain(database, server, clock)
        n_sent, n_drains = n_sent + report.sent, n_drains + 1
        assert (report.failed, report.deferred) == (0, 0)
        assert bool(report.broken) == (n_sent < N)
        # The server waits by its own clock, and the drain by this one.
        time.sleep(0.3)
        clock.at += timedelta(minutes=5)
        assert n_drains < 60
    check_that_each_has_its_digest_once(server, database)
    assert "rate limit exceeded" in server.log()
    assert attempts(database) == {1: N}
