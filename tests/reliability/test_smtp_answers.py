"""Every answer of a mail server, in every phase, leaves the message in the state that is right."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete

from tests.support.fakes import StoppedClock
from tests.support.guarantees import Guarantee
from tests.support.installation import installed, rows
from tests.support.mail_rig import fill
from tests.support.mail_servers import DROP, HANG, Script, script
from triage.delivery.outbox import DrainReport, Outbox
from triage.delivery.sender_context import SenderContext
from triage.delivery.smtp import SmtpMailer, SmtpServer
from triage.domain.records import MessageState as State
from triage.store import Database
from triage.store.tables import runs, subscribers, suppressions

pytestmark = pytest.mark.any_database("its messages take the steps that test_outbox shows on each")

PHASES = ("greeting", "ehlo", "mail", "rcpt", "data", "end")
TEMPORARY = (
    "421 4.3.2 closing", "421 too many connections", "430 4.7.0 later", "431 disk full",
    "432 4.7.12 change it", "441 no answer", "442 connection dropped", "446 too many hops",
    "447 timed out", "450 4.2.1 mailbox busy", "450 4.7.1 greylisted", "451 4.3.0 local error",
    "451 4.4.1 nobody there", "452 4.2.2 mailbox full", "452 4.3.1 system storage",
    "454 4.7.0 not now", "455 cannot", "471 4.7.1 local error",
)  # fmt: skip
NO_MAILBOX = ("550 5.1.1 no such user", "550 5.1.10 no recipient", "550 5.2.1 disabled")
TOO_LARGE = ("552 5.3.4 too big", "552 exceeds the limit", "554 5.3.4 too big")
PERMANENT = (
    *NO_MAILBOX, *TOO_LARGE,
    "500 5.5.2 what", "501 5.5.4 syntax", "502 not implemented", "503 5.5.1 bad sequence",
    "521 5.3.2 no mail here", "530 5.7.0 log in", "541 5.7.1 spam", "550 5.7.1 policy",
    "550 5.7.515 access denied", "552 5.2.2 over quota", "554 5.7.1 listed as spammer",
    "556 5.1.10 null MX",
)  # fmt: skip
# Whoever is told so has not been asked for a message yet, or is told of itself.
US = ("530 5.7.0 log in", "550 5.7.515 access denied", "554 5.7.1 listed as spammer")
US_AT_RCPT = ("541 5.7.1 spam", "550 5.7.1 policy")
SILENT = (DROP, HANG, "nonsense", "199 what")
REPLIES = (*TEMPORARY, *PERMANENT, *SILENT)
CASES = tuple(itertools.product(PHASES, REPLIES))


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with installed(tmp_path) as opened:
        yield opened


def expected(phase: str, reply: str) -> tuple[State, str]:
    """Return the state that the standard asks for, and the reason that is kept with it."""
    if phase == "end" and reply in SILENT:
        return State.IN_DOUBT, ""
    if reply in SILENT or reply in TEMPORARY:
        return State.DEFERRED, ""
    about_us = reply in US or (phase == "rcpt" and reply in US_AT_RCPT)
    if phase in {"greeting", "ehlo"} or (phase == "mail" and reply not in TOO_LARGE) or about_us:
        # It is we who are refused, whatever the message: it waits until somebody mends that.
        return State.RENDERED, ""
    return State.FAILED, "too_large" if reply in TOO_LARGE else "refused"


class Watched:
    """Looks whether anybody else could write each time that the server is about to answer."""

    def __init__(self, server: Script, database: Database) -> None:
        self.n = 0
        answer = server.answer

        def watched(phase: str) -> str:
            with database.write() as conn:
                conn.execute(runs.update().values(stage="watched"))
            self.n += 1
            return answer(phase)

        server.answer = watched  # type: ignore[method-assign]


def drain(database: Database, port: int, clock: StoppedClock) -> DrainReport:
    server = SmtpServer(
        "localhost",
        port,
        "none",
        command_s=0.1,
        final_s=0.1,
        monotonic=lambda: clock.now().timestamp(),
    )
    mailer = SmtpMailer(server)
    return Outbox(
        SenderContext(database, mailer, clock, owner="us", is_gone=lambda _: False)
    ).drain()


def message(database: Database) -> dict[str, Any]:
    [only] = rows(database, "messages")
    return only


def check(database: Database, server: Script, phase: str, reply: str) -> None:
    """Let one message meet one answer, then let it go on where it may."""
    clock = StoppedClock()
    with database.write() as conn:
        conn.execute(delete(subscribers))
        conn.execute(delete(suppressions))
    fill(database, 1, at=clock.at)
    # Whoever says no to EHLO says it to HELO, too.
    server.answers = {phase: reply}
    n_before = len(server.messages)
    state, reason = expected(phase, reply)

    report = drain(database, server.port, clock)
    found = message(database)
    assert (found["state"], found["reason"]) == (state, reason)
    assert (found["attempts"] == 0) == (state is State.RENDERED) == bool(report.broken)
    [attempt] = [row for row in rows(database, "attempts") if row["message_id"] == found["id"]]
    assert attempt["ended_at"] is not None
    assert attempt["reply"]
    [reader] = rows(database, "subscribers")
    # After RCPT only the words of a server tell that it means the mailbox, not its code.
    by_words = {"data", "end"} if "no such user" in reply else set()
    gone = phase in {"rcpt", *by_words} and reply in {*NO_MAILBOX, "556 5.1.10 null MX"}
    # The first date counts, and only the second one suppresses.
    assert reader["state"] == "active"
    assert rows(database, "suppressions") == []
    counted = [row["kind"] for row in rows(database, "bounces") if row["message_id"] == found["id"]]
    is_full = reply == "552 5.2.2 over quota" and state is State.FAILED
    assert counted == ["hard"] * gone + ["soft"] * is_full
    if state is State.DEFERRED:
        wait = (found["not_before"] - clock.at) / timedelta(minutes=1)
        assert 0.8 <= wait <= 1.2
        clock.at = found["not_before"]
    clock.at += timedelta(seconds=10)
    server.answers = {}
    drain(database, server.port, clock)
    ended = {State.FAILED: State.FAILED}.get(state, State.SENT)
    assert message(database)["state"] == ended
    # The server that hung up after the dot had the message; it got it twice, and knows its id.
    copies = {State.SENT: 2 if state is State.IN_DOUBT else 1, State.FAILED: 0}[ended]
    refused_at_the_end = phase == "end" and state is not State.IN_DOUBT
    assert len(server.messages) - n_before == copies + refused_at_the_end


@pytest.mark.guarantee("R12")
def test_every_answer_in_every_phase_leaves_the_message_where_it_belongs(
    database: Database, guarantee: Guarantee
) -> None:
    assert len(REPLIES) == 40
    assert len(CASES) == 240
    chosen = CASES if guarantee.full else CASES[::5]
    wrong = []
    with script() as server:
        watched = Watched(server, database)
        for phase, reply in chosen:
            try:
                check(database, server, phase, reply)
            except AssertionError as error:
                wrong.append(f"{phase} {reply}: {error}")
    guarantee.record(
        cases=len(chosen),
        right=len(chosen) - len(wrong),
        answers_waited_for_without_a_lock=watched.n,
    )
    assert not wrong, "\n".join(wrong)


def test_waits_grow_until_the_window_ends_and_the_message_is_given_up(database: Database) -> None:
    clock = StoppedClock()
    fill(database, 1, at=clock.at)
    started, n_tries = clock.at, 0
    with script(rcpt="451 busy") as server:
        while message(database)["state"] in {State.RENDERED, State.DEFERRED}:
            clock.at = message(database)["not_before"] or clock.at
            drain(database, server.port, clock)
            n_tries += 1
    found = message(database)
    assert (found["state"], found["reason"]) == ("failed", "expired")
    assert timedelta(hours=12) <= clock.at - started <= timedelta(hours=14.4)
    assert 8 <= n_tries <= 13
