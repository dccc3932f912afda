"""Measure what it costs to ask a mail server for more connections than it grants (target: 1.1).

    python -m benchmarks.granted

A real Postfix (Debian's) grants 1, 2 or 3 connections, and 300 digests are sent over 4. That time
is divided by the time of a sender that asks for just so many, of a server without that limit. Both
are measured in turn, and their medians count. The server takes 20 ms more for each message, like
one that is not on this machine; otherwise two cores would be the limit, and not the connections.
"""

from __future__ import annotations

import os
import shutil
import statistics
import time

from benchmarks.figures import record, skip
from tests.e2e.policy import policy
from tests.e2e.postfix import PASSWORD, USER, Postfix, postfix
from tests.support.mail_rig import fast_database, fill
from tests.support.mail_servers import client_tls
from triage.clock import SystemClock
from triage.delivery.outbox import DrainReport, Outbox
from triage.delivery.sender_context import SenderContext
from triage.delivery.smtp import SmtpMailer, SmtpServer

N = 300
N_ASKED = 4
N_ROUNDS = 5
WAIT_S = 0.02
TARGET = 1.1
LIMIT = "smtpd_client_connection_count_limit"


def main() -> None:
    places = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin"])
    if os.geteuid() != 0 or not shutil.which("saslpasswd2", path=places):
        skip("a Postfix needs root and `make servers`")
    figures = {}
    print(f"{N} digests, {N_ASKED} connections asked for; target {TARGET}")
    readers = [f"reader{k}@d0.example.org" for k in range(1, N + 1)]
    with policy() as slow, postfix(readers) as server:
        slow.most, slow.wait_s = N, WAIT_S
        server.configure(
            f"smtpd_recipient_restrictions = {slow.setting}",
            "virtual_mailbox_domains = d0.example.org papers.example.org",
            "smtpd_client_event_limit_exceptions =",
        )
        for most in (1, 2, 3):
            granted, asked = [], []
            for _ in range(N_ROUNDS):
                server.configure(f"{LIMIT} = {most}")
                granted.append(_drain_s(server, N_ASKED))
                server.configure(f"{LIMIT} = 50")
                asked.append(_drain_s(server, most))
            took, usual = statistics.median(granted), statistics.median(asked)
            print(f"{most} granted: {took:.2f} s; {most} asked for: {usual:.2f} s")
            figures[f"postfix_granted_{most}_ratio"] = (
                round(took / usual, 2),
                f"× the time of a sender that asks for {most}",
            )
    record("python -m benchmarks.granted", figures)


def _drain_s(server: Postfix, connections: int) -> float:
    """Return how many seconds a drain takes."""
    there = SmtpServer("localhost", server.port, "starttls", USER, PASSWORD, context=client_tls())
    with fast_database() as (database, *_):
        fill(database, N)
        context = SenderContext(
            database,
            SmtpMailer(there),
            SystemClock(),
            owner="benchmark",
            is_gone=lambda _: False,
            connections=connections,
        )
        started = time.perf_counter()
        report = Outbox(context).drain()
        took = time.perf_counter() - started
    assert report == DrainReport(sent=N), report
    server.delivered("")  # the next drain is not slowed down by what is left of this one
    server.empty()
    return took


if __name__ == "__main__":
    main()
