"""Every answer of a mail server has its meaning, and nothing travels in the clear by accident."""

from __future__ import annotations

import smtplib
import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.support.contracts import MailerContract, error_text
from tests.support.digests import digest
from tests.support.doctor_world import installation
from tests.support.factories import slate, subscriber
from tests.support.installation import add_reader, empty_slate, queue, rows
from tests.support.mail_servers import DROP, HANG, PASSWORD, USER, client_tls, inbox, script
from triage.app.application import open_app
from triage.cli import cli
from triage.clock import SystemClock
from triage.delivery.smtp import COOL_S, IDLE_S, SmtpMailer, SmtpServer
from triage.domain.records import OutgoingMessage
from triage.errors import (
    MailDeferred,
    MailerBroken,
    MailError,
    MailRefused,
    MailUncertain,
    TriageError,
)

TEMPORARY = (421, 431, 432, 441, 442, 446, 447, 449, 450, 451, 452, 454, 455, 458, 459, 471, 499)
PERMANENT = (
    500, 501, 502, 503, 504, 510, 511, 512, 515, 517, 521, 523, 530, 534, 535, 538, 541, 550, 551,
    552, 553, 554, 555, 556, 571,
)  # fmt: skip
ADDRESS = "reader1@example.org"


class Seconds:
    """A monotonic clock that stands still until it is moved."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Seconds:
    return Seconds()


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def mailer(port: int, stack: ExitStack, **options: Any) -> SmtpMailer:
    """Return a mailer that is closed when the test ends, before its server is."""
    arguments: dict[str, Any] = {"security": "none", "command_s": 5, "final_s": 5} | options
    made = SmtpMailer(SmtpServer(arguments.pop("host", "localhost"), port, **arguments))
    stack.callback(made.close)
    return made


def message(n: int = 1, **fields: Any) -> OutgoingMessage:
    reader = subscriber(email=fields.pop("email", ADDRESS))
    return digest(slate(1, public_id=f"{n:020x}", subscriber=reader)).message


def nothing() -> None:
    """Do nothing before the final dot."""


def failure(sender: SmtpMailer, sent: OutgoingMessage | None = None) -> MailError:
    """Send, expect a failure, and return it once its words are found to be good."""
    with pytest.raises(MailError) as caught:
        sender.send(sent or message(), nothing)
    assert "@" not in error_text(caught.value)
    assert PASSWORD not in str(caught.value)
    return caught.value


class TestSmtpMailer(MailerContract):
    """With everything on: STARTTLS, a certificate that is checked, and a log-in."""

    @pytest.fixture(autouse=True)
    def _server(self, opened: ExitStack) -> None:
        self.stack = opened
        self.port, self.inbox = opened.enter_context(inbox("starttls", log_in=True))

    def mailer(self) -> SmtpMailer:
        return mailer(
            self.port,
            self.stack,
            security="starttls",
            username=USER,
            password=PASSWORD,
            context=client_tls(),
        )

    def broken_mailer(self) -> SmtpMailer:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            port = unused.getsockname()[1]
        return mailer(port, self.stack)

    def received(self) -> list[bytes]:
        return self.inbox.messages

    def test_everything_goes_over_one_encrypted_session(self) -> None:
        sender = self.mailer()
        for n in range(5):
            assert sender.send(message(n), nothing) == f"250 2.0.0 queued as {n + 1}"
        assert self.inbox.over_tls == [True] * 5
        assert len(self.inbox.peers) == 1

    def test_the_envelope_is_from_the_sender_to_one_recipient(self) -> None:
        self.mailer().send(message(email="ben@example.org"), nothing)
        assert self.inbox.envelopes == [("digest@papers.example.org", ["ben@example.org"])]

    def test_lines_that_begin_with_dots_arrive_as_they_are(self) -> None:
        plain = message()
        mime = plain.mime.replace(b"\r\n\r\n", b"\r\n\r\n.\r\n..\r\n.x\r\n", 1)
        self.mailer().send(OutgoingMessage(plain.message_id, ADDRESS, mime), nothing)
        assert self.received() == [mime]

    def test_a_message_without_a_line_end_is_ended(self) -> None:
        plain = message()
        bare = OutgoingMessage(plain.message_id, ADDRESS, plain.mime.removesuffix(b"\r\n"))
        self.mailer().send(bare, nothing)
        assert self.received() == [plain.mime]

    @pytest.mark.parametrize(
        ("name", "password"), [(USER, "wrong"), ("eve", PASSWORD), (USER, "é")]
    )
    def test_a_refused_log_in_says_what_to_correct(self, name: str, password: str) -> None:
        sender = mailer(
            self.port, self.stack,
            security="starttls", username=name, password=password, context=client_tls(),
        )  # fmt: skip
        told = failure(sender)
        assert isinstance(told, MailerBroken)
        assert "TRIAGE_MAIL_PASSWORD" in str(told)
        assert password not in str(told)
        assert self.received() == []

    def test_a_server_that_wants_a_log_in_gets_none_without_an_account(self) -> None:
        told = failure(mailer(self.port, self.stack, security="starttls", context=client_tls()))
        assert isinstance(told, MailerBroken)

    def test_a_certificate_that_nobody_vouches_for_stops_everything(self) -> None:
        sender = mailer(
            self.port, self.stack, security="starttls", username=USER, password=PASSWORD
        )
        told = failure(sender)
        assert isinstance(told, MailerBroken)
        assert "certificate" in str(told)
        assert self.received() == []

    def test_a_certificate_for_another_host_stops_everything(self) -> None:
        stranger = mailer(
            self.port, self.stack, security="starttls", context=client_tls(), host="127.1"
        )
        assert isinstance(failure(stranger), MailerBroken)


# -- how the connection is secured -----------------------------------------------------------------


def test_smtps_is_encrypted_from_the_first_byte(opened: ExitStack) -> None:
    port, kept = opened.enter_context(inbox("smtps", log_in=True))
    sender = mailer(
        port, opened, security="smtps", context=client_tls(), username=USER, password=PASSWORD
    )
    sender.send(message(), nothing)
    assert kept.messages == [message().mime]


def test_smtps_believes_no_certificate_that_the_system_does_not(opened: ExitStack) -> None:
    port, kept = opened.enter_context(inbox("smtps"))
    assert isinstance(failure(mailer(port, opened, security="smtps")), MailerBroken)
    assert kept.messages == []


def test_a_server_without_starttls_gets_nothing(opened: ExitStack) -> None:
    server = opened.enter_context(script(ehlo="250-script\r\n250 AUTH PLAIN"))
    sender = mailer(server.port, opened, security="starttls", username=USER, password=PASSWORD)
    told = failure(sender)
    assert isinstance(told, MailerBroken)
    assert "STARTTLS" in str(told)
    # Neither the password nor an address has left this machine.
    assert [command.split()[0] for command in server.commands] == ["ehlo"]


@pytest.mark.parametrize(
    ("reply", "kind"), [("454 later", MailDeferred), ("501 no", MailerBroken), (DROP, MailDeferred)]
)
def test_a_refused_starttls_is_never_passed_over(
    opened: ExitStack, reply: str, kind: type[MailError]
) -> None:
    server = opened.enter_context(script(starttls=reply))
    told = failure(mailer(server.port, opened, security="starttls", context=client_tls()))
    assert type(told) is kind
    assert "mail" not in " ".join(server.commands).lower()


def test_smtps_to_a_port_that_speaks_plainly_says_which_port_is_for_what(opened: ExitStack) -> None:
    server = opened.enter_context(script())
    told = failure(mailer(server.port, opened, security="smtps", context=client_tls()))
    assert isinstance(told, MailerBroken)
    assert "465" in str(told)


def test_tls_trusts_the_system_and_checks_names_by_default() -> None:
    context = SmtpServer("localhost", 1, "smtps").trust
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


def test_small_writes_are_not_held_back(opened: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    port, _ = opened.enter_context(inbox())
    seen: list[int] = []
    send = smtplib.SMTP.send

    def watched(smtp: smtplib.SMTP, data: Any) -> None:
        assert smtp.sock is not None
        seen.append(smtp.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        send(smtp, data)

    monkeypatch.setattr(smtplib.SMTP, "send", watched)
    mailer(port, opened).send(message(), nothing)
    assert len(seen) >= 5
    assert all(seen[1:])


# -- what answers mean -----------------------------------------------------------------------------


@pytest.mark.parametrize("phase", ["greeting", "ehlo", "mail", "rcpt", "data", "end"])
def test_every_answer_in_every_phase_has_the_right_meaning(opened: ExitStack, phase: str) -> None:
    server = opened.enter_context(script())
    for code in (*TEMPORARY, *PERMANENT):
        server.answers[phase] = f"{code} scripted"
        told = failure(mailer(server.port, opened))
        if code < 500:
            expected: type[MailError] = MailDeferred
        elif (
            phase in {"greeting", "ehlo"}
            or (phase == "mail" and code != 552)
            # Whoever wants a log-in says so of us, at whatever step.
            or code in {530, 534, 535, 538}
        ):
            expected = MailerBroken
        else:
            expected = MailRefused
        assert type(told) is expected, (code, told)
        # After a 421 smtplib still says HELO, and hears nothing more.
        assert str(code) in str(told) or (phase, code) == ("ehlo", 421)
    assert len(server.messages) == (len(TEMPORARY + PERMANENT) if phase == "end" else 0)


@pytest.mark.parametrize("phase", ["greeting", "ehlo", "mail", "rcpt", "data", "body"])
@pytest.mark.parametrize("how", [DROP, HANG, "nonsense", "199 what", "699 what"])
def test_whatever_goes_wrong_before_the_final_dot_puts_the_message_off(
    opened: ExitStack, phase: str, how: str
) -> None:
    if phase == "body":
        how = DROP
    server = opened.enter_context(script(**{phase: how}))
    told = failure(mailer(server.port, opened, command_s=0.05), large())
    # A server that hangs up in the body may have been sent the dot before we hear of it.
    allowed = (MailDeferred, MailUncertain) if phase == "body" else MailDeferred
    assert isinstance(told, allowed)
    assert server.messages == []


def large() -> OutgoingMessage:
    return OutgoingMessage("<x@y>", ADDRESS, message().mime + b"x\r\n" * 40_000)


@pytest.mark.parametrize("how", [DROP, HANG, "nonsense", "354 what", "199 what", "x" * 9000])
def test_no_clear_answer_after_the_final_dot_is_never_taken_for_either(
    opened: ExitStack, how: str
) -> None:
    server = opened.enter_context(script(end=[how]))
    sender = mailer(server.port, opened, final_s=0.05)
    assert type(failure(sender)) is MailUncertain
    assert sender.send(message(2), nothing) == "250 fine"
    assert len(server.messages) == 2
    assert server.connections == 2


def test_after_a_refusal_the_session_goes_on_with_the_next_message(opened: ExitStack) -> None:
    server = opened.enter_context(
        script(rcpt=["550 5.1.1 no such user", "450 greylisted"], end=["554 5.6.0 bad"])
    )
    sender = mailer(server.port, opened)
    kinds = [type(failure(sender, message(n))) for n in (1, 2, 3)]
    assert kinds == [MailRefused, MailDeferred, MailRefused]
    assert sender.send(message(4), nothing) == "250 fine"
    assert server.connections == 1
    assert server.commands.count("rset") == 3


def test_a_server_that_answers_421_is_left_and_not_bothered_for_a_while(
    opened: ExitStack, clock: Seconds
) -> None:
    server = opened.enter_context(script(rcpt=["421 too busy"]))
    sender = mailer(server.port, opened, monotonic=clock)
    for n in range(3):
        told = failure(sender, message(n))
        assert isinstance(told, MailDeferred)
        assert "421 too busy" in str(told)
    assert server.connections == 1
    clock.now += COOL_S
    assert sender.send(message(), nothing) == "250 fine"
    assert server.connections == 2


def test_a_server_that_cannot_be_reached_is_not_tried_for_every_message(
    opened: ExitStack, clock: Seconds
) -> None:
    server = opened.enter_context(script(greeting=["421 not now"]))
    sender = mailer(server.port, opened, monotonic=clock)
    kinds = {type(failure(sender, message(n))) for n in range(5)}
    assert kinds == {MailDeferred}
    assert server.connections == 1


@pytest.mark.parametrize("how", [DROP, "421 enough for one session"])
def test_a_session_that_the_server_ended_is_replaced(opened: ExitStack, how: str) -> None:
    server = opened.enter_context(script(mail=["250 ok", how]))
    sender = mailer(server.port, opened)
    assert [sender.send(message(n), nothing) for n in (1, 2)] == ["250 fine"] * 2
    assert server.connections == 2
    assert len(server.messages) == 2


def test_a_session_that_was_idle_is_replaced_before_it_is_used(
    opened: ExitStack, clock: Seconds
) -> None:
    server = opened.enter_context(script())
    sender = mailer(server.port, opened, monotonic=clock)
    sender.send(message(1), nothing)
    clock.now += IDLE_S
    sender.send(message(2), nothing)
    assert server.connections == 1
    clock.now += IDLE_S + 1
    sender.send(message(3), nothing)
    assert server.connections == 2


def test_closing_says_goodbye_and_sending_again_opens_again(opened: ExitStack) -> None:
    server = opened.enter_context(script())
    sender = mailer(server.port, opened)
    sender.close()
    for n in (1, 2):
        sender.send(message(n), nothing)
        sender.close()
        sender.close()
    assert server.commands.count("quit") == 2
    assert server.connections == 2


@pytest.mark.parametrize(
    ("reply", "gone"),
    [
        ("550 5.1.1 user unknown", True),
        ("550 5.1.10 recipient not found", True),
        ("550 5.2.1 mailbox disabled", True),
        ("550 no such user here", True),
        ("553 mailbox name not allowed", True),
        ("552 5.2.2 mailbox full", False),
        ("503 bad sequence", False),
        ("550", False),
    ],
)
def test_only_an_answer_about_the_mailbox_says_that_it_is_gone(
    opened: ExitStack, reply: str, gone: bool
) -> None:
    server = opened.enter_context(script(rcpt=[reply]))
    told = failure(mailer(server.port, opened))
    assert isinstance(told, MailRefused)
    assert told.no_such_mailbox is gone


@pytest.mark.parametrize(
    "reply",
    [
        "550 5.7.1 blocked by our policy",
        "550 5.7.515 access denied",
        "554 relay access denied",
        "550 listed as spam source",
        "550 5.1.8 sender's domain does not exist",
    ],
)
def test_what_is_about_us_stops_everything_wherever_it_is_said(
    opened: ExitStack, reply: str
) -> None:
    server = opened.enter_context(script(rcpt=[reply]))
    told = failure(mailer(server.port, opened))
    assert isinstance(told, MailerBroken)
    assert reply in str(told)


@pytest.mark.parametrize("phase", ["data", "end"])
def test_a_refused_message_says_nothing_of_the_mailbox(opened: ExitStack, phase: str) -> None:
    server = opened.enter_context(script(**{phase: ["550 5.1.1 what a mail"]}))
    told = failure(mailer(server.port, opened))
    assert isinstance(told, MailRefused)
    assert not told.no_such_mailbox


@pytest.mark.parametrize("reply", ["552 too much", "554 5.3.4 message too big for system"])
@pytest.mark.parametrize("phase", ["mail", "data", "end"])
def test_too_large_has_its_own_reason(opened: ExitStack, phase: str, reply: str) -> None:
    server = opened.enter_context(script(**{phase: [reply]}))
    told = failure(mailer(server.port, opened))
    assert isinstance(told, MailRefused)
    assert told.reason == "too_large"


def test_a_servers_words_are_kept_on_one_line_without_addresses(opened: ExitStack) -> None:
    server = opened.enter_context(
        script(rcpt=[f"450-<{ADDRESS}>: greylisted\r\n450 see you\tlater, {ADDRESS}\x07!"])
    )
    told = failure(mailer(server.port, opened))
    assert "450 (address): greylisted see you later, (address)" in str(told)


@pytest.mark.parametrize(
    "email", ["a\r\nRCPT TO:<x@y>", "a b@c", "é@example.org", "<a@b>", "", "a"]
)
def test_an_address_that_is_none_is_never_written(opened: ExitStack, email: str) -> None:
    server = opened.enter_context(script())
    told = failure(mailer(server.port, opened), OutgoingMessage("<x@y>", email, message().mime))
    assert isinstance(told, MailRefused)
    assert server.commands == []


def test_a_log_in_that_fails_for_now_only_puts_off(opened: ExitStack) -> None:
    server = opened.enter_context(script(auth="454 4.7.0 try again later"))
    told = failure(mailer(server.port, opened, username=USER, password=PASSWORD))
    assert isinstance(told, MailDeferred)


def test_a_server_that_knows_no_log_in_says_so(opened: ExitStack) -> None:
    for offers in ("250 script", "250-script\r\n250 AUTH GSSAPI"):
        server = opened.enter_context(script(ehlo=offers))
        told = failure(mailer(server.port, opened, username=USER, password=PASSWORD))
        assert isinstance(told, MailerBroken)
        assert "username" in str(told)


# -- how we introduce ourselves --------------------------------------------------------------------


def name_said(opened: ExitStack, **options: Any) -> str:
    server = opened.enter_context(script())
    mailer(server.port, opened, **options).greet()
    return server.commands[0].removeprefix("ehlo ")


@pytest.mark.parametrize(
    ("host", "said"),
    [
        ("mail.example.org", "mail.example.org"),
        ("box", "triage.localdomain"),
        ("localhost.localdomain", "triage.localdomain"),
        ("my_box.example.org", "triage.localdomain"),
        ("büro.example.org", "triage.localdomain"),
    ],
)
def test_we_introduce_ourselves_with_a_domain_and_never_with_loopback(
    opened: ExitStack, monkeypatch: pytest.MonkeyPatch, host: str, said: str
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: host)
    assert name_said(opened) == said


def test_without_a_domain_we_introduce_ourselves_with_the_address_that_the_server_sees() -> None:
    from triage.delivery.smtp import _own_name

    class Sock:
        def __init__(self, address: str) -> None:
            self.address = address

        def getsockname(self) -> tuple[str, int]:
            return self.address, 25

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "gethostname", lambda: "box")
        assert _own_name(Sock("192.0.2.1")) == "[192.0.2.1]"  # type: ignore[arg-type]
        assert _own_name(Sock("2001:db8::1%eth0")) == "[IPv6:2001:db8::1]"  # type: ignore[arg-type]


def test_the_name_of_the_settings_wins(opened: ExitStack) -> None:
    assert name_said(opened, helo_name="papers.example.org") == "papers.example.org"


@pytest.mark.parametrize("reply", ["550 5.7.1 who is that", "504 5.5.2 a full name, please"])
def test_a_server_that_refuses_our_name_is_quoted_and_gets_no_helo(
    opened: ExitStack, reply: str
) -> None:
    server = opened.enter_context(script(ehlo=[reply]))
    told = failure(mailer(server.port, opened))
    assert isinstance(told, MailerBroken)
    assert reply in str(told)
    assert "helo_name" in str(told)
    assert [command.split()[0] for command in server.commands] == ["ehlo"]


def test_a_server_that_knows_no_ehlo_gets_helo(opened: ExitStack) -> None:
    server = opened.enter_context(script(ehlo=["502 not implemented"]))
    assert mailer(server.port, opened).send(message(), nothing) == "250 fine"
    assert [command.split()[0] for command in server.commands[:2]] == ["ehlo", "helo"]


# -- through the whole program ---------------------------------------------------------------------


def settled(folder: Path, server: int, more: str = "") -> Path:
    """Write an installation of which one digest waits for the server on that port."""
    config = f"""[mail]
