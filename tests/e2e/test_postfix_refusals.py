"""A real Postfix that refuses us, or grants fewer connections, costs no reader and no digest."""

from __future__ import annotations

import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.postfix import PASSWORD, USER, Postfix, postfix
from tests.support.installation import installed, rows
from tests.support.mail_rig import fill
from tests.support.mail_servers import client_tls
from triage.clock import SystemClock
from triage.delivery.outbox import DrainReport, Outbox
from triage.delivery.sender_context import SenderContext
from triage.delivery.smtp import SmtpMailer, SmtpServer
from triage.store import Database

N = 60


@pytest.fixture(scope="module")
def server() -> Iterator[Postfix]:
    with postfix([f"reader{k}@d0.example.org" for k in range(1, N + 1)]) as running:
        configure(running, "virtual_mailbox_domains = d0.example.org papers.example.org")
        yield running


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with installed(tmp_path) as opened:
        yield opened


def configure(server: Postfix, *lines: str) -> None:
    etc = str(server.folder / "etc")
    subprocess.run(["postconf", "-c", etc, "-e", *lines], check=True)
    subprocess.run(["postfix", "-c", etc, "reload"], check=True, capture_output=True)
    # Processes that read the settings before end when they are idle.
    time.sleep(1)


def drain(database: Database, server: Postfix) -> DrainReport:
    there = SmtpServer("localhost", server.port, "starttls", USER, PASSWORD, context=client_tls())
    context = SenderContext(
        database,
        SmtpMailer(there),
        SystemClock(),
        owner="us",
        is_gone=lambda _: False,
        connections=4,
    )
    return Outbox(context).drain()


@pytest.mark.parametrize(
    ("setting", "usual"),
    [
        # The From of the digests is at a domain of this server and has no mailbox.
        ("smtpd_reject_unlisted_sender = yes", "smtpd_reject_unlisted_sender = no"),
        ("smtpd_relay_restrictions = reject_unauth_destination", ""),
        ("smtpd_helo_restrictions = reject", ""),
        ("smtpd_client_restrictions = reject", "smtpd_client_restrictions ="),
    ],
)
def test_a_refusal_of_us_stops_at_once_and_costs_nobody_anything(
    database: Database, server: Postfix, setting: str, usual: str
) -> None:
    fill(database, N)
    name = setting.partition(" ")[0]
    elsewhere = "virtual_mailbox_domains = papers.example.org"
    configure(server, setting, *([elsewhere] if "relay" in name else []))
    try:
        report = drain(database, server)
    finally:
        back = "permit_sasl_authenticated, reject" if "relay" in name else ""
        configure(
            server,
            usual or f"{name} = {back}",
            "virtual_mailbox_domains = d0.example.org papers.example.org",
        )
    assert report.broken
    assert (report.sent, report.failed, report.exit_code) == (0, 0, 1)
    assert {(row["state"], row["attempts"]) for row in rows(database, "messages")} == {
        ("rendered", 0)
    }
    assert rows(database, "suppressions") == []
    n_sent = 0
    while n_sent < N:
        report = drain(database, server)
        n_sent += report.sent
        # A process with the old settings may still be there, and costs nobody anything, either.
        assert (report.failed, report.deferred) == (0, 0)
    assert rows(database, "suppressions") == []


@pytest.mark.parametrize("most", [1, 2, 3])
def test_fewer_connections_than_asked_for_take_everything_in_one_drain(
    database: Database, server: Postfix, most: int
) -> None:
    fill(database, N)
    configure(
        server,
        f"smtpd_client_connection_count_limit = {most}",
        "smtpd_client_event_limit_exceptions =",
    )
    try:
        report = drain(database, server)
    finally:
        configure(server, "smtpd_client_connection_count_limit = 50")
    attempts = Counter(row["attempts"] for row in rows(database, "messages"))
    assert (report, attempts) == (DrainReport(sent=N), {1: N})