transport = "smtp"
host = "127.0.0.1"
port = {server}
security = "none"
{more}"""
    app = installation(folder, config)
    chosen = empty_slate(add_reader(app.database))
    queue(app.database, chosen, message().mime, SystemClock().now())
    app.database.close()
    return folder / "triage.toml"


def drain(config: Path) -> tuple[int, str]:
    ended = CliRunner().invoke(cli, ["--config", str(config), "outbox", "drain"])
    assert ended.exception is None or isinstance(ended.exception, SystemExit | TriageError)
    code = getattr(ended.exception, "exit_code", ended.exit_code)
    return code, f"{ended.output}{ended.exception}"


def test_an_installation_sends_through_the_server_of_its_settings(
    opened: ExitStack, tmp_path: Path
) -> None:
    port, kept = opened.enter_context(inbox())
    config = settled(tmp_path, port)
    code, output = drain(config)
    assert code == 0
    assert "1 sent" in output
    assert kept.messages == [message().mime]
    with closing(open_app(config).database) as database:
        assert rows(database, "messages")[0]["last_reply"] == "250 2.0.0 queued as 1"


def test_a_refused_log_in_ends_with_what_to_correct_and_keeps_the_messages(
    opened: ExitStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = opened.enter_context(script(auth="535 5.7.8 no"))
    config = settled(tmp_path, server.port, 'username = "ada"\n')
    monkeypatch.setenv("TRIAGE_MAIL_PASSWORD", "wrong-one")
    code, output = drain(config)
    assert code == 1
    assert "no mail can be sent" in output
    assert "TRIAGE_MAIL_PASSWORD" in output
    assert "wrong-one" not in output
    with closing(open_app(config).database) as database:
        [waiting] = rows(database, "messages")
    assert (waiting["state"], waiting["attempts"]) == ("rendered", 0)


def test_an_account_without_a_password_is_told_before_anything_is_tried(
    opened: ExitStack, tmp_path: Path
) -> None:
    server = opened.enter_context(script())
    code, output = drain(settled(tmp_path, server.port, 'username = "ada"\n'))
    assert code == 2
    assert "TRIAGE_MAIL_PASSWORD" in output
    assert server.connections == 0
